package ringbus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ringbustest"
)

func TestCallsWithoutACopyAndManyAtOnce(t *testing.T) {
	bus := ringbustest.New(t)
	s := service(t, bus.Node("server"), "sum", nil)
	go func() {
		for r, err := range s.Requests(soon(t)) {
			if err != nil {
				return
			}
			n := uint64(0)
			for _, b := range r.Data() {
				n += uint64(b)
			}
			binary.LittleEndian.PutUint64(r.Room(), n)
			_ = r.Return(8)
		}
	}()
	c := client(t, bus.Node("client"), "sum", nil)
	ctx := soon(t)
	for range 20 {
		open := make([]*ringbus.Call, 128)
		for i := range open {
			p, err := c.Begin(ctx, 10)
			if err != nil {
				t.Fatal(err)
			}
			for k := range p.Data() {
				p.Data()[k] = byte(i)
			}
			if err := p.Send(); err != nil {
				t.Fatal(err)
			}
			open[i] = p
		}
		late, cancel := context.WithTimeout(ctx, time.Millisecond)
		if _, err := c.Begin(late, 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the 129th call: %v", err)
		}
		cancel()
		for i, p := range open {
			if i%10 == 3 {
				p.Release() // nobody wants to know
				continue
			}
			b, err := p.Wait(ctx)
			if err != nil || len(b) != 8 || binary.LittleEndian.Uint64(b) != uint64(10*i) {
				t.Fatalf("call %d: %v, %v", i, b, err)
			}
			p.Release()
		}
	}
}

// Who sleeps for all hears of a reply on a link that was made after it fell
// asleep.
func TestASleeperHearsOfLaterServers(t *testing.T) {
	bus := ringbustest.New(t)
	o := &ringbus.ServiceOptions{Wait: asleep}
	slow := service(t, bus.Node("slow"), "up", o)
	c := client(t, bus.Node("client"), "up", o)
	first := make(chan error, 1)
	go func() {
		_, err := ask(soon(t), c, "first")
		first <- err
	}()
	for r, err := range slow.Requests(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		quick := service(t, bus.Node("quick"), "up", o)
		go func() { _ = serveUpper(soon(t), quick) }()
		for range 20 {
			if got, err := ask(soon(t), c, "second"); got != "SECOND" || err != nil {
				t.Fatal(got, err)
			}
		}
		if err := r.Return(0); err != nil {
			t.Fatal(err)
		}
		break
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// Who waits for a place, asleep for all, hears of one that is given back.
func TestASleeperHearsOfAFreePlace(t *testing.T) {
	bus := ringbustest.New(t)
	o := &ringbus.ServiceOptions{Wait: asleep, Depth: 1}
	s := service(t, bus.Node("server"), "up", o)
	go func() { _ = serveUpper(soon(t), s) }()
	c := client(t, bus.Node("client"), "up", o)
	for range 20 {
		p, err := c.Begin(soon(t), 1)
		if err != nil {
			t.Fatal(err)
		}
		begun := make(chan struct{})
		second := make(chan error, 1)
		go func() {
			close(begun)
			_, err := ask(soon(t), c, "second")
			second <- err
		}()
		<-begun
		time.AfterFunc(time.Millisecond, p.Release) // it sleeps by then, most likely
		if err := <-second; err != nil {
			t.Fatal(err)
		}
	}
}

func TestMisuseOfCalls(t *testing.T) {
	bus := ringbustest.New(t)
	s := service(t, bus.Node("server"), "up", nil)
	n := bus.Node("client")
	c := client(t, n, "up", nil)
	panics := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s does not panic", what)
			}
		}()
		f()
	}
	p, err := c.Begin(soon(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	panics("Wait before Send", func() { _, _ = p.Wait(soon(t)) })
	if err := p.Send(); err != nil {
		t.Fatal(err)
	}
	for r, err := range s.Requests(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		panics("Return of more than there is room for", func() { _ = r.Return(len(r.Room()) + 1) })
		panics("a second loop", func() {
			for range s.Requests(soon(t)) {
				break
			}
		})
		if err := r.Return(0); err != nil {
			t.Fatal(err)
		}
		panics("Data of an answered request", func() { r.Data() })
		panics("a second answer", func() { _ = r.Reply(nil) })
		break
	}
	p.Release()
	panics("Release twice", p.Release)
	var mismatch *ringbus.ServiceMismatchError
	if _, err := n.Client("up", &ringbus.ServiceOptions{Depth: 7}); !errors.As(err, &mismatch) || mismatch.Field != "depth" {
		t.Error(err)
	}
	if _, err := n.Service("up", &ringbus.ServiceOptions{MaxReply: 7}); !errors.As(err, &mismatch) || mismatch.Field != "max-reply" {
		t.Error(err)
	}
	for _, o := range []ringbus.ServiceOptions{{Depth: -1}, {MaxReply: -1}, {MaxRequest: 1 << 30}, {Depth: 1 << 15}} {
		if _, err := n.Client("new", &o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	if _, err := n.Service("no name", nil); err == nil {
		t.Error("a name with a blank")
	}
}

// Close ends calls that wait, for a reply or for a place, and waits for nobody
// else.
func TestCloseOfAClientEndsItsCalls(t *testing.T) {
	bus := ringbustest.New(t)
	service(t, bus.Node("server"), "slow", &ringbus.ServiceOptions{Depth: 2})
	for _, whole := range []bool{false, true} {
		n := bus.Node("client")
		c := client(t, n, "slow", nil)
		var callers sync.WaitGroup
		begun := make(chan struct{}, 5)
		for range 5 {
			callers.Go(func() {
				begun <- struct{}{}
				if _, err := ask(soon(t), c, "hello"); !errors.Is(err, ringbus.ErrClosed) {
					t.Error(err)
				}
			})
		}
		for range 5 {
			<-begun
		}
		if whole {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		} else if err := c.Close(); err != nil {
			t.Error(err)
		}
		callers.Wait()
		if err := c.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
	}
}

func TestNoAllocationsPerCall(t *testing.T) {
	bus := ringbustest.New(t)
	for _, wait := range []ringbus.Wait{{}, asleep} {
		s := service(t, bus.Node("server"), "echo", &ringbus.ServiceOptions{Wait: wait})
		done := make(chan error, 1)
		go func() {
			for r, err := range s.Requests(context.Background()) {
				if err != nil {
					done <- err
					return
				}
				_ = r.Return(copy(r.Room(), r.Data()))
			}
		}()
		c := client(t, bus.Node("client"), "echo", &ringbus.ServiceOptions{Wait: wait})
		in, out := make([]byte, 64), make([]byte, 64)
		ctx := context.Background()
		n := testing.AllocsPerRun(500, func() {
			if _, err := c.Call(ctx, in, out); err != nil {
				t.Error(err)
			}
		})
		if n > 0 {
			t.Errorf("%+v: %v allocations per call", wait, n)
		}
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ringbus.ErrClosed) {
			t.Error(err)
		}
	}
}
