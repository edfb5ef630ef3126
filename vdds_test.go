//go:build !race

package ringbus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// The topic's scheme comes from VDDS. These are the twelve defects that were
// found in its published code, and what happens here instead.

func TestVDDS1PublisherKilledRestartNeedsNoManualRemoval(t *testing.T) {
	s := newStage(t)
	early := s.listen(s.sub(s.node, "t", ringbus.SubscriberOptions{UntilClose: true}), nil) // before any publisher
	for range 3 {
		p := shmtest.Start(t, "sender", nil, s.dir, "publisher")
		p.Expect("joined")
		from := s.sent("t")
		p.Say("send")
		p.Expect(fmt.Sprintf("sent %d", from+1))
		p.Kill()
		s.ends("who was there", early, from+1)
		second := s.pub(s.join("second", 0), "t") // and it need not be the only one
		s.check(second.Close())
		early = s.listen(s.sub(s.node, "t", ringbus.SubscriberOptions{UntilClose: true}), nil)
	}
	s.sound("t")
}

func TestVDDS2SubscriberKilledHoldingBuffersGivesAllBackAtOnce(t *testing.T) {
	s := newStage(t)
	o := roomy()
	o.Reject = true
	pub, err := s.node.Publisher("t", o)
	s.check(err)
	for range 5 {
		p := s.receiver("holder", "same", "reliable")
		from := pub.Sequence()
		for pub.Sequence() < from+16 {
			s.check(pub.Send(mixed(pub.Sequence())))
		}
		p.Say("hold")
		s.gets(p, from, 0)
		if err := pub.Send(nil); !errors.Is(err, ringbus.ErrFull) {
			t.Fatalf("got %v", err)
		}
		p.Kill()
		s.check(pub.Send(mixed(pub.Sequence()))) // not a tick later: the first that needs it
	}
	s.exercise(s.node, pub)
	s.sound("t")
}

func TestVDDS3SlowReaderThatLivesKeepsItsBuffer(t *testing.T) {
	s := newStage(t)
	pub := s.pub(s.node, "t")
	for _, mode := range []string{"latest", "reliable"} {
		p := s.receiver("slow", "same", mode)
		from := pub.Sequence()
		s.sends(pub, from+8)
		p.Say("hold")
		s.gets(p, from, 0)
		p.Stop()
		looks := 0
		until(t, "many times what makes one suspect", func() bool {
			_, err := s.node.Recover()
			s.check(err)
			if mode == "latest" {
				s.sends(pub, pub.Sequence()+10)
			}
			looks++
			return looks > 100
		})
		p.Continue()
		p.Say("look")
		p.Expect("looked")
		p.Say("release") // and this harms nobody
		p.Success()
	}
	s.exercise(s.node, pub)
	s.sound("t")
}

func TestVDDS4ZombieStealsNothingFromOthers(t *testing.T) {
	s := newStage(t)
	pub := s.pub(s.node, "t")
	zombie := s.receiver("zombie", "same", "latest")
	zombie.Stop()
	operator, err := s.node.Segment().Join("operator")
	s.check(err)
	for _, n := range s.node.Segment().Nodes() {
		if n.Name == "zombie" {
			if err := operator.Evict(n.Slot); !errors.Is(err, segment.ErrInUse) {
				t.Errorf("a stopped process was evicted: %v", err)
			}
		}
	}
	s.check(operator.Leave())
	reader := s.listen(s.sub(s.join("reader", 0), "t", ringbus.SubscriberOptions{}), nil)
	s.sends(pub, 100)
	zombie.Continue()
	zombie.Say("take 16")
	s.gets(zombie, 84, 84)
	for n := uint64(85); n < 100; n++ {
		s.gets(zombie, n, 0)
	}
	zombie.Success()
	s.sends(pub, 200)
	s.hears("the reader", reader, 200)
	if n := reader.lost.Load(); n != 0 {
		t.Errorf("%d messages were stolen", n)
	}
	s.sound("t")
}

func TestVDDS5NextOwnerOfASlotIsNotWokenForItsFormerOne(t *testing.T) {
	s := newStage(t)
	pub := s.pub(s.node, "t")
	for range 5 {
		p := s.receiver("asleep", "same", "reliable")
		p.Say("take 1")
		until(t, "it sleeps", func() bool {
			subs, _ := sleepers(s.node.Segment(), "t")
			return subs == 1
		})
		p.Stop()
		s.sends(pub, pub.Sequence()+10) // rings for somebody who will not hear
		p.Kill()
		if _, err := s.node.Recover(); err != nil {
			t.Fatal(err)
		}
		sub := s.sub(s.node, "t", ringbus.SubscriberOptions{})
		if got := look(s.node.Segment(), "t").ring.Subscribers(); len(got) != 1 || got[0].Slot != 0 {
			t.Fatalf("subscribers %+v", got)
		}
		if _, ok, err := sub.TryReceive(); ok || err != nil {
			t.Errorf("there is a message, or %v", err)
		}
		s.check(interrupts(s.ctx, "Receive", func(ctx context.Context) error { return second(sub.Receive(ctx)) }))
		s.check(sub.Close())
	}
	s.sound("t")
}

