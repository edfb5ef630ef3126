package ringbus

import (
	"context"
	"fmt"
	"iter"
	"slices"
)

const (
	defaultWindow = 16
	// A stream takes a place for its request, one for a reply, and one that is kept
	// to cancel with.
	leastPlaces = 3
	leastDepth  = 4 // of a service with streams: something is left for calls
)

// replies are those of one stream, as they come. Client.mu guards them.
type replies struct {
	l     *clientLink
	head  *Call   // the request, and the end
	rooms []*Call // places for replies
	came  []*Call // of them those with a reply, in order
	idle  []*Call // and those with none that are not offered
	lent  *Call   // its reply is being looked at
}

// Stream sends a copy of request to one of the servers and yields the replies, in
// shared memory: each until the loop turns. A server that answers as for Call
// gives one reply.
//
// A reply that was larger than there is room for is a CallSizeError in its place;
// who goes on gets the next ones. Any other error is the last: that of ctx, or
// those of Call, ErrPeerDied after the replies that had come. Who leaves the loop
// wants no more replies, and the server is told; it is told as well when ctx is
// done.
//
// The server can be as many replies ahead as ServiceOptions.Window says, then it
// waits. As long as the loop runs, a stream takes the places of so many calls.
func (c *Client) Stream(ctx context.Context, request []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		s, err := c.stream(ctx, request)
		if err != nil {
			yield(nil, err)
			return
		}
		defer s.close()
		for {
			b, last, err := s.next(ctx)
			if last && b == nil && err == nil || !yield(b, err) || last {
				return
			}
		}
	}
}

// stream begins a stream.
func (c *Client) stream(ctx context.Context, request []byte) (*replies, error) {
	if err := c.checkSize(len(request)); err != nil {
		return nil, err
	}
	if c.config.Depth < leastDepth {
		return nil, fmt.Errorf("service %q: a stream needs depth %d at least, and it has %d", c.name, leastDepth, c.config.Depth)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside++
	defer c.leave()
	l, err := c.place(ctx, leastPlaces)
	if err != nil {
		return nil, err
	}
	// Half of what is there is left to others.
	n := min(max(len(l.free)/2, leastPlaces), c.window+2)
	s := &replies{l: l, head: l.take(len(request))}
	s.rooms, s.came, s.idle = make([]*Call, n-1), make([]*Call, 0, n-1), make([]*Call, 0, n-1)
	for i := range s.rooms {
		s.rooms[i] = l.take(0)
		s.rooms[i].replies = s
		s.rest(s.rooms[i])
	}
	c.copy(s.head.Data(), request)
	s.head.replies = s
	if err := s.send(); err != nil {
		s.drop()
		return nil, err
	}
	return s, nil
}

// rest takes a place that is not offered.
func (s *replies) rest(p *Call) {
	p.state = callSpare
	s.idle = append(s.idle, p)
}

func (s *replies) send() error {
	c, h := s.l.c, s.head
	if c.closed {
		return c.closedErr()
	}
	if s.l.look(); !s.l.usable() {
		return c.goneErr()
	}
	if err := h.offer(kindStream, h.slot, h.in[:]); err != nil {
		return err
	}
	return s.offer()
}

// offer offers all places but one for replies.
func (s *replies) offer() error {
	for len(s.idle) > 1 {
		p := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if err := p.offer(kindRoom, s.head.slot, p.in[:]); err != nil {
			s.rest(p)
			return err
		}
	}
	return s.l.kick()
}

// back is a place that has come back, of a stream that goes on.
func (s *replies) back(p *Call, err error) {
	p.err, p.state = err, callDone
	switch {
	case p == s.head:
	case err != nil:
		s.rest(p)
	default:
		p.state = callSpare
		s.came = append(s.came, p)
	}
	s.l.c.wake(&s.head.waiter)
}

// next is the next reply; last: nothing follows it. No reply and no error is the
// end.
func (s *replies) next(ctx context.Context) (b []byte, last bool, err error) {
	c, h := s.l.c, s.head
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.lent != nil {
		s.rest(s.lent)
		s.lent = nil
	}
	for {
		// Not one by one, but before the server runs out of them.
		if h.state == callSent && s.l.usable() && (len(s.came) == 0 || len(s.idle) > len(s.rooms)/2) {
			if err := s.offer(); err != nil {
				return nil, true, err
			}
		}
		err := c.await(ctx, &h.waiter, func() bool { return len(s.came) > 0 || h.state == callDone || c.closed })
		switch {
		case err != nil:
			return nil, true, err
		case c.closed:
			return nil, true, c.closedErr()
		case len(s.came) == 0:
			if b, _, err = h.result(); b != nil {
				s.lent = h
			}
			return b, true, err
		}
		p := s.came[0]
		s.came = append(s.came[:0], s.came[1:]...)
		b, status, err := p.result()
		switch {
		case err != nil:
			s.rest(p)
			return nil, status != statusLarge, err
		case status == statusDone:
			p.state, s.lent = callDone, p
			return b, false, nil
		}
		s.rest(p) // unused
	}
}

// close ends the stream; a server that goes on with it is told.
func (s *replies) close() {
	c, h := s.l.c, s.head
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	if h.state == callSent && s.l.usable() {
		i := slices.IndexFunc(s.rooms, func(p *Call) bool { return p.state != callSent })
		if s.rooms[i].offer(kindCancel, h.slot, nil) == nil {
			_ = s.l.kick() // who looks next finds that it broke
		}
	}
	s.drop()
}

// drop gives the places back, each when the server does.
func (s *replies) drop() {
	for _, p := range append(s.rooms, s.head) {
		p.replies = nil
		if p.state == callSent {
			p.state = callLeft
		} else {
			p.put()
		}
	}
	if s.l.gone {
		s.l.look()
	}
}
