//go:build !race

package ringbus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// A stage is a bus in a file on which processes die and stop while nodes of
// this one, the survivors, go on.
type stage struct {
	*testing.T
	ctx  context.Context
	dir  string
	node *ringbus.Node
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{T: t, ctx: soon(t), dir: shmtest.Dir(t)}
	s.node = s.join("keeper", 0)
	return s
}

// join attaches one more node of this process, of the given kernel, 0 for ours.
func (s *stage) join(name string, kernel uint64) *ringbus.Node {
	s.Helper()
	n, end, err := joinAs(s.dir, name, kernel)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := end(); err != nil && !errors.Is(err, ringbus.ErrFenced) {
			s.Error(err)
		}
	})
	return n
}

// suspectAfter is how long the nodes of these tests wait for a heartbeat of
// another kernel. It is less than a beat, so that who lives is suspect at times.
const suspectAfter = 20 * time.Millisecond

// joinAs opens the bus in dir and joins it.
func joinAs(dir, name string, kernel uint64) (*ringbus.Node, func() error, error) {
	seg, err := segment.Open("bus", &segment.Options{Dir: dir, Size: busSize, Kernel: kernel, SuspectAfter: suspectAfter})
	if err != nil {
		return nil, nil, err
	}
	n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
	if err != nil {
		return nil, nil, errors.Join(err, seg.Close())
	}
	return n, func() error { return errors.Join(n.Close(), seg.Close()) }, nil
}

func (s *stage) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// roomy are the options of the topics on stages.
func roomy() *ringbus.PublisherOptions {
	return &ringbus.PublisherOptions{Depth: 16, MaxMessage: 1024, Holds: 40, Wait: asleep}
}

func (s *stage) pub(n *ringbus.Node, topic string) *ringbus.Publisher {
	s.Helper()
	p, err := n.Publisher(topic, roomy())
	s.check(err)
	return p
}

// sub subscribes to topic t.
func (s *stage) sub(n *ringbus.Node, topic string, o ringbus.SubscriberOptions) *ringbus.Subscriber {
	s.Helper()
	o.Wait = asleep
	sub, err := n.Subscriber(topic, &o)
	s.check(err)
	return sub
}

// A listener receives the messages of one lane for ever, or until their end,
// and judges each.
type listener struct {
	sub   *ringbus.Subscriber
	next  atomic.Uint64 // it has heard of all messages before
	lost  atomic.Uint64
	ended chan struct{}
	err   error // once it has ended
}

// listen begins to receive when gate returns. Since sub was made nothing was
// sent on its topic.
func (s *stage) listen(sub *ringbus.Subscriber, gate func()) *listener {
	return s.listenFrom(s.sent(sub.Topic()), sub, gate)
}

// listenFrom is listen where the first message due is number from.
func (s *stage) listenFrom(from uint64, sub *ringbus.Subscriber, gate func()) *listener {
	l := &listener{sub: sub, ended: make(chan struct{})}
	l.next.Store(from)
	go func() {
		defer close(l.ended)
		if gate != nil {
			gate()
		}
		l.err = l.run(s.ctx)
		_ = sub.Close() // who does not receive any more must not hold others up
	}()
	s.Cleanup(func() {
		_ = sub.Close()
		<-l.ended
	})
	return l
}

func (l *listener) run(ctx context.Context) error {
	for m, err := range l.sub.Messages(ctx) {
		if err != nil {
			return err
		}
		n, want := m.Sequence(), l.next.Load()+m.Lost()
		if n != want {
			return fmt.Errorf("message %d came, with a loss of %d, where %d was due", n, m.Lost(), want)
		}
		if err := intact(m.Data(), n, sizeOf(n)); err != nil {
			return err
		}
		l.lost.Add(m.Lost())
		l.next.Store(n + 1)
	}
	return nil
}

// hears waits until the listener has heard of all messages before n.
func (s *stage) hears(who string, l *listener, n uint64) {
	s.Helper()
	ok := eventually(func() bool {
		select {
		case <-l.ended:
			return true
		default:
			return l.next.Load() >= n
		}
	})
	if got := l.next.Load(); !ok || got != n {
		s.Errorf("%s heard of messages before %d, want %d", who, got, n)
	}
	select {
	case <-l.ended:
		s.Errorf("%s has ended: %v", who, l.err)
	default:
	}
}

// ends waits until an until-close listener comes to its end.
func (s *stage) ends(who string, l *listener, n uint64) {
	s.Helper()
	select {
	case <-l.ended:
		if got := l.next.Load(); l.err != nil || got != n {
			s.Errorf("%s ended before message %d, want %d: %v", who, got, n, l.err)
		}
	case <-s.ctx.Done():
		s.Fatalf("%s sleeps for ever, having heard of messages before %d", who, l.next.Load())
	}
}

