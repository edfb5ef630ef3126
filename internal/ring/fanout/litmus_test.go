package fanout

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/wake"
)

// Litmus tests race the two sides of an edge on real CPUs, over and over. Where
// there is only one CPU they prove nothing; the simulated memory of package
// mutation does not need any.

// litmusTime is how long each runs.
const litmusTime = 300 * time.Millisecond

// rounds calls f until the time is up.
func rounds(f func(n uint64) bool) (n uint64) {
	for end := time.Now().Add(litmusTime); ; {
		for range 256 {
			if !f(n) {
				return n
			}
			n++
		}
		if time.Now().After(end) {
			return n
		}
	}
}

// stagger is a few cycles that differ from round to round.
func stagger(n uint64) {
	for range n * 2654435761 >> 7 & 63 {
		wake.Pause()
	}
}

// Publish, then look who waits | say that I wait, then look what is published.
// One of the two sees the other. The publisher finds out if not: the subscriber
// says that it sleeps, and nobody has rung its bell.
func TestLitmusWakeSubscriber(t *testing.T) {
	for _, batch := range []uint64{1, 2} {
		c := smallConfig()
		c.Depth, c.LatestOnly = 16, true
		r := newRig(t, c)
		x, sub := r.tx(), r.rx(ModeLatest, 1, 0)
		msgs := [][]byte{numbered(0, 8), numbered(0, 8)}[:batch]
		var turn, asleep, seen atomic.Uint64 // rounds
		var stop atomic.Bool
		bell := sub.slot.Bell().Word
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := uint64(1); ; n++ {
				for turn.Load() < n {
					if stop.Load() {
						return
					}
					runtime.Gosched()
				}
				stagger(n)
				was := bell.Load()
				sub.Announce()
				if sub.Waiting() {
					asleep.Store(n)
					for bell.Load() == was && !stop.Load() {
						runtime.Gosched()
					}
				}
				for sub.Next() < n*batch && !stop.Load() {
					sub.Poll(&sub.recs[0])
				}
				seen.Store(n)
			}
		}()
		lost := false
		n := rounds(func(n uint64) bool {
			n++
			was := bell.Load()
			turn.Store(n)
			stagger(n / 64)
			if batch > 1 {
				x.SendBatch(msgs, 0)
			} else {
				x.Send(msgs[0], 0)
			}
			for seen.Load() < n && !lost {
				lost = asleep.Load() == n && bell.Load() == was
				runtime.Gosched()
			}
			return !lost
		})
		stop.Store(true)
		<-done
		if lost {
			t.Fatalf("batches of %d: the subscriber sleeps over a message; round %d, waiters %#x", batch, n, r.lane.waiters.Load())
		}
	}
}

// New stamp, then the hold words | hold word, then the stamp: no descriptor
// that a latest subscriber was given is filled again while it reads.
func TestLitmusPin(t *testing.T) {
	c := Config{Depth: 1, MaxMessage: 512, Holds: 2, Loans: 1, LatestOnly: true}
	r := newRig(t, c)
	x, sub := r.tx(), r.rx(ModeLatest, 1, 0)
	var stop atomic.Bool
	done := make(chan struct{})
	var got uint64
	go func() {
		defer close(done)
		for !stop.Load() {
			rec := &sub.recs[0]
			if sub.Poll(rec) != Got {
				continue
			}
			got++
			for range 2 {
				if n, err := number(rec.Data); err != nil || n != rec.Pos {
					t.Errorf("position %d: %d, %v", rec.Pos, n, err)
					return
				}
				stagger(got)
			}
		}
	}()
	b := numbered(0, 512)
	n := rounds(func(uint64) bool {
		h := x.Head()
		for i := range b {
			b[i] = byte(h >> (i % 8 * 8))
		}
		if !x.Send(b, 0) {
			t.Error("a latest subscriber holds the publisher back")
			return false
		}
		if h%64 == 0 {
			runtime.Gosched()
		}
		return true
	})
	stop.Store(true)
	<-done
	t.Logf("%d sent, %d received", n, got)
}

// Cursor, then whether the publisher sleeps | say that I sleep, then cursors.
// The publisher finds out if neither sees the other: the subscriber has nothing
// more to read, and nobody has rung its bell.
func TestLitmusWakePublisher(t *testing.T) {
	c := smallConfig()
	c.Depth = 1
	r := newRig(t, c)
	x, sub := r.tx(), r.rx(ModeReliable, 1, 0)
	var stop atomic.Bool
	var idle atomic.Uint64 // polls that found nothing
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := uint64(0); !stop.Load(); n++ {
			if sub.Poll(&sub.recs[0]) != Got {
				idle.Add(1)
				runtime.Gosched()
				continue
			}
			stagger(n)
			sub.Released(sub.recs[0].Pos)
		}
	}()
	msg := numbered(0, 8)
	lost := false
	n := rounds(func(n uint64) bool {
		for !x.Send(msg, 0) && !lost {
			stagger(n / 64)
			bell := x.Park()
			if x.Room() {
				x.Unpark()
				continue
			}
			polls := idle.Load()
			for x.Bell().Word.Load() == bell && !lost {
				lost = idle.Load() > polls+2 && x.Bell().Word.Load() == bell
				runtime.Gosched()
			}
		}
		return !lost
	})
	stop.Store(true)
	<-done
	if lost {
		t.Fatalf("the publisher sleeps, and its subscriber waits; round %d", n)
	}
	t.Logf("%d rounds", n)
}