// A deadline whose fraction of a second is less than that of now is where the
// arithmetic went wrong.
func TestVDDS6DeadlinesAreNotEarlyAcrossTheSecond(t *testing.T) {
	s := newStage(t)
	s.pub(s.node, "t")
	over := time.Now().Truncate(time.Second).Add(time.Second) // the next full second
	var wg sync.WaitGroup
	for i := range 12 {
		sub := s.sub(s.node, "t", ringbus.SubscriberOptions{})
		wg.Go(func() {
			deadline := over.Add(time.Duration(i) * time.Millisecond)
			ctx, cancel := context.WithDeadline(s.ctx, deadline)
			defer cancel()
			_, err := sub.Receive(ctx)
			if early := time.Until(deadline); !errors.Is(err, context.DeadlineExceeded) || early > 0 {
				t.Errorf("it returned %v before its time, with %v", early, err)
			}
		})
	}
	wg.Wait()
}

// There is no lock that one could die with: whoever comes next goes on.
func TestVDDS7DeathLeavesNoLock(t *testing.T) {
	s := newStage(t)
	sub := s.listen(s.sub(s.node, "t", ringbus.SubscriberOptions{}), nil)
	sent, err := openLedger(s.dir, "p")
	s.check(err)
	defer sent.f.Close()
	for range 20 {
		p := shmtest.Start(t, "soaking publisher", nil, s.dir, "p")
		p.Line()
		before := s.sent("t")
		until(t, "it is in the middle of sending", func() bool { return s.sent("t") > before+50 })
		p.Kill()
		s.check(p.Failed())
		heir := s.pub(s.join("p", 0), "t") // at once, before anybody recovered anything
		s.sends(heir, heir.Sequence()+5)
		s.check(errors.Join(heir.Close(), sent.say(heir.Sequence())))
	}
	s.hears("the subscriber", sub, s.sent("t"))
	s.sound("t")
}

// Nothing but the ring's own words orders what is in it.
func TestVDDS8MessagesAreWholeWithoutAnyWaking(t *testing.T) {
	s := newStage(t)
	o := roomy()
	o.Wait = ringbus.Wait{BusyPoll: true}
	pub, err := s.join("sender", 0).Publisher("t", o)
	s.check(err)
	sub, err := s.node.Subscriber("t", &ringbus.SubscriberOptions{Wait: o.Wait})
	s.check(err)
	l := s.listen(sub, nil)
	s.sends(pub, 20000)
	s.hears("the subscriber", l, 20000)
	if subs, pubs := sleepers(s.node.Segment(), "t"); subs != 0 || pubs != 0 {
		t.Errorf("somebody slept: %b, %d", subs, pubs)
	}
}

func TestVDDS9DepthIsRoundedAndPositionsDoNotWrap(t *testing.T) {
	s := newStage(t)
	for asked, want := range map[int]int{1: 1, 3: 4, 5: 8, 100: 128, 128: 128} {
		topic := fmt.Sprintf("depth/%d", asked)
		for range 2 { // the second agrees
			p, err := s.node.Publisher(topic, &ringbus.PublisherOptions{Depth: asked, MaxMessage: 200, Reject: true})
			s.check(err)
			if p.Depth() != want {
				t.Errorf("depth %d became %d, want %d", asked, p.Depth(), want)
			}
			sub := s.sub(s.node, topic, ringbus.SubscriberOptions{})
			for range want {
				s.check(p.Send(nil))
			}
			if err := p.Send(nil); !errors.Is(err, ringbus.ErrFull) {
				t.Errorf("depth %d: more than that went: %v", want, err)
			}
			s.check(errors.Join(sub.Close(), p.Close()))
		}
		s.check(s.node.Remove(topic))
	}
	for _, at := range []uint64{1<<31 - 50, 1<<32 - 50, 1<<40 - 50} {
		topic := fmt.Sprintf("at/%d", at)
		s.check(s.pub(s.node, topic).Close())
		for _, a := range s.node.Segment().Areas() {
			if a.Key.Kind == segment.KindLane && a.Key.Name == topic {
				b, err := s.node.Segment().AreaBytes(a.Index, a.Gen)
				s.check(err)
				mem.U64(b, 0x80).Store(at + 4) // limit: a quarter of the ring beyond the head
			}
		}
		pub := s.pub(s.node, topic)
		if pub.Sequence() != at {
			t.Fatalf("it begins at %d, want %d", pub.Sequence(), at)
		}
		reliable := s.listen(s.sub(s.node, topic, ringbus.SubscriberOptions{}), nil)
		latest := s.listen(s.sub(s.node, topic, ringbus.SubscriberOptions{Mode: ringbus.Latest}), nil)
		sleeper := s.sub(s.node, topic, ringbus.SubscriberOptions{Mode: ringbus.Latest})
		s.sends(pub, at+100)
		s.hears("a reliable subscriber", reliable, at+100)
		s.hears("a latest subscriber", latest, at+100)
		late := s.listenFrom(at, sleeper, nil)
		s.hears("one that came too late", late, at+100)
		if late.lost.Load() != 84 || reliable.lost.Load() != 0 {
			t.Errorf("lost %d and %d", late.lost.Load(), reliable.lost.Load())
		}
		s.check(pub.Close())
		s.sound(topic)
		s.check(errors.Join(reliable.sub.Close(), latest.sub.Close(), late.sub.Close()))
		s.check(s.node.Remove(topic))
	}
}

