package ringbus

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ringbus/ringbus/segment"
)

// Client calls a service. It may be used by any number of goroutines at once. It
// lasts until Close, or until its node closes.
type Client struct {
	*service
	crew

	links   []*clientLink // the first one is home: its bell is the client's
	seen    uint64        // what Changes of the table was
	wanting []*want       // who waits for places, in turn
	told    uint64        // what Changes was when the first of them was woken for it
	spare   []*want
	window  int  // places for replies that a stream offers
	over    bool // all was given back

	closing  sync.Once
	closeErr error
}

// want is somebody who waits for places.
type want struct {
	waiter
	need int
}

// Client opens a service for calls. Nobody has to serve it yet.
func (n *Node) Client(name string, o *ServiceOptions) (*Client, error) {
	if o == nil {
		o = &ServiceOptions{}
	}
	s, err := n.openService(name, o)
	if err != nil {
		return nil, err
	}
	c := &Client{service: s, window: orDefault(o.Window, defaultWindow)}
	c.seen = s.table.Changes() - 1
	home, err := c.claim()
	if err != nil {
		s.area.Close()
		return nil, fmt.Errorf("service %q: %w", name, err)
	}
	c.links = append(c.links, home)
	c.crew.open(c, n, o.Wait.policy(), home.link.Bell())
	if err := n.host.Add(c); err != nil {
		c.giveBack()
		return nil, err
	}
	return c, nil
}

// Name is the name of the service.
func (c *Client) Name() string { return c.name }

// MaxRequest is the largest request in bytes.
func (c *Client) MaxRequest() int { return c.config.MaxRequest }

// MaxReply is the largest reply in bytes.
func (c *Client) MaxReply() int { return c.config.MaxReply }

// small is what is copied without giving the lock up: that takes as long.
const small = 512

// Call sends a copy of request to one of the servers, waits for its reply and
// copies that to reply; n is its length. The error is ErrNoService if nobody
// serves, ErrPeerDied if the server has gone with the call, a ServiceError if it
// answered with one, a CallSizeError if the reply is longer than there is room
// for, and that of ctx when it is done: the server may still answer then, to
// nobody.
func (c *Client) Call(ctx context.Context, request, reply []byte) (n int, err error) {
	if err := c.checkSize(len(request)); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside++
	defer c.leave()
	l, err := c.place(ctx, 1)
	if err != nil {
		return 0, err
	}
	p := l.take(len(request))
	defer p.release()
	c.copy(p.Data(), request)
	if err := p.send(); err != nil {
		return 0, err
	}
	b, err := p.wait(ctx)
	if err != nil {
		return 0, err
	}
	if len(b) > len(reply) {
		return 0, &CallSizeError{c.name, "reply", len(b), len(reply)}
	}
	c.copy(reply, b)
	return len(b), nil
}

