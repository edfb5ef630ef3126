package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// backlog is how many connections a listener takes that nobody has accepted yet.
const backlog = 128

// Listener accepts connections at a name of a bus, as net.Listener describes it.
// Its methods may be called concurrently. It ends with Close, or with its node.
type Listener struct {
	name   string
	host   *host.Host
	area   *segment.Area
	log    *cells.Backlog
	wait   *waiter
	queue  chan *Conn
	ready  chan struct{} // closed by Close
	done   chan struct{} // closed when nobody takes connections any more
	closed atomic.Bool
	once   sync.Once // of Close: of several who close, the others wait for the first
}

var _ net.Listener = (*Listener)(nil)

// Listen listens at name on the node's bus. One node at a time listens at a
// name; when it dies, another one may at once.
func Listen(node *ringbus.Node, name string) (*Listener, error) {
	h := host.Of(node)
	if err := segment.CheckName(name); err != nil {
		return nil, fmt.Errorf("listen at %q: %w", name, err)
	}
	if err := h.Err(); err != nil {
		return nil, err
	}
	key := segment.Key{Kind: segment.KindStream, Sub: segment.Ephemeral, Name: name}
	area, _, err := h.Node.Create(context.Background(), key, cells.BacklogSize, cells.FormatBacklog)
	if err != nil {
		return nil, fmt.Errorf("listen at %q: %w", name, err)
	}
	log, err := cells.OpenBacklog(area.Bytes())
	if err == nil {
		err = claimName(h, log)
	}
	if err != nil {
		_ = area.Drop()
		return nil, fmt.Errorf("listen at %q: %w", name, err)
	}
	l := &Listener{
		name: name, host: h, area: area, log: log, wait: newWaiter(h, wake.Policy{Spin: -1}, log.Bell()),
		queue: make(chan *Conn, backlog), ready: make(chan struct{}), done: make(chan struct{}),
	}
	if err := h.Add(l); err != nil {
		log.Unlisten(uint32(h.Node.Owner()), h.Pool.Ring)
		_ = area.Drop()
		return nil, err
	}
	go l.take()
	return l, nil
}

// claimName makes us the one who listens; the dead make room.
func claimName(h *host.Host, log *cells.Backlog) error {
	for range 3 {
		if log.Listen(uint32(h.Node.Owner())) {
			return nil
		}
		o := log.Listener()
		if o != 0 && h.Node.Status(segment.Owner(o)) != segment.Dead {
			return fmt.Errorf("%w: node %q listens", segment.ErrInUse, h.Node.NameOf(segment.Owner(o)))
		}
		if o != 0 && h.Node.RecoverOwner(segment.Owner(o)) && log.Listener() == o {
			log.Recover(o, h.Pool.Ring)
		}
	}
	return segment.ErrInUse
}

// take takes what is dialed into the queue, so that who dials needs not wait
// until somebody calls Accept.
func (l *Listener) take() {
	defer close(l.done)
	for {
		err := l.wait.until(context.Background(), func() (bool, error) {
			if l.closed.Load() {
				return false, net.ErrClosed
			}
			return l.answer(), nil
		}, func() time.Duration { return 0 })
		if err != nil {
			return
		}
	}
}

// answer takes each request that there is room for, and reports whether there
// was one.
func (l *Listener) answer() (any bool) {
	l.log.Requests(func(i int, owner uint32, index int, gen uint32) bool {
		if len(l.queue) == cap(l.queue) {
			return false
		}
		any = true
		if c := l.open(owner, index, gen); c != nil {
			l.host.Pool.Ring(l.log.Caller(i)) // before another one may sleep there
			l.queue <- c
		}
		l.log.Hang(i, owner, index, gen)
		return true
	})
	return any
}

// open opens the other end of what owner dialed, or returns nil.
func (l *Listener) open(owner uint32, index int, gen uint32) *Conn {
	area, err := l.host.Node.OpenEntry(index, gen)
	if err != nil {
		return nil // whoever dialed is gone
	}
	k := area.Key()
	if k.Kind != segment.KindStream || k.Sub <= segment.Ephemeral || k.Name != l.name {
		_ = area.Close() // a peer's garbage
		return nil
	}
	if pair, err := cells.OpenConn(area.Bytes()); err != nil || pair.Accepted() != 0 {
		_ = area.Drop() // garbage, or an answer that was not taken off the list
		return nil
	}
	c, pair, err := newConn(l.host, area, 1, l.name, l.host.Node.NameOf(segment.Owner(owner)))
	if err != nil {
		_ = area.Drop()
		return nil
	}
	if !pair.Accept(uint32(l.host.Node.Owner())) {
		_ = c.Close()
		return nil
	}
	return c
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.ready:
		return nil, l.fail("accept", net.ErrClosed)
	default:
	}
	select {
	case c := <-l.queue:
		if len(l.queue) == cap(l.queue)-1 {
			l.wait.wake() // somebody may wait for the place
		}
		return c, nil
	case <-l.ready:
		return nil, l.fail("accept", net.ErrClosed)
	case <-l.done:
		return nil, l.fail("accept", errors.Join(net.ErrClosed, l.host.Err()))
	}
}

// Close ends the listener. Connections that nobody has accepted are closed, the
// others go on.
func (l *Listener) Close() error {
	err := l.fail("close", net.ErrClosed)
	l.once.Do(func() { err = l.end() })
	return err
}

func (l *Listener) end() error {
	l.closed.Store(true)
	close(l.ready)
	l.log.Unlisten(uint32(l.host.Node.Owner()), l.host.Pool.Ring)
	for {
		l.wait.wake()
		select {
		case <-l.done:
		case <-time.After(time.Millisecond):
			continue
		}
		break
	}
	for len(l.queue) > 0 {
		_ = (<-l.queue).Close()
	}
	l.wait.close()
	defer l.host.Remove(l) // at last: until then the node waits for us before it leaves
	return l.area.Drop()
}

// Addr is the name at which the listener listens.
func (l *Listener) Addr() net.Addr { return Addr{l.name} }

func (l *Listener) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "ringbus", Addr: Addr{l.name}, Err: err}
}
