package ringbus

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// Client calls a service. It may be used by any number of goroutines at once. It
// lasts until Close, or until its node closes.
type Client struct {
	*service
	policy  wake.Policy
	sleeper *wake.Sleeper // of the leader

	// Who waits for a reply takes the baton, if nobody has it, and looks and sleeps
	// for all; the others wait for their own call, or for the baton.
	baton chan struct{}
	freed chan struct{} // somebody waits for a place: there may be one
	over  chan struct{} // closed by Close

	mu      sync.Mutex
	links   []*clientLink  // the first one is home: its bell is the client's
	seen    uint64         // what Changes of the table was
	waiting int            // for a place
	inside  sync.WaitGroup // calls, and who waits for a place
	closed  bool
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
	c := &Client{service: s, policy: o.Wait.policy(), baton: make(chan struct{}, 1), freed: make(chan struct{}, 1), over: make(chan struct{})}
	c.baton <- struct{}{}
	c.seen = s.table.Changes() - 1
	home, err := c.claim()
	if err != nil {
		s.area.Close()
		return nil, fmt.Errorf("service %q: %w", name, err)
	}
	c.links = append(c.links, home)
	c.sleeper = n.host.Pool.NewSleeper(home.link.Bell(), c.policy)
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

// Call sends a copy of request to one of the servers, waits for its reply and
// copies that to reply; n is its length. The error is ErrNoService if nobody
// serves, ErrPeerDied if the server has gone with the call, a ServiceError if it
// answered with one, a CallSizeError if the reply is longer than there is room
// for, and that of ctx when it is done: the server may still answer then, to
// nobody.
func (c *Client) Call(ctx context.Context, request, reply []byte) (n int, err error) {
	p, err := c.Begin(ctx, len(request))
	if err != nil {
		return 0, err
	}
	defer p.Release()
	copy(p.Data(), request)
	if err := p.Send(); err != nil {
		return 0, err
	}
	b, err := p.Wait(ctx)
	if err != nil {
		return 0, err
	}
	if len(b) > len(reply) {
		return 0, &CallSizeError{c.name, "reply", len(b), len(reply)}
	}
	return copy(reply, b), nil
}

// Begin begins a call with a request of size bytes: fill its Data, Send it, Wait
// for the reply, Release it. If the client has as many calls outstanding as the
// servers take, Begin waits.
func (c *Client) Begin(ctx context.Context, size int) (*Call, error) {
	if size < 0 || size > c.config.MaxRequest {
		return nil, &CallSizeError{c.name, "request", size, c.config.MaxRequest}
	}
	for {
		p, err := c.place(size)
		if p != nil || err != nil {
			return p, err
		}
		if err := c.waitPlace(ctx); err != nil {
			return nil, err
		}
	}
}

// place takes a place for a call, nothing if there is none.
func (c *Client) place(size int) (*Call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, c.closedErr()
	}
	if err := c.node.node.Err(); err != nil {
		return nil, err
	}
	if err := c.relink(); err != nil {
		return nil, err
	}
	var best *clientLink
	linked := false
	for _, l := range c.links {
		if !l.usable() {
			continue
		}
		linked = true
		if len(l.free) > 0 && (best == nil || len(l.free) > len(best.free)) {
			best = l
		}
	}
	if !linked {
		return nil, fmt.Errorf("service %q: %w", c.name, ErrNoService)
	}
	if best == nil {
		c.waiting++
		c.inside.Add(1)
		return nil, nil
	}
	c.inside.Add(1)
	return best.take(size), nil
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

// waitPlace waits until there may be a place for a call.
func (c *Client) waitPlace(ctx context.Context) error {
	defer func() {
		c.mu.Lock()
		c.waiting--
		c.mu.Unlock()
		c.inside.Done()
	}()
	select {
	case <-c.freed:
		return nil
	case <-c.over:
		return nil
	default:
	}
	select {
	case <-c.freed:
		return nil
	case <-c.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.baton:
		defer c.pass()
		return c.lead(ctx, nil)
	}
}

// pass gives the baton on.
func (c *Client) pass() { c.baton <- struct{}{} }

// lead looks for replies, for all, until call p has its own; with no p until there
// is a place.
func (c *Client) lead(ctx context.Context, p *Call) error {
	for spin := c.policy.Begin(); ; {
		if c.reap(p) {
			return nil
		}
		if spin.Next() {
			if err := interrupted(ctx, &spin); err != nil {
				return err
			}
			continue
		}
		if err := c.node.node.Err(); err != nil {
			return err
		}
		c.sleeper.Prepare()
		if c.announce(p) {
			c.sleeper.Cancel()
			continue
		}
		if err := c.sleeper.Sleep(ctx); err != nil {
			return err
		}
		spin = c.policy.Begin()
	}
}

// reap takes what has come back, and says whether p is among it; with no p,
// whether there is a place.
func (c *Client) reap(p *Call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		l.reap()
	}
	return c.ready(p)
}

// announce asks all servers to be rung. It returns true if there is something to
// do already: another goroutine may have found, since p was looked at, that the
// server has gone, and ended p; no server rings for that link any more.
func (c *Client) announce(p *Call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	more := c.closed || c.ready(p)
	for _, l := range c.links {
		more = l.announce() || more
	}
	return more
}

// ready says whether call p has ended; with no p, whether there is a place, or
// never will be one. The caller has mu.
func (c *Client) ready(p *Call) bool {
	if p != nil {
		return p.state == callDone
	}
	usable := false
	for _, l := range c.links {
		if l.usable() {
			if usable = true; len(l.free) > 0 {
				return true
			}
		}
	}
	return !usable || c.closed
}

// Close ends the client. Calls that wait end with ErrClosed; it returns when all
// calls are released.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	close(c.over)
	for _, l := range c.links {
		l.fail(c.closedErr())
	}
	c.mu.Unlock()
	c.node.ring(c.links[0].link.Bell())
	c.inside.Wait()
	c.node.host.Remove(c)
	c.giveBack()
	return nil
}

// giveBack ends what the client has in the service.
func (c *Client) giveBack() {
	if c.sleeper != nil {
		c.sleeper.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Home last: until then others ring its bell.
	for i := len(c.links) - 1; i >= 0; i-- {
		c.links[i].giveUp()
	}
	c.area.Close()
}

func (c *Client) closedErr() error { return fmt.Errorf("client of service %q: %w", c.name, ErrClosed) }

// goneErr is why calls with a server end that has gone.
func (c *Client) goneErr() error { return fmt.Errorf("service %q: %w", c.name, ErrPeerDied) }
