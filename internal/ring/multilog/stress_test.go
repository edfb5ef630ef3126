package multilog

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/wake"
)

// Goroutines at full speed, each with a view of its own; under -race also every
// access of theirs is checked.

// stressTime is how long each runs.
const stressTime = 400 * time.Millisecond

// labelled is data that says who wrote it, and as what, all over.
func labelled(writer uint32, n uint64, size int) []byte {
	b := make([]byte, max(size, 8)&^7)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], uint64(writer)<<40|n)
	}
	return b
}

// gauge is a reader that checks all it gets.
type gauge struct {
	t    *testing.T
	rx   *Rx
	last map[uint32]uint64
	got  uint64
}

// next reads one record.
func (g *gauge) next() Found {
	var rec Record
	f, err := g.rx.Next(&rec, true)
	if err != nil {
		g.t.Error(err)
	}
	if f != Got {
		return f
	}
	g.got++
	label := binary.LittleEndian.Uint64(rec.Data)
	for i := 0; i < len(rec.Data); i += 8 {
		if v := binary.LittleEndian.Uint64(rec.Data[i:]); v != label {
			g.t.Errorf("torn record at %d: %#x at 0, %#x at %d", rec.Position, label, v, i)
			break
		}
	}
	writer, n := uint32(label>>40), label&(1<<40-1)
	if n <= g.last[writer] {
		g.t.Errorf("record %d of %#x after %d", n, writer, g.last[writer])
	}
	g.last[writer] = n
	if rec.Sequence != g.got+g.rx.Lost-1 {
		g.t.Errorf("sequence %d after %d records, %d lost", rec.Sequence, g.got, g.rx.Lost)
	}
	return f
}

func (r *rig) gauge(owner uint32) *gauge {
	return &gauge{t: r.t, rx: r.rx(owner), last: map[uint32]uint64{}}
}

// quiet are peers whose bells only count.
func (r *rig) quiet(me uint32) Peers {
	p := r.peers(me)
	p.Ring = func(b wake.Bell) { b.Word.Add(1) }
	return p
}

func TestStress(t *testing.T) {
	for _, c := range []struct {
		name    string
		mode    Mode
		writers int
		size    int
		hold    bool
	}{
		{"overwrite, small records", Overwrite, 3, 40, false},
		{"overwrite, records of many cells", Overwrite, 2, 9000, false},
		{"reject, small records", Reject, 3, 40, true},
		{"reject, records of many cells", Reject, 2, 9000, true},
		{"reject, nobody holds", Reject, 2, 3000, false},
	} {
		t.Run(c.name, func(t *testing.T) { stress(t, c.mode, c.writers, c.size, c.hold) })
	}
}

func stress(t *testing.T, mode Mode, writers, size int, hold bool) {
	r := newRig(t, Config{Cells: MinCells, Mode: mode})
	var stop atomic.Bool
	var all, readers sync.WaitGroup
	var acked atomic.Uint64
	gauges := []*gauge{r.gauge(0x901), r.gauge(0x902)}
	for _, g := range gauges {
		g.rx.peers = r.quiet(g.rx.peers.Me)
		must(t, g.rx.Register(hold))
	}
	for i := range writers {
		owner := uint32(0x101 + i)
		tx := r.open().NewTx(r.quiet(owner))
		all.Go(func() {
			for n := uint64(1); !stop.Load(); n++ {
				_, err := tx.Append(labelled(owner, n, int(n*131)%size), 0, nil, new(Prefix))
				switch {
				case err == nil:
					acked.Add(1)
				case errors.Is(err, ErrFull):
					runtime.Gosched()
				case !errors.Is(err, ErrLapped) || hold:
					t.Error(err)
					return
				}
			}
		})
	}
	for _, g := range gauges {
		readers.Go(func() {
			for over := false; !over; {
				over = stop.Load()
				for f := g.next(); f == Got || f == Busy; f = g.next() {
				}
				runtime.Gosched()
			}
		})
	}
	time.Sleep(stressTime)
	stop.Store(true)
	all.Wait()
	readers.Wait()
	for _, g := range gauges {
		for f := g.next(); f == Got || f == Busy; f = g.next() {
		}
		if g.got+g.rx.Lost != acked.Load() || hold && g.rx.Lost > 0 || g.rx.Corrupt > 0 {
			t.Errorf("%d acknowledged, %d received, %+v", acked.Load(), g.got, g.rx.Skipped)
		}
	}
	r.sound()
	t.Logf("%d records, %d and %d received", acked.Load(), gauges[0].got, gauges[1].got)
}

