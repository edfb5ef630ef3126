package cells

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// BenchmarkSendAndPoll is both ends on one goroutine: instructions alone.
func BenchmarkSendAndPoll(b *testing.B) {
	for _, size := range []int{64, 4096, 1 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			r := newRig(b, ConfigFor(max(1<<20, size), 0).Cells, 0)
			x, rd := r.tx(), r.rx(ModeHold, false)
			msg := make([]byte, size)
			var rec Record
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if !x.Send(msg, false) || rd.Poll(&rec) != Got || !rd.Release(&rec) {
					b.Fatal("no message")
				}
			}
		})
	}
}

// BenchmarkStream is a writer and a broadcast reader on two goroutines, the
// reader touching every byte.
func BenchmarkStream(b *testing.B) {
	for _, size := range []int{64, 4096, 1 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			c := ConfigFor(max(1<<20, 4*size), 0)
			r := newRig(b, c.Cells, 0)
			x, rd := r.tx(), r.rx(ModeHold, false)
			msg := make([]byte, size)
			into := make([]byte, size)
			var stop atomic.Bool
			done := make(chan uint64)
			go func() {
				var rec Record
				n := uint64(0)
				for !stop.Load() || rd.Pending() {
					if rd.Poll(&rec) != Got {
						wake.Pause()
						if n++; n%1000 == 0 {
							runtime.Gosched()
						}
						continue
					}
					copy(into, rec.A)
					copy(into[len(rec.A):], rec.B)
					rd.Release(&rec)
				}
				done <- n
			}()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for n := 0; !x.Send(msg, false); n++ {
					wake.Pause()
					if n%1000 == 999 {
						runtime.Gosched()
					}
				}
			}
			stop.Store(true)
			<-done
		})
	}
}

// BenchmarkCopy is what no ring of this kind beats: two copies of the same bytes.
func BenchmarkCopy(b *testing.B) {
	a, c, d := mem.Alloc(1<<20), mem.Alloc(1<<20), mem.Alloc(1<<20)
	b.SetBytes(1 << 20)
	for b.Loop() {
		copy(c, a)
		copy(d, c)
	}
}

func sizeName(n int) string {
	return map[int]string{64: "64B", 4096: "4KiB", 1 << 20: "1MiB"}[n]
}
