package doorbell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// guestKernel is the kernel that a process of this host plays.
const guestKernel = 77

// busIn opens the bus of a directory, as that kernel; 0 is the real one.
func busIn(dir string, kernel uint64) (*segment.Segment, error) {
	return segment.Open("bus", &segment.Options{Dir: dir, Size: 8 << 20, Kernel: kernel})
}

func openBus(t *testing.T, dir string, kernel uint64) *segment.Segment {
	t.Helper()
	s, err := busIn(dir, kernel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func attach(t *testing.T, s *segment.Segment) (*ringbus.Node, *Link) {
	t.Helper()
	n, err := ringbus.Attach(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Attach(n, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), n.Close()); err != nil {
			t.Error(err)
		}
	})
	return n, l
}

func TestSleepersOfTwoKernelsWakeEachOther(t *testing.T) {
	dir := shmtest.Dir(t)
	host, guest := openBus(t, dir, 0), openBus(t, dir, guestKernel)
	h, hl := attach(t, host) // before there is a server
	if hl.Up() {
		t.Fatal("connected to nobody")
	}
	s := serve(t, SocketOf(host), host.File(), Options{})
	g, gl := attach(t, guest)
	until(t, "connected", func() bool { return hl.Up() && gl.Up() })
	until(t, "acquainted", func() bool { return hl.peers[0].Peers() == 2 && gl.peers[0].Peers() == 2 })
	until(t, "heard by both", func() bool {
		exchange(t, "first", h, g)
		return gl.heard.Load() > 0 && hl.heard.Load() > 0
	})
	id := hl.peers[0].ID()

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "alone", func() bool { return !hl.Up() && !gl.Up() })
	exchange(t, "second", h, g) // by polling, and by the eventfds of old
	serve(t, SocketOf(host), host.File(), Options{})
	until(t, "connected again", func() bool { return hl.Up() && gl.Up() })
	until(t, "heard again", func() bool {
		before := gl.heard.Load()
		exchange(t, "third", h, g)
		return gl.heard.Load() > before
	})
	// Both are of this process, so that each may have got the other's.
	if now := hl.peers[0].ID(); now != id && now != gl.peers[1].ID() {
		t.Errorf("back with id %d, which was %d", now, id)
	}
}

// exchange sends messages there and back, each to one who sleeps.
func exchange(t *testing.T, name string, a, b *ringbus.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), shmtest.Deadline)
	defer cancel()
	type end struct {
		pub *ringbus.Publisher
		sub *ringbus.Subscriber
	}
	open := func(n *ringbus.Node, to, from string) (e end) {
		var err error
		if e.pub, err = n.Publisher(name+to, &ringbus.PublisherOptions{Depth: 16, MaxMessage: 64}); err != nil {
			t.Fatal(err)
		}
		if e.sub, err = n.Subscriber(name+from, nil); err != nil {
			t.Fatal(err)
		}
		return e
	}
	x, y := open(a, "x", "y"), open(b, "y", "x")
	defer func() {
		for _, c := range []interface{ Close() error }{x.pub, x.sub, y.pub, y.sub} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	const rounds = 50
	echoed := make(chan error, 1)
	go func() {
		for range rounds {
			m, err := y.sub.Receive(ctx)
			if err == nil {
				m.Release()
				err = y.pub.Send([]byte("pong"))
			}
			if err != nil {
				echoed <- err
				return
			}
		}
		echoed <- nil
	}()
	for range rounds {
		if err := x.pub.Send([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		m, err := x.sub.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		m.Release()
	}
	if err := <-echoed; err != nil {
		t.Fatal(err)
	}
}

// A server that dies while we connect is one that is not there: the link goes on
// looking.
func TestLinkOutlivesAServerThatDiesWhileItConnects(t *testing.T) {
	s := openBus(t, shmtest.Dir(t), 0)
	dying, err := net.Listen("unix", SocketOf(s))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := dying.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	_, l := attach(t, s)
	if l.Up() {
		t.Error("connected to a server that hung up")
	}
	if err := dying.Close(); err != nil {
		t.Fatal(err)
	}
	serve(t, SocketOf(s), s.File(), Options{})
	until(t, "the link is up", l.Up)
}

func TestServerOfAnotherBusIsRefused(t *testing.T) {
	dir := shmtest.Dir(t)
	bus := openBus(t, dir, 0)
	serve(t, SocketOf(bus), memory(t), Options{})
	n, err := ringbus.Attach(bus, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := Attach(n, ""); !errors.Is(err, ErrOtherBus) {
		t.Errorf("got %v", err)
	}
	l, err := Attach(n, filepath.Join(dir, "none"))
	if err != nil {
		t.Fatalf("no server yet: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// roleGuest plays a guest on the bus of a directory: a kernel of its own, so that
// nobody else knows of its death by a lock, whose node has the door of the client
// that this process is, and a topic's lane.
func roleGuest(args []string) error {
	s, err := busIn(args[0], guestKernel+uint64(os.Getpid()))
	if err != nil {
		return err
	}
	n, err := ringbus.Attach(s, &ringbus.Options{Name: "guest"})
	if err != nil {
		return err
	}
	p, err := Dial(context.Background(), SocketOf(s), nil)
	if err != nil {
		return err
	}
	n.SetDoor(p.ID(), 0, true)
	if _, err := n.Publisher("topic", &ringbus.PublisherOptions{Depth: 16, MaxMessage: 64}); err != nil {
		return err
	}
	fmt.Println("id", p.ID())
	shmtest.Listen(func(string) bool { return true })
	return nil
}

// roleBury serves the bus of a directory, as "ringbus vm doorbell" does.
func roleBury(args []string) error {
	s, err := busIn(args[0], 0)
	if err != nil {
		return err
	}
	n, err := s.Join("server")
	if err != nil {
		return err
	}
	srv, err := Listen(SocketOf(s), s.File(), &Options{
		Gone:  func(id uint16) bool { return Bury(n, id) },
		Event: func(e Event) { fmt.Println(e.What, e.ID) },
	})
	if err != nil {
		return err
	}
	fmt.Println("serving")
	return srv.Serve(context.Background())
}

// A topic has 16 lanes. Were the lanes of killed machines retired, as those of
// evicted ones are, the seventeenth would find none.
func TestKilledMachinesLeaveNothing(t *testing.T) {
	dir := shmtest.Dir(t)
	bus := openBus(t, dir, 0)
	n, err := bus.Join("server")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Leave()
	s := serve(t, SocketOf(bus), bus.File(), Options{Gone: func(id uint16) bool { return Bury(n, id) }})
	stays := shmtest.Start(t, "guest", nil, dir)
	keeps, err := strconv.ParseUint(stays.Expect("id "), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 17 {
		p := shmtest.Start(t, "guest", nil, dir)
		p.Expect("id ")
		p.Kill()
		if e := s.event(Gone, i+1); uint64(e.ID) == keeps {
			t.Fatal("the living one is gone")
		}
	}
	live := 0
	for _, info := range bus.Nodes() {
		if info.Status != segment.Dead {
			live++
		}
	}
	if live != 2 {
		t.Errorf("%d nodes live, want the server's and one guest's", live)
	}
	if err := os.Remove(SocketOf(bus) + ".peers"); err != nil {
		t.Error(err) // it has the id of one who lives
	}
}
