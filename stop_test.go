//go:build !race

package ringbus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
)

func init() {
	roles["receiver"] = roleReceiver
	roles["sender"] = roleSender
}

// roleReceiver joins topic t as a node of the kernel that it is told. On
// "take N" it receives N messages, says of each "got POSITION LOST", and
// releases it; on "hold" it receives one that it keeps; on "look" it says
// whether that one still is what it was.
func roleReceiver(args []string) error {
	kernel := uint64(0)
	if args[2] == "other" {
		kernel = 2
	}
	node, end, err := joinAs(args[0], args[1], kernel)
	if err != nil {
		return err
	}
	o := &ringbus.SubscriberOptions{Hold: 2, Wait: asleep}
	if args[3] == "latest" {
		o.Mode = ringbus.Latest
	}
	sub, err := node.Subscriber("t", o)
	if err != nil {
		return err
	}
	fmt.Println("joined")
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	defer cancel()
	var held ringbus.Message
	receive := func() error {
		if held, err = sub.Receive(ctx); err != nil {
			return err
		}
		fmt.Println("got", held.Sequence(), held.Lost())
		return intact(held.Data(), held.Sequence(), sizeOf(held.Sequence()))
	}
	shmtest.Listen(func(line string) bool {
		count := 0
		switch {
		case line == "hold":
			err = receive()
		case line == "look":
			err = intact(held.Data(), held.Sequence(), sizeOf(held.Sequence()))
			fmt.Println("looked")
		case line == "release":
			held.Release()
		default:
			_, err = fmt.Sscanf(line, "take %d", &count)
		}
		keep := held
		for range count {
			if err == nil {
				if err = receive(); err == nil {
					held.Release()
				}
			}
		}
		held = keep
		return err == nil
	})
	return errors.Join(err, sub.Close(), end())
}

// roleSender sends a message on topic t for each line that it is told.
func roleSender(args []string) error {
	node, end, err := joinAs(args[0], args[1], 0)
	if err != nil {
		return err
	}
	pub, err := node.Publisher("t", roomy())
	if err != nil {
		return err
	}
	fmt.Println("joined")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := pub.Send(mixed(pub.Sequence())); err != nil {
			return err
		}
		fmt.Println("sent", pub.Sequence())
	}
	return errors.Join(pub.Close(), end())
}

// receiver starts a process that receives.
func (s *stage) receiver(name, kernel, mode string) *shmtest.Proc {
	p := shmtest.Start(s, "receiver", nil, s.dir, name, kernel, mode)
	p.Expect("joined")
	return p
}

// gets checks which message p got next, and after which loss.
func (s *stage) gets(p *shmtest.Proc, n, lost uint64) {
	s.Helper()
	if got, want := p.Expect("got "), fmt.Sprint(n, lost); got != want {
		s.Fatalf("it got message and loss %s, want %s", got, want)
	}
}

// sends sends messages up to number to.
func (s *stage) sends(pub *ringbus.Publisher, to uint64) {
	s.Helper()
	for pub.Sequence() < to {
		s.check(pub.SendContext(s.ctx, mixed(pub.Sequence())))
	}
}

func TestStoppedReliableSubscriberFindsItsMessages(t *testing.T) {
	s := newStage(t)
	p := s.receiver("stopped", "same", "reliable")
	other := s.sub(s.node, "t", ringbus.SubscriberOptions{})
	o := roomy()
	o.Reject = true
	pub, err := s.node.Publisher("t", o)
	s.check(err)
	l := s.listen(other, nil)
	p.Stop()
	s.sends(pub, 16)
	s.hears("who runs", l, 16)
	for range 3 { // it is alive, however often one looks
		if r, err := s.node.Recover(); err != nil || len(r.Dead) != 0 {
			t.Fatalf("recovered %+v, %v", r, err)
		}
		var full *ringbus.FullError
		if err := pub.Send(nil); !errors.As(err, &full) || fmt.Sprint(full.Blockers) != "[stopped]" {
			t.Fatalf("got %v", err)
		}
	}
	waiting := make(chan error, 1)
	s.check(pub.Close())
	pub = s.pub(s.node, "t")
	go func() { waiting <- pub.SendContext(s.ctx, mixed(16)) }()
	until(t, "the publisher sleeps", func() bool {
		_, pubs := sleepers(s.node.Segment(), "t")
		return pubs == 1
	})
	p.Continue()
	p.Say("take 17")
	for n := range uint64(17) {
		s.gets(p, n, 0)
	}
	s.check(<-waiting)
	p.Success()
	s.sound("t")
}

func TestStoppedLatestSubscriberLearnsItsLoss(t *testing.T) {
	s := newStage(t)
	p := s.receiver("stopped", "same", "latest")
	pub := s.pub(s.node, "t")
	s.sends(pub, 10)
	p.Say("take 5")
	for n := range uint64(5) {
		s.gets(p, n, 0)
	}
	p.Stop()
	s.sends(pub, 1000) // slows nobody
	p.Continue()
	p.Say("take 16")
	s.gets(p, 1000-16, 1000-16-5)
	for n := uint64(1000 - 15); n < 1000; n++ {
		s.gets(p, n, 0)
	}
	p.Success()
	s.sound("t")
}

