package ringbus

import (
	"errors"

	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/internal/ring/virtq"
	"github.com/ringbus/ringbus/segment"
)

// clientLink is a link with one server. Client.mu guards it.
type clientLink struct {
	c      *Client
	link   *calls.Link
	server calls.ServerRef
	area   *segment.Area
	drv    *virtq.Driver
	calls  []Call
	free   []*Call
	open   bool // with a server, or with one that has gone whose calls are not all released
	gone   bool // that one has gone
	ended  bool // its area is not to be used again
}

// usable says whether calls may be begun on l.
func (l *clientLink) usable() bool { return l.open && !l.gone }

// claim takes a link; the dead make room.
func (c *Client) claim() (*clientLink, error) {
	owner := uint32(c.node.node.Owner())
	link, err := c.table.Claim(owner)
	if errors.Is(err, calls.ErrNoSlot) {
		if _, err := c.node.Recover(); err != nil {
			return nil, err
		}
		link, err = c.table.Claim(owner)
	}
	if errors.Is(err, calls.ErrNoSlot) {
		return nil, ErrTooManyClients
	}
	if err != nil {
		return nil, err
	}
	return &clientLink{c: c, link: link}, nil
}

// connect links with a server, by a link that is idle or by a new one.
func (c *Client) connect(s calls.ServerRef) error {
	var l *clientLink
	for _, have := range c.links {
		if !have.open && !have.ended {
			l = have
			break
		}
	}
	if l == nil {
		var err error
		if l, err = c.claim(); err != nil {
			return err
		}
		c.links = append(c.links, l)
	}
	if err := l.makeArea(); err != nil {
		return err
	}
	ok, err := l.link.Connect(s, l.area.Index(), l.area.Gen(), c.links[0].link, c.node.ring)
	switch {
	case errors.Is(err, calls.ErrNoSlot):
		l.ended = true
	case errors.Is(err, calls.ErrFenced):
		return ErrFenced
	case ok:
		l.server, l.open, l.gone = s, true, false
	}
	return nil // a server that has gone meanwhile changes the table
}

// makeArea makes the link's area, if there is none yet, and a queue in it. Nobody
// else uses it.
func (l *clientLink) makeArea() error {
	c := l.c
	if l.area == nil {
		area, _, err := c.node.node.Create(background, c.linkKey(l.link.K), int64(c.shape.size), func([]byte) error { return nil })
		if err != nil {
			return err
		}
		l.area = area
		l.calls = make([]Call, c.config.Depth)
		b := area.Bytes()
		for i := range l.calls {
			p := &l.calls[i]
			p.l, p.slot = l, uint32(i)
			at, to := c.shape.requests+uint64(i)*c.shape.request, c.shape.replies+uint64(i)*c.shape.reply
			p.request = b[at : at+callHeader+uint64(c.config.MaxRequest)]
			p.reply = b[to : to+callHeader+uint64(c.config.MaxReply)]
			p.out[0] = virtq.Buffer{Addr: at}
			p.in[0] = virtq.Buffer{Addr: to, Len: uint32(len(p.reply))}
		}
	}
	m, err := virtq.NewMemory(virtq.Region{Addr: 0, Bytes: l.area.Bytes()[:c.shape.size]})
	if err != nil {
		return err
	}
	if l.drv, err = virtq.NewDriver(m, c.shape.ring); err != nil {
		return err
	}
	// Until somebody announces otherwise the server rings: who sleeps for all
	// may have fallen asleep before this link was there.
	l.free = l.free[:0]
	for i := range l.calls {
		l.free = append(l.free, &l.calls[len(l.calls)-1-i])
	}
	return nil
}

// look notices that the server has gone, and makes the link free for another one
// when no call holds memory of it any more.
func (l *clientLink) look() {
	if l.open && !l.gone && (l.link.Lost() || l.drv.Err() != nil) {
		l.drain() // what it had answered before
		l.gone = true
		l.fail(l.c.goneErr())
		l.c.seen = l.c.table.Changes() - 1
	}
	if !l.gone || len(l.free) < len(l.calls) || !l.link.Lost() {
		return
	}
	l.open, l.gone = false, false
	if l.link.Again() != nil {
		l.ended = true
	}
}

// reap takes what has come back.
func (l *clientLink) reap() {
	if !l.usable() {
		return
	}
	l.drain()
	l.look()
}

func (l *clientLink) drain() {
	for {
		u, ok, err := l.drv.Reap()
		if !ok || err != nil {
			return
		}
		l.calls[u.Token].back(u.Len)
	}
}

// announce asks the server to ring.
func (l *clientLink) announce() bool {
	return l.usable() && (l.drv.EnableCall() || l.link.Lost()) // edge: lost
}

// fail ends the calls in flight.
func (l *clientLink) fail(err error) {
	if l.drv == nil {
		return
	}
	l.drv.Detach(func(token uint64) { l.calls[token].end(err) })
}

// held is how many calls are in somebody's hands.
func (l *clientLink) held() (n int) {
	for i := range l.calls {
		switch p := &l.calls[i]; {
		case p.replies != nil && p != p.replies.lent:
		case p.state == callHeld, p.state == callDone:
			n++
		}
	}
	return n
}

// giveUp ends the link. An area of which somebody holds memory is never used
// again.
func (l *clientLink) giveUp() {
	if l.area != nil {
		l.area.Close()
	}
	if l.held() > 0 {
		l.link.Retire(l.c.node.ring)
		return
	}
	l.link.Close(l.c.node.ring)
}