// copy copies; others go on meanwhile if it takes long.
func (c *Client) copy(to, from []byte) {
	if len(from) <= small {
		copy(to, from)
		return
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	copy(to, from)
}

func (c *Client) checkSize(size int) error {
	if size < 0 || size > c.config.MaxRequest {
		return &CallSizeError{c.name, "request", size, c.config.MaxRequest}
	}
	return nil
}

// Begin begins a call with a request of size bytes: fill its Data, Send it, Wait
// for the reply, Release it. If the client has as many calls outstanding as the
// servers take, Begin waits.
func (c *Client) Begin(ctx context.Context, size int) (*Call, error) {
	if err := c.checkSize(size); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := c.place(ctx, 1)
	if err != nil {
		return nil, err
	}
	return l.take(size), nil
}

// place finds a link with as many free places, and waits for one.
func (c *Client) place(ctx context.Context, need int) (l *clientLink, err error) {
	if len(c.wanting) == 0 {
		if l, err = c.room(need); l != nil || err != nil {
			return l, err
		}
	}
	if len(c.spare) == 0 {
		c.spare = append(c.spare, &want{})
	}
	w := c.spare[len(c.spare)-1]
	c.spare = c.spare[:len(c.spare)-1]
	w.need = need
	c.wanting = append(c.wanting, w)
	late := c.await(ctx, &w.waiter, func() bool {
		if l == nil && err == nil && (c.wanting[0] == w || c.closed) {
			l, err = c.room(need)
		}
		return l != nil || err != nil
	})
	i := slices.Index(c.wanting, w)
	c.wanting = slices.Delete(c.wanting, i, i+1)
	c.spare = append(c.spare, w)
	c.freed() // the next one's turn
	if l == nil && err == nil {
		err = late
	}
	return l, err
}

// freed wakes who waits for places, if there may be enough.
func (c *Client) freed() {
	if len(c.wanting) == 0 {
		return
	}
	w := c.wanting[0]
	if usable, most := c.most(); usable && len(most.free) < w.need {
		return
	}
	c.wake(&w.waiter)
}

// most is the link with the most free places.
func (c *Client) most() (usable bool, best *clientLink) {
	for _, l := range c.links {
		if l.usable() && (best == nil || len(l.free) > len(best.free)) {
			best = l
		}
	}
	return best != nil, best
}

// room returns a link with as many free places, nothing if there is none now.
func (c *Client) room(need int) (*clientLink, error) {
	if c.closed {
		return nil, c.closedErr()
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := c.relink(); err != nil {
		return nil, err
	}
	usable, best := c.most()
	switch {
	case !usable:
		return nil, fmt.Errorf("service %q: %w", c.name, ErrNoService)
	case len(best.free) < need:
		return nil, nil
	}
	return best, nil
}

// relink looks for servers that came, and ends links whose servers have gone.
func (c *Client) relink() error {
	for _, l := range c.links {
		l.look()
	}
	changes := c.table.Changes()
	if changes == c.seen {
		return nil
	}
	var failed error
	for _, s := range c.table.Servers() {
		if c.linked(s.Slot, s.Gen) {
			continue
		}
		if c.node.node.Status(segment.Owner(s.Owner)) == segment.Dead {
			c.bury(s.Owner)
			continue
		}
		if err := c.connect(s); err != nil {
			failed = err
		}
	}
	if failed == nil {
		c.seen = changes
		return nil
	}
	for _, l := range c.links {
		if l.usable() {
			return nil // with some of them
		}
	}
	return fmt.Errorf("service %q: %w", c.name, failed)
}

func (c *Client) linked(slot int, gen uint64) bool {
	for _, l := range c.links {
		if l.open && l.server.Slot == slot && l.server.Gen == gen {
			return true
		}
	}
	return false
}

// look takes what has come back.
func (c *Client) look() {
	for _, l := range c.links {
		l.reap()
	}
	if n := c.table.Changes(); len(c.wanting) > 0 && n != c.told {
		c.told = n
		c.wake(&c.wanting[0].waiter)
	}
}

// announce asks all servers to be rung.
func (c *Client) announce() (more bool) {
	for _, l := range c.links {
		more = l.announce() || more
	}
	return more || len(c.wanting) > 0 && c.table.Changes() != c.told // edge: changes
}

func (c *Client) err() error { return c.node.node.Err() }

// Close ends the client. Calls that wait end with ErrClosed. Calls that were begun
// and not released end as well: their memory must not be used any more, which is
// then the error, a HeldError.
func (c *Client) Close() error {
	c.closing.Do(func() { c.closeErr = c.finish() })
	return c.closeErr
}

func (c *Client) finish() error {
	c.mu.Lock()
	c.closed = true
	for _, l := range c.links {
		l.fail(c.closedErr())
	}
	c.shut()
	held := 0
	for _, l := range c.links {
		held += l.held()
	}
	c.mu.Unlock()
	c.giveBack()
	c.node.host.Remove(c) // until then the node waits for us before it leaves
	if held > 0 {
		return &HeldError{c.name, "calls", held}
	}
	return nil
}

// giveBack ends what the client has in the service.
func (c *Client) giveBack() {
	c.sleeper.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	// Home last: until then others ring its bell.
	for i := len(c.links) - 1; i >= 0; i-- {
		c.links[i].giveUp()
	}
	c.area.Close()
}

func (c *Client) closedErr() error { return fmt.Errorf("client of service %q: %w", c.name, ErrClosed) }

// goneErr is why calls with a server end that has gone.
func (c *Client) goneErr() error { return fmt.Errorf("service %q: %w", c.name, ErrPeerDied) }
