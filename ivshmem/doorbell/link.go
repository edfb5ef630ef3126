package doorbell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/segment"
)

// SocketOf returns where the server of a bus listens unless it is told otherwise:
// beside the bus's file, under a name that no bus has.
func SocketOf(s *segment.Segment) string { return s.Path() + "~doorbell" }

// A Node is one that can have a door: ringbus.Node and segment.Node are.
type Node interface {
	Segment() *segment.Segment
	SetDoor(peer, vector uint16, ok bool)
}

// How often a link looks whether there is a server again.
const (
	retryFirst = 50 * time.Millisecond
	retryLate  = 2 * time.Second
)

// former is how many earlier connections a link keeps.
const former = 4

// A Link keeps a node of the host connected to the server of its bus, from Attach
// to Close, which comes before the node's own. While there is no server the node
// polls. All methods may be called at the same time.
//
// The clients of an earlier server know us by the eventfds that it gave them, and
// it alone gave us theirs, so that the last few connections are kept.
type Link struct {
	node   Node
	path   string
	cancel context.CancelFunc
	work   sync.WaitGroup

	heard atomic.Uint64

	mu    sync.RWMutex
	peers []*Peer // the newest first
	err   error
}

// ErrOtherBus is wrapped when a server serves another bus than the node's.
var ErrOtherBus = errors.New("the server serves another bus")

// Attach connects the node to the server at path, or, if path is empty, at
// [SocketOf] its bus: now, if there is one, and whenever there is one again. It
// returns an error if what is there is not a server of the node's bus.
func Attach(node Node, path string) (*Link, error) {
	if path == "" {
		path = SocketOf(node.Segment())
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Link{node: node, path: path, cancel: cancel}
	p, err := l.dial(ctx)
	if err != nil && !absentServer(err) {
		cancel()
		return nil, err
	}
	l.work.Add(1)
	go l.keep(ctx, p)
	return l, nil
}

// absentServer says whether err means that no server is there now, or that it
// went, or sent us away, while we were connecting.
func absentServer(err error) bool {
	return sys.IsNobodyThere(err) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) || sys.IsReset(err)
}

// dial connects, and checks that the server's memory is our bus.
func (l *Link) dial(ctx context.Context) (*Peer, error) {
	seg := l.node.Segment()
	p, err := Dial(ctx, l.path, &PeerOptions{Rung: func(uint16) {
		l.heard.Add(1)
		seg.Awaken()
	}})
	if err != nil {
		return nil, err
	}
	err = func() error {
		if seg.File() == nil {
			return errors.New("the bus is not in a file of this host")
		}
		ours, err := sys.StatFile(seg.File())
		if err != nil {
			return err
		}
		theirs, err := sys.StatFile(p.Memory())
		if err == nil && (ours.Dev != theirs.Dev || ours.Ino != theirs.Ino) {
			err = fmt.Errorf("%w than %s", ErrOtherBus, seg.Path())
		}
		return err
	}()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to doorbell server at %q: %w", l.path, err), p.Close())
	}
	l.adopt(p)
	return p, nil
}

// adopt makes p the connection.
func (l *Link) adopt(p *Peer) {
	l.mu.Lock()
	l.peers = slices.Insert(l.peers, 0, p)
	var old *Peer
	if len(l.peers) > 1+former {
		old = l.peers[len(l.peers)-1]
		l.peers = l.peers[:len(l.peers)-1]
	}
	l.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	l.node.Segment().SetDoorbell(l)
	l.node.SetDoor(p.ID(), 0, true)
}

// keep connects again whenever the connection has ended.
func (l *Link) keep(ctx context.Context, p *Peer) {
	defer l.work.Done()
	wait := retryFirst
	for {
		if p != nil {
			select {
			case <-p.Lost():
				wait = retryFirst
				l.node.Segment().SetDoorbell(l) // who sleeps looks by itself from now on
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		var err error
		p, err = l.dial(ctx)
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		if errors.Is(err, ErrOtherBus) {
			return // ours was removed, and made anew
		}
		wait = min(2*wait, retryLate)
	}
}

// Ring rings a client of the server, or of an earlier one.
func (l *Link) Ring(peer, vector uint16) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, p := range l.peers {
		if p.Ring(peer, vector) {
			return true
		}
	}
	return false
}

// Up reports whether we are connected.
func (l *Link) Up() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.peers) > 0 && l.peers[0].Err() == nil
}

// Heard returns how often we were rung, rings that came together counted as one.
func (l *Link) Heard() uint64 { return l.heard.Load() }

// Err returns why the last attempt to connect was in vain, nil if it was not.
func (l *Link) Err() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.err
}

// Close ends the link: the node polls from now on.
func (l *Link) Close() error {
	l.cancel()
	l.work.Wait()
	l.node.SetDoor(0, 0, false)
	l.node.Segment().SetDoorbell(nil)
	l.mu.Lock()
	peers := l.peers
	l.peers = nil
	l.mu.Unlock()
	var errs []error
	for _, p := range peers {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
