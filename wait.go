package ringbus

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/internal/wake"
)

// Wait says how a goroutine waits for another node. The zero value looks for
// 25 µs and then sleeps in the kernel until it is woken.
type Wait struct {
	// Spin is how long to look before sleeping. 0: 25 µs; negative: sleep at
	// once, at the risk that goroutines which were made runnable right before
	// start up to 0.1 ms late.
	Spin time.Duration
	// BusyPoll: never sleep. The lowest latency, for the price of a CPU. Who
	// wants to publish pays no system call to wake such a subscriber.
	BusyPoll bool
	// Pinned: the goroutine that waits is locked to its thread (see [Pin] and
	// runtime.LockOSThread); the wait then never calls Go's scheduler, which
	// for such a goroutine would cost two thread switches.
	Pinned bool
}

func (w Wait) policy() wake.Policy {
	return wake.Policy{Spin: w.Spin, BusyPoll: w.BusyPoll, Pinned: w.Pinned}
}

// Pin locks the calling goroutine to its thread and the thread to one CPU, and
// returns a function that undoes both.
func Pin(cpu int) (unpin func(), err error) {
	runtime.LockOSThread()
	restore, err := sys.SetAffinity(cpu)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return func() {
		if restore() == nil {
			runtime.UnlockOSThread()
		} // else the thread, bound to the wrong CPU, ends with its goroutine
	}, nil
}

// interrupted reports why a busy poller should give up, once in a while.
func interrupted(ctx context.Context, s *wake.Spinner) error {
	if !s.RoundOver() {
		return nil
	}
	return ctx.Err()
}

// Select waits until one of the subscribers, all of the same node, has a
// message, a loss or an end to tell, and returns its index: its next Receive
// will not wait. Select and Receive of one subscriber are for one goroutine at
// a time. Where several are ready, the first after the one that was returned
// last is chosen.
func Select(ctx context.Context, subs ...*Subscriber) (int, error) {
	if len(subs) == 0 {
		panic("ringbus: Select of no subscribers")
	}
	node := subs[0].topic.node
	bells := make([]wake.Bell, len(subs))
	for i, s := range subs {
		if s.topic.node != node {
			panic("ringbus: Select of subscribers of different nodes")
		}
		bells[i] = s.slot.Bell()
		s.gate.Enter("Subscriber")
		defer s.gate.Leave()
	}
	start := int(selectTurn.Add(1)) % len(subs)
	look := func() int {
		for i := range subs {
			k := (start + i) % len(subs)
			if subs[k].ready() {
				return k
			}
		}
		return -1
	}
	// A lane that is new is nothing to receive yet: it is opened here, and only
	// here, where the sleep was not announced yet.
	open := func() {
		for _, s := range subs {
			if s.topic.ring.Lanes() != s.mask {
				_ = s.openLanes() // Receive will say why not
			}
		}
	}
	group := node.host.Pool.NewGroup(bells)
	spin := subs[0].policy.Begin()
	for {
		open()
		if k := look(); k >= 0 {
			return k, nil
		}
		if spin.Next() {
			if err := interrupted(ctx, &spin); err != nil {
				return 0, err
			}
			continue
		}
		if err := node.node.Err(); err != nil {
			return 0, err
		}
		group.Prepare()
		for _, s := range subs {
			s.announce()
		}
		if look() >= 0 {
			group.Cancel()
			continue
		}
		if err := group.Sleep(ctx); err != nil {
			return 0, err
		}
		spin = subs[0].policy.Begin()
	}
}

// selectTurn spreads Select's first choice.
var selectTurn atomic.Uint32
