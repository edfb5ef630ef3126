//go:build !race

package guests

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// warden is a node of the host that looks after the others.
func warden(t *testing.T, seg *segment.Segment) *segment.Node {
	t.Helper()
	n, err := seg.Join("warden")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Leave(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// nodeOf is what the bus says of the node with a name.
func nodeOf(t *testing.T, seg *segment.Segment, name string) (inspect.Node, bool) {
	t.Helper()
	for _, n := range inspect.Look(seg).Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return inspect.Node{}, false
}

// suspected waits until the node with a name is suspect.
func suspected(t *testing.T, seg *segment.Segment, name string) inspect.Node {
	t.Helper()
	var n inspect.Node
	eventually(t, name+" is suspect", func() bool {
		n, _ = nodeOf(t, seg, name)
		return n.Status == segment.Suspect.String()
	})
	return n
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// buried evicts a node and wants nothing of it to be left.
func buried(t *testing.T, seg *segment.Segment, w *segment.Node, name string) {
	t.Helper()
	n := suspected(t, seg, name)
	if err := w.Evict(n.Slot); err != nil {
		t.Errorf("evict %s: %v", name, err)
	}
	eventually(t, name+" is gone", func() bool {
		_, there := nodeOf(t, seg, name)
		return !there
	})
	for _, p := range inspect.Verify(seg) {
		t.Errorf("after %s was evicted: %v", name, p)
	}
}

func TestKilledGuestHoldsNobodyBack(t *testing.T) {
	for round := range 2 {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			seg := bus(t, shmtest.Dir(t), 32<<20)
			w := warden(t, seg)
			host, other := onHost(t, seg, "host"), onHost(t, seg, "other")
			victim := inGuest(t, seg, "victim")

			const n = 400
			lost := victim.play("steady.receive", "topic", n)
			lost.said(t, "receiving")
			all := other.play("steady.receive", "topic", n)
			all.said(t, "receiving")
			send := host.play("steady.send", "topic", n)
			send.said(t, "sending")
			victim.play("journal.append", "journal", 1<<30)
			mine := host.play("journal.append", "journal", 200)
			service := victim.play("calls.serve", "service", 1<<30)
			service.said(t, "serving")
			callers := other.play("calls.until", "service", 0)
			executor := victim.play("queue.execute", "queue", 1<<30)
			executor.said(t, "executing")
			ops := host.play("queue.until", "queue", 0)
			server := victim.play("stream.serve", "conn", 1<<30)
			server.said(t, "listening")
			conn := host.play("stream.until", "conn", 0)
			callers.said(t, "once")
			ops.said(t, "once")
			conn.said(t, "once")

			time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
			victim.kill()
			send.result(t)
			if got := all.result(t); got != "0" {
				t.Errorf("the other subscriber lost %s messages", got)
			}
			mine.result(t)
			buried(t, seg, w, "victim")
			callers.result(t)
			ops.result(t)
			conn.result(t)

			// What the dead one had is there for others.
			again := other.play("calls.serve", "service", 20)
			again.said(t, "serving")
			host.play("calls.call", "service", 20).result(t)
			again.result(t)
			other.play("queue.execute", "queue", 1<<30) // what the dead one left, too
			host.play("queue.submit", "queue", 20).result(t)
			other.kill()
		})
	}
}

func TestGuestKilledAtANamedStep(t *testing.T) {
	if !invariant.Enabled {
		t.Fatal("steps have names in the build with -tags invariants only: run it so")
	}
	for _, c := range []struct{ point, victim, other, name, first string }{
		{"fanout.P7:40", "topic.send", "topic.receive", "topic", ""},
		{"fanout.S5:2", "topic.receive", "topic.send", "topic", ""},
		{"multilog.W9:20", "journal.append", "journal.append", "journal", ""},
		{"mpsc.S4:5", "queue.submit", "queue.execute", "queue", ""},
		{"calls.C3:1", "calls.call", "calls.serve", "service", "serving"},
	} {
		t.Run(c.point, func(t *testing.T) {
			seg := bus(t, shmtest.Dir(t), 32<<20)
			w := warden(t, seg)
			host := onHost(t, seg, "host")
			victim := inGuest(t, seg, "victim", "RINGBUS_STOP="+c.point)
			const n = 300
			partner := host.play(c.other, c.name, n) // it ends with success or an error, or waits for a new partner
			if c.first != "" {
				partner.said(t, c.first)
			}
			victim.play(c.victim, c.name, n)
			suspected(t, seg, "victim") // it stands still at that step
			victim.kill()
			buried(t, seg, w, "victim")

			// The pattern goes on, with the parties that are left.
			third := onHost(t, seg, "third")
			fresh := c.name + "/fresh"
			one := third.play(c.other, fresh, n)
			if c.first != "" {
				one.said(t, c.first)
			}
			host.play(c.victim, fresh, n).result(t)
			one.result(t)
			third.end()
			host.kill()
			if _, err := w.Recover(); err != nil {
				t.Error(err)
			}
			for _, p := range inspect.Verify(seg) {
				t.Errorf("in the end: %v", p)
			}
		})
	}
}

func TestPausedGuestIsPassedAndComesBack(t *testing.T) {
	seg := bus(t, shmtest.Dir(t), 32<<20)
	host := onHost(t, seg, "host")
	guest := inGuest(t, seg, "guest")

	t.Run("as a subscriber it is told what it lost", func(t *testing.T) {
		const n = 300
		sub := guest.play("steady.receive", "to-guest", n)
		sub.said(t, "receiving")
		pub := host.play("steady.send", "to-guest", n)
		pub.said(t, "sending")
		if err := guest.guest.Stop(); err != nil {
			t.Fatal(err)
		}
		suspected(t, seg, "guest")
		pub.result(t) // it waited, and went on without the guest
		if err := guest.guest.Continue(); err != nil {
			t.Fatal(err)
		}
		if got := sub.result(t); got == "0" || got == "" {
			t.Errorf("the paused guest says it lost %q messages", got)
		}
	})
	t.Run("as a publisher it goes on where it was", func(t *testing.T) {
		const n = 300
		sub := host.play("steady.receive", "from-guest", n)
		sub.said(t, "receiving")
		pub := guest.play("steady.send", "from-guest", n)
		pub.said(t, "sending")
		if err := guest.guest.Stop(); err != nil {
			t.Fatal(err)
		}
		suspected(t, seg, "guest")
		if err := guest.guest.Continue(); err != nil {
			t.Fatal(err)
		}
		pub.result(t)
		if got := sub.result(t); got != "0" {
			t.Errorf("%s messages of the paused publisher are lost", got)
		}
	})
	t.Run("evicted meanwhile it is told so", func(t *testing.T) {
		w := warden(t, seg)
		sub := guest.play("steady.receive", "evicted", 1<<30)
		sub.said(t, "receiving")
		if err := guest.guest.Stop(); err != nil {
			t.Fatal(err)
		}
		buried(t, seg, w, "guest")
		pub := host.play("steady.send", "evicted", 100)
		other := host.play("steady.receive", "evicted", 100)
		if err := guest.guest.Continue(); err != nil {
			t.Fatal(err)
		}
		if got := sub.result(t); got != "fenced" {
			t.Errorf("the evicted guest ended with %q", got)
		}
		pub.result(t)
		other.result(t)
		guest.end()
	})
	for _, p := range inspect.Verify(seg) {
		t.Errorf("in the end: %v", p)
	}
}

func TestHostileGuestCannotBringDownTheHost(t *testing.T) {
	seg := bus(t, shmtest.Dir(t), 16<<20)
	one, two := onHost(t, seg, "one"), onHost(t, seg, "two")
	guest := inGuest(t, seg, "hostile")
	a, b := one.play("noise", "x", 6000), two.play("noise", "x", 6000)
	a.said(t, "once")
	b.said(t, "once")
	bad := guest.play("bus.garble", "", 3)
	bad.said(t, "garbled")
	t.Logf("one: %s", a.result(t))
	t.Logf("two: %s", b.result(t))
	guest.kill()
	found := inspect.Verify(seg)
	if len(found) == 0 {
		t.Error("nothing is found wrong with a bus full of random bytes")
	}
	for i, p := range found[:min(len(found), 5)] {
		t.Logf("found %d of %d: %v", i, len(found), p)
	}
	if text := says(t, seg, "doctor", "--read-only"); !strings.Contains(text, "superblock") && !strings.Contains(text, "magic") {
		t.Errorf("the doctor says %q", text)
	}
	for _, p := range []*place{one, two} {
		p.lenient = true // they need not leave such a bus without an error
		p.end()
	}
}
