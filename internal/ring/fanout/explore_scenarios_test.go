//go:build invariants || race

package fanout

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest/explore"
)

// oneOf picks a value by the schedule's seed.
func oneOf[T any](w *world, of ...T) T { return of[w.rng.IntN(len(of))] }

// small is a lane so short that it wraps soon, with room for holds messages
// held, and for a fence each of up to three reliable subscribers.
func small(x *explore.Explorer, holds int, depths ...int) *world {
	if len(depths) == 0 {
		depths = []int{1, 2, 4}
	}
	d := depths[x.Rand.IntN(len(depths))]
	return newWorld(x, Config{Depth: d, MaxMessage: 112, Holds: holds + 3, Loans: 1})
}

// ending is how many messages are sent: the lane wraps a few times.
func (w *world) ending() uint64 { return uint64(1 + w.rng.IntN(3*w.c.Depth+6)) }

// silent is ending, where the publisher may not close: then nothing follows
// that would make good a ring that is lost.
func (w *world) silent() uint64 {
	n := w.ending()
	if w.rng.IntN(2) == 0 {
		w.stops = n
	}
	return n
}

func (w *world) publisher(owner uint32, total uint64) *explore.Party {
	return w.x.Add(fmt.Sprintf("pub%x", owner), func(p *explore.Party) { w.publish(p, owner, total) })
}

// history is as much as a lane certainly has.
func (w *world) history() int { return w.rng.IntN(w.c.Depth - w.c.Chunk() + 1) }

// forever is a subscriber's appetite: until the lane ends.
const forever = 1 << 30

func (w *world) subscriber(owner uint32, mode Mode, records, history, most int) *explore.Party {
	return w.x.Add(fmt.Sprintf("sub%x", owner), func(p *explore.Party) {
		defer func() {
			if r := recover(); r != nil && r != errEvicted {
				panic(r)
			}
		}()
		w.subscribe(p, owner, mode, records, history, most)
	})
}

// recoverers are two survivors who both notice owner's death; one may die.
func (w *world) recoverers(owner uint32) {
	for i := range 2 {
		p := w.x.Add(fmt.Sprintf("rec%d-%x", i, owner), func(p *explore.Party) {
			p.MayStay(true)
			p.Sleep("for a death", func() bool { return w.dead[owner] })
			p.MayStay(false)
			w.topic.Recover(owner, false, w.swept, w.ring)
		})
		if i == 0 && w.rng.IntN(2) == 0 {
			p.KillAt = 1 + w.rng.IntN(12)
		}
	}
}

// check is what must hold when all is quiet.
func (w *world) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, s := range w.subs {
		w.checkReceived(s, wrong)
	}
	if s := w.topic.Subscribers(); len(s) != 0 {
		wrong("claims are left: %+v", s)
	}
	if err := w.verify(); err != nil {
		wrong("%v", err)
	}
	w.checkLeaks(wrong)
	return errors.Join(errs...)
}

func (w *world) checkReceived(s *subscription, wrong func(string, ...any)) {
	if w.evicted[s.owner] {
		return
	}
	for i, pos := range s.positions {
		e := s.epochs[i]
		if e == 0 || e > uint64(len(w.pubs)) {
			wrong("%s: position %d is of publisher %d", s.name, pos, e)
			continue
		}
		if pos < w.pubs[e-1].from || e < uint64(len(w.pubs)) && pos >= w.pubs[e].from {
			wrong("%s: position %d came from publisher %d, whose it is not", s.name, pos, e)
		}
	}
	if n := uint64(len(s.positions)); s.finished && s.toEnd && (s.next != s.end || s.start+n+s.lost+s.untold != s.end) {
		wrong("%s: began at %d, received %d, lost %d, history gone %d, next %d; %d were sent", s.name, s.start, n, s.lost, s.untold, s.next, s.end)
	}
}

// checkLeaks takes every descriptor, and room for more messages than the lane has.
func (w *world) checkLeaks(wrong func(string, ...any)) {
	if n := len(w.pubs); n > 0 && w.stops != 0 {
		w.pubs[n-1].tx.Close()
	}
	if _, o := w.lane.State(); w.dead[o] {
		w.lane.Bury(o, false) // it died before the table named its lane
	}
	x, ok := OpenTx(w.topic, w.lane, 0xFFF, "checker", 1, 1, w.ring)
	if !ok {
		state, owner := w.lane.State()
		wrong("the lane cannot be taken: state %d, owner %#x", state, owner)
		return
	}
	for range 3 * w.c.Depth {
		if x.Send(make([]byte, 112), 0) {
			continue
		}
		x.Blockers()
		if !x.Send(make([]byte, 112), 0) {
			wrong("no room, and nobody is there: blockers %+v", x.Blockers())
			return
		}
	}
	x.reclaim()
	linked := 0
	for _, d := range x.desc {
		if d != noDescriptor {
			linked++
		}
	}
	if len(x.retired) != 0 || len(x.free)+linked != int(x.lane.count) {
		wrong("descriptors leak: %d free, %d linked, %d retired of %d", len(x.free), linked, len(x.retired), x.lane.count)
	}
}