func TestStoppedPublisherDelaysItsOwnLaneOnly(t *testing.T) {
	s := newStage(t)
	sub := s.sub(s.node, "t", ringbus.SubscriberOptions{})
	p := shmtest.Start(t, "sender", nil, s.dir, "stopped")
	p.Expect("joined")
	p.Say("send")
	p.Expect("sent 1")
	p.Stop()
	other := s.pub(s.join("other", 0), "t")
	at := make(map[string]uint64)
	next := func() {
		m, err := sub.Receive(s.ctx)
		s.check(err)
		s.check(follows(at, m))
		m.Release()
	}
	next()
	for n := range uint64(100) {
		s.sends(other, n+1)
		next()
	}
	if at["stopped"] != 1 || at["other"] != 100 {
		t.Fatalf("received %v", at)
	}
	// Its lane is its own: the same name gets another one meanwhile.
	twin := s.pub(s.join("stopped", 0), "t")
	if twin.Sequence() != 0 {
		t.Fatalf("the lane of a publisher that lives was taken, at %d", twin.Sequence())
	}
	p.Continue()
	p.Say("send")
	p.Expect("sent 2")
	next()
	if at["stopped"] != 2 {
		t.Fatalf("received %v", at)
	}
	p.Success()
	s.sound("t")
}

// A subscriber of another kernel that is silent may be dead: nobody can know.
// It holds nobody up, and if it comes back, it has its loan, is told what it
// lost, and takes nothing from others.
func TestSilentSubscriberOfAnotherKernelIsFencedAndComesBack(t *testing.T) {
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprintf("holding a message: %v", held), func(t *testing.T) {
			s := newStage(t)
			p := s.receiver("guest", "other", "reliable")
			all := s.listen(s.sub(s.node, "t", ringbus.SubscriberOptions{}), nil)
			pub := s.pub(s.node, "t")
			s.sends(pub, 10)
			p.Say("take 8")
			for n := range uint64(8) {
				s.gets(p, n, 0)
			}
			next := uint64(8)
			if held {
				p.Say("hold")
				s.gets(p, 8, 0)
				next = 9
			}
			p.Stop()
			const sent = 800   // every descriptor is used again and again
			s.sends(pub, sent) // waits until it is suspect, and fences it
			s.hears("the subscriber that runs", all, sent)
			fenced := 0
			for _, l := range look(s.node.Segment(), "t").lanes {
				for _, c := range l.Subscribers {
					if c.Fenced {
						fenced++
					}
				}
			}
			if fenced != 1 {
				t.Fatalf("%d subscribers are fenced", fenced)
			}
			later := s.receiver("later", "same", "reliable") // takes a slot of its own
			p.Continue()
			if held {
				p.Say("look")
				p.Expect("looked")
			}
			p.Say("take 2")
			var at, lost uint64
			_, err := fmt.Sscan(p.Expect("got "), &at, &lost)
			s.check(err)
			// A publisher may be about to write the last quarter of the ring.
			if at != next+lost || at < sent-16 || at > sent-16+4 {
				t.Fatalf("after message %d it got message %d and a loss of %d", next-1, at, lost)
			}
			s.gets(p, at+1, 0)
			if held {
				p.Say("look")
				p.Expect("looked")
				p.Say("release")
			}
			p.Say(fmt.Sprintf("take %d", sent-at-2))
			for n := at + 2; n < sent; n++ {
				s.gets(p, n, 0)
			}
			s.sends(pub, sent+3) // after it has caught up, or it might be fenced again
			p.Say("take 3")
			for n := uint64(sent); n < sent+3; n++ {
				s.gets(p, n, 0)
			}
			later.Say("take 3")
			for n := uint64(sent); n < sent+3; n++ {
				s.gets(later, n, 0)
			}
			s.hears("the subscriber that runs", all, sent+3)
			if all.lost.Load() != 0 {
				t.Errorf("the subscriber that runs lost %d", all.lost.Load())
			}
			p.Success()
			later.Success()
			s.exercise(s.node, pub, all)
			s.sound("t")
		})
	}
}

// Who was evicted and lives is told so by whatever it does, and what it does
// harms nobody, its slot's next owner least.
func TestEvictedSubscriberStealsNothing(t *testing.T) {
	s := newStage(t)
	p := s.receiver("zombie", "other", "reliable")
	pub := s.pub(s.node, "t")
	s.sends(pub, 10)
	p.Say("hold")
	s.gets(p, 0, 0)
	p.Stop()
	operator, err := s.node.Segment().Join("operator")
	s.check(err)
	for _, n := range operator.Segment().Nodes() {
		if n.Name == "zombie" {
			s.check(operator.Evict(n.Slot))
		}
	}
	s.check(operator.Leave())
	heir := s.receiver("heir", "same", "reliable")
	s.sends(pub, 26)
	p.Continue()
	p.Say("take 1")
	if err := p.Wait(); err == nil || !strings.Contains(p.Stderr(), "join it again") {
		t.Errorf("the zombie ended by %v and said %s", err, p.Stderr())
	}
	heir.Say("take 16")
	for n := uint64(10); n < 26; n++ {
		s.gets(heir, n, 0)
	}
	heir.Success()
	s.exercise(s.node, pub)
	s.sound("t")
}
