//go:build invariants || race

package multilog

import (
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest/explore"
	"github.com/ringbus/ringbus/internal/wake"
)

func (w *world) some() int { return 2 + w.rng.IntN(8) }

// oneOf picks a value by the schedule's seed.
func oneOf[T any](w *world, of ...T) T { return of[w.rng.IntN(len(of))] }

// until n records were read.
func until(n int) appetite { return func(got uint64) bool { return got >= uint64(n) } }

// Two writers and readers that are overrun.
func TestExploreOverwrite(t *testing.T) {
	explore.Run(t, 2000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Overwrite)
		w.stopped = true // a slow writer is lapped in so small a log
		w.writer(0x101, w.some())
		w.writer(0x202, w.some())
		w.reader(0x303, w.rng.IntN(3), forever)
		if w.rng.IntN(2) == 0 {
			w.reader(0x304, w.rng.IntN(3), forever)
		}
		return w.check
	})
}

// Readers that hold the log lose nothing, and writers wait for them.
func TestExploreReject(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Reject)
		w.stopped = true // without a reader that holds
		w.writer(0x101, w.some())
		w.writer(0x202, w.some())
		w.reader(0x303, 2, forever)
		if w.rng.IntN(2) == 0 {
			w.reader(0x304, 1+w.rng.IntN(2), forever)
		}
		return w.check
	})
}

// Readers look for their place again and again; what holds the log holds it
// meanwhile.
func TestExploreSeek(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x, []Mode{Overwrite, Reject}[x.Rand.IntN(2)])
		w.stopped = true
		w.seeks = 2 + w.rng.IntN(8)
		w.writer(0x101, w.some())
		w.writer(0x202, w.some())
		w.reader(0x303, 2, forever)
		w.reader(0x304, w.rng.IntN(3), forever)
		return w.check
	})
}

// Three that append: no more retries than rivals, whoever comes first.
func TestExploreThreeWriters(t *testing.T) {
	explore.Run(t, 2000, func(x *explore.Explorer) func() error {
		w := newWorld(x, []Mode{Overwrite, Reject}[x.Rand.IntN(2)])
		w.stopped = true
		for i := range 3 {
			w.writer(uint32(0x101*(i+1)), w.some())
		}
		w.reader(0x404, w.rng.IntN(3), forever)
		return w.check
	})
}

// Readers come and go, and hold the log while they are there.
func TestExploreJoinAndLeave(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Reject)
		w.stopped = true
		w.writer(0x101, w.some())
		if w.rng.IntN(2) == 0 {
			w.writer(0x202, w.some())
		}
		for i := range 3 {
			w.reader(uint32(0x303+i), 2, oneOf(w, forever, until(0), until(1), until(3)))
		}
		return w.check
	})
}

// A writer stands still at any of its steps: it delays nobody in overwrite
// mode, and what it still stores harms nobody.
func TestExploreWriterStops(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Overwrite)
		p := w.writer(0x101, w.some())
		w.halt(p, 40)
		if w.rng.IntN(2) == 0 {
			p.On, p.StopAt, p.Alone = oneOf(w, "half", "whole"), 1+w.rng.IntN(3), true
		}
		w.writer(0x202, 10+w.rng.IntN(20))
		w.reader(0x303, w.rng.IntN(2), forever)
		return w.check
	})
}

// A reader stands still at any of its steps, while the log goes round; often
// where it finds out that it was lapped.
func TestExploreReaderStops(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Overwrite)
		w.stopped = true
		w.writer(0x101, 10+w.some())
		w.writer(0x202, 10+w.some())
		p := w.reader(0x303, 0, forever)
		w.halt(p, 100)
		if w.rng.IntN(2) == 0 {
			w.late = 30 * explore.Memory.Scale * explore.Memory.Scale
			p.On, p.StopAt = "load", 1+w.rng.IntN(10)
		}
		return w.check
	})
}

// A writer stands still over its claim in reject mode: others append until
// readers hold the space, and nobody sleeps for want of more than that.
func TestExploreWriterStopsInRejectMode(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Reject)
		p := w.writer(0x101, w.some())
		w.halt(p, 4)
		p.On, p.Alone = oneOf(w, "half", "whole"), true
		w.writer(0x202, w.some())
		w.reader(0x303, 2, forever)
		return w.check
	})
}