func TestExploreReliable(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := small(x, 3)
		w.publisher(pubOwner, w.silent())
		w.subscriber(0x110, oneOf(w, ModeDefault, ModeReliable), 2, 0, forever)
		if oneOf(w, false, true) {
			w.subscriber(0x111, ModeReliable, 1, w.history(), oneOf(w, forever, 0, 1, 3))
		}
		return w.check
	})
}

// A latest subscriber never holds the publisher back, whatever it holds.
func TestExploreLatest(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := small(x, 3)
		w.never = true
		w.publisher(pubOwner, w.silent())
		w.subscriber(0x110, ModeLatest, 2, 0, oneOf(w, forever, forever, 3))
		w.subscriber(0x111, ModeLatest, 1, w.history(), forever)
		return w.check
	})
}

// Both kinds share a lane, and batches are longer than what is written one by one.
func TestExploreBatches(t *testing.T) {
	explore.Run(t, 2000, func(x *explore.Explorer) func() error {
		w := small(x, 4, 4, 8, 16)
		w.batch = true
		w.publisher(pubOwner, w.silent())
		w.subscriber(0x110, ModeReliable, 2, 0, forever)
		w.subscriber(0x111, ModeLatest, 2, w.history(), forever)
		return w.check
	})
}

// Subscribers come and go during traffic, some before the lane is there; none
// may be missed, and none may leave the publisher asleep.
func TestExploreJoinAndLeave(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := small(x, 3, 1, 2, 4, 8)
		w.publisher(pubOwner, w.silent())
		for i := range 3 {
			mode := oneOf(w, ModeReliable, ModeReliable, ModeLatest)
			w.subscriber(0x110+uint32(i), mode, 1, w.history(), oneOf(w, 0, 0, 1, 3, forever))
		}
		return w.check
	})
}

// Subscribers come and go, and receive nothing, while the lane is made.
func TestExploreComeAndGo(t *testing.T) {
	explore.Run(t, 2000, func(x *explore.Explorer) func() error {
		w := small(x, 3)
		w.publisher(pubOwner, uint64(w.c.Depth+1+w.rng.IntN(3)))
		for i := range 2 {
			owner := 0x110 + uint32(i)
			x.Add(fmt.Sprintf("sub%x", owner), func(p *explore.Party) {
				for range 1 + w.rng.IntN(2) {
					w.subscribe(p, owner, ModeReliable, 1, 0, 0)
				}
			})
		}
		return w.check
	})
}

// One that joins again and again, with more history than the lane may have,
// while the publisher runs: it is never overrun.
func TestExploreJoin(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := small(x, 4, 1, 2, 4, 8)
		w.publisher(pubOwner, uint64(3*w.c.Depth+w.rng.IntN(12)))
		for i := range 2 {
			owner := 0x110 + uint32(i)
			x.Add(fmt.Sprintf("sub%x", owner), func(p *explore.Party) {
				for range 3 {
					w.subscribe(p, owner, oneOf(w, ModeReliable, ModeReliable, ModeLatest), 2, w.rng.IntN(w.c.Depth+1), 1+w.rng.IntN(3))
				}
			})
		}
		return w.check
	})
}

// A subscriber dies at any step; two recover it, of whom one may die; another
// one takes its slot.
func TestExploreSubscriberDies(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := small(x, 4)
		w.never = oneOf(w, false, true)
		modes := []Mode{ModeReliable, ModeLatest}
		if w.never {
			modes = modes[1:]
		}
		w.publisher(pubOwner, w.ending())
		w.kill(w.subscriber(0x110, oneOf(w, modes...), 2, w.history(), forever), 0x110, 60)
		w.recoverers(0x110)
		w.x.Add("next", func(p *explore.Party) {
			p.MayStay(true)
			p.Sleep("for a death", func() bool { return w.dead[0x110] && len(w.topic.Subscribers()) == 0 })
			p.MayStay(false)
			w.subscribe(p, 0x112, oneOf(w, modes...), 2, 0, forever)
		})
		return w.check
	})
}

