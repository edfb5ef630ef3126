package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// guest is a node of another kernel, with a segment of its own.
func guest(t *testing.T, dir, name string, kernel uint64) *segment.Node {
	t.Helper()
	s, err := segment.Open("default", &segment.Options{Dir: dir, Kernel: kernel, MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Join(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.Leave(), s.Close()); err != nil && !errors.Is(err, segment.ErrFenced) {
			t.Error(err)
		}
	})
	return n
}

type evictions struct {
	Evicted []evicted `json:"evicted"`
}

func TestEvictTakesBackWhatADeadMachineHeld(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, strings.NewReader("x\n"), "pub", "t").status(0)
	dead := guest(t, dir, "guest/dead", 0xabc)
	dead.Abandon()
	guest(t, dir, "guest/other", 0xdef).Abandon()

	bus := decode[inspect.Bus](call(t, dir, nil, "info", "--json").status(0))
	if len(bus.Nodes) != 2 || !bus.Nodes[0].Foreign || bus.Nodes[0].Kernel != "0000000000000abc" {
		t.Fatalf("nodes: %+v", bus.Nodes)
	}
	if c := call(t, dir, nil, "info").status(0); !strings.Contains(c.out.String(), "0000000000000abc") {
		t.Errorf("info does not say whose clock: %s", c.out.String())
	}
	e := decode[evictions](call(t, dir, nil, "evict", "guest/dead", "--json").status(0))
	if len(e.Evicted) != 1 || e.Evicted[0].Name != "guest/dead" || e.Evicted[0].Kernel != "0000000000000abc" {
		t.Errorf("evicted %+v", e)
	}
	if !dead.Fenced() {
		t.Error("it was not evicted")
	}
	e = decode[evictions](call(t, dir, nil, "evict", "--kernel", "def", "--json").status(0))
	if len(e.Evicted) != 1 || e.Evicted[0].Name != "guest/other" {
		t.Errorf("evicted %+v", e)
	}
	if bus := decode[inspect.Bus](call(t, dir, nil, "info", "--json").status(0)); len(bus.Nodes) != 0 {
		t.Errorf("left: %+v", bus.Nodes)
	}
	tidy(t, dir)
}

func TestEvictRefusesWhoLives(t *testing.T) {
	dir := shmtest.Dir(t)
	s := start(t, dir, nil, "sub", "t", "--name", "reader")
	eventually(t, "it has joined", func() bool {
		c := call(t, dir, nil, "info", "--json")
		return strings.Contains(c.out.String(), `"reader"`)
	})
	c := call(t, dir, nil, "evict", "reader", "--force").status(1)
	if !strings.Contains(c.errs.String(), "end that process instead") {
		t.Errorf("it says %s", c.errs.String())
	}
	live := guest(t, dir, "guest/live", 0xabc)
	c = call(t, dir, nil, "evict", "guest/live").status(1)
	if !strings.Contains(c.errs.String(), "--force") || live.Err() != nil {
		t.Errorf("it says %s; the node is told %v", c.errs.String(), live.Err())
	}
	call(t, dir, nil, "evict", "guest/live", "--force").status(0)
	if !live.Fenced() {
		t.Error("it was not evicted")
	}
	for _, nobody := range []string{"250", "nobody"} {
		c = call(t, dir, nil, "evict", nobody).status(1)
		if !strings.Contains(c.errs.String(), "ringbus info") {
			t.Errorf("it says %s", c.errs.String())
		}
	}
	s.kill()
	if err := live.Leave(); !errors.Is(err, segment.ErrFenced) { // its lock is dropped, which in a machine is another one
		t.Error(err)
	}
	tidy(t, dir)
}

// A machine that comes to life after it was given up is told so, and harms nobody.
func TestWhoWasEvictedIsTold(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, strings.NewReader("x\n"), "pub", "t").status(0)
	seg, err := segment.Open("default", &segment.Options{Dir: dir, Kernel: 0xabc, SuspectAfter: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Close()
	node, err := ringbus.Attach(seg, &ringbus.Options{Name: "guest"})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := node.Subscriber("t", nil)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() {
		_, err := sub.Receive(t.Context())
		told <- err
	}()
	call(t, dir, nil, "evict", "guest", "--force").status(0)
	if err := <-told; !errors.Is(err, ringbus.ErrFenced) {
		t.Errorf("its sleeping subscriber is told %v", err)
	}
	call(t, dir, strings.NewReader("y\n"), "pub", "t").status(0)
	if err := node.Close(); err != nil && !errors.Is(err, ringbus.ErrFenced) {
		t.Error(err)
	}
	tidy(t, dir)
}
