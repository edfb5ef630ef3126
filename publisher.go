package ringbus

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// PublisherOptions says what a topic is like, where it does not exist yet, and
// how this publisher behaves. The zero value of every field is useful; where a
// topic exists, zero takes what it has, and another value is a [MismatchError].
type PublisherOptions struct {
	// Depth is how many messages the topic keeps for its subscribers, rounded
	// up to a power of two. A reliable subscriber may be that many messages
	// behind (a quarter less, because it reports its progress in steps) before
	// the publisher has to wait. 0: 256, fewer for large messages.
	Depth int
	// MaxMessage is the size limit of a message in bytes; 0: 16384. Messages
	// of up to 104 bytes travel inside the ring, whatever the limit.
	MaxMessage int
	// History is how many of the last messages must always be there for late
	// subscribers. It raises Depth where that is too small.
	History int
	// Holds is how many messages all subscribers together may hold at once
	// beyond the ring. 0: 128, fewer for large messages.
	Holds int
	// Loans is how many loans this publisher may have open at once; 0: 4,
	// fewer for large messages.
	Loans int
	// LatestOnly: no subscriber of this topic may hold a publisher back.
	LatestOnly bool

	// Type is a fingerprint of the layout of the topic's messages; 0: any.
	// Package typed sets it.
	Type uint64

	// Reject: Send returns ErrFull where it would have to wait.
	Reject bool
	// Timestamps: messages carry the publisher's wall clock.
	Timestamps bool
	// Wait says how Send waits for room.
	Wait Wait
}

// Publisher sends messages on one topic. Its messages keep their order; those
// of different publishers have none between them. It must be used by one
// goroutine at a time, but Close may be called by any, and interrupts a Send
// that waits.
type Publisher struct {
	topic   *topic
	tx      *fanout.Tx
	config  fanout.Config
	reject  bool
	stamps  bool
	clock   clock
	policy  wake.Policy
	sleeper *wake.Sleeper
	loans   []loan
	busy    invariant.Owner

	closed atomic.Bool
	slow   sync.Mutex // held while the publisher waits, and by Close
}

// Publisher opens a topic for sending, and creates it if it is not there. A
// topic has at most 16 publishers at a time. What a publisher sent stays for
// its subscribers after it is closed or dead, and a publisher of the same node
// name goes on where it stopped.
func (n *Node) Publisher(topicName string, o *PublisherOptions) (*Publisher, error) {
	if o == nil {
		o = &PublisherOptions{}
	}
	t, err := n.openTopic(topicName)
	if err != nil {
		return nil, err
	}
	p := &Publisher{topic: t, reject: o.Reject, stamps: o.Timestamps, policy: o.Wait.policy()}
	if p.config, err = t.agree(o); err == nil {
		err = t.agreeType(o.Type)
	}
	if err == nil {
		p.tx, err = t.takeLane(p.config)
	}
	if err == nil {
		p.sleeper = n.pool.NewSleeper(p.tx.Bell(), p.policy)
		p.loans = make([]loan, p.config.Loans)
		for i := range p.loans {
			p.loans[i].pub = p
		}
		err = n.add(p) // from here the node may close it
	}
	if err != nil {
		if p.tx != nil {
			p.tx.Close()
		}
		t.close()
		return nil, err
	}
	return p, nil
}

// agree finds out, or decides, what the topic is like.
func (t *topic) agree(o *PublisherOptions) (fanout.Config, error) {
	want, err := o.config(t.name)
	if err != nil {
		return want, err
	}
	have, ok, err := t.ring.Config()
	if err == nil && !ok {
		have, err = t.ring.Agree(want)
	}
	if err != nil {
		return have, fmt.Errorf("topic %q: %w", t.name, err)
	}
	for _, f := range []struct {
		name             string
		asked            bool
		have, want, fits any
	}{
		{"depth", o.Depth != 0, have.Depth, want.Depth, nil},
		{"max-message", o.MaxMessage != 0, have.MaxMessage, want.MaxMessage, nil},
		{"loans", o.Loans != 0, have.Loans, want.Loans, nil},
		{"latest-only", o.LatestOnly, have.LatestOnly, true, nil},
	} {
		if f.asked && f.have != f.want {
			return have, &MismatchError{Topic: t.name, Field: f.name, Have: f.have, Want: f.want}
		}
	}
	if room := have.Depth - have.Chunk(); o.History > room {
		return have, &MismatchError{Topic: t.name, Field: "history", Have: room, Want: o.History}
	}
	if o.Holds > have.Holds {
		return have, &MismatchError{Topic: t.name, Field: "holds", Have: have.Holds, Want: o.Holds}
	}
	return have, nil
}

