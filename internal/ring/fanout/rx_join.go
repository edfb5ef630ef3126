package fanout

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// OpenRx gives slot s a place in lane l: the one that the publisher made for
// it, or up to history messages back from what was published last. late says
// that the lane was not there when s was claimed: then every message that is
// sent on it from now on is received, and there is no history. Refusal says
// why in words: the topic lets nobody hold it back, and s insists.
func OpenRx(s *Slot, l *Lane, history int, late bool, ring func(wake.Bell)) (*Rx, error) {
	if s.mode == ModeReliable && l.config.LatestOnly {
		return nil, &LatestOnlyError{}
	}
	if err := s.CheckCredit(); err != nil {
		return nil, err
	}
	r := &Rx{
		lane: l, slot: s, ring: ring, gen: s.gen,
		cursor: l.cursors[s.Index], holds: l.holds[s.Index][:s.records],
		state: l.config.cursorState(s.mode), lazy: l.chunk,
	}
	for k := range r.holds {
		r.mine[k] = r.holds[k].Load() // a former owner's; its generation no longer counts
	}
	for {
		w := r.cursor.Load()
		c := cursor(w)
		if c.gen() == r.gen {
			if c.state() != r.state && (c.state() != curFenced || r.state != curActive) {
				return nil, ErrFenced
			} // if it is fenced already, Poll will say so and Rejoin go on from here
			r.next = c.pos(l.limit.Load())
			r.flushed, r.first, r.given = r.next, r.next, true
			return r, nil
		}
		if claim(s.topic.claims[s.Index].Load()) != s.word {
			return nil, ErrFenced // and w may be the cursor of the slot's next owner
		}
		join := r.join
		if late {
			join = r.joinLate
		}
		if join(w, uint64(history)) {
			r.first = r.next
			return r, nil
		}
	}
}

// LatestOnlyError says that a reliable subscriber came to a latest-only topic.
type LatestOnlyError struct{}

func (*LatestOnlyError) Error() string {
	return "the topic is latest-only: no subscriber can be reliable on it"
}

// joinLate is J1 and J2 in a lane whose publisher has not looked at our claim
// yet: it will before it opens the lane, and heed the cursor that it finds.
// There is no J3: limit may be far ahead when we load it again, and what was
// sent meanwhile was sent to us.
//
// edge: visible (this cursor | lane bit, cursors and claims, then OPEN)
func (r *Rx) joinLate(w, _ uint64) bool {
	n := r.lane.head()
	invariant.Point("fanout.J2")
	if !r.cursor.CompareAndSwap(w, uint64(packCursor(r.state, r.gen, n))) {
		return false
	}
	invariant.Point("fanout.J2a")
	r.next, r.flushed, r.since, r.given = n, n, n, true
	r.ringPublisher() // J4
	return true
}

// join is J1 to J4: from cursor word w, which is not ours yet. It fails if the
// publisher was quicker.
func (r *Rx) join(w, history uint64) bool {
	l := r.lane
	if r.state == curLatest {
		head := l.head()
		n := head - min(head, history, l.depth-l.chunk)
		invariant.Point("fanout.J2")
		if !r.cursor.CompareAndSwap(w, uint64(packCursor(curLatest, r.gen, n))) {
			return false
		}
		r.next, r.flushed, r.since = n, n, head
		r.ringPublisher()
		return true
	}
	limit := l.limit.Load() // J1
	n := limit - min(limit, l.chunk+history, l.depth)
	for {
		next := packCursor(curActive, r.gen, n)
		invariant.Point("fanout.J2")
		// J2, edge: join (this cursor, then limit | limit, then cursors)
		if !r.cursor.CompareAndSwap(w, uint64(next)) {
			return false
		}
		w = uint64(next)
		invariant.Point("fanout.J2a")
		limit = l.limit.Load() // J3
		if limit <= n+l.depth {
			break
		}
		n = limit - l.depth
	}
	r.next, r.flushed = n, n
	// From here nothing at or after n can be overwritten.
	if head := l.head(); head > n {
		if to := head - min(head, history); to > n {
			r.next = to
			r.advance(to)
			r.flushed = to
		}
	}
	// J4: it may have gone to sleep on an older cursor, or for want of us.
	r.ringPublisher()
	return true
}

// Rejoin brings a fenced subscriber back: what it still holds is pinned by
// hold words, then it takes a new place, not before the old one, and is told
// with the next message what it lost in between. current is the record whose
// loan is open and pinned by the fence only, or nil.
func (r *Rx) Rejoin(current *Record) Status {
	if current != nil && current.Lent {
		if !r.hold(current, holdWord(r.gen, current.desc)) {
			return Evicted
		}
	}
	invariant.Point("fanout.Z1")
	w := r.cursor.Load()
	c := cursor(w)
	if c.gen() != r.gen || c.state() != curFenced {
		return Evicted
	}
	old := r.next
	l := r.lane
	limit := l.limit.Load()
	n := max(old, limit-min(limit, l.depth))
	for {
		next := packCursor(curActive, r.gen, n)
		if !r.cursor.CompareAndSwap(w, uint64(next)) {
			w = r.cursor.Load()
			if c = cursor(w); c.gen() != r.gen || c.state() != curFenced {
				return Evicted
			}
			continue // fenced again, on the place that we were about to leave
		}
		w = uint64(next)
		invariant.Point("fanout.Z2")
		if limit = l.limit.Load(); limit <= n+l.depth {
			break
		}
		n = limit - l.depth
	}
	r.lost += n - old
	r.next, r.flushed = n, n
	r.ringPublisher()
	return Got
}
