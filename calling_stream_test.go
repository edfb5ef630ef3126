package ringbus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ringbustest"
)

// count answers a request of two numbers with as many replies from the first on.
func count(ctx context.Context, r *ringbus.Request) error {
	from, n := binary.LittleEndian.Uint32(r.Data()), binary.LittleEndian.Uint32(r.Data()[4:])
	var b [4]byte
	for i := range n {
		binary.LittleEndian.PutUint32(b[:], from+i)
		if err := r.Send(ctx, b[:]); err != nil {
			return errors.Join(r.End(), err)
		}
	}
	return r.End()
}

func countRequest(from, n int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(from))
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

// counted asks for n numbers and leaves after some of them; 0: never.
func counted(ctx context.Context, c *ringbus.Client, from, n, leave int) error {
	got := 0
	for b, err := range c.Stream(ctx, countRequest(from, n)) {
		if err != nil {
			return fmt.Errorf("after %d replies: %w", got, err)
		}
		if len(b) != 4 || int(binary.LittleEndian.Uint32(b)) != from+got {
			return fmt.Errorf("reply %d is %v", got, b)
		}
		if got++; got == leave {
			return nil
		}
	}
	if got != n {
		return fmt.Errorf("%d replies, want %d", got, n)
	}
	return nil
}

// each serves with f; apart: each request on a goroutine of its own. stop ends it
// well: no more requests, answer what is out, close.
func each(t *testing.T, s *ringbus.Service, apart bool, f func(r *ringbus.Request) error) (stop func()) {
	ctx, cancel := context.WithCancel(soon(t))
	var running sync.WaitGroup
	running.Go(func() {
		for r, err := range s.Requests(ctx) {
			switch {
			case errors.Is(err, context.Canceled), errors.Is(err, ringbus.ErrClosed):
				return
			case err != nil:
				t.Error(err)
				return
			case apart:
				running.Go(func() { _ = f(r) })
			default:
				_ = f(r)
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRepliesOfAStream(t *testing.T) {
	for _, wait := range []ringbus.Wait{{}, asleep} {
		for _, apart := range []bool{false, true} {
			bus := ringbustest.New(t)
			o := &ringbus.ServiceOptions{Wait: wait, Depth: 8, Window: 3}
			s := service(t, bus.Node("server"), "count", o)
			c := client(t, bus.Node("client"), "count", o)
			ended := each(t, s, apart, func(r *ringbus.Request) error { return count(soon(t), r) })
			for n := range 20 {
				if err := counted(soon(t), c, 100*n, n, 0); err != nil {
					t.Fatalf("%+v, apart %v: %v", wait, apart, err)
				}
			}
			if err := counted(soon(t), c, 0, 3000, 0); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			ended()
		}
	}
}

// texts are the replies to a request, and what ended them.
func texts(ctx context.Context, c *ringbus.Client, request string) (out []string, err error) {
	for b, e := range c.Stream(ctx, []byte(request)) {
		if e != nil {
			out, err = append(out, "!"), e
			continue
		}
		out = append(out, string(b))
	}
	return out, err
}

func TestHowAStreamEnds(t *testing.T) {
	bus := ringbustest.New(t)
	s := service(t, bus.Node("server"), "odd", &ringbus.ServiceOptions{MaxReply: 16})
	c := client(t, bus.Node("client"), "odd", nil)
	ctx := soon(t)
	defer each(t, s, false, func(r *ringbus.Request) error {
		what := string(r.Data())
		_, rest, _ := strings.Cut(what, " ")
		for word := range strings.FieldsSeq(rest) {
			if err := r.Send(ctx, []byte(word)); err != nil {
				var size *ringbus.CallSizeError
				if !errors.As(err, &size) {
					t.Error(err)
				}
			}
		}
		switch {
		case strings.HasPrefix(what, "end"):
			return r.End()
		case strings.HasPrefix(what, "reply"):
			return r.Reply([]byte("last"))
		case strings.HasPrefix(what, "return"):
			return r.Return(copy(r.Room(), "last"))
		case strings.HasPrefix(what, "large"):
			_ = r.Reply(make([]byte, 20))
			return nil
		case strings.HasPrefix(what, "room"):
			b, err := r.Reserve(ctx)
			if err != nil {
				t.Error(err)
			}
			if err := r.Commit(copy(b, "in place")); err != nil {
				t.Error(err)
			}
			if _, err := r.Reserve(ctx); err != nil { // and not committed
				t.Error(err)
			}
			return r.End()
		}
		return r.Fail(errors.New("no"))
	})()
	for _, w := range []struct {
		request string
		want    []string
		err     string
	}{
		{"end", nil, ""},
		{"end a b", []string{"a", "b"}, ""},
		{"reply", []string{"last"}, ""},
		{"reply a b", []string{"a", "b", "last"}, ""},
		{"return a", []string{"a", "last"}, ""},
		{"fail", []string{"!"}, `service "odd": no`},
		{"fail a b", []string{"a", "b", "!"}, `service "odd": no`},
		{"large a", []string{"a", "!"}, "reply of 20 bytes"},
		{"end a 12345678901234567 b", []string{"a", "!", "b"}, "reply of 17 bytes at service \"odd\", with room for 16"},
		{"room a", []string{"a", "in place"}, ""},
	} {
		got, err := texts(ctx, c, w.request)
		if !slices.Equal(got, w.want) || err != nil && (w.err == "" || !strings.Contains(err.Error(), w.err)) || err == nil && w.err != "" {
			t.Errorf("%s: %q, %v", w.request, got, err)
		}
	}
	// Who wants one reply gets one, and who would send more is told.
	if got, err := ask(ctx, c, "reply"); got != "last" || err != nil {
		t.Error(got, err)
	}
	if got, err := ask(ctx, c, "end"); got != "" || err != nil {
		t.Error(got, err)
	}
}

func TestACallerOfOneReplyGetsNoMore(t *testing.T) {
	bus := ringbustest.New(t)
	s := service(t, bus.Node("server"), "many", nil)
	c := client(t, bus.Node("client"), "many", nil)
	done := each(t, s, false, func(r *ringbus.Request) error {
		if err := r.Send(soon(t), []byte("a")); r.Streams() || !errors.Is(err, ringbus.ErrOneReply) {
			t.Errorf("Send: %v", err)
		}
		return r.Reply([]byte("all"))
	})
	if got, err := ask(soon(t), c, ""); got != "all" || err != nil {
		t.Error(got, err)
	}
	done()
	small := client(t, bus.Node("client"), "small", &ringbus.ServiceOptions{Depth: 2})
	if _, err := texts(soon(t), small, ""); err == nil || !strings.Contains(err.Error(), "depth 4") {
		t.Errorf("a service of depth 2: %v", err)
	}
	if _, err := texts(soon(t), c, ""); !errors.Is(err, ringbus.ErrNoService) {
		t.Errorf("nobody serves: %v", err)
	}
}

// The server is as many replies ahead as the window says, and no more.
func TestTheServerWaitsForASlowReader(t *testing.T) {
	bus := ringbustest.New(t)
	o := &ringbus.ServiceOptions{Window: 5}
	s := service(t, bus.Node("server"), "count", o)
	c := client(t, bus.Node("client"), "count", o)
	ahead := make(chan int)
	defer each(t, s, false, func(r *ringbus.Request) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		n := 0
		for r.Send(ctx, []byte("x")) == nil {
			n++
		}
		ahead <- n
		return r.End()
	})()
	for _, err := range c.Stream(soon(t), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if n := <-ahead; n != 5 {
			t.Errorf("%d replies ahead, want 5", n)
		}
		break
	}
}

// Who leaves a stream is done with it: the server hears of it, in a wait for room
// or by the request's context, and the places come back.
func TestTheServerHearsThatNobodyWantsMore(t *testing.T) {
	for _, how := range []string{"break", "context", "panic"} {
		for _, watch := range []bool{false, true} {
			bus := ringbustest.New(t)
			o := &ringbus.ServiceOptions{Wait: asleep, Depth: 4}
			s := service(t, bus.Node("server"), "count", o)
			c := client(t, bus.Node("client"), "count", o)
			heard := make(chan error, 1)
			ended := each(t, s, watch, func(r *ringbus.Request) error {
				if !r.Streams() {
					return r.Return(0)
				}
				ctx := soon(t)
				if watch { // silently
					err := r.Send(ctx, []byte("x"))
					<-r.Context(ctx).Done()
					heard <- errors.Join(err, ctx.Err(), r.End())
					return nil
				}
				var err error
				for err == nil {
					err = r.Send(ctx, []byte("x"))
				}
				if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
					t.Errorf("Send: %v", err)
				}
				heard <- r.End()
				return nil
			})
			for range 50 {
				ctx, cancel := context.WithCancel(soon(t))
				func() {
					defer func() { _ = recover() }()
					for _, err := range c.Stream(ctx, nil) {
						switch {
						case how == "context" && errors.Is(err, context.Canceled):
							return
						case err != nil:
							t.Error(err)
						case how == "break":
							return
						case how == "panic":
							panic("in the loop")
						}
						cancel()
					}
				}()
				cancel()
				if err := <-heard; err != nil {
					t.Fatal(how, err)
				}
				// All four places are there again.
				var open []*ringbus.Call
				for range 4 {
					p, err := c.Begin(soon(t), 0)
					if err != nil {
						t.Fatal(how, err)
					}
					open = append(open, p)
				}
				for _, p := range open {
					p.Release()
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			ended()
		}
	}
}

// A server that closes in the middle: the replies that had come, then ErrPeerDied.
func TestTheServerGoesInTheMiddleOfAStream(t *testing.T) {
	bus := ringbustest.New(t)
	s := service(t, bus.Node("server"), "count", nil)
	c := client(t, bus.Node("client"), "count", nil)
	got := make(chan error, 1)
	n := 0
	go func() {
		for _, err := range c.Stream(soon(t), nil) {
			if err != nil {
				got <- err
				return
			}
			n++
		}
		got <- nil
	}()
	for r, err := range s.Requests(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		for range 7 {
			if err := r.Send(soon(t), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		var held *ringbus.HeldError
		if err := s.Close(); !errors.As(err, &held) || held.N != 1 {
			t.Errorf("close: %v", err)
		}
		if err := r.Send(soon(t), []byte("x")); !errors.Is(err, ringbus.ErrClosed) {
			t.Errorf("Send: %v", err)
		}
		if err := r.End(); !errors.Is(err, ringbus.ErrClosed) {
			t.Errorf("End: %v", err)
		}
		break
	}
	if err := <-got; !errors.Is(err, ringbus.ErrPeerDied) || n != 7 {
		t.Errorf("%d replies, then %v", n, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Streams and calls of many goroutines at once, some of them left early, with
// servers of both kinds.
func TestStreamsAndCallsTogether(t *testing.T) {
	bus := ringbustest.New(t)
	o := &ringbus.ServiceOptions{Depth: 16, MaxRequest: 64, MaxReply: 64}
	var waits []func()
	for i := range 3 {
		s := service(t, bus.Node(fmt.Sprintf("server-%d", i)), "count", o)
		waits = append(waits, each(t, s, i != 1, func(r *ringbus.Request) error {
			if !r.Streams() {
				return r.Reply(r.Data())
			}
			return count(soon(t), r)
		}))
	}
	var callers sync.WaitGroup
	var clients []*ringbus.Client
	for k := range 2 {
		c := client(t, bus.Node(fmt.Sprintf("client-%d", k)), "count", o)
		clients = append(clients, c)
		for g := range 12 {
			callers.Go(func() {
				for i := range 40 {
					var err error
					switch (g + i) % 4 {
					case 0:
						want := fmt.Sprintf("%d %d", g, i)
						var got string
						if got, err = ask(soon(t), c, want); err == nil && got != want {
							err = fmt.Errorf("%q became %q", want, got)
						}
					case 1:
						err = counted(soon(t), c, g, 50, 1+i)
					default:
						err = counted(soon(t), c, i, i, 0)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	callers.Wait()
	for _, c := range clients {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, stop := range waits {
		stop()
	}
}

func TestNoAllocationsPerReply(t *testing.T) {
	bus := ringbustest.New(t)
	for _, wait := range []ringbus.Wait{{}, asleep} {
		s := service(t, bus.Node("server"), "count", &ringbus.ServiceOptions{Wait: wait})
		c := client(t, bus.Node("client"), "count", &ringbus.ServiceOptions{Wait: wait})
		ctx := context.Background()
		done := each(t, s, false, func(r *ringbus.Request) error {
			for r.Send(ctx, []byte("x")) == nil {
			}
			return r.End()
		})
		const many = 5000
		n := testing.AllocsPerRun(3, func() {
			left := many
			for _, err := range c.Stream(ctx, nil) {
				if err != nil {
					t.Error(err)
				}
				if left--; left == 0 {
					break
				}
			}
		})
		if n/many > 0.02 { // a stream allocates, its replies do not
			t.Errorf("%+v: %v allocations for %d replies", wait, n, many)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		done()
	}
}