// The publisher dies at any step, also while it opens the lane; another one
// goes on, and may die too.
func TestExplorePublisherDies(t *testing.T) {
	explore.Run(t, 5000, func(x *explore.Explorer) func() error {
		w := small(x, 3, 1, 2, 4, 8, 16)
		w.batch = oneOf(w, false, true)
		w.follows = true
		total := w.ending()
		w.kill(w.publisher(0x201, total), 0x201, 80)
		w.recoverers(0x201)
		follow := func(before, owner uint32, total uint64) *explore.Party {
			return w.x.Add(fmt.Sprintf("pub%x", owner), func(p *explore.Party) {
				p.MayStay(true)
				p.Sleep("for a death", func() bool { return w.dead[before] })
				p.MayStay(false)
				w.publish(p, owner, total)
			})
		}
		second := follow(0x201, 0x202, total+3)
		if oneOf(w, false, true) {
			w.kill(second, 0x202, 60)
			w.recoverers(0x202)
			follow(0x202, 0x203, total+5)
		}
		w.subscriber(0x110, oneOf(w, ModeReliable, ModeLatest), 2, 0, 3)
		w.subscriber(0x111, oneOf(w, ModeReliable, ModeLatest), 1, w.history(), oneOf(w, 1, 2, 5))
		return w.check
	})
}

// The publisher dies and nobody follows: its subscribers see the end.
func TestExploreLastPublisherDies(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := small(x, 3, 1, 2, 8, 16)
		w.batch = oneOf(w, false, true)
		w.kill(w.publisher(0x201, w.ending()), 0x201, 60)
		w.recoverers(0x201)
		for i, mode := range []Mode{ModeReliable, ModeLatest} {
			owner := 0x110 + uint32(i)
			w.x.Add(fmt.Sprintf("sub%x", owner), func(p *explore.Party) {
				p.Sleep("for a lane", func() bool { return w.known(0) != nil || w.dead[0x201] })
				if w.known(0) != nil {
					w.subscribe(p, owner, mode, 1, 0, forever)
				}
			})
		}
		return w.check
	})
}

// A reliable subscriber is suspect: the publisher fences it wherever it is, and
// it wakes up, keeps its loans, and comes back.
func TestExploreFence(t *testing.T) {
	explore.Run(t, 5000, func(x *explore.Explorer) func() error {
		// One that comes back with all its records lent, and is fenced again, has
		// one more descriptor pinned.
		w := small(x, 4, 1, 2, 4, 8)
		w.suspect[0x110] = true
		w.suspect[0x111] = oneOf(w, false, true)
		total := w.ending() + uint64(2*w.c.Depth)
		p := w.publisher(0x201, total)
		if w.follows = oneOf(w, false, true); w.follows {
			if w.kill(p, 0x201, 200); oneOf(w, false, true) {
				p.On, p.KillAt = oneOf(w, "fanout.F1", "fanout.F2"), 1+w.rng.IntN(3)
			}
			w.x.Add("pub202", func(p *explore.Party) {
				p.MayStay(true)
				p.Sleep("for a death", func() bool { return w.dead[0x201] })
				p.MayStay(false)
				w.publish(p, 0x202, total+4)
			})
		}
		w.subscriber(0x110, ModeReliable, 2, w.history(), forever)
		w.subscriber(0x111, oneOf(w, ModeReliable, ModeLatest), 2, 0, forever)
		return w.check
	})
}

// An operator evicts a subscriber that is alive, its slot is used again, and
// what it still does harms nobody else.
func TestExploreEvict(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := small(x, 4)
		w.publisher(pubOwner, w.ending()+2)
		modes := []Mode{ModeReliable, ModeLatest}
		w.subscriber(0x110, oneOf(w, modes...), 2, 0, forever)
		w.x.Add("operator", func(p *explore.Party) {
			p.MayStay(true)
			p.Sleep("for a victim", func() bool {
				return len(w.topic.Subscribers()) > 0 && w.topic.slots.Load() != 0
			})
			for range p.Rand.IntN(20) {
				p.X.Point("operator")
			}
			w.evicted[0x110] = true
			w.topic.Recover(0x110, true, w.swept, w.ring)
			w.subscribe(p, 0x112, oneOf(w, modes...), 2, 0, forever)
		})
		return w.check
	})
}
