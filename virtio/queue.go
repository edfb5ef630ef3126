package virtio

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/ring/virtq"
)

// Queue is the device's side of a virtqueue. One goroutine at a time ranges over
// its chains; any goroutine may return them. It lasts until Stop.
type Queue struct {
	config  QueueConfig
	looping atomic.Bool

	mu      sync.Mutex
	dev     *virtq.Device
	free    []*Chain // for the next ones
	cancel  context.CancelFunc
	stopped bool
}

// NewQueue makes the device's side of a queue.
func NewQueue(m *Memory, c QueueConfig) (*Queue, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	dev, err := virtq.NewDevice(m.m, c.ring(), virtq.State(c.Start))
	if err != nil {
		return nil, err
	}
	if c.BusyPoll {
		dev.DisableKick()
	}
	return &Queue{config: c, dev: dev}, nil
}

// Size is the number of entries of the ring.
func (q *Queue) Size() int { return q.config.Size }

// Features are those that were agreed on.
func (q *Queue) Features() Features { return q.config.Features }

// Chains yields the chains that the driver offers, in its order, and waits for
// them. It ends with an error when ctx is done or the driver broke the queue,
// and without one when the queue is stopped. Each chain must be returned, by
// whatever goroutine, in the loop's body or later.
func (q *Queue) Chains(ctx context.Context) iter.Seq2[*Chain, error] {
	return func(yield func(*Chain, error) bool) {
		ctx, done := q.begin(ctx)
		defer done()
		for {
			c, err := q.next(ctx)
			if c == nil && err == nil {
				return
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// Batches is Chains that yields up to max chains at once, all that are there,
// one at least. The slice is used again for the next ones.
func (q *Queue) Batches(ctx context.Context, max int) iter.Seq2[[]*Chain, error] {
	return func(yield func([]*Chain, error) bool) {
		ctx, done := q.begin(ctx)
		defer done()
		batch := make([]*Chain, 0, max)
		for {
			c, err := q.next(ctx)
			if c == nil && err == nil {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			batch = append(batch[:0], c)
			for len(batch) < max {
				// An error now is found again by the next wait.
				c, _ := q.pop()
				if c == nil {
					break
				}
				batch = append(batch, c)
			}
			if !yield(batch, nil) {
				return
			}
		}
	}
}

// begin starts a loop, which Stop ends.
func (q *Queue) begin(ctx context.Context) (context.Context, func()) {
	if q.looping.Swap(true) {
		panic("virtio: two loops over the chains of one queue")
	}
	ctx, cancel := context.WithCancel(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cancel = cancel
	return ctx, func() {
		q.mu.Lock()
		q.cancel = nil
		q.mu.Unlock()
		cancel()
		q.looping.Store(false)
	}
}

// next returns the next chain, nothing when the queue was stopped.
func (q *Queue) next(ctx context.Context) (*Chain, error) {
	spin := q.config.policy().Begin()
	for {
		c, err := q.pop()
		if c != nil || err != nil {
			return c, err
		}
		if q.isStopped() {
			return nil, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if spin.Next() {
			continue
		}
		if !q.enable(true) {
			err = q.config.Wait(ctx)
		}
		q.enable(false)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
	}
}

// enable asks for notifications, or for none; more says that there is a chain
// already.
func (q *Queue) enable(on bool) (more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if on {
		return q.dev.EnableKick()
	}
	q.dev.DisableKick()
	return false
}

func (q *Queue) isStopped() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stopped
}

// pop returns the next chain, nil if there is none.
func (q *Queue) pop() (*Chain, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return nil, nil
	}
	if len(q.free) == 0 {
		q.free = append(q.free, &Chain{q: q})
	}
	c := q.free[len(q.free)-1]
	ok, err := q.dev.Pop(&c.c)
	if !ok || err != nil {
		return nil, err
	}
	q.free = q.free[:len(q.free)-1]
	c.begin()
	return c, nil
}

// Return gives chains back to the driver, and notifies it once if it wants that.
// They must not be used any more. The error is that of a broken queue.
func (q *Queue) Return(chains ...*Chain) error {
	notify, err := q.give(chains)
	if err == nil && notify {
		err = q.config.Notify()
	}
	return err
}

func (q *Queue) give(chains []*Chain) (notify bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range chains {
		if c.q != q {
			panic("virtio: chain of another queue")
		}
		if e := q.dev.Push(&c.c, c.written); e != nil {
			err = e
		}
		q.free = append(q.free, c)
	}
	if err != nil {
		return false, err
	}
	return q.dev.Call()
}

// Stop ends the loop over the chains. Chains that are out may still be
// returned.
func (q *Queue) Stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	if q.cancel != nil {
		q.cancel()
	}
}

// InFlight says how much the device has not returned: chains of a split ring,
// entries of a packed one.
func (q *Queue) InFlight() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dev.InFlight()
}

// State is where another device may go on, once the queue is stopped and nothing
// is in flight.
func (q *Queue) State() State {
	q.mu.Lock()
	defer q.mu.Unlock()
	return State(q.dev.State())
}

// Err says why the queue broke, nil if it did not.
func (q *Queue) Err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dev.Err()
}
