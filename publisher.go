package ringbus

import (
	"context"
	"fmt"
	"runtime"

	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/internal/wake"
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
	// beyond the ring, where a reliable one counts for one more than its Hold.
	// 0: 192, which is enough for 64 subscribers, fewer for large messages.
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
	clock   host.Clock
	policy  wake.Policy
	sleeper *wake.Sleeper
	loans   []loan

	gate host.Gate
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
		p.sleeper = n.host.Pool.NewSleeper(p.tx.Bell(), p.policy)
		p.loans = make([]loan, p.config.Loans)
		for i := range p.loans {
			p.loans[i].pub = p
		}
		err = n.host.Add(p) // from here the node may close it
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

// Send sends a copy of b. It waits as long as a reliable subscriber is too far
// behind, or returns ErrFull, as the options say.
func (p *Publisher) Send(b []byte) error { return p.SendContext(background, b) }

// SendContext is Send that stops waiting when ctx is done.
func (p *Publisher) SendContext(ctx context.Context, b []byte) error {
	p.gate.Enter("Publisher")
	defer p.gate.Leave()
	if len(b) > p.config.MaxMessage && len(b) > fanout.InlineSize {
		return &SizeError{Topic: p.topic.name, Size: len(b), Max: p.MaxMessage()}
	}
	if p.gate.Closed.Load() {
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
	p.gate.Enter("Publisher")
	defer p.gate.Leave()
	for _, b := range msgs {
		if len(b) > p.config.MaxMessage && len(b) > fanout.InlineSize {
			return 0, &SizeError{Topic: p.topic.name, Size: len(b), Max: p.MaxMessage()}
		}
	}
	sent := 0
	for sent < len(msgs) {
		if p.gate.Closed.Load() {
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
	return p.clock.Now()
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

// Close ends the publisher and its open loans. What it sent stays for its
// subscribers.
func (p *Publisher) Close() error {
	return p.gate.Close(func() { p.topic.node.ring(p.tx.Bell()) }, func() error {
		for i := range p.loans {
			p.loans[i].end()
		}
		p.sleeper.Close()
		p.tx.Close()
		p.topic.close()
		p.topic.node.host.Remove(p) // until then the node waits for us before it leaves
		return nil
	})
}
