package stream

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// What a connection buffers in each direction, in bytes: much, so that both ends
// work at once and their CPUs do not fight for the same lines, until half of the
// bus is used.
const (
	connBuffer = 256 << 10
	connLittle = 64 << 10
)

func connConfig(h *host.Host) cells.Config {
	if u := h.Node.Segment().Usage(); u.Free < u.Blocks/2 {
		return cells.ConfigFor(connLittle-cells.CellSize, 0)
	}
	return cells.ConfigFor(connBuffer-cells.CellSize, 0)
}

// Dial connects to the listener of the given name, until ctx ends. The
// connection is there as soon as the listener's process has taken it, whether
// or not Accept was called. [ErrRefused] says that nobody listens.
func Dial(ctx context.Context, node *ringbus.Node, name string) (*Conn, error) {
	c, err := dial(ctx, host.Of(node), name)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "ringbus", Addr: Addr{name}, Err: err}
	}
	return c, nil
}

func dial(ctx context.Context, h *host.Host, name string) (*Conn, error) {
	if err := segment.CheckName(name); err != nil {
		return nil, err
	}
	if err := errors.Join(h.Err(), ctx.Err()); err != nil {
		return nil, err
	}
	area, err := h.Node.Lookup(segment.Key{Kind: segment.KindStream, Sub: segment.Ephemeral, Name: name})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrRefused
	}
	if err != nil {
		return nil, err
	}
	defer area.Drop() // the listener may close meanwhile, and leave this to us
	log, err := cells.OpenBacklog(area.Bytes())
	if err != nil {
		return nil, err
	}
	return call(ctx, h, log, name)
}

// call makes a connection and asks the listener to take it.
func call(ctx context.Context, h *host.Host, log *cells.Backlog, name string) (*Conn, error) {
	listener := log.Listener()
	if listener != 0 && h.Node.Status(segment.Owner(listener)) == segment.Dead {
		h.Node.RecoverOwner(segment.Owner(listener))
		listener = 0
	}
	if listener == 0 {
		return nil, ErrRefused
	}
	area, err := makeConn(ctx, h, log, name)
	if err != nil {
		return nil, err
	}
	c, pair, err := newConn(h, area, 0, h.Node.Name(), name)
	if err != nil {
		_ = area.Drop()
		return nil, err
	}
	if err := ask(ctx, h, log, listener, area, pair); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// makeConn makes the area of a connection.
func makeConn(ctx context.Context, h *host.Host, log *cells.Backlog, name string) (*segment.Area, error) {
	config := connConfig(h)
	for {
		sub := uint32(log.Serial()) | segment.Ephemeral
		if sub == segment.Ephemeral {
			continue // that is the listener's
		}
		key := segment.Key{Kind: segment.KindStream, Sub: sub, Name: name}
		area, created, err := h.Node.Create(ctx, key, cells.ConnSize(config), func(b []byte) error { return cells.FormatConn(b, config) })
		if created {
			return area, nil
		}
		if err != nil && !errors.As(err, new(*segment.MismatchError)) {
			return nil, err
		}
		if err == nil { // of 2^31 connections ago, and still there
			_ = area.Close()
		}
	}
}

// ask waits until the listener has taken the connection.
func ask(ctx context.Context, h *host.Host, log *cells.Backlog, listener uint32, area *segment.Area, pair *cells.Conn) error {
	me := uint32(h.Node.Owner())
	place, ok := log.Dial(me, area.Index(), area.Gen(), h.Pool.Ring)
	for try := 0; !ok; try++ { // all places are taken for the moment
		if log.Listener() != listener {
			return ErrRefused
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(time.Millisecond<<min(try, 5), 20*time.Millisecond)):
		}
		place, ok = log.Dial(me, area.Index(), area.Gen(), h.Pool.Ring)
	}
	w := newWaiter(h, wake.Policy{}, log.Caller(place))
	defer w.close()
	err := w.until(ctx, func() (bool, error) {
		if pair.Accepted() != 0 {
			return true, nil
		}
		if log.Listener() != listener || !log.Waits(place, me, area.Index(), area.Gen()) {
			return true, refused(pair)
		}
		return false, nil
	}, func() time.Duration { return suspectPoll })
	log.Hang(place, me, area.Index(), area.Gen())
	return err
}

// refused is ErrRefused unless the connection was taken at the last moment.
func refused(pair *cells.Conn) error {
	if pair.Accepted() != 0 {
		return nil
	}
	return ErrRefused
}
