package ringbus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ringbustest"
)

// attached is a node whose Close may fail.
func attached(t *testing.T, bus *ringbustest.Bus, name string) *ringbus.Node {
	n, err := ringbus.Attach(bus.Node(name+"-host").Segment(), &ringbus.Options{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// Close does not wait for what somebody holds; it says so, and nothing that is
// done with it later harms anybody.
func TestCloseOfAClientWithCallsHeld(t *testing.T) {
	bus := ringbustest.New(t)
	s := service(t, bus.Node("server"), "up", &ringbus.ServiceOptions{Depth: 4})
	go func() { _ = serveUpper(soon(t), s) }()
	n := attached(t, bus, "client")
	for _, whole := range []bool{false, true} {
		c := client(t, n, "up", nil)
		written, err := c.Begin(soon(t), 1)
		if err != nil {
			t.Fatal(err)
		}
		answered, err := c.Begin(soon(t), 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := answered.Send(); err != nil {
			t.Fatal(err)
		}
		b, err := answered.Wait(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		end := c.Close
		if whole {
			end = n.Close
		}
		var held *ringbus.HeldError
		if err := end(); !errors.As(err, &held) || held.N != 2 || held.What != "calls" {
			t.Errorf("close: %v", err)
		}
		if !whole { // late, into memory that nobody has any more
			written.Data()[0], b[0] = 'x', 'x'
		}
		if err := written.Send(); !errors.Is(err, ringbus.ErrClosed) {
			t.Errorf("Send: %v", err)
		}
		if _, err := answered.Wait(soon(t)); !errors.Is(err, ringbus.ErrClosed) {
			t.Errorf("Wait: %v", err)
		}
		written.Release()
		answered.Release()
		other := client(t, bus.Node("other"), "up", nil)
		if got, err := ask(soon(t), other, "hello"); got != "HELLO" || err != nil {
			t.Error(got, err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCloseOfAServerWithRequestsOut(t *testing.T) {
	bus := ringbustest.New(t)
	c := client(t, bus.Node("client"), "up", nil)
	for _, whole := range []bool{false, true} {
		n := attached(t, bus, "server")
		s := service(t, n, "up", nil)
		got := make(chan error, 1)
		go func() {
			_, err := ask(soon(t), c, "hello")
			got <- err
		}()
		for r, err := range s.Requests(soon(t)) {
			if err != nil {
				t.Fatal(err)
			}
			end := s.Close
			if whole {
				end = n.Close
			}
			var held *ringbus.HeldError
			if err := end(); !errors.As(err, &held) || held.N != 1 || held.What != "requests" {
				t.Errorf("close: %v", err)
			}
			if !whole {
				r.Room()[0] = 'x' // late, into memory that nobody has any more
			}
			if err := <-got; !errors.Is(err, ringbus.ErrPeerDied) {
				t.Errorf("the client: %v", err)
			}
			for _, err := range []error{r.Reply(nil), r.Return(0), r.Fail(errors.New("x"))} {
				if !errors.Is(err, ringbus.ErrClosed) {
					t.Errorf("an answer: %v", err)
				}
			}
			break
		}
		other := service(t, bus.Node("other"), "up", nil)
		go func() { _ = serveUpper(soon(t), other) }()
		if got, err := ask(soon(t), c, "hello"); got != "HELLO" || err != nil {
			t.Error(got, err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Who waits because all servers are busy hears of a new one, asleep or not, and
// whoever sleeps for it.
func TestWhoWaitsForAPlaceHearsOfANewServer(t *testing.T) {
	for _, wait := range []ringbus.Wait{{}, asleep} {
		for round := range 20 { // in most of them who waits does so by then
			other := round%2 == 1
			bus := ringbustest.New(t)
			o := &ringbus.ServiceOptions{Wait: wait, Depth: 1}
			busy := service(t, bus.Node("busy"), "up", o)
			c := client(t, bus.Node("client"), "up", o)
			p, err := c.Begin(soon(t), 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Send(); err != nil {
				t.Fatal(err)
			}
			first := make(chan error, 1)
			if other { // sleeps for all
				go func() {
					_, err := p.Wait(soon(t))
					first <- err
				}()
				time.Sleep(time.Millisecond)
			}
			second := make(chan error, 1)
			go func() {
				_, err := ask(soon(t), c, "hello")
				second <- err
			}()
			time.Sleep(time.Millisecond)
			quick := service(t, bus.Node("quick"), "up", o)
			go func() { _ = serveUpper(soon(t), quick) }()
			if err := <-second; err != nil {
				t.Fatal(err)
			}
			if err := busy.Close(); err != nil {
				t.Error(err)
			}
			if other {
				if err := <-first; !errors.Is(err, ringbus.ErrPeerDied) {
					t.Error(err)
				}
			}
			p.Release()
			if err := errors.Join(c.Close(), quick.Close()); err != nil {
				t.Error(err)
			}
		}
	}
}