// view is a topic's ring and its lanes, for looking at.
type view struct {
	ring  *fanout.Topic
	lanes []fanout.LaneState
	wrong []string
}

func look(seg *segment.Segment, topic string) (v view) {
	areas := make(map[segment.Key][]byte)
	var at segment.AreaInfo
	for _, a := range seg.Areas() {
		b, err := seg.AreaBytes(a.Index, a.Gen)
		if err != nil || a.Key.Name != topic {
			continue
		}
		areas[a.Key] = b
		if a.Key.Kind == segment.KindTopic {
			at = a
		}
	}
	b := areas[at.Key]
	if b == nil {
		return v
	}
	ring, err := fanout.OpenTopic(b)
	if err != nil {
		v.wrong = append(v.wrong, err.Error())
		return v
	}
	v.ring, v.wrong = ring, ring.Verify()
	c, _, err := ring.Config()
	for k := range fanout.MaxLanes {
		if ring.Lanes()&(1<<k) == 0 || err != nil {
			continue
		}
		b := areas[segment.Key{Kind: segment.KindLane, Sub: segment.LaneSub(k, at.Index, at.Gen), Name: topic}]
		l, err := fanout.OpenLane(b, k, c)
		if err != nil {
			v.wrong = append(v.wrong, err.Error())
			continue
		}
		v.lanes = append(v.lanes, l.Inspect(ring))
		v.wrong = append(v.wrong, l.Verify(ring)...)
	}
	return v
}

// sent is how many messages a topic's lanes have.
func (s *stage) sent(topic string) (n uint64) {
	for _, l := range look(s.node.Segment(), topic).lanes {
		n += l.Head
	}
	return n
}

// sound recovers the dead and fails the test if anything is wrong with the
// bus, or if anything in it belongs to nobody.
func (s *stage) sound(topics ...string) {
	s.Helper()
	if _, err := s.node.Recover(); err != nil {
		s.Fatal(err)
	}
	seg := s.node.Segment()
	for _, p := range seg.Verify() {
		s.Error(p)
	}
	live := make(map[uint32]bool)
	for _, n := range seg.Nodes() {
		if n.Status == segment.Dead {
			s.Errorf("node %q (%v) is dead and not recovered", n.Name, n.Owner)
		}
		live[uint32(n.Owner)] = true
	}
	for _, topic := range topics {
		v := look(seg, topic)
		for _, w := range v.wrong {
			s.Error(w)
		}
		for _, sub := range v.ring.Subscribers() {
			if !live[sub.Owner] {
				s.Errorf("subscriber slot %d belongs to nobody", sub.Slot)
			}
		}
		for _, l := range v.lanes {
			if (l.State == fanout.LaneOpen || l.State == fanout.LaneOpening) && !live[l.Owner] {
				s.Errorf("lane %d belongs to nobody", l.Number)
			}
		}
	}
}

// exercise shows that every descriptor of p's lane can still be had: with all
// loans open and a new subscriber holding all it may, three times as many lent
// messages pass as there are descriptors, and never a wait for one. It returns
// how many were sent.
func (s *stage) exercise(n *ringbus.Node, p *ringbus.Publisher, others ...*listener) (sent uint64) {
	s.Helper()
	sub := s.sub(n, p.Topic(), ringbus.SubscriberOptions{Hold: 16})
	var loans []ringbus.Loan
	for {
		l, err := p.Loan(1000)
		if errors.Is(err, ringbus.ErrTooManyLoans) {
			break
		}
		s.check(err)
		loans = append(loans, l)
	}
	loans[0].Discard()
	loans = loans[1:]
	held := make(map[uint64]ringbus.Message)
	for from := p.Sequence(); p.Sequence() < from+3*(16+4+40); sent++ {
		n := p.Sequence()
		l, err := p.Loan(max(sizeOf(n), 105))
		s.check(err)
		payload(l.Data(), n)
		l.Truncate(sizeOf(n))
		payload(l.Data(), n)
		s.check(l.SendContext(s.ctx))
		m, err := sub.Receive(s.ctx)
		s.check(err)
		if m.Sequence() != n {
			s.Fatalf("received message %d, want %d", m.Sequence(), n)
		}
		if held[n] = m; len(held) == 16 {
			old := held[n-15]
			s.check(intact(old.Data(), n-15, sizeOf(n-15)))
			old.Release()
			delete(held, n-15)
		}
	}
	for _, l := range loans {
		l.Discard()
	}
	s.check(sub.Close())
	for _, l := range others {
		s.hears("a survivor", l, p.Sequence())
	}
	return sent
}

// batchLength is how many messages a batch has that a process sends which is
// going to be killed: so many may be there that it did not acknowledge.
const batchLength = 6
