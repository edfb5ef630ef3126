package ioqueue

import (
	"context"

	"github.com/ringbus/ringbus/internal/ring/mpsc"
)

// ring is either kind of queue, with the ways to sleep over it.
type ring interface {
	alloc(r mpsc.Request, into []byte, able bool) (mpsc.Ref, bool)
	submit1(r mpsc.Ref, able bool) mpsc.Control
	Submit(refs []mpsc.Ref, able bool) mpsc.Control
	refs() *[]mpsc.Ref // a buffer for Depth
	giveBack(*[]mpsc.Ref)
	Claim(empty bool) mpsc.Control
	Offered() bool
	Look(r mpsc.Ref) mpsc.Status
	Result(r mpsc.Ref) (int32, []byte)
	Free(r mpsc.Ref)
	Cancel(r mpsc.Ref, able bool) bool
	Forget(r mpsc.Ref, able bool)
	executor() mpsc.Executor

	// sleepOp sleeps once, unless q is ready, until there may be news of op r.
	sleepOp(ctx context.Context, q *Queue, r mpsc.Ref, able bool) error
	// sleepSpace sleeps until try, which takes a free node, says that it is over.
	sleepSpace(ctx context.Context, try func() bool) error
	// sleepControl sleeps until try, which takes control, says that it is over.
	sleepControl(ctx context.Context, q *Queue, try func() bool) error
	// sleepIdle sleeps once, unless something is queued, for who has control.
	sleepIdle(ctx context.Context, q *Queue) error
	pending() bool // something is queued, for who has control

	local() bool
	broken() error // the queue was found garbled
	fail()         // tells everybody
	err() error    // why this node can do nothing any more
	wakeAll(q *Queue)
	close(q *Queue)
}

// local is a queue within this process.
type local struct {
	*mpsc.Local
	buffers buffers
}

func newLocal(q *Queue) *local {
	return &local{mpsc.NewLocal(q.opts.Depth), buffers{depth: q.opts.Depth}}
}

func (l *local) alloc(r mpsc.Request, into []byte, able bool) (mpsc.Ref, bool) {
	return l.Alloc(&r, into, able)
}

func (l *local) submit1(r mpsc.Ref, able bool) mpsc.Control {
	return l.Submit([]mpsc.Ref{r}, able)
}

func (l *local) refs() *[]mpsc.Ref       { return l.buffers.get() }
func (l *local) giveBack(b *[]mpsc.Ref)  { l.buffers.put(b) }
func (l *local) executor() mpsc.Executor { return l.Local }
func (l *local) pending() bool           { return l.Pending() }
func (l *local) local() bool             { return true }
func (l *local) broken() error           { return nil }
func (l *local) fail()                   {}
func (l *local) err() error              { return nil }
func (l *local) close(*Queue)            {}
func (l *local) wakeAll(*Queue)          { l.WakeAll() }

func (l *local) sleepOp(ctx context.Context, q *Queue, r mpsc.Ref, able bool) error {
	l.Announce(r, able)
	var err error
	if !q.ready(r, able) {
		err = l.Sleep(ctx, r)
	}
	l.Awake(r, able)
	return err
}

func (l *local) sleepSpace(ctx context.Context, try func() bool) error {
	return l.SleepSpace(ctx, try)
}

func (l *local) sleepControl(ctx context.Context, _ *Queue, try func() bool) error {
	return l.SleepControl(ctx, try)
}

func (l *local) sleepIdle(ctx context.Context, q *Queue) error {
	return l.SleepIdle(ctx, q.closed.Load)
}