// Sizes at which the defaults change, in bytes.
const (
	defaultMessage = 16 << 10
	largeMessage   = 64 << 10
	ringBudget     = 16 << 20 // payload bytes of a default ring
)

// config fills in the defaults.
func (o *PublisherOptions) config(name string) (fanout.Config, error) {
	for _, f := range []struct {
		name  string
		value int
	}{{"depth", o.Depth}, {"max-message", o.MaxMessage}, {"history", o.History}, {"holds", o.Holds}, {"loans", o.Loans}} {
		if f.value < 0 {
			return fanout.Config{}, fmt.Errorf("topic %q: %s is negative: %d", name, f.name, f.value)
		}
	}
	c := fanout.Config{Depth: o.Depth, MaxMessage: o.MaxMessage, Holds: o.Holds, Loans: o.Loans, LatestOnly: o.LatestOnly}
	if c.MaxMessage == 0 {
		c.MaxMessage = defaultMessage
	}
	if c.Depth == 0 {
		c.Depth = min(256, max(8, ringBudget/c.MaxMessage))
	}
	if c.Depth > fanout.MaxDepth || o.History > fanout.MaxDepth {
		return c, fmt.Errorf("topic %q: depth is limited to %d messages", name, fanout.MaxDepth)
	}
	c.Depth = 1 << bits.Len(uint(c.Depth-1))
	// A quarter of the ring may be in the act of being overwritten.
	for c.Depth-c.Chunk() < o.History {
		c.Depth *= 2
	}
	switch {
	case c.MaxMessage <= defaultMessage:
		c.Holds, c.Loans = orDefault(c.Holds, 128), orDefault(c.Loans, 4)
	case c.MaxMessage <= largeMessage:
		c.Holds, c.Loans = orDefault(c.Holds, 64), orDefault(c.Loans, 4)
	default:
		c.Holds, c.Loans = orDefault(c.Holds, 16), orDefault(c.Loans, 2)
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("topic %q: %w", name, err)
	}
	return c, nil
}

func orDefault(v, d int) int {
	if v == 0 {
		return d
	}
	return v
}

// takeLane finds a lane for a publisher of this node: the one that a
// publisher of the same name left, else a new one, else any that is free.
func (t *topic) takeLane(c fanout.Config) (*fanout.Tx, error) {
	for range 2 * fanout.MaxLanes { // others may be quicker
		named, free, fresh := -1, -1, -1
		for k := fanout.MaxLanes - 1; k >= 0; k-- {
			if _, _, ok := t.ring.LaneRef(k); !ok {
				fresh = k
				continue
			}
			l, err := t.lane(k, c)
			if err != nil {
				return nil, err
			}
			if !t.vacant(l) {
				t.closeLane(k)
				continue
			}
			if name, _ := l.Name(); name == t.node.Name() {
				named = k
			}
			free = k
		}
		k := named
		if k < 0 && fresh >= 0 {
			tx, err := t.takeFresh(fresh, c)
			if tx != nil || err != nil && (free < 0 || !outOfSpace(err)) {
				return tx, err
			}
			if err == nil {
				continue
			}
		}
		if k < 0 {
			k = free
		}
		if k < 0 {
			return nil, fmt.Errorf("topic %q: %w", t.name, ErrTooManyPublishers)
		}
		if tx, err := t.take(k, c); tx != nil || err != nil {
			return tx, err
		}
	}
	return nil, fmt.Errorf("topic %q: %w", t.name, ErrTooManyPublishers)
}

// take takes lane k, unless somebody else just did.
func (t *topic) take(k int, c fanout.Config) (*fanout.Tx, error) {
	l, err := t.lane(k, c)
	if err != nil {
		return nil, err
	}
	return t.openTx(k, l), nil
}

