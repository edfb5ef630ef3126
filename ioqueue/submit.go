package ioqueue

import (
	"context"
	"fmt"

	"github.com/ringbus/ringbus/internal/ring/mpsc"
)

// Ticket stands for an op that was submitted. It is used once: until Wait has a
// result, or Cancel or Forget. One goroutine at a time uses it. A ticket that is
// not used keeps one of the queue's Depth places until the queue is closed.
type Ticket struct {
	q    *Queue
	ref  mpsc.Ref
	into []byte
}

// Submit puts op at the end of the queue. It does not execute: somebody else
// does, in Do, Ops or Serve. It waits while there are Depth ops.
func (q *Queue) Submit(ctx context.Context, op Op) (Ticket, error) {
	if err := q.enter(); err != nil {
		return Ticket{}, err
	}
	defer q.leave()
	ref, err := q.alloc(ctx, &op, nil)
	if err != nil {
		return Ticket{}, err
	}
	q.keep(ref)
	q.ring.submit1(ref, false)
	return Ticket{q, ref, op.Into}, nil
}

// SubmitBatch is Submit for several ops, which stay together and keep their
// order, and appends their tickets to tickets. If the queue takes only some of
// them at once, the others follow. With an error, the tickets are of those that
// were submitted.
func (q *Queue) SubmitBatch(ctx context.Context, ops []Op, tickets []Ticket) ([]Ticket, error) {
	if err := q.enter(); err != nil {
		return tickets, err
	}
	defer q.leave()
	refs := q.ring.refs()
	defer q.ring.giveBack(refs)
	from := len(tickets)
	flush := func() {
		if n := len(tickets) - from; n > 0 {
			q.ring.Submit((*refs)[:n], false)
			*refs, from = (*refs)[:0], len(tickets)
		}
	}
	for i := range ops {
		ref, ok, err := q.try(&ops[i], false)
		if err == nil && !ok {
			flush()
			ref, err = q.alloc(ctx, &ops[i], nil)
		}
		if err != nil {
			flush()
			return tickets, err
		}
		q.keep(ref)
		*refs = append(*refs, ref)
		tickets = append(tickets, Ticket{q, ref, ops[i].Into})
	}
	flush()
	return tickets, nil
}

// try takes a free node for op, if there is one.
func (q *Queue) try(op *Op, able bool) (mpsc.Ref, bool, error) {
	if n := len(op.Data) + len(op.Into); n > q.max {
		return 0, false, &SizeError{Queue: q.name, Size: n, Max: q.max}
	}
	if err := q.ring.broken(); err != nil {
		return 0, false, err
	}
	ref, ok := q.ring.alloc(mpsc.Request{
		Code: uint16(op.Code), Repeat: op.Repeatable, Offset: op.Offset, Out: op.Data, In: len(op.Into), Time: q.now(),
	}, op.Into, able)
	return ref, ok, nil
}

// alloc takes a free node for op, and waits for one if it has to. With a device
// it executes meanwhile, if it must: others' ops may be all that is there.
func (q *Queue) alloc(ctx context.Context, op *Op, dev Device) (mpsc.Ref, error) {
	ref, ok, err := q.try(op, dev != nil)
	if ok || err != nil {
		return ref, err
	}
	if q.opts.Reject {
		return 0, fmt.Errorf("ioqueue %q: %w: %d ops", q.name, ErrFull, q.opts.Depth)
	}
	return q.waitSpace(ctx, *op, dev) // a copy: what this one waits with goes to the heap
}

func (q *Queue) waitSpace(ctx context.Context, op Op, dev Device) (ref mpsc.Ref, err error) {
	for {
		ok, c := false, mpsc.NoControl
		slept := q.ring.sleepSpace(ctx, func() bool {
			if ref, ok, err = q.try(&op, dev != nil); ok || err != nil || q.closed.Load() {
				return true
			}
			if dev != nil {
				c = q.ring.Claim(false)
			}
			return c != mpsc.NoControl
		})
		switch {
		case ok || err != nil:
			return ref, err
		case c != mpsc.NoControl:
			err = q.run(dev, c)
		case slept != nil:
			err = slept
		case q.closed.Load():
			err = q.closedErr()
		}
		if err != nil {
			return 0, err
		}
	}
}

// Wait waits until the op is over and returns the device's result; if that is
// positive, so many of Into's bytes came back. A negative result is a
// [DeviceError]. If ctx ends first, the ticket is as good as before.
func (t Ticket) Wait(ctx context.Context) (int, error) {
	q := t.q
	if q == nil {
		panic("ioqueue: Wait for a ticket that was never made")
	}
	if err := q.enter(); err != nil {
		return 0, err
	}
	defer q.leave()
	return q.await(ctx, t, nil, mpsc.NoControl)
}

// Cancel takes the op back if it was not started; false if it was, or is over.
func (t Ticket) Cancel() bool {
	if t.q.enter() != nil {
		return false
	}
	defer t.q.leave()
	if !t.q.ring.Cancel(t.ref, false) {
		return false
	}
	t.q.over(t.ref)
	return true
}

// Forget gives the ticket up: the op is carried out all the same, and nobody
// learns the result. The bytes of an op within a process must stay as they are.
func (t Ticket) Forget() {
	if t.q.enter() != nil {
		return // Close does it
	}
	defer t.q.leave()
	t.q.over(t.ref)
	t.q.ring.Forget(t.ref, false)
}
