package ioqueue_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/ioqueue"
)

func alloc(n int) []byte { return mem.Alloc(n) }

// scopes runs a test over a queue within one process and over one in a segment;
// open gives another end of the queue.
func scopes(t *testing.T, o ioqueue.Options, f func(t *testing.T, open func() *ioqueue.Queue)) {
	t.Run("within one process", func(t *testing.T) {
		q := ioqueue.New(&o)
		t.Cleanup(func() { _ = q.Close() })
		f(t, func() *ioqueue.Queue { return q })
	})
	t.Run("in a segment", func(t *testing.T) {
		seg, node := heapBus(t, "first")
		f(t, func() *ioqueue.Queue {
			q, err := ioqueue.Open(node, "q", &o)
			if err != nil {
				t.Fatal(err)
			}
			node = join(t, seg, "next")
			return q
		})
	})
}

// echo answers each op with its offset, and its data backwards.
var echo = ioqueue.DeviceFunc(func(ops []ioqueue.Request) {
	for i := range ops {
		n := copy(ops[i].Into, ops[i].Data)
		slices.Reverse(ops[i].Into[:n])
		ops[i].Complete(int32(ops[i].Offset))
	}
})

func TestOneOp(t *testing.T) {
	scopes(t, ioqueue.Options{Depth: 4, MaxData: 16}, func(t *testing.T, open func() *ioqueue.Queue) {
		q := open()
		into := make([]byte, 5)
		n, err := q.Do(soon(t), ioqueue.Op{Offset: 5, Data: []byte("hello"), Into: into}, echo)
		if n != 5 || err != nil || string(into) != "olleh" {
			t.Errorf("%d, %v, %q", n, err, into)
		}
		_, err = q.Do(soon(t), ioqueue.Op{Offset: -int64(syscall.ENOSPC)}, echo)
		var dev *ioqueue.DeviceError
		if !errors.As(err, &dev) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
	})
}

// Many goroutines of several ends do ops, by a device that one uses at a time.
func TestManyDo(t *testing.T) {
	for _, wait := range []ringbus.Wait{{}, asleep} {
		scopes(t, ioqueue.Options{Depth: 5, MaxData: 16, Quota: 3, Batch: 2, Wait: wait}, func(t *testing.T, open func() *ioqueue.Queue) {
			var inside atomic.Int32
			total := int32(0)
			dev := ioqueue.DeviceFunc(func(ops []ioqueue.Request) {
				if inside.Add(1) != 1 {
					t.Error("two executors at once")
				}
				for i := range ops {
					total++
					copy(ops[i].Into, ops[i].Data)
				}
				inside.Add(-1)
				for i := range ops {
					ops[i].Complete(int32(len(ops[i].Into)))
				}
			})
			const ends, each, times = 3, 3, 300
			ctx := soon(t)
			var wg sync.WaitGroup
			for range ends {
				q := open()
				for g := range each {
					wg.Go(func() {
						data, into := make([]byte, 8), make([]byte, 8)
						for n := range times {
							for i := range data {
								data[i] = byte(n + g)
							}
							if got, err := q.Do(ctx, ioqueue.Op{Data: data, Into: into}, dev); got != 8 || err != nil || !bytes.Equal(data, into) {
								t.Errorf("%d, %v", got, err)
								return
							}
						}
					})
				}
			}
			wg.Wait()
			if total != ends*each*times {
				t.Errorf("%d ops", total)
			}
		})
	}
}

