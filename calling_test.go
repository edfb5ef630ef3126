package ringbus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ringbustest"
)

// serveUpper answers every request of a service in upper case until the service
// is closed.
func serveUpper(ctx context.Context, s *ringbus.Service) error {
	for r, err := range s.Requests(ctx) {
		if errors.Is(err, ringbus.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.Return(copy(r.Room(), bytes.ToUpper(r.Data()))); err != nil {
			return err
		}
	}
	return nil
}

func service(t *testing.T, n *ringbus.Node, name string, o *ringbus.ServiceOptions) *ringbus.Service {
	t.Helper()
	s, err := n.Service(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func client(t *testing.T, n *ringbus.Node, name string, o *ringbus.ServiceOptions) *ringbus.Client {
	t.Helper()
	c, err := n.Client(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(ctx context.Context, c *ringbus.Client, what string) (string, error) {
	reply := make([]byte, 100)
	n, err := c.Call(ctx, []byte(what), reply)
	return string(reply[:n]), err
}

func TestACallIsAnswered(t *testing.T) {
	bus := ringbustest.New(t)
	n := bus.Node("client")
	c := client(t, n, "up", nil)
	if _, err := ask(soon(t), c, "hello"); !errors.Is(err, ringbus.ErrNoService) {
		t.Errorf("nobody serves: %v", err)
	}
	s := service(t, bus.Node("server"), "up", nil)
	served := make(chan error, 1)
	go func() { served <- serveUpper(soon(t), s) }()
	for range 1000 {
		if got, err := ask(soon(t), c, "hello"); got != "HELLO" || err != nil {
			t.Fatal(got, err)
		}
	}
	if got, err := ask(soon(t), c, ""); got != "" || err != nil {
		t.Fatal(got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := ask(soon(t), c, "hello"); !errors.Is(err, ringbus.ErrNoService) {
		t.Errorf("nobody serves any more: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(soon(t), c, "hello"); !errors.Is(err, ringbus.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	for _, want := range []error{nil, fs.ErrNotExist} {
		if err := n.RemoveService("up"); !errors.Is(err, want) {
			t.Errorf("remove: %v, want %v", err, want)
		}
	}
}

func TestManyCallersAndServers(t *testing.T) {
	bus := ringbustest.New(t)
	var done sync.WaitGroup
	counts := make([]int, 3)
	var services []*ringbus.Service
	for i := range counts {
		s := service(t, bus.Node(fmt.Sprintf("server-%d", i)), "echo", &ringbus.ServiceOptions{Depth: 16, MaxRequest: 64, MaxReply: 64})
		services = append(services, s)
		done.Go(func() {
			for r, err := range s.Requests(soon(t)) {
				if errors.Is(err, ringbus.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				counts[i]++
				if err := r.Reply(r.Data()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var callers sync.WaitGroup
	for k := range 2 {
		c := client(t, bus.Node(fmt.Sprintf("client-%d", k)), "echo", nil)
		for g := range 100 {
			callers.Go(func() {
				var in, out [8]byte
				for i := range 20 {
					binary.LittleEndian.PutUint64(in[:], uint64(k<<32|g<<16|i))
					if n, err := c.Call(soon(t), in[:], out[:]); n != 8 || err != nil || in != out {
						t.Errorf("%v became %v: %d, %v", in, out, n, err)
						return
					}
				}
			})
		}
	}
	callers.Wait()
	for _, s := range services {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	done.Wait()
	total := 0
	for i, n := range counts {
		if n == 0 {
			t.Errorf("server %d got nothing: %v", i, counts)
		}
		total += n
	}
	if total != 4000 {
		t.Errorf("%d calls were served, want 4000", total)
	}
}

func TestRepliesThatAreErrors(t *testing.T) {
	bus := ringbustest.New(t)
	s := service(t, bus.Node("server"), "odd", &ringbus.ServiceOptions{MaxReply: 16, MaxRequest: 8})
	c := client(t, bus.Node("client"), "odd", nil)
	answers := make(chan func(r *ringbus.Request) error, 1)
	go func() {
		for r, err := range s.Requests(soon(t)) {
			if err != nil {
				return
			}
			if err := (<-answers)(r); err != nil {
				t.Error(err)
			}
		}
	}()
	var size *ringbus.CallSizeError
	answers <- func(r *ringbus.Request) error { return r.Reply([]byte("0123456789")) }
	if _, err := c.Call(soon(t), nil, make([]byte, 9)); !errors.As(err, &size) || size.Size != 10 || size.Max != 9 {
		t.Errorf("the caller has too little room: %v", err)
	}
	answers <- func(r *ringbus.Request) error {
		var size *ringbus.CallSizeError
		if err := r.Reply(make([]byte, 17)); !errors.As(err, &size) || size.Size != 17 || size.Max != 16 {
			return fmt.Errorf("too large: %v", err)
		}
		return nil
	}
	if _, err := c.Call(soon(t), nil, make([]byte, 99)); !errors.As(err, &size) || size.Size != 17 || size.Max != 16 {
		t.Errorf("the service has too little room: %v", err)
	}
	answers <- func(r *ringbus.Request) error { return r.Fail(errors.New("not today, and not tomorrow")) }
	var failed *ringbus.ServiceError
	if _, err := c.Call(soon(t), nil, nil); !errors.As(err, &failed) || failed.Text != "not today, and n" {
		t.Errorf("failed: %v", err)
	}
	if _, err := c.Call(soon(t), make([]byte, 9), nil); !errors.As(err, &size) || size.What != "request" {
		t.Errorf("a large request: %v", err)
	}
}

func TestACallTimesOutAndTheNextOneDoesNot(t *testing.T) {
	bus := ringbustest.New(t)
	s := service(t, bus.Node("server"), "slow", &ringbus.ServiceOptions{Depth: 1})
	c := client(t, bus.Node("client"), "slow", nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := ask(ctx, c, "hello"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
	// The only place is taken until the server has answered.
	if _, err := ask(ctx, c, "hello"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no place: %v", err)
	}
	go func() { _ = serveUpper(soon(t), s) }()
	if got, err := ask(soon(t), c, "again"); got != "AGAIN" || err != nil {
		t.Error(got, err)
	}
}

func TestAServerGoesWithTheCall(t *testing.T) {
	bus := ringbustest.New(t)
	s := service(t, bus.Node("server"), "gone", nil)
	c := client(t, bus.Node("client"), "gone", nil)
	var callers sync.WaitGroup
	var answered atomic.Int64
	for range 20 {
		callers.Go(func() {
			switch _, err := ask(soon(t), c, "hello"); {
			case err == nil:
				answered.Add(1)
			case !errors.Is(err, ringbus.ErrPeerDied) && !errors.Is(err, ringbus.ErrNoService):
				t.Error(err)
			}
		})
	}
	for r, err := range s.Requests(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Return(0); err != nil {
			t.Error(err)
		}
		break
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, err := range s.Requests(soon(t)) {
		if !errors.Is(err, ringbus.ErrClosed) {
			t.Errorf("requests of a closed server: %v", err)
		}
	}
	callers.Wait()
	if n := answered.Load(); n != 1 {
		t.Errorf("%d answers, want the one that was given", n)
	}
}
