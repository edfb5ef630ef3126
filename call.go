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
	callLeft // sent, and nobody waits for the reply
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
	done    chan struct{}
	request []byte // with header
	reply   []byte
	out, in [1]virtq.Buffer
}

// take takes a free place.
func (l *clientLink) take(size int) *Call {
	p := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	p.state, p.size, p.err, p.sent = callHeld, size, nil, false
	select { // nobody waited for the last one
	case <-p.done:
	default:
	}
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
	binary.LittleEndian.PutUint64(p.request, kindCall)
	binary.LittleEndian.PutUint64(p.request[8:], 0)
	p.out[0].Len = uint32(callHeader + p.size)
	l, c := p.l, p.l.c
	c.mu.Lock()
	p.check(callHeld, "Send")
	if c.closed {
		c.mu.Unlock()
		return c.closedErr()
	}
	l.look()
	if !l.usable() {
		c.mu.Unlock()
		return c.goneErr()
	}
	invariant.Point("ringbus.send")
	notify := false
	err := l.drv.Add(p.out[:], p.in[:], uint64(p.slot))
	if err == nil {
		p.state, p.sent = callSent, true
		notify, err = l.drv.Kick()
	}
	bell := l.link.ServerBell(l.server)
	c.mu.Unlock()
	if notify {
		c.node.ring(bell)
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
	if p.state == callLeft {
		p.put()
		return
	}
	p.err, p.state = err, callDone
	p.done <- struct{}{}
}

// put gives the place back.
func (p *Call) put() {
	c := p.l.c
	p.state = callFree
	p.l.free = append(p.l.free, p)
	if c.waiting > 0 {
		select {
		case c.freed <- struct{}{}:
		default:
		}
		c.node.ring(c.links[0].link.Bell()) // who waits may be the one who sleeps for all
	}
	c.inside.Done()
}

// Wait waits for the reply and returns it, in shared memory, until Release. For
// errors see [Client.Call].
func (p *Call) Wait(ctx context.Context) ([]byte, error) {
	c := p.l.c
	if !p.sent {
		panic("ringbus: Call.Wait before Send")
	}
	select {
	case <-p.done:
		return p.result()
	case <-c.baton:
	default:
		select {
		case <-p.done:
			return p.result()
		case <-c.baton:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	err := c.lead(ctx, p)
	c.pass()
	if err != nil {
		return nil, err
	}
	<-p.done
	return p.result()
}

// result reads the reply's header, once.
func (p *Call) result() ([]byte, error) {
	c := p.l.c
	if p.err != nil {
		return nil, p.err
	}
	if p.length < callHeader {
		return nil, fmt.Errorf("service %q: reply of %d bytes has no header", c.name, p.length)
	}
	h := binary.LittleEndian.Uint64(p.reply)
	status, size := uint32(h), int(h>>32)
	if status == statusLarge {
		return nil, &CallSizeError{c.name, "reply", size, c.config.MaxReply}
	}
	if size != int(p.length)-callHeader {
		return nil, fmt.Errorf("service %q: reply of %d bytes, and of %d by its header", c.name, p.length-callHeader, size)
	}
	b := p.reply[callHeader : callHeader+size : callHeader+size]
	switch status {
	case statusDone:
		return b, nil
	case statusFailed:
		return nil, &ServiceError{c.name, string(b)}
	}
	return nil, fmt.Errorf("service %q: reply with unknown status %d", c.name, status)
}

// Release ends the call and gives its memory back. If the reply has not come, it
// will be dropped.
func (p *Call) Release() {
	c := p.l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p.state {
	case callHeld, callDone:
		p.put()
		p.l.look()
	case callSent:
		p.state = callLeft
	default:
		panic("ringbus: Call released twice")
	}
}

var _ = invariant.Declare("ringbus.send", "ringbus.answer")
