package doorbell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/ringbus/ringbus/internal/sys"
)

// maxBells bounds the descriptors that a peer takes from its server.
const maxBells = 8192

// PeerOptions say how to be a peer. Nil, and the zero value of every field, mean
// the default.
type PeerOptions struct {
	// Rung is called when somebody has rung one of our vectors, perhaps several
	// times, by one goroutine for each vector.
	Rung func(vector uint16)
}

// A Peer is a host process as a client of the server, from Dial to Close. All
// methods may be called at the same time. When its server ends, Lost says so; it
// can ring and be rung all the same, by those it knows.
type Peer struct {
	conn   *net.UnixConn
	id     uint16
	memory *os.File
	rung   func(uint16)
	lost   chan struct{}
	work   sync.WaitGroup

	mu     sync.RWMutex
	closed bool
	err    error // why the connection ended
	bells  map[uint16][]eventfd
	count  int
}

// Dial connects to the server at path and returns once it has said our id.
func Dial(ctx context.Context, path string, o *PeerOptions) (*Peer, error) {
	p, err := dial(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("connect to doorbell server at %q: %w", path, err)
	}
	return p, nil
}

func dial(ctx context.Context, path string, o *PeerOptions) (*Peer, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	p := &Peer{conn: c.(*net.UnixConn), lost: make(chan struct{}), bells: make(map[uint16][]eventfd)}
	if o != nil {
		p.rung = o.Rung
	}
	stop := context.AfterFunc(ctx, func() { _ = p.conn.Close() })
	err = p.greet()
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = p.conn.Close()
		if p.memory != nil {
			_ = p.memory.Close()
		}
		return nil, err
	}
	p.work.Add(1)
	go p.follow()
	return p, nil
}

// greet receives what comes first.
func (p *Peer) greet() error {
	m, err := p.plain("the version")
	if err != nil {
		return err
	}
	if m.number != version {
		return &ProtocolError{"the version", fmt.Sprint(m.number), fmt.Sprint(version)}
	}
	if m, err = p.plain("our id"); err != nil {
		return err
	}
	if p.id, err = m.id("our id"); err != nil {
		return err
	}
	if m, err = receive(p.conn); err != nil {
		return err
	}
	if m.number != memoryID || m.file == nil {
		m.close()
		return &ProtocolError{"the third message", fmt.Sprint(m.number), "-1 with the shared memory"}
	}
	p.memory = m.file
	return nil
}

// plain receives a message without a file.
func (p *Peer) plain(what string) (message, error) {
	m, err := receive(p.conn)
	if err == nil && m.file != nil {
		m.close()
		err = &ProtocolError{what, "with a descriptor", "without one"}
	}
	return m, err
}

// follow receives who comes and goes until the connection ends.
func (p *Peer) follow() {
	defer p.work.Done()
	defer close(p.lost)
	for {
		m, err := receive(p.conn)
		if err == nil {
			err = p.heed(m)
		}
		if err != nil {
			p.mu.Lock()
			p.err = err
			p.mu.Unlock()
			_ = p.conn.Close()
			return
		}
	}
}

// heed acts on a message about a client.
func (p *Peer) heed(m message) error {
	id, err := m.id("a client's id")
	if err != nil {
		m.close()
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch have := p.bells[id]; {
	case p.closed:
		m.close()
		return os.ErrClosed
	case m.file == nil && id == p.id:
		return &ProtocolError{"the client that has gone", fmt.Sprint(id), "another one than ourselves"}
	case m.file == nil:
		p.count -= len(have)
		closeAll(have)
		delete(p.bells, id)
	case len(have) >= MaxVectors || p.count >= maxBells:
		m.close()
		return &ProtocolError{"number of vectors", "one more", fmt.Sprintf("%d of one client, %d of all", MaxVectors, maxBells)}
	case !sys.IsEvent(m.file):
		m.close()
		return &ProtocolError{"the descriptor of a vector", m.file.Name(), "an eventfd"}
	default:
		r, err := sys.NewRinger(m.file)
		if err != nil {
			m.close()
			return err
		}
		p.bells[id] = append(have, eventfd{m.file, r})
		p.count++
		if id == p.id {
			p.work.Add(1)
			go p.hear(m.file, uint16(len(have)))
		}
	}
	return nil
}

// hear waits for others to ring one vector.
func (p *Peer) hear(bell *os.File, vector uint16) {
	defer p.work.Done()
	for sys.Await(bell) == nil {
		if p.rung != nil {
			p.rung(vector)
		}
	}
}

// ID returns our id, by which others ring us.
func (p *Peer) ID() uint16 { return p.id }

// Memory returns the shared memory's file, which belongs to the peer.
func (p *Peer) Memory() *os.File { return p.memory }

// Vectors returns how many vectors the client id has, 0 if it is not there.
func (p *Peer) Vectors(id uint16) int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.bells[id])
}

// Peers returns how many clients there are that we know, ourselves included.
func (p *Peer) Peers() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.bells)
}

// Ring rings a client. It says no if we do not know such a client or vector. It
// does not wait, and rings that nobody has heard yet become one.
func (p *Peer) Ring(id, vector uint16) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	bells := p.bells[id]
	return int(vector) < len(bells) && bells[vector].Ring()
}

// Lost is closed when the connection to the server has ended.
func (p *Peer) Lost() <-chan struct{} { return p.lost }

// Err returns why the connection ended, nil before.
func (p *Peer) Err() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.err
}

// Close ends the connection. The others are told that we have gone.
func (p *Peer) Close() error {
	p.mu.Lock()
	was := p.closed
	p.closed = true
	p.mu.Unlock()
	if was {
		return nil
	}
	err := p.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // its server was faster
	}
	p.mu.Lock()
	for _, bells := range p.bells {
		closeAll(bells)
	}
	p.bells = nil
	p.mu.Unlock()
	p.work.Wait()
	return errors.Join(err, p.memory.Close())
}

// eventfd is what rings one vector of a client.
type eventfd struct {
	file *os.File
	*sys.Ringer
}

func closeAll(bells []eventfd) {
	for _, b := range bells {
		_ = b.file.Close()
	}
}
