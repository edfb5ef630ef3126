package virtq

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// bell is what a transport has for notifications: an eventfd.
type bell chan struct{}

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// Both sides at once, each sleeping whenever it may. The buffers are plain
// memory that is written by one side and read by the other: under the race
// detector the ring alone orders that. A lost wake-up never ends.
func TestTwoGoroutines(t *testing.T) {
	chains := uint64(20_000)
	if invariant.Enabled || testing.Short() {
		chains = 2_000
	}
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, 16, v)
		kick, call := make(bell, 1), make(bell, 1)
		stop := make(chan struct{})
		served := make(chan error, 1)
		go func() { served <- serveLive(r.dev, kick, call, stop) }()
		rng := rand.New(rand.NewPCG(shmtest.Seed(), 0))
		us := make([]Used, 16)
		for next, done := uint64(0), uint64(0); done < chains; {
			before := next + done
			for range 1 + rng.IntN(12) {
				at := r.data + next%32*16
				if next == chains || r.drv.Add([]Buffer{{at, 8}}, []Buffer{{at + 8, 8}}, next) != nil {
					break
				}
				r.put64(at, next)
				next++
			}
			if notify, err := r.drv.Kick(); err != nil {
				t.Fatal(err)
			} else if notify {
				kick.ring()
			}
			n, err := r.drv.ReapMany(us)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range us[:n] {
				if got := binary.LittleEndian.Uint64(r.at(r.data+u.Token%32*16+8, 8)); got != u.Token+1 || u.Len != 8 {
					t.Fatalf("chain %d: reply %d, %d bytes", u.Token, got, u.Len)
				}
			}
			done += uint64(n)
			if next+done == before && !r.drv.EnableCall() {
				<-call
				r.drv.DisableCall()
			}
		}
		close(stop)
		if err := <-served; err != nil {
			t.Fatal(err)
		}
	})
}

func serveLive(dev *Device, kick, call bell, stop chan struct{}) error {
	cs := make([]Chain, 8)
	rng := rand.New(rand.NewPCG(shmtest.Seed(), 0))
	for {
		n, err := dev.PopMany(cs[:1+rng.IntN(8)])
		if err != nil {
			return err
		}
		for _, i := range rng.Perm(n) {
			v := binary.LittleEndian.Uint64(cs[i].Readable[0])
			binary.LittleEndian.PutUint64(cs[i].Writable[0], v+1)
			if err := dev.Push(&cs[i], 8); err != nil {
				return err
			}
		}
		if notify, err := dev.Call(); err != nil {
			return err
		} else if notify {
			call.ring()
		}
		if n == 0 && !dev.EnableKick() {
			select {
			case <-kick:
				dev.DisableKick()
			case <-stop:
				return nil
			}
		}
	}
}

// Once the slices have grown, nothing is allocated.
func TestNoAllocations(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, 64, v)
		readable, writable := r.buffers(0, 2, 8), r.buffers(2, 2, 8)
		cs := make([]Chain, 8)
		us := make([]Used, 8)
		round := func() {
			for i := range uint64(8) {
				if r.drv.Add(readable, writable, i) != nil {
					t.Fatal("full")
				}
			}
			_, _ = r.drv.Kick()
			n, _ := r.dev.PopMany(cs)
			for i := range n {
				_ = r.dev.Push(&cs[i], 16)
			}
			_, _ = r.dev.Call()
			if k, err := r.drv.ReapMany(us); k != 8 || err != nil {
				t.Fatal(k, err)
			}
			r.drv.EnableCall()
			r.dev.EnableKick()
		}
		if n := testing.AllocsPerRun(100, round); n > 0 {
			t.Errorf("%v allocations in a round of 8 chains", n)
		}
	})
}

// One goroutine plays both sides, so this is what the instructions cost, not
// the lines that move.
func BenchmarkChain(b *testing.B) {
	for _, batch := range []int{1, 32} {
		for _, v := range []variant{{"split", EventIdx, 0}, {"packed", EventIdx | RingPacked, 0}} {
			b.Run(v.name+map[int]string{1: "", 32: "/batch"}[batch], func(b *testing.B) {
				r := newRig(b, 256, v)
				readable, writable := r.buffers(0, 1, 64), r.buffers(1, 1, 64)
				cs := make([]Chain, batch)
				us := make([]Used, batch)
				b.ReportAllocs()
				for b.Loop() {
					for i := range batch {
						if err := r.drv.Add(readable, writable, uint64(i)); err != nil {
							b.Fatal(err)
						}
					}
					_, _ = r.drv.Kick()
					n, _ := r.dev.PopMany(cs)
					for i := range n {
						_ = r.dev.Push(&cs[i], 64)
					}
					_, _ = r.dev.Call()
					if k, _ := r.drv.ReapMany(us); k != batch {
						b.Fatal(k)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/chain")
			})
		}
	}
}
