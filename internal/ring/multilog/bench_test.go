package multilog

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
)

// benchCells is the size of a journal that nobody said anything about: 4 MiB.
const benchCells = 32768

func benchRig(b *testing.B, c Config) *rig {
	r := &rig{area: mem.Alloc(int(Size(c)))}
	if err := Format(r.area, c); err != nil {
		b.Fatal(err)
	}
	r.log, _ = Open(r.area)
	return r
}

func (r *rig) quick(me uint32) Peers {
	p := r.peers(me)
	p.Status = func(uint32) Status { return Alive }
	p.Fenced = func() bool { return false }
	return p
}

// chunked reports the median and the best twentieth of short runs, so that a
// moment without a CPU drops out.
func chunked(b *testing.B, f func()) {
	const n = 1024
	times := make([]float64, 0, 1<<16)
	for b.Loop() {
		start := time.Now()
		for range n {
			f()
		}
		times = append(times, float64(time.Since(start).Nanoseconds())/n)
	}
	slices.Sort(times)
	b.ReportMetric(times[len(times)/2], "ns/median")
	b.ReportMetric(times[len(times)/20], "ns/p5")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFloor is what any ring of this kind does for a record: a claim and
// a commit by CAS of a state word, and a header and 64 bytes between them.
func BenchmarkFloor(b *testing.B) {
	l := benchRig(b, Config{Cells: benchCells, Mode: Overwrite}).log
	data := make([]byte, 64)
	lap := func(p uint64) { // once around, all pages touched
		w := l.state(p)
		old := w.Load()
		w.CompareAndSwap(old, old+1)
		c := l.cell(p, 1)
		mem.CopyIn(c[4:], data)
		for i := range 4 {
			mem.StoreRelease(&c[i], p)
		}
		w.CompareAndSwap(old+1, old+2)
	}
	for p := range uint64(benchCells) {
		lap(p)
	}
	p := uint64(0)
	chunked(b, func() {
		lap(p)
		p++
	})
}

// BenchmarkAppend is the whole of a record of 64 bytes, the log full, in
// overwrite mode.
func BenchmarkAppend(b *testing.B) {
	for _, sum := range []bool{false, true} {
		for _, keyed := range []bool{false, true} {
			b.Run(fmt.Sprintf("checksum=%v/keyed=%v", sum, keyed), func(b *testing.B) {
				r := benchRig(b, Config{Cells: benchCells, Mode: Overwrite, Checksum: sum})
				tx := r.log.NewTx(r.quick(1))
				p, data := prefix("", ""), make([]byte, 64)
				if keyed {
					p = prefix("bench", "key")
				}
				for range 2 * benchCells {
					if _, err := tx.Append(data, 0, nil, p); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				chunked(b, func() {
					if _, err := tx.Append(data, 0, nil, p); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
	}
}

// BenchmarkWriters is the time per record where several append at once, and
// the smallest share of any, in fair shares.
func BenchmarkWriters(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := benchRig(b, Config{Cells: benchCells, Mode: Overwrite})
			p, data := prefix("", ""), make([]byte, 64)
			var stop atomic.Bool
			counts := make([]int, n)
			var retries atomic.Uint64
			var wg sync.WaitGroup
			start := time.Now()
			var total atomic.Int64
			for i := range n {
				wg.Go(func() {
					tx := r.open().NewTx(r.quick(uint32(i + 1)))
					for !stop.Load() {
						for range 256 {
							if _, err := tx.Append(data, 0, nil, p); err != nil && err != ErrLapped {
								b.Error(err)
								return
							}
						}
						counts[i] += 256
						if total.Add(256) >= int64(b.N) {
							stop.Store(true)
						}
					}
					retries.Add(tx.Retries)
				})
			}
			wg.Wait()
			d := time.Since(start)
			low, sum := counts[0], 0
			for _, c := range counts {
				low, sum = min(low, c), sum+c
			}
			b.ReportMetric(float64(d.Nanoseconds())/float64(sum), "ns/op")
			b.ReportMetric(float64(low*n)/float64(sum), "share")
			b.ReportMetric(float64(retries.Load())/float64(sum), "retries/op")
			b.ReportMetric(float64(r.log.holes.Load())/float64(sum), "holes/op")
		})
	}
}
