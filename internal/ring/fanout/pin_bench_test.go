package fanout

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// BenchmarkPin compares the two ways in which a latest subscriber can pin a
// message that it is about to read, as docs/adr/0002 tells: a bit of its own in
// a word of each descriptor, which the publisher looks at when it unlinks that
// descriptor; or a word of its own that names the descriptor, all of which the
// publisher looks at once per spare batch. One message goes one way and an
// acknowledgement back, between two CPUs; ns/one-way is half the round trip, the
// median over batches of a thousand.
//
//	go test -run - -bench Pin -count 10 ./internal/ring/fanout
func BenchmarkPin(b *testing.B) {
	for _, subs := range []int{1, 16} {
		b.Run(fmt.Sprintf("none/slots=%d", subs), func(b *testing.B) { pinPong(b, subs, 'n') })
		b.Run(fmt.Sprintf("bits/slots=%d", subs), func(b *testing.B) { pinPong(b, subs, 'b') })
		b.Run(fmt.Sprintf("words/slots=%d", subs), func(b *testing.B) { pinPong(b, subs, 'w') })
	}
}

const pinDepth, pinSpare, pinBatch = 64, 16, 1000

func pinPong(b *testing.B, subs int, way byte) {
	if runtime.NumCPU() < 2 {
		b.Fatal("a ping-pong needs two CPUs")
	}
	words := mem.U64s(mem.Alloc(1<<20), 0, 1<<17)
	line := func(i int) *atomic.Uint64 { return &words[i*mem.Line/8] }
	entry := func(p uint64) *atomic.Uint64 { return line(1000 + 2*int(p%pinDepth)) }
	bits := func(d uint64) *atomic.Uint64 { return line(4000 + int(d)) }
	hold := func(s int) *atomic.Uint64 { return line(6000 + s) }
	back := line(0)
	n := uint64(b.N)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer pinned(b, 1)()
		for p := uint64(1); p <= n; p++ {
			e := entry(p)
			for e.Load() != p {
			}
			switch d := p % (pinDepth + pinSpare); way {
			case 'b':
				bits(d).Or(1)
				if e.Load() != p {
					b.Error("lapped")
				}
				bits(d).And(^uint64(1))
			case 'w':
				old := hold(0).Load()
				hold(0).CompareAndSwap(old, 1<<32|d)
				if e.Load() != p {
					b.Error("lapped")
				}
			}
			back.Store(p)
		}
	}()
	defer pinned(b, 0)()
	b.ResetTimer()
	var held uint64
	var batches []time.Duration
	start := time.Now()
	for p := uint64(1); p <= n; p++ {
		if p%pinBatch == 0 {
			batches = append(batches, time.Since(start))
			start = time.Now()
		}
		entry(p).Store(p)
		switch {
		case way == 'b':
			held += bits((p + pinSpare) % (pinDepth + pinSpare)).Load()
		case way == 'w' && p%pinSpare == 0:
			for s := range subs {
				held += hold(s).Load()
			}
		}
		for back.Load() != p {
		}
	}
	b.StopTimer()
	<-done
	if len(batches) > 0 { // else this is only the harness feeling its way
		slices.Sort(batches)
		b.ReportMetric(float64(batches[len(batches)/2].Nanoseconds())/(2*pinBatch), "ns/one-way")
	}
	runtime.KeepAlive(held)
}

func pinned(b *testing.B, cpu int) func() {
	runtime.LockOSThread()
	restore, err := sys.SetAffinity(cpu)
	if err != nil {
		b.Error(err)
		return runtime.UnlockOSThread
	}
	return func() {
		if err := restore(); err != nil {
			b.Error(err)
		}
		runtime.UnlockOSThread()
	}
}
