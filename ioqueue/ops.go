package ioqueue

import (
	"context"
	"errors"
	"iter"
	"runtime"

	"github.com/ringbus/ringbus/internal/ring/mpsc"
)

// Serve executes the queue with dev until ctx ends, as a dedicated executor: it
// keeps control while the queue is empty. Several may serve one queue; one of
// them has control, and another one takes over when it ends.
func (q *Queue) Serve(ctx context.Context, dev Device) error {
	return q.dedicated(ctx, func(x mpsc.Executor, c mpsc.Control) error {
		q.dev = dev
		ops, err := x.Start(c, q.ops[:0])
		for err == nil {
			if len(ops) > 0 {
				q.execute(ops)
			}
			if ops, err = q.next(ctx, x, ops[:0]); err == nil && len(ops) == 0 {
				break
			}
		}
		return err
	})
}

// Ops ranges over the ops of the queue, as a dedicated executor like Serve: for
// op, err := range q.Ops(ctx). The body completes each op, or hands it to
// another goroutine that does; ops may be completed in any order. When the range
// ends it waits until all that were handed on are completed; the op that the
// body left uncompleted when it ended the range is interrupted. After an error,
// ctx's among them, the range is over.
func (q *Queue) Ops(ctx context.Context) iter.Seq2[*Request, error] {
	return func(yield func(*Request, error) bool) {
		err := q.dedicated(ctx, func(x mpsc.Executor, c mpsc.Control) error {
			if q.given == nil {
				q.given = make([]Request, q.opts.Depth)
			}
			return q.give(ctx, x, c, yield)
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// give hands ops to the body one by one.
func (q *Queue) give(ctx context.Context, x mpsc.Executor, c mpsc.Control, yield func(*Request, error) bool) error {
	var current *Request
	var rest []mpsc.Op // to be repeated, and not given yet
	defer func() {
		if current != nil {
			current.abort()
		}
		for i := range rest {
			x.Abort(rest[i].Token)
		}
		for q.handed.Load() > 0 {
			runtime.Gosched()
		}
	}()
	one := make([]mpsc.Op, 0, 1)
	ops, err := x.Start(c, one)
	for err == nil {
		for rest = ops; len(rest) > 0; current = nil {
			current = &q.given[rest[0].Index]
			current.set(&rest[0], x)
			current.q = q
			q.handed.Add(1)
			rest = rest[1:]
			if !yield(current, nil) {
				return errEnded
			}
		}
		if ops, err = q.next(ctx, x, one); err == nil && len(ops) == 0 {
			break
		}
	}
	return err
}

// errEnded says that the body of a range ended it.
var errEnded = errors.New("the range has ended")

// dedicated calls use whenever control is ours, until ctx ends.
func (q *Queue) dedicated(ctx context.Context, use func(mpsc.Executor, mpsc.Control) error) error {
	if err := q.enter(); err != nil {
		return err
	}
	defer q.leave()
	c := mpsc.NoControl
	err := q.ring.sleepControl(ctx, q, func() bool {
		c = q.ring.Claim(true)
		return c != mpsc.NoControl || q.closed.Load()
	})
	if c == mpsc.NoControl {
		if err == nil {
			err = q.closedErr()
		}
		return err
	}
	x := q.ring.executor()
	gone := false
	defer func() {
		if !gone {
			_ = x.Leave()
		}
	}()
	err = use(x, c)
	gone = true
	if err != nil && err != errEnded {
		return q.failed(err)
	}
	if lerr := x.Leave(); lerr != nil {
		return q.failed(lerr)
	}
	if err == errEnded {
		return nil
	}
	if q.closed.Load() {
		return q.closedErr()
	}
	return ctx.Err()
}

// next takes ops, and waits for the first. It returns none when ctx ends or the
// queue is closed.
func (q *Queue) next(ctx context.Context, x mpsc.Executor, ops []mpsc.Op) ([]mpsc.Op, error) {
	for spin := q.policy.Begin(); ; {
		if q.closed.Load() || ctx.Err() != nil { // also where ops come and come
			return ops[:0], nil
		}
		ops, err := x.Take(ops[:0], q.now())
		if len(ops) > 0 || err != nil {
			return ops, err
		}
		if err := x.Tidy(); err != nil {
			return ops, err
		}
		for spin.Rest() && !q.ring.pending() {
			continue
		}
		if q.ring.pending() || spin.Next() {
			continue
		}
		if err := q.ring.sleepIdle(ctx, q); err != nil {
			return ops, q.ring.err()
		}
		spin = q.policy.Begin()
	}
}
