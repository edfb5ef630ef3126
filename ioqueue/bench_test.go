package ioqueue_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringbus/ringbus/ioqueue"
)

// work is a device that takes d for each op, on the CPU.
func work(d time.Duration) {
	if d > 0 {
		for start := time.Now(); time.Since(start) < d; {
			continue
		}
	}
}

// device is work as a device.
func device(d time.Duration) ioqueue.Device {
	return ioqueue.DeviceFunc(func(ops []ioqueue.Request) {
		for i := range ops {
			work(d)
			ops[i].Complete(1)
		}
	})
}

func BenchmarkDoAlone(b *testing.B) {
	scopesOf(b, func(b *testing.B, q *ioqueue.Queue) {
		dev, ctx := device(0), context.Background()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := q.Do(ctx, ioqueue.Op{}, dev); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func scopesOf(b *testing.B, f func(b *testing.B, q *ioqueue.Queue)) {
	b.Run("process", func(b *testing.B) {
		q := ioqueue.New(nil)
		defer q.Close()
		f(b, q)
	})
	b.Run("segment", func(b *testing.B) {
		_, node := heapBus(b, "n")
		q, err := ioqueue.Open(node, "q", &ioqueue.Options{MaxData: 64})
		if err != nil {
			b.Fatal(err)
		}
		f(b, q)
	})
}

// asker makes one way to use a device: a function for each submitter.
type asker struct {
	name string
	make func(d time.Duration) (ask func(), end func())
}

var askers = []asker{
	{"queue", func(d time.Duration) (func(), func()) {
		q := ioqueue.New(nil)
		dev, ctx := device(d), context.Background()
		return func() { _, _ = q.Do(ctx, ioqueue.Op{}, dev) }, func() { _ = q.Close() }
	}},
	{"mutex", func(d time.Duration) (func(), func()) {
		var mu sync.Mutex
		return func() {
			mu.Lock()
			work(d)
			mu.Unlock()
		}, func() {}
	}},
	{"channel", func(d time.Duration) (func(), func()) {
		type op struct{ done chan int }
		ch := make(chan op, 64)
		go func() {
			for o := range ch {
				work(d)
				o.done <- 1
			}
		}()
		pool := sync.Pool{New: func() any { return make(chan int, 1) }}
		return func() {
			done := pool.Get().(chan int)
			ch <- op{done}
			<-done
			pool.Put(done)
		}, func() { close(ch) }
	}},
}

// BenchmarkSubmitters compares the queue with a mutex around the device and with
// a channel to one goroutine, all by the same number of submitters.
func BenchmarkSubmitters(b *testing.B) {
	for _, d := range []time.Duration{0, 10 * time.Microsecond} {
		for _, n := range []int{1, 2, 4, 8} {
			for _, a := range askers {
				b.Run(fmt.Sprintf("device %v/%d/%s", d, n, a.name), func(b *testing.B) {
					ask, end := a.make(d)
					defer end()
					var left atomic.Int64
					left.Store(int64(b.N))
					lat := make([][]time.Duration, n)
					var wg sync.WaitGroup
					b.ResetTimer()
					for k := range n {
						wg.Go(func() {
							for i := 0; left.Add(-1) >= 0; i++ {
								if i%64 != 0 {
									ask()
									continue
								}
								start := time.Now()
								ask()
								lat[k] = append(lat[k], time.Since(start))
							}
						})
					}
					wg.Wait()
					b.StopTimer()
					all := slices.Concat(lat...)
					slices.Sort(all)
					b.ReportMetric(float64(all[len(all)*999/1000].Nanoseconds()), "p99.9-ns")
					runtime.GC()
				})
			}
		}
	}
}
