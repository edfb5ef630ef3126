//go:build !race && !invariants

package ioqueue_test

import (
	"context"
	"testing"

	"github.com/ringbus/ringbus/ioqueue"
)

// An op costs no allocation: alone, through a node, and in batches.
func TestNoAllocations(t *testing.T) {
	scopes(t, ioqueue.Options{Depth: 16, MaxData: 64}, func(t *testing.T, open func() *ioqueue.Queue) {
		q, ctx := open(), context.Background()
		data, into := make([]byte, 8), make([]byte, 8)
		check := func(what string, f func() error) {
			t.Helper()
			if n := testing.AllocsPerRun(200, func() {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s: %v allocations", what, n)
			}
		}
		check("an op alone", func() error {
			_, err := q.Do(ctx, ioqueue.Op{Data: data, Into: into, Offset: 8}, echo)
			return err
		})
		check("two ops", func() error {
			tk, err := q.Submit(ctx, ioqueue.Op{Data: data, Into: into, Offset: 8})
			if err != nil {
				return err
			}
			if _, err = q.Do(ctx, ioqueue.Op{Offset: 1}, echo); err == nil {
				_, err = tk.Wait(ctx)
			}
			return err
		})
		ops := make([]ioqueue.Op, 8)
		var tickets []ioqueue.Ticket
		check("a batch", func() (err error) {
			if tickets, err = q.SubmitBatch(ctx, ops, tickets[:0]); err != nil {
				return err
			}
			if _, err = q.Do(ctx, ioqueue.Op{}, echo); err != nil {
				return err
			}
			for _, tk := range tickets {
				if _, err = tk.Wait(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