// Submitters without a device, and an executor that serves; ops are completed
// in any order, and tickets waited for in any.
func TestSubmitAndOps(t *testing.T) {
	scopes(t, ioqueue.Options{Depth: 8, MaxData: 16, Wait: asleep}, func(t *testing.T, open func() *ioqueue.Queue) {
		ctx, cancel := context.WithCancel(soon(t))
		worker := open()
		var served sync.WaitGroup
		served.Go(func() {
			var held []*ioqueue.Request
			for op, err := range worker.Ops(ctx) {
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				if held = append(held, op); len(held) == 3 || op.Offset%100 == 99 {
					for _, op := range slices.Backward(held) {
						go op.Complete(int32(op.Offset))
					}
					held = nil
				}
			}
		})
		var wg sync.WaitGroup
		for range 2 {
			q := open()
			wg.Go(func() {
				var tickets []ioqueue.Ticket
				var ops []ioqueue.Op
				for n := range 3 {
					ops = append(ops, ioqueue.Op{Offset: int64(n*33 + 33)})
				}
				for range 100 {
					var err error
					if tickets, err = q.SubmitBatch(ctx, ops, tickets[:0]); err != nil {
						t.Error(err)
						return
					}
					for i, tk := range slices.Backward(tickets) {
						if n, err := tk.Wait(ctx); n != i*33+33 || err != nil {
							t.Errorf("op %d: %d, %v", i, n, err)
							return
						}
						if _, err := tk.Wait(ctx); !errors.Is(err, ioqueue.ErrNoTicket) {
							t.Errorf("waited twice: %v", err)
						}
					}
				}
			})
		}
		wg.Wait()
		cancel()
		served.Wait()
	})
}

// What the body of a range, or a device, leaves is interrupted, and the queue
// goes on.
func TestExecutorGivesUp(t *testing.T) {
	scopes(t, ioqueue.Options{Depth: 8, MaxData: 16}, func(t *testing.T, open func() *ioqueue.Queue) {
		ctx := soon(t)
		q, w := open(), open()
		var tickets []ioqueue.Ticket
		for n := range 3 {
			tk, err := q.Submit(ctx, ioqueue.Op{Offset: int64(n)})
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, tk)
		}
		for op, err := range w.Ops(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if op.Offset == 1 {
				break
			}
			op.Complete(7)
		}
		if n, err := tickets[0].Wait(ctx); n != 7 || err != nil {
			t.Error(n, err)
		}
		if _, err := tickets[1].Wait(ctx); !errors.Is(err, ioqueue.ErrInterrupted) {
			t.Error(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _ = w.Do(ctx, ioqueue.Op{Offset: 3}, ioqueue.DeviceFunc(func(ops []ioqueue.Request) {
				if len(ops) != 2 {
					t.Errorf("%d ops", len(ops))
				}
				ops[0].Complete(9)
				panic("as told")
			}))
		}()
		if n, err := tickets[2].Wait(ctx); n != 9 || err != nil {
			t.Error(n, err)
		}
		if n, err := w.Do(ctx, ioqueue.Op{Offset: 4}, echo); n != 4 || err != nil {
			t.Error(n, err)
		}
	})
}

func TestFullAndCancelled(t *testing.T) {
	scopes(t, ioqueue.Options{Depth: 2, MaxData: 16, Reject: true}, func(t *testing.T, open func() *ioqueue.Queue) {
		ctx := soon(t)
		q := open()
		a, err := q.Submit(ctx, ioqueue.Op{Offset: 1})
		if err != nil {
			t.Fatal(err)
		}
		b, err := q.Submit(ctx, ioqueue.Op{Offset: 2})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Submit(ctx, ioqueue.Op{}); !errors.Is(err, ioqueue.ErrFull) {
			t.Errorf("third: %v", err)
		}
		short, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := a.Wait(short); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if !a.Cancel() || a.Cancel() {
			t.Error("not cancelled once")
		}
		b.Forget()
		if _, err := b.Wait(ctx); !errors.Is(err, ioqueue.ErrNoTicket) {
			t.Error(err)
		}
		w := open()
		got := 0
		serve, end := context.WithCancel(ctx)
		err = w.Serve(serve, ioqueue.DeviceFunc(func(ops []ioqueue.Request) {
			for i := range ops {
				if got++; ops[i].Offset != 2 {
					t.Errorf("op %d is carried out", ops[i].Offset)
				}
				ops[i].Complete(0)
			}
			end()
		}))
		if !errors.Is(err, context.Canceled) || got != 1 {
			t.Errorf("%v, %d ops", err, got)
		}
		for range 3 { // both places can be had again
			if n, err := q.Do(ctx, ioqueue.Op{Offset: 3}, echo); n != 3 || err != nil {
				t.Error(n, err)
			}
		}
	})
}