// takeFresh makes lane k and takes it, unless somebody else just did.
func (t *topic) takeFresh(k int, c fanout.Config) (*fanout.Tx, error) {
	l, err := t.makeLane(k, c)
	if err != nil {
		return nil, fmt.Errorf("topic %q: lane %d: %w", t.name, k, err)
	}
	if !t.vacant(l) {
		// Its maker has it, but may not have told anybody: it is not free, and
		// the table must know it before we look for the next.
		t.ring.AddLane(k, t.lanes[k].Index(), t.lanes[k].Gen())
		t.closeLane(k)
		return nil, nil
	}
	return t.openTx(k, l), nil
}

func (t *topic) openTx(k int, l *fanout.Lane) *fanout.Tx {
	area := t.lanes[k]
	tx, ok := fanout.OpenTx(t.ring, l, uint32(t.node.node.Owner()), t.node.Name(), area.Index(), area.Gen(), t.node.ring)
	if !ok {
		t.closeLane(k)
		return nil
	}
	for i := range t.lanes {
		if i != k {
			t.closeLane(i)
		}
	}
	return tx
}

// vacant reports whether nobody has l, after burying an owner that is dead.
func (t *topic) vacant(l *fanout.Lane) bool {
	state, owner := l.State()
	switch state {
	case fanout.LaneNew, fanout.LaneClosed, fanout.LaneDead:
		return true
	case fanout.LaneRetired:
		return false
	}
	o := segment.Owner(owner)
	if t.node.node.Status(o) != segment.Dead {
		return false
	}
	t.node.node.RecoverOwner(o)
	// A lane that was never announced is not found by recovery.
	l.Bury(owner, t.node.node.Foreign(o))
	state, _ = l.State()
	return state == fanout.LaneDead
}

func outOfSpace(err error) bool {
	var space *segment.SpaceError
	return errors.As(err, &space)
}

// Send sends a copy of b. It waits as long as a reliable subscriber is too far
// behind, or returns ErrFull, as the options say.
func (p *Publisher) Send(b []byte) error { return p.SendContext(background, b) }

// SendContext is Send that stops waiting when ctx is done.
func (p *Publisher) SendContext(ctx context.Context, b []byte) error {
	p.busy.Enter("Publisher")
	defer p.busy.Leave()
	if len(b) > p.config.MaxMessage && len(b) > fanout.InlineSize {
		return &SizeError{Topic: p.topic.name, Size: len(b), Max: p.MaxMessage()}
	}
	if p.closed.Load() {
		return p.closedErr()
	}
	for !p.tx.Send(b, p.now()) {
		if err := p.waitRoom(ctx); err != nil {
			return err
		}
	}
	runtime.KeepAlive(p)
	return nil
}

// SendBatch sends a copy of each of msgs, in order, for less than as many
// Sends: subscribers see them in groups of up to a quarter of the depth. It
// returns how many were sent, which is len(msgs) if the error is nil.
func (p *Publisher) SendBatch(msgs [][]byte) (int, error) {
	return p.SendBatchContext(background, msgs)
}

// SendBatchContext is SendBatch that stops waiting when ctx is done.
func (p *Publisher) SendBatchContext(ctx context.Context, msgs [][]byte) (int, error) {
	p.busy.Enter("Publisher")
	defer p.busy.Leave()
	for _, b := range msgs {
		if len(b) > p.config.MaxMessage && len(b) > fanout.InlineSize {
			return 0, &SizeError{Topic: p.topic.name, Size: len(b), Max: p.MaxMessage()}
		}
	}
	sent := 0
	for sent < len(msgs) {
		if p.closed.Load() {
			return sent, p.closedErr()
		}
		n := p.tx.SendBatch(msgs[sent:], p.now())
		sent += n
		if n == 0 {
			if err := p.waitRoom(ctx); err != nil {
				return sent, err
			}
		}
	}
	runtime.KeepAlive(p)
	return sent, nil
}

func (p *Publisher) now() int64 {
	if !p.stamps {
		return 0
	}
	return p.clock.now()
}

// suspectPoll is how often a publisher looks again at a subscriber of another
// kernel, whose death or silence rings no bell.
const suspectPoll = 100 * time.Millisecond

