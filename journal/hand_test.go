package journal_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/ringbustest"
)

// Every call that Close found inside has made its record before Close returns,
// and no call makes one after that.
func TestCloseWaitsForEveryCallInside(t *testing.T) {
	for range 8 {
		node := ringbustest.New(t).Node("app")
		w := open(t, node, "log", nil)
		r := reader(t, node, "log", nil)
		var acked atomic.Int64
		var wg, started sync.WaitGroup
		for i := range 8 {
			started.Add(1)
			wg.Go(func() {
				o := &journal.RecordOptions{Key: string(rune('a' + i))}
				for n := 0; ; n++ {
					if n == 10 {
						started.Done()
					}
					_, err := w.Append(context.Background(), []byte("x"), o)
					if errors.Is(err, journal.ErrClosed) && n >= 10 {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					acked.Add(1)
				}
			})
		}
		started.Wait()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if open, err := r.Unfinished(); len(open) != 0 || err != nil {
			t.Fatalf("after Close: %v, %v", open, err)
		}
		end := r.End()
		wg.Wait()
		if n := r.End(); n != end {
			t.Fatalf("at Close the journal ended at %d, then at %d", end, n)
		}
		var seen uint64
		for rec, err := range r.Records() {
			if err != nil {
				t.Fatal(err)
			}
			seen = rec.Sequence + 1
		}
		if seen != uint64(acked.Load()) {
			t.Fatalf("%d records of %d", seen, acked.Load())
		}
	}
}
