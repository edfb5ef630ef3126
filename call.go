package ringbus

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/virtq"
)

// States of a call. Client.mu guards them.
const (
	callFree = iota
	callHeld // its request is being written
	callSent
	callDone
	callLeft  // sent, and nobody waits for the reply
	callSpare // a stream's, and not with the server
)

// Call is a call in the making, outstanding or answered; its request and its reply
// are memory that is shared with the server. It lasts until Release, and is used
// again for another call after that: keep no slice of it. One goroutine at a time
// uses it.
type Call struct {
	l       *clientLink
	slot    uint32
	state   int
	size    int // of the request
	sent    bool
	err     error
	length  uint32 // bytes of the reply, with its header
	waiter  waiter
	replies *replies // that it is of; nil: none
	request []byte   // with header
	reply   []byte
	out, in [1]virtq.Buffer
}

// take takes a free place.
func (l *clientLink) take(size int) *Call {
	p := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	p.state, p.size, p.err, p.sent = callHeld, size, nil, false
	return p
}

func (p *Call) check(state int, what string) {
	if p.state != state {
		panic("ringbus: Call." + what + " out of turn, or after Release")
	}
}

// Data is the memory of the request, to be filled before Send.
func (p *Call) Data() []byte { return p.request[callHeader : callHeader+p.size : callHeader+p.size] }

// Send sends the request. The error is ErrPeerDied if the server has gone
// meanwhile.
func (p *Call) Send() error {
	c := p.l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	p.check(callHeld, "Send")
	return p.send()
}

func (p *Call) send() error {
	c := p.l.c
	if c.closed {
		return c.closedErr()
	}
	if p.l.look(); !p.l.usable() {
		return c.goneErr()
	}
	if err := p.offer(kindCall, 0, p.in[:]); err != nil {
		return err
	}
	p.sent = true
	return p.l.kick()
}

// offer adds the chain of p: a header, of p's request or of stream n, and what the
// server may write.
func (p *Call) offer(kind, n uint32, in []virtq.Buffer) error {
	binary.LittleEndian.PutUint64(p.request, uint64(kind)|uint64(n)<<32)
	binary.LittleEndian.PutUint64(p.request[8:], 0)
	p.out[0].Len = uint32(callHeader + p.size)
	invariant.Point("ringbus.send")
	err := p.l.drv.Add(p.out[:], in, uint64(p.slot))
	if err == nil {
		p.state = callSent
	}
	return err
}

// kick shows the server what was added.
func (l *clientLink) kick() error {
	notify, err := l.drv.Kick()
	if notify {
		l.c.node.ring(l.link.ServerBell(l.server))
	}
	return err
}

// back is a reply that has come.
func (p *Call) back(length uint32) {
	p.length = length
	p.end(nil)
}

// end ends a call in flight.
func (p *Call) end(err error) {
	switch {
	case p.state == callLeft:
		p.put()
		return
	case p.replies != nil:
		p.replies.back(p, err)
		return
	}
	p.err, p.state = err, callDone
	p.l.c.wake(&p.waiter)
}

// put gives the place back.
func (p *Call) put() {
	p.state, p.replies = callFree, nil
	p.l.free = append(p.l.free, p)
	p.l.c.freed()
}

// Wait waits for the reply and returns it, in shared memory, until Release. For
// errors see [Client.Call].
func (p *Call) Wait(ctx context.Context) ([]byte, error) {
	c := p.l.c
	if !p.sent {
		panic("ringbus: Call.Wait before Send")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return p.wait(ctx)
}

func (p *Call) wait(ctx context.Context) ([]byte, error) {
	c := p.l.c
	err := c.await(ctx, &p.waiter, func() bool { return p.state == callDone })
	switch {
	case err != nil:
		return nil, err
	case c.closed:
		return nil, c.closedErr()
	}
	b, _, err := p.result()
	return b, err
}

// result reads the reply's header, once.
func (p *Call) result() (b []byte, status uint32, err error) {
	c := p.l.c
	if p.err != nil {
		return nil, 0, p.err
	}
	if p.length < callHeader {
		return nil, 0, fmt.Errorf("service %q: reply of %d bytes has no header", c.name, p.length)
	}
	h := binary.LittleEndian.Uint64(p.reply)
	status, size := uint32(h), int(h>>32)
	if status == statusLarge {
		return nil, status, &CallSizeError{c.name, "reply", size, c.config.MaxReply}
	}
	if size != int(p.length)-callHeader {
		return nil, 0, fmt.Errorf("service %q: reply of %d bytes, and of %d by its header", c.name, p.length-callHeader, size)
	}
	b = p.reply[callHeader : callHeader+size : callHeader+size]
	switch {
	case status == statusDone:
		return b, status, nil
	case status == statusFailed:
		return nil, status, &ServiceError{c.name, string(b)}
	case status == statusEnd && p.replies != nil, status == statusUnused && p.replies != nil:
		return nil, status, nil
	}
	return nil, 0, fmt.Errorf("service %q: reply with unknown status %d", c.name, status)
}

// Release ends the call and gives its memory back. If the reply has not come, it
// will be dropped.
func (p *Call) Release() {
	c := p.l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	p.release()
}

func (p *Call) release() {
	switch p.state {
	case callHeld, callDone:
		p.put()
		if p.l.gone && !p.l.c.over {
			p.l.look()
		}
	case callSent:
		p.state = callLeft
	default:
		panic("ringbus: Call released twice")
	}
}

var _ = invariant.Declare("ringbus.send", "ringbus.answer")
