package segment

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// phone is a doorbell that notes who was rung.
type phone struct {
	up   atomic.Bool
	rung atomic.Uint32
}

func (p *phone) Up() bool { return p.up.Load() }
func (p *phone) Ring(peer, vector uint16) bool {
	p.rung.Store(uint32(peer)<<16 | uint32(vector))
	return true
}

func TestWhoMustLookByHimself(t *testing.T) {
	host, guest := kernels(t)
	h := join(t, host, "host")
	if h.Home().Away() {
		t.Error("alone, and looks for others")
	}
	g := join(t, guest, "guest")
	if !g.Home().Away() {
		t.Error("the guest does not see that the host's nodes cannot ring it")
	}
	until(t, "the host looks", func() bool { return h.Home().Away() })
	g.Abandon()
	until(t, "the host does not look for one that is silent", func() bool { return !h.Home().Away() })
	if h.Home().Far(-1, true) || h.Home().Far(256, true) || h.Home().Far(h.slot, true) {
		t.Error("slots that are none, or ours, are far")
	}
}

func TestDoorbellSparesTheLooks(t *testing.T) {
	host, guest := kernels(t)
	host.opts.SuspectAfter, guest.opts.SuspectAfter = time.Minute, time.Minute
	h, g := join(t, host, "host"), join(t, guest, "guest")
	bell := &phone{}
	bell.up.Store(true)
	host.SetDoorbell(bell)
	h.SetDoor(1, 2, true)
	if h.Home().Covered() {
		t.Error("the guest has no door yet")
	}
	if _, _, ok := host.DoorOf(g.slot); ok {
		t.Error("a door out of nothing")
	}
	g.SetDoor(0, 0, true)
	if peer, vector, ok := host.DoorOf(g.slot); peer != 0 || vector != 0 || !ok {
		t.Error(peer, vector, ok)
	}
	g.SetDoor(65535, 65535, true)
	until(t, "covered", func() bool { return h.Home().Covered() })
	word := mem.Alloc(64)
	b := wake.Bell{Word: mem.U32(word, 0), Ref: mem.U32(word, 4)}
	b.Ref.Store(uint32(g.slot) + 1)
	wake.Ring(b, bells{host})
	if bell.rung.Load() != ^uint32(0) {
		t.Errorf("rung %#x", bell.rung.Load())
	}
	bell.up.Store(false)
	if h.Home().Covered() {
		t.Error("the doorbell is down, and nobody looks")
	}
	bell.up.Store(true)
	third := join(t, guest, "doorless")
	until(t, "one without a door came", func() bool { return !h.Home().Covered() })
	if err := third.Leave(); err != nil {
		t.Fatal(err)
	}
	until(t, "covered again", func() bool { return h.Home().Covered() })
	g.SetDoor(0, 0, false)
	until(t, "the guest lost its door", func() bool { return !h.Home().Covered() })
	// The door of a slot's former owner is nobody's.
	g.SetDoor(7, 7, true)
	if err := h.Evict(g.slot); err != nil {
		t.Fatal(err)
	}
	next := join(t, host, "next")
	g.SetDoor(8, 8, true) // late
	if _, _, ok := host.DoorOf(next.slot); ok || next.slot != g.slot {
		t.Error("the next owner has the door of an evicted one")
	}
	mem.U64(host.b, slotOff(next.slot)+nodeDoor).Store(tagged(next.word.gen(), 1<<40))
	if _, _, ok := host.DoorOf(next.slot); ok {
		t.Error("garbage is a door")
	}
}

func TestSleepersAreToldOfChanges(t *testing.T) {
	host, guest := kernels(t)
	h := join(t, host, "host")
	var alarms, news atomic.Int32
	h.Home().Notify(t, func(alarm bool) {
		if alarm {
			alarms.Add(1)
		} else {
			news.Add(1)
		}
	})
	host.Awaken()
	if news.Load() != 1 || alarms.Load() != 0 {
		t.Error("a doorbell is no alarm")
	}
	g := join(t, guest, "guest")
	until(t, "an alarm for the first node of another kernel", func() bool { return alarms.Load() > 0 })
	was := alarms.Load()
	if err := g.Evict(h.slot); err != nil {
		t.Fatal(err)
	}
	until(t, "an alarm for who is fenced", func() bool { return alarms.Load() > was })
	h.Home().Notify(t, nil)
	was = news.Load()
	host.Awaken()
	if news.Load() != was {
		t.Error("who asked not to be told was")
	}
}
