package ringbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// Mode says what happens when a subscriber is slower than a publisher.
type Mode int

// The modes of a subscriber.
const (
	// DefaultMode is Reliable, or Latest on a topic that is latest-only.
	DefaultMode Mode = iota
	// Reliable: the publisher waits, or is told that the topic is full.
	Reliable
	// Latest: the publisher goes on; the subscriber continues with the oldest
	// message that is left, and is told how many it lost.
	Latest
)

// SubscriberOptions says how a subscriber receives. The zero value of every
// field is useful.
type SubscriberOptions struct {
	// Mode: what happens when this subscriber is too slow.
	Mode Mode
	// History is how many messages, sent before now, to receive first, of each
	// publisher; as many as the topic still has are received.
	History int
	// Hold is how many messages this subscriber may hold unreleased at once,
	// of all publishers; 1 to 16; 0: 2.
	Hold int
	// UntilClose: Receive returns io.EOF when every publisher that was there
	// has closed or died and all its messages were received. Otherwise it
	// waits for new publishers.
	UntilClose bool
	// Type is a fingerprint of the layout of the topic's messages; 0: any.
	// Package typed sets it.
	Type uint64
	// Wait says how Receive waits for a message.
	Wait Wait
}

// Subscriber receives the messages of one topic, of all its publishers. It
// must be used by one goroutine at a time, but its messages may be released by
// any, and Close may be called by any, and interrupts a Receive that waits.
type Subscriber struct {
	topic   *topic
	slot    *fanout.Slot
	policy  wake.Policy
	sleeper *wake.Sleeper
	history int
	until   bool
	records []record

	cur   int // the record that was filled last
	turn  int // the lane that is read
	count uint
	rx    []*fanout.Rx
	mask  uint64                  // the lanes that rx has
	taken [fanout.MaxLanes]uint64 // how often each lane was, before rx was opened

	joined bool   // the lanes that were there at first are open
	there  uint64 // the lanes that had a publisher while we were here

	gate  host.Gate
	mu    sync.Mutex // guards rx and names against Close
	names [fanout.MaxLanes]laneName
	lost  atomic.Uint64
}

// laneName remembers a lane's publisher, and the one before it.
type laneName struct {
	owner  uint64
	name   string
	since  uint64
	former string
}

// Subscriber opens a topic for receiving, and creates it if it is not there:
// publishers may come later. A topic has at most 64 subscribers at a time.
func (n *Node) Subscriber(topicName string, o *SubscriberOptions) (*Subscriber, error) {
	if o == nil {
		o = &SubscriberOptions{}
	}
	if o.History < 0 || o.Mode < DefaultMode || o.Mode > Latest {
		return nil, fmt.Errorf("topic %q: no such history (%d) or mode (%d)", topicName, o.History, o.Mode)
	}
	t, err := n.openTopic(topicName)
	if err != nil {
		return nil, err
	}
	s := &Subscriber{topic: t, policy: o.Wait.policy(), history: o.History, until: o.UntilClose}
	if err := t.agreeType(o.Type); err != nil {
		t.close()
		return nil, err
	}
	hold := o.Hold
	if hold == 0 {
		hold = 2
	}
	if s.slot, err = t.join(fanout.Mode(o.Mode), hold); err != nil {
		t.close()
		return nil, fmt.Errorf("topic %q: %w", topicName, err)
	}
	s.records = make([]record, hold)
	for i := range s.records {
		s.records[i].Init(i)
		s.records[i].sub = s
	}
	s.sleeper = n.host.Pool.NewSleeper(s.slot.Bell(), s.policy)
	if err = s.openLanes(); err == nil {
		err = n.host.Add(s)
	}
	if err != nil {
		s.giveBack()
		return nil, err
	}
	s.history = 0 // lanes that come later are read from their beginning
	return s, nil
}

// join claims a subscriber slot; the dead make room.
func (t *topic) join(m fanout.Mode, hold int) (*fanout.Slot, error) {
	owner := uint32(t.node.node.Owner())
	slot, err := t.ring.Join(owner, m, hold)
	if errors.Is(err, fanout.ErrNoSlot) {
		if _, err := t.node.Recover(); err != nil {
			return nil, err
		}
		slot, err = t.ring.Join(owner, m, hold)
	}
	switch {
	case errors.Is(err, fanout.ErrNoSlot):
		return nil, ErrTooManySubscribers
	case err != nil:
		return nil, err
	}
	if err := slot.CheckCredit(); err != nil {
		slot.Leave(t.known, t.node.ring)
		return nil, err
	}
	return slot, nil
}

