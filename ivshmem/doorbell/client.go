package doorbell

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/sys"
)

var _ = invariant.Declare("doorbell.id.noted", "doorbell.id.told", "doorbell.gone.seen", "doorbell.gone.buried",
	"doorbell.gone.forgotten", "doorbell.notes.written")

// client is one connection of the server.
type client struct {
	id uint16
	holder
	uid   uint32
	conn  *net.UnixConn
	bells []*os.File
	look  chan struct{} // capacity 1: others came or went
	done  chan struct{} // closed when the connection has ended
}

// admit lets a connection in, or closes it.
func (s *Server) admit(conn *net.UnixConn) {
	c := &client{conn: conn, look: make(chan struct{}, 1), done: make(chan struct{})}
	err := s.introduce(c)
	if err != nil {
		_ = conn.Close()
		for _, b := range c.bells {
			_ = b.Close()
		}
		s.tell(Event{What: Refused, Pid: c.pid, UID: c.uid, Why: err.Error()})
		return
	}
	s.tell(Event{What: Joined, ID: c.id, Pid: c.pid, UID: c.uid})
	s.stir()
	go func() {
		defer s.work.Done()
		if err := c.talk(s); err != nil {
			_ = conn.Close()
		}
	}()
	go func() {
		defer s.work.Done()
		s.leave(c, c.listen())
	}()
}

// introduce makes what a client has, and puts it among the others.
func (s *Server) introduce(c *client) (err error) {
	if c.pid, c.uid, err = sys.PeerPid(c.conn); err != nil {
		return err
	}
	if c.pid > 0 {
		if c.start, err = sys.StartTime(c.pid); err != nil {
			return err // it is no more
		}
	}
	if err := sys.SmallSendBuffer(c.conn); err != nil {
		return err
	}
	if full := s.full(c); full != nil {
		return full
	}
	for v := range s.opts.Vectors {
		b, err := sys.NewEvent(fmt.Sprintf("doorbell of %d, vector %d", c.pid, v))
		if err != nil {
			return err
		}
		c.bells = append(c.bells, b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	if c.id, err = s.give(c.holder); err != nil {
		return err
	}
	invariant.Point("doorbell.id.noted")
	s.clients[c.id] = c
	s.work.Add(2)
	return nil
}

// full says whether there is no room for c. Only Serve adds clients.
func (s *Server) full(c *client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.clients); n >= s.opts.MaxClients {
		return fmt.Errorf("%d clients are connected, as many as may be", n)
	}
	held := 0
	for _, h := range s.ids.holders {
		if h == c.holder {
			held++
		}
	}
	if held >= s.opts.MaxClients {
		return fmt.Errorf("process %d has had %d connections while it has the memory mapped", c.pid, held)
	}
	return nil
}

// stir makes everybody's goroutine look who is there.
func (s *Server) stir() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		select {
		case c.look <- struct{}{}:
		default:
		}
	}
}

// listen waits for the end of the connection and says why it ended.
func (c *client) listen() error {
	var b [1]byte
	n, err := c.conn.Read(b[:])
	switch {
	case n > 0:
		return &ProtocolError{"what a client sends", "something", "nothing"}
	case errors.Is(err, net.ErrClosed):
		return os.ErrClosed
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// talk tells the client who is there, and from then on who comes and goes.
func (c *client) talk(s *Server) error {
	for _, m := range []message{{version, nil}, {int64(c.id), nil}, {memoryID, s.memory}} {
		if err := c.send(m.number, m.file); err != nil {
			return err
		}
	}
	invariant.Point("doorbell.id.told")
	told := map[uint16]*client{}
	for {
		gone, came := s.news(c, told)
		for _, id := range gone {
			if err := c.send(int64(id), nil); err != nil {
				return err
			}
			delete(told, id)
		}
		for _, other := range came {
			told[other.id] = other
			if err := c.present(other); err != nil {
				return err
			}
		}
		if len(gone)+len(came) > 0 {
			continue
		}
		select {
		case <-c.look:
		case <-c.done:
			return nil
		}
	}
}

// news returns who of told has gone, and who has come, c itself last.
func (s *Server) news(c *client, told map[uint16]*client) (gone []uint16, came []*client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, other := range told {
		if s.clients[id] != other {
			gone = append(gone, id)
		}
	}
	for id, other := range s.clients {
		if told[id] == nil {
			came = append(came, other)
		}
	}
	slices.Sort(gone)
	slices.SortFunc(came, func(a, b *client) int {
		if (a == c) != (b == c) {
			if a == c {
				return 1
			}
			return -1
		}
		return int(a.id) - int(b.id)
	})
	return gone, came
}

// present sends the eventfds of another client. If that one leaves meanwhile,
// the rest is not sent: that it has gone comes next.
func (c *client) present(other *client) error {
	for _, b := range other.bells {
		err := c.send(int64(other.id), b)
		if errors.Is(err, os.ErrClosed) && other != c {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// send sends one message. While the kernel has too many descriptors on the way
// that others do not take, it waits.
func (c *client) send(number int64, f *os.File) error {
	for {
		err := send(c.conn, number, f)
		if !sys.IsTooManyInFlight(err) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-c.done:
			return os.ErrClosed
		}
	}
}

// leave takes c from among the others. Whether it has also gone is for the
// undertaker to find out.
func (s *Server) leave(c *client, why error) {
	_ = c.conn.Close()
	close(c.done)
	for _, b := range c.bells {
		_ = b.Close()
	}
	s.mu.Lock()
	delete(s.clients, c.id)
	s.lost[c.id] = absent{c.holder, true}
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	e := Event{What: Left, ID: c.id, Pid: c.pid, UID: c.uid}
	if why != nil {
		e.Why = why.Error()
	}
	s.tell(e)
	s.stir()
	select {
	case s.dead <- struct{}{}:
	default:
	}
}
