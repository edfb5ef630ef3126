package ioqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringbus/ringbus/internal/ring/mpsc"
	"github.com/ringbus/ringbus/internal/wake"
)

// Device carries out ops. One executor at a time, of all processes, calls it.
type Device interface {
	// Execute carries out ops, and completes each of them, in any order, before
	// it returns. What it leaves is reported as interrupted. The ops are in the
	// order in which they were submitted; what does not depend on another may be
	// done together.
	Execute(ops []Request)
}

// DeviceFunc is a function as a Device.
type DeviceFunc func(ops []Request)

// Execute calls f.
func (f DeviceFunc) Execute(ops []Request) { f(ops) }

// Request is an op as the device sees it. It is valid until Complete.
type Request struct {
	Code   Code
	Again  bool // an executor that died may have carried it out before
	done   bool
	result int32
	Offset int64
	Data   []byte // from the submitter, in the queue's memory; a hostile one can change it
	Into   []byte // room for what goes back
	token  mpsc.Token
	x      mpsc.Executor // nil: the op is in no node, and its submitter is here
	q      *Queue        // that Ops gave it from
}

// Complete says that the op was carried out, and tells its submitter so. If
// result is positive, so many bytes of Into go back; a negative one is an error
// number. Once more it does nothing.
func (r *Request) Complete(result int32) {
	if r.done {
		return
	}
	r.done, r.result = true, result
	if r.x != nil {
		r.complete(result)
	}
}

// complete tells the submitter of an op that is in a node.
func (r *Request) complete(result int32) {
	q := r.q
	r.x.Complete(r.token, result) // after it r may be another op's
	if q != nil {
		q.handed.Add(-1)
	}
}

// abort says that it is not known whether the op was carried out.
func (r *Request) abort() {
	if r.done {
		return
	}
	r.done = true
	q := r.q
	r.x.Abort(r.token)
	if q != nil {
		q.handed.Add(-1)
	}
}

func (r *Request) set(o *mpsc.Op, x mpsc.Executor) {
	*r = Request{Code: Code(o.Code), Offset: o.Offset, Data: o.Out, Into: o.In, Again: o.Again, token: o.Token, x: x}
}

// Do submits op and waits until it is over. If nobody executes the queue, or
// who does hands on, this call does, by dev, until the queue is empty or Quota
// ops are done and another call waits; so dev may get ops of others, and op may
// be carried out by another's device. The result is that of [Ticket.Wait].
//
// If ctx ends while the op waits, it is taken back. One that was started is not
// waited for, unless the queue is within this process: its bytes are in use.
func (q *Queue) Do(ctx context.Context, op Op, dev Device) (int, error) {
	if dev == nil {
		panic("ioqueue: Do without a device")
	}
	l := q.near
	if l == nil || q.closed.Load() || ctx.Err() != nil || !l.ClaimIdle() && !q.lurk() {
		return q.do(ctx, &op, dev)
	}
	whole := false // what follows is alone, which costs as much again as a call
	defer func() {
		if !whole { // dev has panicked
			q.abandon()
		}
	}()
	r := &q.own[0]
	r.Code, r.Offset, r.Data, r.Into, r.done = op.Code, op.Offset, op.Data, op.Into, false
	dev.Execute(q.own)
	whole = true
	done, n := r.done, r.result
	if r.Data != nil || r.Into != nil {
		r.Data, r.Into = nil, nil
	}
	if !l.Drop() && l.TakeOffer() {
		return q.rest(done, n, dev)
	}
	if !done || n < 0 {
		return q.bad(done, n)
	}
	return int(n), nil
}

// Who finds somebody alone at the device looks a few times more before it
// queues. Between two looks it leaves the line to the other one, which carries
// out many ops in that time if the device is quick.
const (
	looks = 4
	rests = 24 // pauses of 15 to 50 ns between two
)

// lurk waits a moment for one alone to be gone. It reports whether we are alone.
func (q *Queue) lurk() bool {
	if q.opts.Wait.Spin < 0 {
		return false
	}
	for range looks {
		for range rests {
			wake.Pause()
		}
		if q.near.ClaimIdle() {
			return true
		}
	}
	return false
}

// do is Do where the queue is not within this process, or somebody else is there.
func (q *Queue) do(ctx context.Context, op *Op, dev Device) (int, error) {
	if err := q.enter(); err != nil {
		return 0, err
	}
	defer q.leave()
	if n := len(op.Data) + len(op.Into); n <= q.max && ctx.Err() == nil && q.x.ClaimIdle() {
		return q.alone(op, dev)
	}
	ref, err := q.alloc(ctx, op, dev)
	if err != nil {
		return 0, err
	}
	q.keep(ref)
	return q.await(ctx, Ticket{q, ref, op.Into}, dev, q.ring.submit1(ref, true))
}

// alone carries out op where nobody has control and nothing is queued, from the
// memory that it is in: if this process dies over it, there is nobody to tell.
// Then come those that were queued meanwhile.
func (q *Queue) alone(op *Op, dev Device) (int, error) {
	whole := false
	defer func() {
		if !whole { // dev has panicked
			q.abandon()
		}
	}()
	r := &q.own[0] // what is not set here is never set
	r.Code, r.Offset, r.Data, r.Into, r.done = op.Code, op.Offset, op.Data, op.Into, false
	dev.Execute(q.own)
	done, n := r.done, r.result
	if r.Data != nil || r.Into != nil {
		r.Data, r.Into = nil, nil
	}
	whole = true
	if !q.x.DropIdle() {
		return q.rest(done, n, dev)
	}
	if !done || n < 0 {
		return q.bad(done, n)
	}
	return int(n), nil
}