// openLanes opens the lanes that are new in the topic.
func (s *Subscriber) openLanes() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gate.Closed.Load() {
		return s.closedErr()
	}
	late := s.joined
	s.joined = true
	visible := s.topic.ring.Lanes() // once: the first time, what was there after the claim
	for k := range fanout.MaxLanes {
		bit := uint64(1) << k
		if visible&bit == 0 || s.mask&bit != 0 {
			continue
		}
		c, ok, err := s.topic.ring.Config()
		if err != nil || !ok {
			return fmt.Errorf("topic %q: a lane, but no config: %w", s.topic.name, errors.Join(err, fs.ErrInvalid))
		}
		l, err := s.topic.lane(k, c)
		if err != nil {
			return err
		}
		s.taken[k] = l.Taken() // who takes it from here on finds us
		published := s.published(l)
		rx, err := fanout.OpenRx(s.slot, l, s.history, late, s.topic.node.ring)
		if err != nil {
			return fmt.Errorf("topic %q: lane %d: %w", s.topic.name, k, err)
		}
		if s.history > 0 || rx.Given() || published {
			s.there |= bit
		}
		s.rx = append(s.rx, rx)
		s.mask |= bit
	}
	return nil
}

// Receive returns the next message, and waits for it. The message is lent
// until its Release; at most Hold messages may be lent at once. When ctx is
// done it returns ctx's error; with UntilClose it returns io.EOF at the end.
// The messages of one publisher come in order, each once; where some are
// missing, the next one says how many.
func (s *Subscriber) Receive(ctx context.Context) (Message, error) {
	s.gate.Enter("Subscriber")
	if !s.gate.Closed.Load() {
		s.count++
		st := s.poll()
		if st == fanout.Empty {
			if spin := s.policy.Begin(); s.glance(&spin) {
				st = s.poll()
			}
		}
		if st == fanout.Got && (s.count%64 != 0 || s.topic.ring.Lanes() == s.mask) {
			m := s.records[s.cur].lend()
			s.gate.Leave()
			return m, nil
		}
		return s.receive(ctx, st)
	}
	s.gate.Leave()
	return Message{}, s.closedErr()
}

// receive is Receive where poll found st, and not just the next message.
func (s *Subscriber) receive(ctx context.Context, st fanout.Status) (Message, error) {
	defer s.gate.Leave()
	switch st {
	case fanout.Got:
		if err := s.openLanes(); err != nil {
			return Message{}, err
		}
		return s.records[s.cur].lend(), nil
	case fanout.Empty:
	default:
		if err := s.settle(st); err != nil {
			return Message{}, err
		}
	}
	return s.wait(ctx)
}

// TryReceive returns the next message if there is one, and does not wait.
func (s *Subscriber) TryReceive() (m Message, ok bool, err error) {
	s.gate.Enter("Subscriber")
	defer s.gate.Leave()
	got, err := s.look()
	if err != nil || !got {
		return Message{}, false, err
	}
	return s.records[s.cur].lend(), true, nil
}

// Messages ranges over the messages as they come: for msg, err := range
// sub.Messages(ctx). Each message's loan ends when the loop's body does,
// however that ends. After an error, ctx's among them, the range is over; at
// the end of UntilClose it is over without one.
func (s *Subscriber) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		var m Message
		defer func() { m.finish() }()
		for {
			var err error
			m, err = s.Receive(ctx)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(Message{}, err)
				}
				return
			}
			if !yield(m, nil) {
				return
			}
			m.finish()
		}
	}
}

// publisher names who sent position pos of a lane.
func (s *Subscriber) publisher(l *fanout.Lane, pos uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &s.names[l.Number]
	if owner := l.OwnerWord(); owner != n.owner {
		name, since := l.Name()
		if name != n.name {
			n.former = n.name
		}
		n.owner, n.name, n.since = owner, name, since
	}
	if pos < n.since {
		return n.former
	}
	return n.name
}

// kernel is the kernel of who sent position pos of a lane, if that has it still.
func (s *Subscriber) kernel(l *fanout.Lane, pos uint64) uint64 {
	word := l.OwnerWord()
	_, owner := l.State()
	if _, since := l.Name(); pos < since {
		return 0
	}
	id, ok := s.topic.node.seg.KernelOf(segment.Owner(owner))
	if !ok || l.OwnerWord() != word {
		return 0
	}
	return id
}

// Topic returns the topic's name.
func (s *Subscriber) Topic() string { return s.topic.name }

// Lost is how many messages this subscriber has lost so far, as the messages
// told it, or the end of UntilClose.
func (s *Subscriber) Lost() uint64 { return s.lost.Load() }

func (s *Subscriber) closedErr() error {
	return fmt.Errorf("subscriber on topic %q: %w", s.topic.name, ErrClosed)
}

// Close ends the subscriber and the loans of its messages.
func (s *Subscriber) Close() error {
	return s.gate.Close(func() { s.topic.node.ring(s.slot.Bell()) }, func() error {
		s.giveBack()
		s.topic.node.host.Remove(s)
		return nil
	})
}

// giveBack gives back what the subscriber has in the topic.
func (s *Subscriber) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate.Closed.Store(true)
	for i := range s.records {
		r := &s.records[i]
		if seq := r.seq.Load(); seq&1 == 1 {
			r.end(seq)
		}
	}
	s.sleeper.Close()
	s.slot.Leave(s.topic.known, s.topic.node.ring)
	s.topic.close()
}