// waitRoom returns when a message may be sent.
func (p *Publisher) waitRoom(ctx context.Context) error {
	p.slow.Lock()
	defer p.slow.Unlock()
	counted := false
	for spin := p.policy.Begin(); ; {
		if p.closed.Load() {
			return p.closedErr()
		}
		if p.tx.Room() {
			return nil
		}
		if !p.reject && spin.Next() {
			if err := interrupted(ctx, &spin); err != nil {
				return err
			}
			continue
		}
		if err := p.topic.node.node.Err(); err != nil {
			return err
		}
		if p.tx.Evicted() {
			return fmt.Errorf("publisher on topic %q: %w", p.topic.name, ErrFenced)
		}
		if !counted {
			counted = true
			p.tx.CountBlocked()
		}
		if err := p.park(ctx); err != nil {
			return err
		}
		spin = p.policy.Begin()
	}
}

// park removes dead and silent subscribers from the way, and sleeps if others
// are left in it.
func (p *Publisher) park(ctx context.Context) error {
	foreign := p.unblock()
	if p.tx.Room() {
		return nil
	}
	if p.reject {
		return p.full()
	}
	sleep := ctx
	if foreign {
		var cancel context.CancelFunc
		sleep, cancel = context.WithTimeout(ctx, suspectPoll)
		defer cancel()
	}
	p.sleeper.Prepare()
	p.tx.Park()
	defer p.tx.Unpark()
	if p.tx.Room() || p.closed.Load() {
		p.sleeper.Cancel()
		return nil
	}
	if err := p.sleeper.Sleep(sleep); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// unblock recovers dead blockers and fences silent ones. It reports whether
// one is of another kernel.
func (p *Publisher) unblock() (foreign bool) {
	node := p.topic.node.node
	for _, b := range p.tx.Blockers() {
		o := segment.Owner(b.Owner)
		switch node.Status(o) {
		case segment.Dead:
			node.RecoverOwner(o)
		case segment.Suspect:
			p.tx.Fence(b)
		default:
			foreign = foreign || node.Foreign(o)
		}
	}
	return foreign
}

func (p *Publisher) full() error {
	e := &FullError{Topic: p.topic.name, Depth: p.config.Depth}
	for _, b := range p.tx.Blockers() {
		e.Blockers = append(e.Blockers, p.topic.node.node.NameOf(segment.Owner(b.Owner)))
	}
	return e
}

func (p *Publisher) closedErr() error {
	return fmt.Errorf("publisher on topic %q: %w", p.topic.name, ErrClosed)
}

// Topic returns the topic's name.
func (p *Publisher) Topic() string { return p.topic.name }

// MaxMessage is the largest message that the topic takes, in bytes.
func (p *Publisher) MaxMessage() int { return max(p.config.MaxMessage, fanout.InlineSize) }

// Depth is how many messages the topic keeps.
func (p *Publisher) Depth() int { return p.config.Depth }

// Sequence is the number of messages ever sent on this publisher's lane, by it
// and by those it succeeded.
func (p *Publisher) Sequence() uint64 { return p.tx.Head() }

// Subscribers is the number of subscribers that will see the next message.
func (p *Publisher) Subscribers() int {
	return p.tx.Ready(func(owner uint32) bool {
		return p.topic.node.node.Status(segment.Owner(owner)) != segment.Dead
	})
}

// WaitSubscribers waits until at least n subscribers will see the next message.
func (p *Publisher) WaitSubscribers(ctx context.Context, n int) error {
	p.busy.Enter("Publisher")
	defer p.busy.Leave()
	p.slow.Lock()
	defer p.slow.Unlock()
	for p.Subscribers() < n {
		if p.closed.Load() {
			return p.closedErr()
		}
		p.sleeper.Prepare()
		p.tx.Park()
		if p.Subscribers() >= n || p.closed.Load() {
			p.sleeper.Cancel()
			continue
		}
		if err := p.sleeper.Sleep(ctx); err != nil {
			p.tx.Unpark()
			return err
		}
	}
	p.tx.Unpark()
	return nil
}

// Close ends the publisher and its open loans. What it sent stays for its
// subscribers.
func (p *Publisher) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	p.topic.node.ring(p.tx.Bell())
	p.slow.Lock()
	defer p.slow.Unlock()
	for i := range p.loans {
		p.loans[i].end()
	}
	p.sleeper.Close()
	p.tx.Close()
	p.topic.node.remove(p)
	p.topic.close()
	return nil
}
