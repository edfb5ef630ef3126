package doorbell

import (
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/sys"
)

// The undertaker looks at once when a connection ends, a few times in quick
// succession, because a process that dies closes its connections a moment before
// its death shows, and then now and then.
const (
	firstLook = time.Millisecond
	lateLook  = time.Second
)

// absent is a process without a connection.
type absent struct {
	holder
	ours bool // its connection ended while we served; else a former server did
}

// undertake finds out which clients without a connection can write no more, and
// says so.
func (s *Server) undertake() {
	defer s.work.Done()
	t := time.NewTimer(0)
	defer t.Stop()
	for wait := firstLook; ; {
		select {
		case <-s.done:
			return
		case <-s.dead:
			wait = firstLook
		case <-t.C:
			wait = min(2*wait, lateLook)
		}
		if s.lookAtLost() {
			t.Reset(wait)
		}
	}
}

// lookAtLost looks at each once, and says whether some are left.
func (s *Server) lookAtLost() bool {
	s.mu.Lock()
	lost := make(map[uint16]absent, len(s.lost))
	for id, a := range s.lost {
		lost[id] = a
	}
	s.mu.Unlock()
	left := false
	for id, a := range lost {
		if !a.gone(s.stat) || !s.bury(id, a) {
			left = true
		}
	}
	return left
}

// gone reports whether there is evidence that the process can write into the
// memory no more. That its connection has ended is none if it was the server
// that ended.
func (a absent) gone(memory sys.Stat) bool {
	switch {
	case a.ended():
		return true
	case !a.ours:
		return false
	case a.pid == 0: // in a pid namespace beside ours: there is no more to see
		return true
	}
	maps, known := sys.MapsToo(a.pid, memory)
	return known && !maps
}

// bury has the id's nodes recovered and gives it back, unless its process has
// come back meanwhile. It says whether that was done.
func (s *Server) bury(id uint16, a absent) bool {
	s.mu.Lock()
	_, still := s.lost[id]
	delete(s.lost, id) // from here on it is not given back to its process
	s.mu.Unlock()
	if !still {
		return true
	}
	invariant.Point("doorbell.gone.seen")
	if s.opts.Gone != nil && !s.opts.Gone(id) {
		s.mu.Lock()
		s.lost[id] = a
		s.mu.Unlock()
		return false
	}
	invariant.Point("doorbell.gone.buried")
	s.mu.Lock()
	err := s.ids.take(id)
	s.mu.Unlock()
	invariant.Point("doorbell.gone.forgotten")
	e := Event{What: Gone, ID: id, Pid: a.pid}
	if err != nil {
		e.Why = err.Error() // it is not given away again, that is all
	}
	s.tell(e)
	return true
}

// give returns the id for a process: the one that it had, if its connection has
// ended meanwhile, or a new one. The caller holds s.mu.
func (s *Server) give(h holder) (uint16, error) {
	back, found := uint16(0), false
	for id, a := range s.lost {
		if a.holder == h && h.pid > 0 && (!found || id < back) {
			back, found = id, true
		}
	}
	if found {
		delete(s.lost, back)
		return back, nil
	}
	return s.ids.give(h)
}
