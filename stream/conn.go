package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// Addr is the address of a listener or a connection's end: a name on a bus.
type Addr struct{ Name string }

// Network returns "ringbus".
func (Addr) Network() string { return "ringbus" }

func (a Addr) String() string { return a.Name }

// Conn is one end of a connection, as net.Conn describes it. Its methods may be
// called concurrently. It ends with Close, with its node, or with its process:
// then the other end reads what was written before and gets [ErrReset].
type Conn struct {
	host   *host.Host
	area   *segment.Area
	local  Addr
	remote Addr

	rmu   sync.Mutex
	rx    *cells.Rx
	rwait *waiter
	rec   cells.Record
	rest  []byte
	late  []byte
	in    bool          // Read is within a message
	reads atomic.Uint64 // Reads that returned something

	wmu    sync.Mutex
	tx     *cells.Tx
	out    *cells.Ring // what tx writes
	wwait  *waiter
	part   int    // bytes of a message at most, so that both ends work at once
	before uint64 // reads at the last Write
	closed atomic.Bool
	once   sync.Once   // of close: of several who close, the others wait for the first
	shutW  atomic.Bool // CloseWrite
	shutR  atomic.Bool // CloseRead
	ended  bool        // tx has, under wmu
}

var _ net.Conn = (*Conn)(nil)

// newConn attaches to one side of the connection in area: 0 for who dials, 1
// for who listens. The area is the connection's from then on.
func newConn(h *host.Host, area *segment.Area, side int, local, remote string) (*Conn, *cells.Conn, error) {
	pair, err := cells.OpenConn(area.Bytes())
	if err != nil {
		return nil, nil, err
	}
	c := &Conn{host: h, area: area, local: Addr{local}, remote: Addr{remote}, out: pair.Rings[side]}
	owner := uint32(h.Node.Owner())
	ring := func(b wake.Bell) { h.Pool.Ring(b) }
	w, err := pair.Rings[side].Join(owner, cells.ModeWriter, ring)
	if err != nil {
		return nil, nil, err
	}
	c.tx = cells.OpenTx(w)
	r, err := pair.Rings[1-side].Join(owner, cells.ModeHold, ring)
	if err == nil {
		c.rx, err = cells.OpenRx(r, true)
	}
	if err == nil && c.tx.Take() != cells.Taken {
		err = errors.New("the connection has a writer already")
	}
	if err != nil {
		c.tx.End()
		return nil, nil, err
	}
	c.part = max(cells.CellSize, pair.Rings[side].Config().MaxMessage()/4/cells.CellSize*cells.CellSize)
	c.rx.Lag = true
	c.rwait = newWaiter(h, wake.Policy{}, r.Bell())
	c.rwait.glance = c.rx.Pending
	c.wwait = newWaiter(h, wake.Policy{}, w.Bell())
	if err := h.Add(c); err != nil {
		c.tx.End()
		c.rx.Leave()
		return nil, nil, err
	}
	return c, pair, nil
}

