package ioqueue_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/ioqueue"
	"github.com/ringbus/ringbus/segment"
)

// An executor of another kernel that is silent is not succeeded before there is
// evidence; who waits is told. Once it is evicted, its op is interrupted, even if
// it may be repeated: it may still be at the device.
func TestSilentExecutorOfAnotherKernel(t *testing.T) {
	mem := alloc(8 << 20)
	attach := func(kernel uint64, name string) *ringbus.Node {
		t.Helper()
		seg, err := segment.FromBytes(mem, &segment.Options{Kernel: kernel, SuspectAfter: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(n.Close(), seg.Close()); err != nil && !errors.Is(err, ringbus.ErrFenced) {
				t.Error(err)
			}
		})
		return n
	}
	here, guest := attach(1, "here"), attach(2, "guest")
	o := &ioqueue.Options{Depth: 4, MaxData: 64, Wait: asleep}
	q, err := ioqueue.Open(here, "q", o)
	if err != nil {
		t.Fatal(err)
	}
	away, err := ioqueue.Open(guest, "q", o)
	if err != nil {
		t.Fatal(err)
	}
	ctx := soon(t)
	tk, err := q.Submit(ctx, ioqueue.Op{Offset: 1, Repeatable: true})
	if err != nil {
		t.Fatal(err)
	}
	reached, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := away.Do(ctx, ioqueue.Op{Offset: 2}, ioqueue.DeviceFunc(func(ops []ioqueue.Request) {
			close(reached)
			<-goOn
			echo(ops)
		}))
		if !errors.Is(err, ioqueue.ErrFenced) {
			t.Errorf("the evicted one: %v", err)
		}
	})
	<-reached
	// A heart beats each 250 ms: between two beats the guest is silent for too long.
	if _, err := tk.Wait(ctx); !errors.Is(err, ioqueue.ErrSuspect) {
		t.Errorf("over a silent executor: %v", err)
	}
	if err := host.Of(here).Node.Evict(host.Of(guest).Node.Owner().Slot()); err != nil {
		t.Fatal(err)
	}
	if _, err := tk.Wait(ctx); !errors.Is(err, ioqueue.ErrInterrupted) {
		t.Errorf("after it was evicted: %v", err)
	}
	if n, err := q.Do(ctx, ioqueue.Op{Offset: 3}, echo); n != 3 || err != nil {
		t.Errorf("a new op: %d, %v", n, err)
	}
	close(goOn) // it goes on, and does no harm
	wg.Wait()
	for range 8 {
		if n, err := q.Do(ctx, ioqueue.Op{Offset: 3}, echo); n != 3 || err != nil {
			t.Errorf("a new op: %d, %v", n, err)
		}
	}
}
