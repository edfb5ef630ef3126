//go:build invariants || race

package cells

import (
	"fmt"
	"slices"

	"github.com/ringbus/ringbus/internal/shmtest/explore"
)

// read is a broadcast reader; it ends when the stream does.
func (w *world) read(owner uint32, m Mode, oldest bool) *explore.Party {
	return w.visit(owner, m, oldest, forever)
}

// visit is read of at most so many messages.
func (w *world) visit(owner uint32, m Mode, oldest bool, most int) *explore.Party {
	return w.x.Add(fmt.Sprintf("reader%x", owner), func(p *explore.Party) {
		s := try(w.ring.Join(owner, m, bell))
		x, err := OpenRx(s, oldest)
		if err != nil {
			return
		}
		x.Lag = slices.Max(w.sizes) <= w.ring.Config().Cells/4*CellSize && p.Rand.IntN(2) == 0
		var rec Record
		next, first := uint64(0), true
		for got := 0; got < most; {
			st := x.Poll(&rec)
			switch st {
			case Got:
				b := append([]byte(nil), rec.Bytes()...)
				if !x.Release(&rec) {
					continue
				}
				w.check(p, b, rec.Number)
				if !first && rec.Number != next+rec.Lost || m == ModeHold && rec.Lost > 0 && !w.suspect[owner] {
					p.X.Fail("message %d after %d, and %d lost", rec.Number, next, rec.Lost)
				}
				next, first = rec.Number+1, false
				got++
				continue
			case Fenced:
				if !w.suspect[owner] {
					p.X.Fail("fenced")
				}
				p.GiveWay() // or it is fenced again and again before it has read anything
				x.Rejoin()
				continue
			case Evicted:
				if !w.evicted[owner] {
					p.X.Fail("evicted")
				}
				return
			case Corrupt:
				p.X.Fail("%v", x.Err())
			}
			if x.Ended() != 0 && w.over() {
				next += x.TakeLost()
				if n := w.total(); !first && next != n && !w.evicted[owner] {
					p.X.Fail("ended after message %d of %d", next, n)
				}
				break
			}
			if x.Ended() != 0 && p.Rand.IntN(2) == 0 {
				p.GiveWay() // another writer may come
				continue
			}
			seen := s.Bell().Word.Load()
			x.Announce()
			if !x.Waiting() {
				if x.Ended() != 0 && !x.Pending() {
					p.GiveWay()
				}
				continue
			}
			sleepOn(p, s.Bell(), seen, "for a message")
		}
		x.Leave()
	})
}

// share is a reader of group g; it ends when the stream does.
func (w *world) share(owner uint32, most int) *explore.Party {
	return w.x.Add(fmt.Sprintf("shared%x", owner), func(p *explore.Party) { w.mate(p, owner, most) })
}

func (w *world) mate(p *explore.Party, owner uint32, most int) {
	var x *Shared
	for {
		var err error
		if x, err = w.ring.JoinGroup(owner, "g", true, bell); err == nil {
			break
		}
		if (err == ErrNoGroup || err == ErrFenced) && w.retired {
			return // a zombie, or a zombie has the last one
		}
		if err != ErrBusy {
			p.X.Fail("%v", err)
		}
		for o := range w.dead {
			w.recover(o)
		}
		p.GiveWay()
	}
	var open []*Record
	for got := 0; ; {
		rec := new(Record)
		st := Empty
		if len(open) < 3 && got < most {
			st = x.Poll(rec)
		}
		switch st {
		case Got:
			got++
			w.given[key(x, rec)]++
			if rec.Redelivered {
				w.marked[key(x, rec)] = true
			} else if w.given[key(x, rec)] > 1 && !w.gone(owner) {
				p.X.Fail("message %d is delivered again without a mark", rec.Number)
			}
			open = append(open, rec)
			if p.Rand.IntN(2) == 0 {
				continue
			}
		case Evicted:
			return
		case Corrupt:
			p.X.Fail("%v", x.Err())
		}
		if len(open) > 0 {
			i := p.Rand.IntN(len(open))
			w.finish(p, x, open[i])
			open = append(open[:i], open[i+1:]...)
			continue
		}
		if got >= most || x.Ended() != 0 && w.over() {
			break
		}
		if x.Ended() != 0 {
			p.GiveWay()
			continue
		}
		for _, o := range x.Unfinished() {
			if w.gone(o) {
				w.recover(o)
			}
		}
		seen := x.slot.Bell().Word.Load()
		if x.Announce(); x.Waiting() {
			sleepOn(p, x.slot.Bell(), seen, "for a message")
		}
	}
	x.Leave()
}

// key names a message and a group: one that was dissolved and made anew may
// begin with the same messages.
func key(x *Shared, rec *Record) uint64 { return rec.Number | x.gen<<44 | uint64(x.index)<<60 }

// finish finishes a message, or gives it back.
func (w *world) finish(p *explore.Party, x *Shared, rec *Record) {
	b := append([]byte(nil), rec.Bytes()...)
	if p.Rand.IntN(8) == 0 {
		if !x.Return(rec) && !w.evicted[x.owner] {
			p.X.Fail("message %d cannot be given back", rec.Number)
		}
		return
	}
	if !x.Done(rec) {
		if !w.evicted[x.owner] {
			p.X.Fail("message %d cannot be finished", rec.Number)
		}
		return
	}
	w.check(p, b, rec.Number)
	if w.done[key(x, rec)]++; w.done[key(x, rec)] > 1 {
		p.X.Fail("message %d is finished twice", rec.Number)
	}
}

// allDone is for the end, where no reader died: each message was finished once.
func (w *world) allDone() error {
	for _, g := range w.ring.Inspect().Groups {
		if g.Unfinished != 0 {
			return fmt.Errorf("%d cells are unfinished", g.Unfinished)
		}
	}
	return w.x.Watch()
}

// forever is a reader's appetite: until the stream ends.
const forever = 1 << 30

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }
