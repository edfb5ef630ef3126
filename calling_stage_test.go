//go:build !race

package ringbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/segment"
)

func init() {
	roles["echo server"] = func(args []string) error {
		node, end, err := joinAs(args[0], "victim", 0)
		if err != nil {
			return err
		}
		s, err := node.Service("echo", nil)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
		defer cancel()
		for r, err := range s.Requests(ctx) {
			if err != nil {
				return err
			}
			if string(r.Data()) == "end" {
				if err := r.Return(0); err != nil {
					return err
				}
				break
			}
			if err := r.Reply(r.Data()); err != nil {
				return err
			}
		}
		return errors.Join(s.Close(), end())
	}
}

// A stopped server is alive: calls wait for it as long as their contexts say.
func TestCallsWaitForAStoppedServer(t *testing.T) {
	s := newStage(t)
	victim := shmtest.Start(t, "echo server", nil, s.dir)
	c, err := s.node.Client("echo", nil)
	s.check(err)
	until(t, "the server", func() bool {
		got, err := ask(s.ctx, c, "hello")
		return err == nil && got == "hello"
	})
	victim.Stop()
	for range 3 {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Millisecond)
		if _, err := ask(ctx, c, "late"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped: %v", err)
		}
		cancel()
	}
	done := make(chan error, 1)
	go func() {
		got, err := ask(s.ctx, c, "in time")
		if got != "in time" && err == nil {
			err = errors.New(got)
		}
		done <- err
	}()
	victim.Continue()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_, err = ask(s.ctx, c, "end")
	s.check(err)
	victim.Success()
	s.check(c.Close())
}

// callTable opens the table of the service echo.
func (s *stage) callTable() (table *calls.Table, done func()) {
	s.Helper()
	area, err := host.Of(s.node).Node.Lookup(segment.Key{Kind: segment.KindCall, Name: "echo"})
	s.check(err)
	table, err = calls.Open(area.Bytes())
	s.check(err)
	return table, func() { area.Close() }
}

// A hundred thousand calls of 32 goroutines while one of two servers is killed:
// each is answered rightly, or told.
func TestManyCallsWhileAServerIsKilled(t *testing.T) {
	total := int64(100_000)
	if testing.Short() || invariant.Enabled {
		total = 10_000
	}
	s := newStage(t)
	servers := []*shmtest.Proc{shmtest.Start(t, "echo server", nil, s.dir), shmtest.Start(t, "echo server", nil, s.dir)}
	c, err := s.node.Client("echo", nil)
	s.check(err)
	table, done := s.callTable()
	until(t, "both serve", func() bool { return len(table.Servers()) == 2 })
	done()
	var next, gone atomic.Int64
	var callers sync.WaitGroup
	for g := range 32 {
		callers.Go(func() {
			reply := make([]byte, 64)
			for {
				i := next.Add(1)
				if i > total {
					return
				}
				if i == total/3 {
					servers[0].Kill()
				}
				want := fmt.Appendf(nil, "%d of %d", i, g)
				n, err := c.Call(s.ctx, want, reply)
				switch {
				case errors.Is(err, ringbus.ErrPeerDied):
					gone.Add(1)
				case err != nil || !bytes.Equal(reply[:n], want):
					t.Errorf("%q was answered with %q, %v", want, reply[:n], err)
					return
				}
			}
		})
	}
	callers.Wait()
	if n := gone.Load(); n > 32 {
		t.Errorf("%d of %d calls were with the server that was killed; 32 were outstanding", n, total)
	}
	if got, err := ask(s.ctx, c, "end"); err != nil {
		t.Error(got, err)
	}
	servers[1].Success()
	s.check(c.Close())
}

// guest joins as a VM does: all that it has of the bus is its memory.
func (s *stage) guest() *ringbus.Node {
	s.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "bus"), os.O_RDWR, 0)
	s.check(err)
	b, err := sys.Map(f, busSize, true)
	s.check(errors.Join(err, f.Close()))
	seg, err := segment.FromBytes(b, &segment.Options{Kernel: 2, SuspectAfter: suspectAfter})
	s.check(err)
	n, err := ringbus.Attach(seg, &ringbus.Options{Name: "guest"})
	s.check(err)
	s.Cleanup(func() {
		if err := n.Close(); err != nil && !errors.Is(err, ringbus.ErrFenced) {
			s.Error(err)
		}
		if err := errors.Join(seg.Close(), sys.Unmap(b)); err != nil {
			s.Error(err)
		}
	})
	return n
}

// An operator evicts the server's node, which is of another kernel: its clients
// are told, and it, when it wakes up.
func TestAnEvictedServer(t *testing.T) {
	s := newStage(t)
	guest := s.guest()
	server, err := guest.Service("echo", nil)
	s.check(err)
	c, err := s.node.Client("echo", nil)
	s.check(err)
	got := make(chan error, 1)
	go func() {
		_, err := ask(s.ctx, c, "hello")
		got <- err
	}()
	for r, err := range server.Requests(s.ctx) {
		s.check(err)
		h := host.Of(guest)
		s.check(host.Of(s.node).Node.Evict(h.Node.Owner().Slot()))
		if err := <-got; !errors.Is(err, ringbus.ErrPeerDied) {
			t.Errorf("the client: %v", err)
		}
		_ = r.Reply([]byte("too late")) // into memory that nobody uses again
		break
	}
	for _, err := range server.Requests(s.ctx) {
		if !errors.Is(err, ringbus.ErrFenced) {
			t.Errorf("the evicted server: %v", err)
		}
		break
	}
	if _, err := ask(s.ctx, c, "hello"); !errors.Is(err, ringbus.ErrNoService) {
		t.Errorf("nobody is left: %v", err)
	}
	other, err := s.node.Service("echo", nil)
	s.check(err)
	go func() { _ = serveUpper(s.ctx, other) }()
	if got, err := ask(s.ctx, c, "hello"); got != "HELLO" || err != nil {
		t.Errorf("another server: %q, %v", got, err)
	}
	s.check(c.Close())
	s.check(other.Close())
}

// The same with the client's node.
func TestAnEvictedClient(t *testing.T) {
	s := newStage(t)
	guest := s.guest()
	server, err := s.node.Service("echo", nil)
	s.check(err)
	c, err := guest.Client("echo", &ringbus.ServiceOptions{Wait: asleep})
	s.check(err)
	got := make(chan error, 1)
	go func() {
		_, err := ask(s.ctx, c, "hello")
		got <- err
	}()
	for r, err := range server.Requests(s.ctx) {
		s.check(err)
		s.check(host.Of(s.node).Node.Evict(host.Of(guest).Node.Owner().Slot()))
		if err := <-got; err == nil {
			t.Error("the evicted client has an answer")
		}
		s.check(r.Reply([]byte("to nobody")))
		break
	}
	if _, err := ask(s.ctx, c, "hello"); !errors.Is(err, ringbus.ErrFenced) {
		t.Errorf("the evicted client: %v", err)
	}
	go func() { _ = serveUpper(s.ctx, server) }()
	other, err := s.node.Client("echo", nil)
	s.check(err)
	if got, err := ask(s.ctx, other, "hello"); got != "HELLO" || err != nil {
		t.Errorf("another client: %q, %v", got, err)
	}
	s.check(other.Close())
	s.check(server.Close())
}