// A full queue is waited for, and the wait ends with the context and the queue.
func TestWaitsEnd(t *testing.T) {
	scopes(t, ioqueue.Options{Depth: 1, MaxData: 16, Wait: asleep}, func(t *testing.T, open func() *ioqueue.Queue) {
		q := open()
		tk, err := q.Submit(soon(t), ioqueue.Op{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(soon(t))
		errs := make(chan error, 3)
		go func() { _, err := q.Submit(ctx, ioqueue.Op{}); errs <- err }()
		go func() { _, err := tk.Wait(ctx); errs <- err }()
		cancel()
		for range 2 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		go func() { _, err := q.Submit(soon(t), ioqueue.Op{}); errs <- err }()
		go func() { _, err := tk.Wait(soon(t)); errs <- err }()
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, ioqueue.ErrClosed) {
				t.Error(err)
			}
		}
		if _, err := q.Submit(soon(t), ioqueue.Op{}); !errors.Is(err, ioqueue.ErrClosed) {
			t.Error(err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestTwoThatServe(t *testing.T) {
	scopes(t, ioqueue.Options{Depth: 4, MaxData: 16, Wait: asleep}, func(t *testing.T, open func() *ioqueue.Queue) {
		ctx := soon(t)
		var wg sync.WaitGroup
		var ends [2]context.CancelFunc
		var by [2]atomic.Int32
		for k := range 2 {
			w := open()
			serve, cancel := context.WithCancel(ctx)
			ends[k] = cancel
			wg.Go(func() {
				_ = w.Serve(serve, ioqueue.DeviceFunc(func(ops []ioqueue.Request) {
					by[k].Add(int32(len(ops)))
					echo(ops)
				}))
			})
			if n, err := w.Do(ctx, ioqueue.Op{Offset: 3}, echo); n != 3 || err != nil {
				t.Error(n, err)
			}
		}
		q := open()
		for range 2 {
			for range 50 {
				tk, err := q.Submit(ctx, ioqueue.Op{Offset: 1})
				if err != nil {
					t.Fatal(err)
				}
				if n, err := tk.Wait(ctx); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
			for k := range 2 { // the one that serves ends, then the other one
				if by[k].Load() > 0 {
					ends[k]()
				}
			}
		}
		wg.Wait()
		if by[0].Load() == 0 || by[1].Load() == 0 {
			t.Errorf("%d and %d", by[0].Load(), by[1].Load())
		}
	})
}

func TestOpenSaysWhatDoesNotFit(t *testing.T) {
	_, node := heapBus(t, "n")
	q, err := ioqueue.Open(node, "q", &ioqueue.Options{Depth: 8, MaxData: 100})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Do(soon(t), ioqueue.Op{Data: make([]byte, 60), Into: make([]byte, 60)}, echo); !errors.As(err, new(*ioqueue.SizeError)) {
		t.Error(err)
	}
	var m *ioqueue.MismatchError
	if _, err := ioqueue.Open(node, "q", &ioqueue.Options{Depth: 16}); !errors.As(err, &m) || m.Field != "depth" || m.Have != 8 {
		t.Error(err)
	}
	again, err := ioqueue.Open(node, "q", nil)
	if err != nil || again.Depth() != 8 || again.MaxData() != 100 {
		t.Fatal(err)
	}
	for _, o := range []ioqueue.Options{{Depth: -1}, {Depth: 1 << 20}, {MaxData: 1 << 30}, {Quota: -1}, {Batch: -1}} {
		if _, err := ioqueue.Open(node, "r", &o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if err := ioqueue.Remove(node, "q"); err == nil {
		t.Error("removed while it is open")
	}
	if err := errors.Join(q.Close(), again.Close()); err != nil {
		t.Error(err)
	}
	if err := ioqueue.Remove(node, "q"); err != nil {
		t.Error(err)
	}
}
