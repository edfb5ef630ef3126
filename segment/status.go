package segment

import (
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// Status is what is known of a node's life.
type Status uint8

const (
	// Alive: its lock is held, or its heartbeat moves. A stopped process is
	// alive.
	Alive Status = iota
	// Suspect: a node of another kernel whose heartbeat stands still. It may
	// come back; nothing of it is taken away.
	Suspect
	// Dead: by evidence. Its lock was dropped, it was evicted, or its slot is
	// free or has moved on.
	Dead
)

func (s Status) String() string { return [...]string{"alive", "suspect", "dead"}[s] }

// Status says whether the node that o names lives. A dead node that somebody
// is just recovering may show as alive or dead.
func (n *Node) Status(o Owner) Status {
	if o == n.owner && word(n.own.Load()) == n.word {
		return Alive
	}
	st := n.s.status(o, n.locks)
	if st == Alive && n.s.ended(o) {
		return Dead
	}
	return st
}

// Proved reports whether the death of o, whom Status calls dead, is proved by a
// lock of its kernel, and not recovered yet: o writes no more. Otherwise an
// operator evicted it, or its slot has moved on, and it may be a zombie.
func (n *Node) Proved(o Owner) bool {
	w := n.s.load(o.Slot())
	if w.owner(o.Slot()) != o {
		return false
	}
	switch w.state() {
	case NodeLive:
		return w.tag() == n.s.tag
	case NodeBurying: // by its own kernel, which saw the lock, or by another
		return w.tag() == tagOf(mem.U64(n.s.b, slotOff(o.Slot())+nodeKernel).Load())
	}
	return false
}

// StatusOf is Node.Status for who is not a node: it only reads.
func (s *Segment) StatusOf(o Owner) Status {
	st := s.status(o, s.own)
	if st == Alive && s.ended(o) {
		return Dead
	}
	return st
}

// ended reports whether o's process is no more. Its lock may be held all the
// same: by a recoverer, or by one who wants the slot, and either may be stopped
// just there.
func (s *Segment) ended(o Owner) bool {
	slot := o.Slot()
	w := s.load(slot)
	if w.state() != NodeLive || w.owner(slot) != o || w.tag() != s.tag {
		return false
	}
	pid, start, ok := s.processOf(slot, w)
	return ok && sys.Ended(pid, start) && s.load(slot) == w
}

func (s *Segment) status(o Owner, lk locks) Status {
	if s.image {
		return Dead
	}
	slot := o.Slot()
	for range stubborn {
		w := s.load(slot)
		switch {
		case w.state() != NodeLive || w.owner(slot) != o:
			return Dead
		case w.tag() != s.tag:
			return s.look(slot, w)
		}
		held, err := lk.held(slot)
		if held || err != nil { // no answer is no evidence
			return Alive
		}
		if s.load(slot) == w { // edge: the word, the lock, the word
			return Dead
		}
	}
	return Alive
}

// look judges a node of another kernel by its heartbeat. Only the time between
// looks that found it standing still counts, and no single gap counts for more
// than half the limit: we may have been stopped ourselves.
func (s *Segment) look(slot int, w word) Status {
	beat := s.beat(slot).Load()
	now := time.Now()
	s.seen.Lock()
	defer s.seen.Unlock()
	p := &s.seen.slot[slot]
	if p.word != uint64(w) || p.beat != beat {
		*p = seenBeat{word: uint64(w), beat: beat, last: now}
		return Alive
	}
	p.still += min(now.Sub(p.last), s.opts.SuspectAfter/2)
	p.last = now
	if p.still >= s.opts.SuspectAfter {
		return Suspect
	}
	return Alive
}