// Strictly typed, and compiled as it is written: a wait with a deadline.
var (
	_ func(*ringbus.Subscriber, context.Context) (ringbus.Message, error) = (*ringbus.Subscriber).Receive
	_ func(*ringbus.Publisher, context.Context, []byte) error             = (*ringbus.Publisher).SendContext
	_ func(context.Context, ...*ringbus.Subscriber) (int, error)          = ringbus.Select
	_ func(*ringbus.Publisher, context.Context, int) error                = (*ringbus.Publisher).WaitSubscribers
	_ func(ringbus.Loan, context.Context) error                           = ringbus.Loan.SendContext
	_ func(*ringbus.Publisher, context.Context, [][]byte) (int, error)    = (*ringbus.Publisher).SendBatchContext
	_ func(*ringbus.Subscriber) (m ringbus.Message, ok bool, err error)   = (*ringbus.Subscriber).TryReceive
)

func TestVDDS10FileThatIsTooShortIsAnErrorAndNoSignal(t *testing.T) {
	for _, size := range []int64{1, 4095, 4096, 1 << 20, busSize - 1} {
		dir := shmtest.Dir(t)
		n, err := ringbus.Open("bus", options(dir, "maker"))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := os.Truncate(files[0], size); err != nil {
			t.Fatal(err)
		}
		_, err = ringbus.Open("bus", options(dir, "next"))
		var format *segment.FormatError
		if !errors.As(err, &format) {
			t.Errorf("of a file of %d bytes: %v", size, err)
		}
	}
}

func TestVDDS11NamesDoNotCollide(t *testing.T) {
	names := []string{"a/b", "a_b", "a.b", "a-b", "A/b", "a2Fb", "a/b/b"}
	s := newStage(t)
	var subs []*ringbus.Subscriber
	for _, name := range names {
		subs = append(subs, s.sub(s.node, name, ringbus.SubscriberOptions{}))
	}
	for _, name := range names {
		s.check(s.pub(s.node, name).Send([]byte(name)))
	}
	for i, sub := range subs {
		m, err := sub.Receive(s.ctx)
		s.check(err)
		if string(m.Data()) != names[i] {
			t.Errorf("topic %q received %q", names[i], m.Data())
		}
		if _, ok, err := sub.TryReceive(); ok || err != nil {
			t.Errorf("topic %q received more, %v", names[i], err)
		}
	}
	ids := make(map[[16]byte]string)
	for _, name := range names { // and so for buses
		n, err := ringbus.Open(name, options(s.dir, "node"))
		s.check(err)
		if other, ok := ids[n.Segment().ID()]; ok {
			t.Errorf("buses %q and %q are one", name, other)
		}
		ids[n.Segment().ID()] = name
		s.check(n.Close())
	}
}

// Memory does not grow with the subscribers, nor with their square.
func TestVDDS12SubscribersCostNoMemory(t *testing.T) {
	s := newStage(t)
	o := roomy()
	o.Holds = 192
	pub, err := s.node.Publisher("t", o)
	s.check(err)
	s.sub(s.node, "t", ringbus.SubscriberOptions{Hold: 1})
	before := s.node.Segment().Usage()
	for range 63 {
		s.sub(s.node, "t", ringbus.SubscriberOptions{Hold: 1})
	}
	s.check(pub.WaitSubscribers(s.ctx, 64))
	if after := s.node.Segment().Usage(); after != before {
		t.Errorf("with 64 subscribers %+v, with one %+v", after, before)
	}
	goroutines, err := threads()
	s.check(err)
	if goroutines > 60 {
		t.Errorf("%d threads for 65 endpoints", goroutines)
	}
	if _, err := s.node.Subscriber("t", nil); err == nil || !strings.Contains(err.Error(), "64 subscribers") {
		t.Errorf("got %v", err)
	}
}
