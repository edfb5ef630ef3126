package ringbus

import (
	"context"
	"sync"

	"github.com/ringbus/ringbus/internal/wake"
)

// A crew is who waits at one end of a service's links, each for something of its
// own. One of them leads: it looks, and sleeps, for all. The others wait until what
// they want is there, or the lead is handed on to them.
type crew struct {
	mu sync.Mutex // guards what follows, and all of the end that the crew is of

	end     crewEnd
	ring    func(wake.Bell)
	policy  wake.Policy
	sleeper *wake.Sleeper
	bell    wake.Bell // of sleeper

	led    bool
	asleep bool    // who leads
	first  *waiter // those who follow
	last   *waiter

	inside int           // calls that Close waits for
	closed bool          // none of them may wait any more
	quiet  chan struct{} // Close waits here for inside to become 0
}

// A crewEnd is what the crew waits at. The first two have the crew's lock.
type crewEnd interface {
	look()          // takes what has come, and wakes whom it concerns
	announce() bool // asks the other side to ring; true: look once more
	err() error     // why nothing will come any more
}

// waiter is the place of one goroutine in a crew. The zero value is ready for use.
type waiter struct {
	woken      chan struct{} // has room for one
	leads      bool
	listed     bool
	next, prev *waiter
}

// open makes the crew of end, which sleeps on bell.
func (c *crew) open(end crewEnd, n *Node, policy wake.Policy, bell wake.Bell) {
	c.end, c.ring, c.policy, c.bell = end, n.ring, policy, bell
	c.sleeper = n.host.Pool.NewSleeper(bell, policy)
}

func (c *crew) enlist(w *waiter) {
	if w.woken == nil {
		w.woken = make(chan struct{}, 1)
	}
	w.listed, w.prev, w.next = true, c.last, nil
	if c.last == nil {
		c.first = w
	} else {
		c.last.next = w
	}
	c.last = w
}

func (c *crew) delist(w *waiter) {
	if w.prev == nil {
		c.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		c.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.listed, w.next, w.prev = false, nil, nil
}

// wake makes w look whether what it waits for is there.
func (c *crew) wake(w *waiter) {
	switch {
	case w.listed:
		c.delist(w)
		w.woken <- struct{}{}
	case w.leads && c.asleep:
		c.asleep = false
		c.ring(c.bell)
	}
}

// shut ends all waits, and returns when nobody is inside any more.
func (c *crew) shut() {
	c.closed = true
	for c.first != nil {
		c.wake(c.first)
	}
	if c.asleep {
		c.asleep = false
		c.ring(c.bell)
	}
	for c.inside > 0 {
		if c.quiet == nil {
			c.quiet = make(chan struct{})
		}
		quiet := c.quiet
		c.mu.Unlock()
		<-quiet
		c.mu.Lock()
	}
}

// leave ends a call that was counted as inside.
func (c *crew) leave() {
	if c.inside--; c.inside == 0 && c.quiet != nil {
		close(c.quiet)
		c.quiet = nil
	}
}

// pass hands the lead of w on.
func (c *crew) pass(w *waiter) {
	w.leads = false
	f := c.first
	if c.led = f != nil; !c.led {
		return
	}
	c.delist(f)
	f.leads = true
	f.woken <- struct{}{}
}

// await waits until ready, which is asked with the lock, or ctx is done. The lock
// is held before and after.
func (c *crew) await(ctx context.Context, w *waiter, ready func() bool) error {
	if ready() {
		return nil
	}
	c.inside++
	defer c.leave()
	for c.led && !w.leads {
		err := c.follow(ctx, w)
		if done := ready(); done || err != nil {
			if w.leads {
				c.pass(w)
			}
			if done {
				return nil
			}
			return err
		}
	}
	c.led, w.leads = true, true
	err := c.lead(ctx, ready)
	c.pass(w)
	return err
}

// follow waits until w is woken, or leads.
func (c *crew) follow(ctx context.Context, w *waiter) (err error) {
	c.enlist(w)
	c.mu.Unlock()
	select {
	case <-w.woken:
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.mu.Lock()
	switch {
	case w.listed:
		c.delist(w)
	case err != nil:
		<-w.woken // both at once
	}
	return err
}

// lead looks, and sleeps, for all, until ready.
func (c *crew) lead(ctx context.Context, ready func() bool) error {
	for spin := c.policy.Begin(); ; {
		c.end.look()
		if ready() {
			return nil
		}
		c.mu.Unlock()
		if spin.Next() {
			err := interrupted(ctx, &spin)
			c.mu.Lock()
			if err != nil {
				return err
			}
			continue
		}
		err := c.end.err()
		if err == nil {
			c.sleeper.Prepare()
			c.mu.Lock()
			if c.end.announce() || ready() {
				c.sleeper.Cancel()
				continue
			}
			c.asleep = true
			c.mu.Unlock()
			err = c.sleeper.Sleep(ctx)
		}
		c.mu.Lock()
		if c.asleep = false; err != nil {
			return err
		}
		spin = c.policy.Begin()
	}
}
