package doorbell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func([]string) error{
		"server": roleServer,
		"peer":   rolePeer,
		"guest":  roleGuest,
		"bury":   roleBury,
	})
}

const memorySize = 1 << 20

// memory makes a file that servers hand out.
func memory(t testing.TB) *os.File {
	t.Helper()
	f, err := sys.Memfd("doorbell-test", memorySize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// house is a server under test and what it has said.
type house struct {
	*Server
	t    testing.TB
	path string

	mu     sync.Mutex
	cond   *sync.Cond
	events []Event
	gone   []uint16
	ended  chan error
}

// serve starts a server at path that keeps its events.
func serve(t testing.TB, path string, mem *os.File, o Options) *house {
	t.Helper()
	h := &house{t: t, path: path, ended: make(chan error, 1)}
	h.cond = sync.NewCond(&h.mu)
	o.Event = func(e Event) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.events = append(h.events, e)
		h.cond.Broadcast()
	}
	if o.Gone == nil {
		o.Gone = func(id uint16) bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.gone = append(h.gone, id)
			return true
		}
	}
	s, err := Listen(path, mem, &o)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = s
	ctx, cancel := context.WithCancel(context.Background())
	go func() { h.ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-h.ended; err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// event waits for the nth event of a kind and returns it.
func (h *house) event(what What, nth int) Event {
	h.t.Helper()
	late := time.AfterFunc(shmtest.Deadline, h.cond.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(shmtest.Deadline)
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		n := nth
		for _, e := range h.events {
			if e.What == what {
				if n--; n == 0 {
					return e
				}
			}
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("no %d. event %q in %+v", nth, what, h.events)
		}
		h.cond.Wait()
	}
}

// ears counts what a peer hears.
type ears chan uint16

func (e ears) rung(v uint16) { e <- v }

func (e ears) expect(t testing.TB, vector uint16) {
	t.Helper()
	select {
	case v := <-e:
		if v != vector {
			t.Fatalf("heard vector %d, want %d", v, vector)
		}
	case <-time.After(shmtest.Deadline):
		t.Fatalf("vector %d was not heard", vector)
	}
}

// connect makes a peer that hears into the returned channel.
func connect(t testing.TB, path string) (*Peer, ears) {
	t.Helper()
	e := make(ears, 1000)
	p, err := Dial(t.Context(), path, &PeerOptions{Rung: e.rung})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, e
}

// until waits for what another goroutine or process brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(shmtest.Deadline); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s", what)
		}
	}
}

func socketIn(dir string) string { return filepath.Join(dir, "doorbell") }

// roleServer serves the file args[1] at the socket args[0] until its standard
// input ends, and says what happens.
func roleServer(args []string) error {
	f, err := os.OpenFile(args[1], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b, err := sys.Map(f, memorySize, true)
	if err != nil {
		return err
	}
	defer func() { _ = sys.Unmap(b) }()
	s, err := Listen(args[0], f, &Options{Vectors: 2, Event: func(e Event) {
		fmt.Println(e.What, e.ID, e.Pid)
	}})
	if err != nil {
		return err
	}
	fmt.Println("serving")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		shmtest.Listen(func(string) bool { return true })
		cancel()
	}()
	return errors.Join(s.Serve(ctx), s.Close())
}

// rolePeer maps the memory, says its id, rings whom it is told to, and says what
// it hears.
func rolePeer(args []string) error {
	p, err := Dial(context.Background(), args[0], &PeerOptions{Rung: func(v uint16) { fmt.Println("heard", v) }})
	if err != nil {
		return err
	}
	b, err := sys.Map(p.Memory(), memorySize, true)
	if err != nil {
		return err
	}
	defer func() { _ = sys.Unmap(b) }()
	fmt.Println("id", p.ID())
	shmtest.Listen(func(line string) bool {
		var id, vector uint16
		switch n, _ := fmt.Sscanf(line, "ring %d %d", &id, &vector); {
		case n == 2:
			fmt.Println("rang", p.Ring(id, vector))
		case line == "disconnect":
			_ = p.Close()
			fmt.Println("disconnected")
		}
		return true
	})
	return p.Close()
}
