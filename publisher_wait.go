package ringbus

import (
	"context"
	"fmt"
	"time"

	"github.com/ringbus/ringbus/segment"
)

// suspectPoll is how often a publisher looks again at a subscriber of another
// kernel, whose death or silence rings no bell.
const suspectPoll = 100 * time.Millisecond

// waitRoom returns when a message may be sent.
func (p *Publisher) waitRoom(ctx context.Context) error {
	counted := false
	for spin := p.policy.Begin(); ; {
		if p.gate.Closed.Load() {
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
	if p.tx.Room() || p.gate.Closed.Load() {
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

// Subscribers is the number of subscribers that will see the next message.
func (p *Publisher) Subscribers() int {
	return p.tx.Ready(func(owner uint32) bool {
		return p.topic.node.node.Status(segment.Owner(owner)) != segment.Dead
	})
}

// WaitSubscribers waits until at least n subscribers will see the next message.
func (p *Publisher) WaitSubscribers(ctx context.Context, n int) error {
	p.gate.Enter("Publisher")
	defer p.gate.Leave()
	for p.Subscribers() < n {
		if p.gate.Closed.Load() {
			return p.closedErr()
		}
		if err := p.topic.node.node.Err(); err != nil {
			return err
		}
		p.sleeper.Prepare()
		p.tx.Park()
		if p.Subscribers() >= n || p.gate.Closed.Load() {
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
