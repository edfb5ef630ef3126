//go:build !race

package guests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/vm"
	"github.com/ringbus/ringbus/ivshmem/doorbell"
	"github.com/ringbus/ringbus/segment"
)

// server is a doorbell server of a bus, as "ringbus vm doorbell" is one.
type server struct {
	*doorbell.Server
	mu   sync.Mutex
	gone []doorbell.Event
	last uint16 // the largest id given so far
}

func ringing(t *testing.T, seg *segment.Segment) *server {
	t.Helper()
	n, err := seg.Join("server")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{}
	s.Server, err = doorbell.Listen(doorbell.SocketOf(seg), seg.File(), &doorbell.Options{
		Vectors: vm.Vectors,
		Gone:    func(id uint16) bool { return doorbell.Bury(n, id) },
		Event: func(e doorbell.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			switch e.What {
			case doorbell.Joined:
				s.last = max(s.last, e.ID)
			case doorbell.Gone:
				s.gone = append(s.gone, e)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		err := errors.Join(s.Close(), n.Leave())
		if serr := <-served; !errors.Is(serr, os.ErrClosed) {
			err = errors.Join(err, serr)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return s
}

// sees waits until the server has evidence of a process's death.
func (s *server) sees(t *testing.T, pid int) {
	t.Helper()
	until(t, "it has gone", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.gone, func(e doorbell.Event) bool { return e.Pid == pid })
	})
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not true yet: %s", what)
		}
	}
}

// withDoorbell boots a guest whose agent is rung.
func withDoorbell(t *testing.T, seg *segment.Segment, name string) *place {
	t.Helper()
	p := newPlace(t, name)
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	p.in = in
	c := &vm.Config{
		Bus:     vm.Bus{Path: seg.Path(), Size: seg.Size(), Doorbell: doorbell.SocketOf(seg)},
		Program: program, Kernel: kernel, Accel: vm.Emulated,
		Args: []string{"ringbus"}, Env: []string{withBell, asAgent + "=ivshmem:", "RINGBUS_TEST_NAME=" + name},
		Stdin: stdin, Stdout: stdout, Stderr: p.errs,
	}
	hello := p.expect(0)
	go p.listen(out)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := c.Boot(ctx)
	if err != nil {
		_ = stdout.Close()
		t.Fatalf("%s: %v", name, err)
	}
	p.guest = m
	p.end = sync.OnceValue(func() string {
		_ = in.Close()
		select {
		case <-m.Ended():
		case <-time.After(patience):
			t.Errorf("%s does not end", name)
			m.Kill()
		}
		_, _, _ = stdin.Close(), stdout.Close(), <-p.over
		return p.errs.String()
	})
	t.Cleanup(func() { p.end() })
	p.hear(hello, "here")
	return p
}

// shoot ends the guest by SIGKILL.
func (p *place) shoot() {
	p.guest.Kill()
	p.end()
}

// heard returns how often a place was rung.
func (p *place) heard(t *testing.T) (n int) {
	t.Helper()
	var up bool
	out := p.play("bell.heard", "", 0).result(t)
	if _, err := fmt.Sscan(out, &up, &n); err != nil {
		t.Fatalf("%s: %q: %v", p.name, out, err)
	}
	return n
}

// converse has two places talk by turns.
func converse(t *testing.T, name string, from, to *place) {
	t.Helper()
	pong := to.play("bell.pong", name, 30)
	from.play("bell.ping", name, 30).result(t)
	pong.result(t)
}

// nodes returns the names of the nodes that are not dead.
func nodes(seg *segment.Segment) (names []string) {
	for _, n := range seg.Nodes() {
		if n.Status != segment.Dead {
			names = append(names, n.Name)
		}
	}
	return names
}

// formerKernel joins as a node of a kernel that nobody knows, with a door.
func formerKernel(t *testing.T, seg *segment.Segment, id uint16) *segment.Node {
	t.Helper()
	other, err := segment.OpenFile(seg.Path(), &segment.Options{Kernel: 99})
	if err != nil {
		t.Fatal(err)
	}
	n, err := other.Join("former")
	if err != nil {
		t.Fatal(err)
	}
	n.SetDoor(id, 0, true)
	t.Cleanup(func() {
		n.Abandon()
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestDoorbellsBetweenAHostAndGuests(t *testing.T) {
	runtime.LockOSThread() // the agent's death signal comes with the end of the thread that starts it
	seg := bus(t, shmtest.Dir(t), 64<<20)
	s := ringing(t, seg)
	host, a, b := onHost(t, seg, "host", withBell), withDoorbell(t, seg, "a"), withDoorbell(t, seg, "b")
	for where, p := range map[string]pair{"host-guest": {host, a}, "guest-guest": {a, b}} {
		// A party that looked just then was not asleep, so it may take some rounds.
		from, to, round := p.from.heard(t), p.to.heard(t), 0
		until(t, where+": both were rung", func() bool {
			round++
			converse(t, fmt.Sprint(where, round), p.from, p.to)
			return t.Failed() || p.from.heard(t) > from && p.to.heard(t) > to
		})
	}

	hold := b.play("bell.hold", "held", 0)
	hold.said(t, "holds held")
	pid := b.guest.Pid()
	b.shoot()
	s.sees(t, pid)
	if names := nodes(seg); slices.Contains(names, "b") {
		t.Errorf("the killed guest's node is among %v", names)
	}
	converse(t, "after", host, a)

	// A machine whose kernel is not the one that it was: the former's node has the
	// door of the machine that comes next.
	s.mu.Lock()
	next := s.last + 1
	s.mu.Unlock()
	former := formerKernel(t, seg, next)

	// Without a server, what is connected still is; the next one knows whom its
	// predecessor served, and whom it serves itself.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	converse(t, "alone", host, a)
	s = ringing(t, seg)
	c := withDoorbell(t, seg, "c")
	if err := former.Err(); !errors.Is(err, segment.ErrFenced) {
		t.Errorf("the node of the machine's former kernel is not told: %v", err)
	}
	converse(t, "again", host, a)
	converse(t, "new", host, c)
	converse(t, "strangers", a, c)
	pid = a.guest.Pid()
	a.shoot()
	s.sees(t, pid)
	if names := nodes(seg); slices.Contains(names, "a") || !slices.Contains(names, "c") {
		t.Errorf("after the death of a the nodes are %v", names)
	}
	converse(t, "last", c, host)
	c.end()
	host.end()
	for _, problem := range inspect.Verify(seg) {
		t.Errorf("in the end: %v", problem)
	}
}