// rest carries out what was queued while one was alone.
func (q *Queue) rest(done bool, n int32, dev Device) (int, error) {
	if err := q.run(dev, mpsc.Gained); err != nil {
		return 0, err
	}
	return q.bad(done, n)
}

// abandon gives up what one has that is alone.
func (q *Queue) abandon() {
	x := q.ring.executor()
	if !x.DropIdle() {
		_, _ = x.Start(mpsc.Gained, nil)
		_ = x.Leave()
	}
}

// bad is the result of an op that was done, or was not.
func (q *Queue) bad(done bool, n int32) (int, error) {
	if !done {
		return 0, fmt.Errorf("ioqueue %q: %w", q.name, ErrInterrupted)
	}
	return q.answer(n)
}

// run uses control that was just gained.
func (q *Queue) run(dev Device, c mpsc.Control) error {
	x := q.ring.executor()
	q.dev = dev
	whole := false
	defer func() {
		if !whole { // dev has panicked
			_ = x.Leave()
		}
	}()
	err := mpsc.Run(x, c, q.ops, q.opts.Quota, q.now, q.carry, q.ends)
	whole = true
	return q.failed(err)
}

// failed says what an executor's error means, and tells the others.
func (q *Queue) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, mpsc.ErrFenced):
		return fmt.Errorf("ioqueue %q: %w", q.name, ErrFenced)
	}
	q.ring.fail()
	return fmt.Errorf("ioqueue %q: %w: %w", q.name, ErrBroken, err)
}

// execute has the device carry out ops.
func (q *Queue) execute(ops []mpsc.Op) {
	x := q.ring.executor()
	reqs := q.reqs[:0]
	for i := range ops {
		reqs = append(reqs, Request{})
		reqs[i].set(&ops[i], x)
	}
	q.reqs = reqs
	defer finish(reqs)
	q.dev.Execute(reqs)
}

// finish ends what the device has left.
func finish(reqs []Request) {
	for i := range reqs {
		reqs[i].abort()
	}
}

// await sees an op through, and executes with dev where c or an offer says so.
func (q *Queue) await(ctx context.Context, t Ticket, dev Device, c mpsc.Control) (int, error) {
	able := dev != nil
	for spin := q.policy.Begin(); ; {
		if c != mpsc.NoControl {
			if err := q.run(dev, c); err != nil {
				return 0, err
			}
		}
		switch st := q.ring.Look(t.ref); st {
		case mpsc.Done, mpsc.Interrupted:
			return q.result(t, st)
		case mpsc.Free:
			return 0, q.gone()
		}
		if able {
			if c = q.ring.Claim(false); c != mpsc.NoControl {
				continue
			}
		}
		if spin.Rest() {
			continue
		}
		if spin.Next() {
			if !spin.RoundOver() || ctx.Err() == nil && !q.closed.Load() {
				continue
			}
		} else if err := q.ring.sleepOp(ctx, q, t.ref, able); err != nil && ctx.Err() == nil {
			if able { // else there is a ticket
				q.giveUp(t.ref)
			}
			return 0, err
		}
		err := ctx.Err()
		if err == nil && q.closed.Load() {
			err = q.closedErr()
		}
		if err != nil {
			if able && !q.giveUp(t.ref) {
				return q.finished(t)
			}
			return 0, err
		}
		spin = q.policy.Begin()
	}
}

// giveUp ends the wait of Do for an op that nobody else has a ticket of; not if
// it is at the device of this process, and its bytes are in use.
func (q *Queue) giveUp(r mpsc.Ref) bool {
	if !q.ring.Cancel(r, true) {
		if q.ring.local() && q.ring.Look(r) == mpsc.Issued {
			return false
		}
		q.ring.Forget(r, true)
	}
	q.over(r)
	return true
}

// finished waits for an op that is at the device of this process.
func (q *Queue) finished(t Ticket) (int, error) {
	for {
		if st := q.ring.Look(t.ref); st != mpsc.Issued {
			return q.result(t, st)
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// result reads and frees an op that is over.
func (q *Queue) result(t Ticket, st mpsc.Status) (int, error) {
	n, back := q.ring.Result(t.ref)
	if len(back) > 0 && !q.ring.local() {
		copy(t.into, back)
	}
	q.over(t.ref)
	q.ring.Free(t.ref)
	if st == mpsc.Interrupted {
		return 0, fmt.Errorf("ioqueue %q: %w", q.name, ErrInterrupted)
	}
	return q.answer(n)
}

// answer is a device's result as the submitter gets it.
func (q *Queue) answer(n int32) (int, error) {
	if n < 0 {
		return 0, fmt.Errorf("ioqueue %q: %w", q.name, &DeviceError{int(n)})
	}
	return int(n), nil
}

// gone says why an op is ours no more.
func (q *Queue) gone() error {
	if err := q.ring.broken(); err != nil {
		return err
	}
	if err := q.ring.err(); err != nil {
		return err
	}
	return fmt.Errorf("ioqueue %q: %w", q.name, ErrNoTicket)
}

// ready reports whether there is no reason to sleep over op r.
func (q *Queue) ready(r mpsc.Ref, able bool) bool {
	st := q.ring.Look(r)
	return st != mpsc.Submitted && st != mpsc.Issued || able && q.ring.Offered() || q.closed.Load()
}