// wait sleeps on a bell as a process does, but finds out that nobody rings.
func wait(b wake.Bell, seen uint32, stop *atomic.Bool) bool {
	for end := time.Now().Add(10 * time.Second); b.Word.Load() == seen; runtime.Gosched() {
		if stop.Load() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// Finish, then who sleeps | say that I sleep, then what is finished. One of the
// two sees the other: nobody sleeps over a record.
func TestNobodySleepsOverARecord(t *testing.T) {
	r := newRig(t, small(Overwrite))
	var stop atomic.Bool
	var seen atomic.Uint64
	done := make(chan struct{})
	rx := r.open().NewRx(r.quiet(0x901))
	must(t, rx.Register(false))
	go func() {
		defer close(done)
		var rec Record
		for !stop.Load() {
			if f, err := rx.Next(&rec, true); f == Got {
				seen.Store(rec.Sequence + 1)
				continue
			} else if err != nil {
				t.Error(err)
			}
			bell := rx.Entry().Bell()
			was := bell.Word.Load()
			rx.Entry().Asleep(rx)
			if !rx.Ready() && !wait(bell, was, &stop) {
				t.Errorf("the reader sleeps at %d of %d", rx.Pos, r.log.end())
				stop.Store(true)
			}
			rx.Entry().Awake()
		}
	}()
	tx := r.open().NewTx(r.quiet(0x101))
	n := uint64(0)
	for end := time.Now().Add(stressTime); time.Now().Before(end) && !stop.Load(); {
		_, err := tx.Append([]byte("x"), 0, nil, new(Prefix))
		must(t, err)
		n++
		for range n % 7 * 20 {
			wake.Pause()
		}
		for n%3 == 0 && seen.Load() < n && !stop.Load() {
			runtime.Gosched()
		}
	}
	stop.Store(true)
	<-done
	t.Logf("%d records, one at a time", n)
}

// The cursor, then who waits for room | say that I wait, then the cursors.
func TestNobodySleepsOverRoom(t *testing.T) {
	r := newRig(t, small(Reject))
	var stop atomic.Bool
	done := make(chan struct{})
	g := r.gauge(0x901)
	g.rx.peers = r.quiet(0x901)
	must(t, g.rx.Register(true))
	go func() {
		defer close(done)
		for !stop.Load() {
			for range 300 {
				g.next()
			}
			runtime.Gosched()
		}
	}()
	p := r.quiet(0x101)
	tx := r.open().NewTx(p)
	place, err := r.log.NewWaiter(p)
	must(t, err)
	slept := 0
	n := uint64(1)
	for end := time.Now().Add(stressTime); time.Now().Before(end) && !stop.Load(); n++ {
		data := labelled(0x101, n, int(n*97)%3000)
		for {
			_, err := tx.Append(data, 0, nil, new(Prefix))
			if err == nil {
				break
			}
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			was := place.Bell().Word.Load()
			place.Asleep(len(data))
			slept++
			if !place.Ready() && !wait(place.Bell(), was, &stop) {
				t.Errorf("the writer sleeps at %d, the reader is at %d", r.log.end(), g.rx.Pos)
				stop.Store(true)
			}
			place.Awake()
		}
	}
	stop.Store(true)
	<-done
	t.Logf("%d records, %d sleeps", n, slept)
}