// Read reads what the other end has written: at least one byte, unless an error
// says why not. io.EOF is the other end's Close or CloseWrite.
func (c *Conn) Read(p []byte) (int, error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if err := c.mayRead(); err != nil {
		return 0, c.fail("read", err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := c.fill(p)
	if n > 0 {
		c.read()
		return n, nil
	}
	err := c.rwait.until(byDeadline, func() (bool, error) {
		if err := c.mayRead(); err != nil {
			return false, err
		}
		if n = c.fill(p); n > 0 {
			return true, nil
		}
		return false, c.readEnd()
	}, func() time.Duration {
		c.rx.Announce()
		return 0
	})
	if err == io.EOF {
		return 0, err // as it is: callers compare
	}
	if err != nil {
		return 0, c.fail("read", err)
	}
	c.read()
	return n, nil
}

// read counts a Read that returned something; rmu is held.
func (c *Conn) read() { mem.StoreRelease(&c.reads, c.reads.Load()+1) }

func (c *Conn) mayRead() error {
	if c.closed.Load() || c.shutR.Load() {
		return net.ErrClosed
	}
	return c.rwait.dl.passed()
}

// fill copies as much as there is, of as many messages as fit.
func (c *Conn) fill(p []byte) (n int) {
	for n < len(p) {
		if !c.in {
			if c.rx.Poll(&c.rec) != cells.Got {
				return n
			}
			c.rest, c.late, c.in = c.rec.A, c.rec.B, true
		}
		k := copy(p[n:], c.rest)
		n += k
		if c.rest = c.rest[k:]; len(c.rest) == 0 {
			if c.rest, c.late = c.late, nil; len(c.rest) == 0 {
				c.rx.Release(&c.rec)
				c.in = false
			}
		}
	}
	return n
}

// readEnd says why nothing more will come.
func (c *Conn) readEnd() error {
	switch c.rx.Ended() {
	case cells.EndClosed:
		return io.EOF
	case cells.EndDead:
		return ErrReset
	}
	if err := c.rx.Err(); err != nil {
		return err
	}
	return nil
}

// Write writes all of b, unless an error says why not.
func (c *Conn) Write(b []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	// Who answers is waited for; who writes one thing after the other is not.
	c.tx.Echo = c.reads.Load() != c.before
	c.before = c.reads.Load()
	done := 0
	for {
		part := b[done:min(len(b), done+c.part)]
		if err := c.mayWrite(); err != nil {
			return done, c.fail("write", err)
		}
		if len(part) > 0 && !c.tx.Send(part, false) {
			if err := c.send(part); err != nil {
				return done, c.fail("write", err)
			}
		}
		if done += len(part); done == len(b) {
			return done, nil
		}
	}
}

func (c *Conn) mayWrite() error {
	if c.closed.Load() || c.shutW.Load() || c.ended {
		return net.ErrClosed
	}
	switch gone := c.out.Gone(); {
	case gone&cells.GoneDead != 0:
		return ErrReset
	case gone != 0:
		return ErrPeerClosed
	}
	return c.wwait.dl.passed()
}

// send is Write of a part for which there was no room.
func (c *Conn) send(part []byte) error {
	return c.wwait.until(byDeadline, func() (bool, error) {
		if err := c.mayWrite(); err != nil {
			return false, err
		}
		if c.tx.Send(part, false) {
			return true, nil
		}
		if !c.tx.Has() {
			return false, ErrFenced
		}
		return false, nil
	}, func() time.Duration {
		c.tx.CountBlocked()
		c.tx.Announce(len(part), false)
		return 0
	})
}

// CloseWrite ends what is written: the other end reads what is there, and then
// io.EOF. A Write that waits fails.
func (c *Conn) CloseWrite() error {
	if c.closed.Load() || c.shutW.Swap(true) {
		return c.fail("close", net.ErrClosed)
	}
	c.wwait.wake()
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.endWrite(cells.EndClosed)
	return nil
}

func (c *Conn) endWrite(how int) {
	if !c.ended {
		c.ended = true
		c.tx.EndAs(how)
	}
}

// CloseRead ends reading: the other end's writes fail.
func (c *Conn) CloseRead() error {
	if c.closed.Load() || c.shutR.Swap(true) {
		return c.fail("close", net.ErrClosed)
	}
	c.rwait.wake()
	c.rmu.Lock()
	defer c.rmu.Unlock()
	c.rx.Leave()
	return nil
}

// Close ends the connection. What was written before can still be read by the
// other end; calls that wait return net.ErrClosed.
func (c *Conn) Close() error { return c.close(cells.EndClosed) }

// Abort is Close that the other end is told of by an error, as if this process
// had died: [ErrReset], after what was written.
func (c *Conn) Abort() error { return c.close(cells.EndDead) }

func (c *Conn) close(how int) error {
	err := c.fail("close", net.ErrClosed)
	c.once.Do(func() { err = c.end(how) })
	return err
}

func (c *Conn) end(how int) error {
	c.closed.Store(true)
	c.rwait.wake()
	c.wwait.wake()
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.rmu.Lock()
	defer c.rmu.Unlock()
	c.endWrite(how)
	if !c.shutR.Load() {
		c.rx.LeaveAs(how)
	}
	for _, w := range []*waiter{c.rwait, c.wwait} {
		w.close()
	}
	defer c.host.Remove(c) // at last: until then the node waits for us before it leaves
	return c.area.Drop()
}

// fail makes the error of an operation.
func (c *Conn) fail(op string, err error) error {
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "ringbus", Source: c.local, Addr: c.remote, Err: err}
}

// LocalAddr is the listener's name where the connection was accepted, else the
// node's.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the name that was dialed, or the node's that has dialed.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetWait says how Reads and Writes wait from the next one on; without it, they
// look for 25 µs and then sleep.
func (c *Conn) SetWait(w ringbus.Wait) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.rmu.Lock()
	defer c.rmu.Unlock()
	for _, d := range []*waiter{c.rwait, c.wwait} {
		d.policy = policy(w)
		d.sleeper.Close()
		d.sleeper = c.host.Pool.NewSleeper(d.bell, d.policy)
	}
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline has Reads fail with os.ErrDeadlineExceeded after t; the zero
// time: never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(c.rwait, t) }

// SetWriteDeadline has Writes fail with os.ErrDeadlineExceeded after t; the zero
// time: never.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(c.wwait, t) }

func (c *Conn) setDeadline(w *waiter, t time.Time) error {
	if c.closed.Load() {
		return c.fail("set deadline", net.ErrClosed)
	}
	w.dl.set(t)
	return nil
}
