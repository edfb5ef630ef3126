//go:build invariants || race

package multilog

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest/explore"
)

// at runs f when the point is passed for the first time.
func at(t *testing.T, point string, f func()) {
	done := false
	t.Cleanup(func() { invariant.SetHook(nil) })
	invariant.SetHook(func(name string) {
		if name == point && !done {
			done = true
			f()
		}
	})
}

// A waker that stops before it rings has not taken the sleeper's announcement
// away: the next one rings.
func TestAWakerThatStopsCostsNobodyHisWakeUp(t *testing.T) {
	r := newRig(t, small(Overwrite))
	rx := r.rx(0x303)
	must(t, rx.Register(false))
	rx.Entry().Asleep(rx)
	bell := rx.Entry().Bell().Word
	tx, other := r.tx(0x101), r.tx(0x202)
	rung := false
	at(t, "multilog.K5", func() {
		was := bell.Load()
		r.fill(other, 1, 1)
		rung = bell.Load() != was
	})
	r.fill(tx, 1, 1)
	if !rung {
		t.Error("the second waker did not ring")
	}
	if bell.Load() == 0 || rx.log.readers[0].park.Load() != 0 {
		t.Error("nobody took the announcement away")
	}
}

// A waker that stops between the ring and the announcement must not take away
// that of the next sleep, at the same place.
func TestALateWakerDoesNotTakeTheNextSleepAway(t *testing.T) {
	r := newRig(t, small(Overwrite))
	rx := r.rx(0x303)
	must(t, rx.Register(false))
	rx.Entry().Asleep(rx)
	at(t, "multilog.K6", func() {
		rx.Entry().Awake()
		rx.Entry().Asleep(rx)
	})
	r.fill(r.tx(0x101), 1, 1)
	if rx.log.readers[0].park.Load() == 0 {
		t.Error("the second sleep's announcement is gone, and nobody rang for it")
	}
}

// Who goes to sleep at the end must learn that a record is being written there,
// if one behind it is finished already: its writer may have fallen silent.
func TestASleeperLearnsOfAnUnfinishedRecord(t *testing.T) {
	r := newRig(t, small(Overwrite))
	rx := r.rx(0x303)
	must(t, rx.Register(false))
	at(t, "multilog.K2", func() {
		if _, err := r.tx(0x101).Reserve(1, 1); err != nil {
			t.Error(err)
		}
		r.fill(r.tx(0x202), 1, 1) // it finds nobody asleep
	})
	if timed := rx.Entry().Asleep(rx); !timed && !rx.Ready() {
		t.Error("the reader sleeps without a limit over a record that may never be finished")
	}
	rx.Entry().Awake()
	if timed := rx.Entry().Asleep(rx); !timed || rx.Ready() {
		t.Error("the second time it knows")
	}
}

// A reader that is lapped again while it looks for its place must not take the
// rank of a later head, which an evictor is about to store, for that of its own.
func TestALappedReaderLooksAgain(t *testing.T) {
	r := newRig(t, small(Overwrite))
	tx, rx := r.tx(0x101), r.rx(0x303)
	r.fill(tx, 300, 1)
	head := r.log.loadRoom().head()
	at(t, "multilog.R7", func() {
		r.fill(tx, 200, 1)
		// An evictor is between E5 and E6: it gives up what is before head+n.
		raise(&r.log.rank(head)[0], head)
		raise(&r.log.rank(head)[1], head*(CellSize-headerSize))
	})
	if got := len(r.all(rx)); uint64(got)+rx.Lost != 500 || rx.LostBytes != rx.Lost*(CellSize-headerSize) {
		t.Errorf("received %d, %+v", got, rx.Skipped)
	}
}

// The scheme's bound: a writer that loses its place to others fails once for
// each of their claims, and then has its own.
func TestOneRetryForEachRival(t *testing.T) {
	for rivals := range 5 {
		r := newRig(t, small(Overwrite))
		tx := r.tx(0x101)
		left := rivals
		inside := false
		t.Cleanup(func() { invariant.SetHook(nil) })
		invariant.SetHook(func(name string) {
			if name == "multilog.W6" && !inside && left > 0 {
				inside, left = true, left-1
				r.fill(r.tx(uint32(0x200+left)), 1, 1)
				inside = false
			}
		})
		c, err := tx.Reserve(10, 10)
		invariant.SetHook(nil)
		if err != nil || tx.Retries != uint64(rivals) || c.Pos != uint64(MinCells+rivals) {
			t.Errorf("%d rivals: %d retries, at %d, %v", rivals, tx.Retries, c.Pos, err)
		}
	}
}

// A writer stands still in the middle of a claim for half of all laps: newer
// words look older then, and it must not take them for that.
func TestExploreHalfOfAllLaps(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := newWorld(x, Overwrite)
		x.Watch, x.Passed = nil, nil
		old := w.l.lap(w.l.tail.Load())
		late := old + 1<<27 + w.rng.Uint64N(1<<26)
		moved := false
		x.Add("writer", func(*explore.Party) {
			var tx *Tx
			x.Look(func() { tx = w.view().NewTx(w.peers(0x101)) })
			for range 4 {
				c, err := tx.Reserve(10, 300)
				if err == nil {
					_ = tx.Commit(c)
				}
				if err != nil && !moved {
					x.Fail("%v", err)
				}
			}
		})
		x.Add("time", func(*explore.Party) {
			for range w.rng.IntN(30) {
				x.Point("waits")
			}
			x.Look(func() {
				for i := range w.l.states {
					w.l.states[i].Store(uint64(packState(late-1, stPad, 0, 1)))
				}
				w.l.tail.Store(late * w.l.n)
				w.l.room.Store(uint64(packRoom(late*w.l.n, 0)))
			})
			moved = true
		})
		return func() error {
			for i := range w.l.states {
				if s := state(w.l.states[i].Load()); s.age(late) < -1 || s.age(late) > 1 {
					return fmt.Errorf("word %d tells lap %#x, the log is at %#x", i, s.lap(), late)
				}
			}
			for _, s := range w.l.Verify() {
				return errors.New(s)
			}
			return nil
		}
	})
}