// A writer dies at any step; two recover it, of whom one may die; another one
// goes on.
func TestExploreWriterDies(t *testing.T) {
	explore.Run(t, 5000, func(x *explore.Explorer) func() error {
		w := newWorld(x, []Mode{Overwrite, Reject}[x.Rand.IntN(2)])
		w.stopped = true
		w.kill(w.writer(0x101, w.some()), 0x101, 60)
		if w.rng.IntN(2) == 0 {
			w.kill(w.writer(0x202, w.some()), 0x202, 60)
		} else {
			w.writer(0x202, w.some())
		}
		w.reader(0x303, oneOf(w, 0, 1, 2, 2), forever)
		if w.rng.IntN(3) == 0 {
			w.reader(0x304, oneOf(w, 1, 2), until(w.rng.IntN(5)))
		}
		return w.check
	})
}

// A reader dies at any step, while writers wait for it.
func TestExploreReaderDies(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Reject)
		w.stopped = true
		w.writer(0x101, w.some())
		w.writer(0x202, w.some())
		w.kill(w.reader(0x303, 2, forever), 0x303, 60)
		if w.rng.IntN(2) == 0 {
			w.reader(0x304, 2, forever)
		}
		return w.check
	})
}

// A reader that holds is suspect: it holds nobody back, and those that live do.
func TestExploreSuspectReader(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Reject)
		w.stopped = true
		w.status[0x303] = Suspect
		w.writer(0x101, w.some())
		w.writer(0x202, w.some())
		p := w.reader(0x303, 2, oneOf(w, forever, until(1)))
		if w.rng.IntN(2) == 0 {
			w.halt(p, 20)
			p.Alone = true
		}
		w.reader(0x304, 2, forever)
		return w.check
	})
}

// A writer is suspect: readers and writers pass its claims, and it goes on.
func TestExploreSuspectWriter(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x, []Mode{Overwrite, Reject}[x.Rand.IntN(2)])
		w.stopped = true
		p := w.writer(0x101, w.some())
		switch w.rng.IntN(3) {
		case 0:
			w.halt(p, 40)
		case 1:
			p.On, p.KillAt = oneOf(w, "half", "whole"), 1+w.rng.IntN(3) // of which nobody has evidence
		}
		x.Add("silence", func(*explore.Party) { // rings nobody
			for range w.rng.IntN(60) {
				x.Point("waits")
			}
			w.status[0x101] = Suspect
			x.Note("FALLS SILENT")
		})
		w.writer(0x202, w.some())
		w.reader(0x303, oneOf(w, 0, 1, 2, 2), forever)
		w.reader(0x304, oneOf(w, 0, 1, 2), forever)
		return w.check
	})
}

// An operator evicts a writer that is alive: what it still stores harms nobody.
func TestExploreEvictWriter(t *testing.T) {
	explore.Run(t, 5000, func(x *explore.Explorer) func() error {
		w := newWorld(x, []Mode{Overwrite, Reject}[x.Rand.IntN(2)])
		w.evict(0x101)
		w.writer(0x101, w.some())
		w.writer(0x202, w.some())
		w.reader(0x303, oneOf(w, 0, 1, 2, 2), forever)
		return w.check
	})
}

// An operator evicts a reader that is alive, and another one comes.
func TestExploreEvictReader(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Reject)
		w.evict(0x303)
		w.writer(0x101, w.some())
		w.writer(0x202, w.some())
		w.reader(0x303, 2, forever)
		w.reader(0x304, 2, forever)
		return w.check
	})
}

// evict is an operator's word: from now on the owner is gone, by its own
// knowledge too, and then its words are swept.
func (w *world) evict(owner uint32) {
	w.stopped = true
	w.x.Add("operator", func(p *explore.Party) {
		for range w.rng.IntN(60) {
			w.x.Point("waits")
		}
		w.status[owner], w.fenced[owner] = Gone, true
		w.x.Note("EVICTS")
		for range w.rng.IntN(10) {
			w.x.Point("waits")
		}
		w.l.Recover(owner, true, func(b wake.Bell) { b.Word.Add(1) })
	})
}
