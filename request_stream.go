package ringbus

import (
	"context"
	"fmt"

	"github.com/ringbus/ringbus/internal/invariant"
)

// Streams says whether the caller takes several replies.
func (r *Request) Streams() bool {
	r.check()
	return r.streams
}

// Context is a context that ends with ctx, when the caller wants no more replies or
// has gone, and when the request is answered. That the caller wants no more is seen
// while somebody ranges over the requests, or waits in Send or Reserve. Of a request
// that takes one reply it ends when that is answered.
func (r *Request) Context(ctx context.Context) context.Context {
	v := r.l.v
	v.mu.Lock()
	defer v.mu.Unlock()
	r.check()
	ctx, stop := context.WithCancel(ctx)
	if before := r.stop; before != nil {
		r.stop = func() { before(); stop() }
	} else {
		r.stop = stop
	}
	if r.streams && r.canceled {
		stop()
	}
	return ctx
}

// Send sends a copy of b as one of several replies. For errors see Reserve. If
// there is no room for b, the client gets a CallSizeError in its place, and so does
// the caller; the stream goes on.
func (r *Request) Send(ctx context.Context, b []byte) error {
	room, err := r.Reserve(ctx)
	if err != nil {
		return err
	}
	if len(b) > len(room) {
		err := &CallSizeError{r.l.v.name, "reply", len(b), len(room)}
		if e := r.commit(statusLarge, len(b), 0); e != nil {
			return e
		}
		return err
	}
	return r.commit(statusDone, len(b), copy(room, b))
}

// Reserve waits until the client has room for one more reply, and returns it, to
// be filled and committed. Where a context is needed to end the wait early, ctx is
// it. The error is context.Canceled if the caller wants no more replies, or has
// gone; the request is to be answered then as well.
func (r *Request) Reserve(ctx context.Context) ([]byte, error) {
	l, v := r.l, r.l.v
	v.mu.Lock()
	defer v.mu.Unlock()
	r.check()
	if !r.streams {
		return nil, fmt.Errorf("service %q: the caller takes one reply: %w", v.name, ErrOneReply)
	}
	if r.reserved != nil {
		panic("ringbus: Request.Reserve before Commit of what was reserved")
	}
	err := v.await(ctx, &r.waiter, func() bool { return r.rooms.first != nil || r.canceled || v.closed })
	switch {
	case v.closed:
		return nil, v.closedErr()
	case r.canceled || l.gone():
		return nil, fmt.Errorf("service %q: the caller wants no more replies: %w", v.name, context.Canceled)
	case err != nil:
		return nil, err
	}
	r.reserved = r.rooms.take()
	return r.reserved.room[callHeader:], nil
}

// Commit sends the first n bytes of what was reserved as one of several replies.
func (r *Request) Commit(n int) error {
	r.check()
	if r.reserved == nil {
		panic("ringbus: Request.Commit without Reserve")
	}
	if room := len(r.reserved.room) - callHeader; n < 0 || n > room {
		panic(fmt.Sprintf("ringbus: Commit of %d bytes, with room for %d", n, room))
	}
	return r.commit(statusDone, n, n)
}

func (r *Request) commit(status uint32, size, written int) error {
	l, v := r.l, r.l.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over.Load() {
		return v.closedErr()
	}
	p := r.reserved
	r.reserved = nil
	p.header(status, size)
	invariant.Point("ringbus.reply")
	l.back(p, callHeader+written)
	return nil
}

// End answers a request after its last reply: nothing follows.
func (r *Request) End() error {
	r.check()
	if !r.streams {
		return r.answer(statusDone, 0, 0)
	}
	return r.answer(statusEnd, 0, 0)
}

// cancel notes that the caller wants no more.
func (r *Request) cancel() {
	if r.canceled {
		return
	}
	r.canceled = true
	if r.stop != nil {
		r.stop()
	}
	r.refuse()
	r.l.call()
	r.l.v.wake(&r.waiter)
}

// close ends the stream; what room there is goes back before the end does.
func (r *Request) close() {
	if p := r.reserved; p != nil {
		r.reserved = nil
		r.rooms.put(p)
	}
	r.refuse()
	r.l.streams[r.number] = nil
}

// refuse gives back what room there is.
func (r *Request) refuse() {
	for p := r.rooms.take(); p != nil; p = r.rooms.take() {
		p.header(statusUnused, 0)
		r.l.push(p, callHeader)
	}
}

var _ = invariant.Declare("ringbus.reply")
