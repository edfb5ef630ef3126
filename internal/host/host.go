// Package host is what a node gives to the patterns that live on it: its place
// in the segment, a pool to sleep in, and the list of what closes with it. The
// root package makes one for each node; the packages of the other patterns,
// which only see the node, find it with [Of].
package host

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// Host is one node. Its methods may be called concurrently.
type Host struct {
	Node *segment.Node
	Pool *wake.Pool

	mu        sync.Mutex
	closed    bool
	once      sync.Once
	ended     error
	endpoints map[io.Closer]struct{}
}

// New makes the host of n, which Close makes leave.
func New(n *segment.Node) *Host {
	return &Host{
		Node:      n,
		Pool:      wake.NewPool(n.Owner().Slot(), n.Home()),
		endpoints: make(map[io.Closer]struct{}),
	}
}

var of func(node any) *Host

// Register says how to find the host of a *ringbus.Node; the root package
// does, when it is initialized.
func Register(f func(node any) *Host) { of = f }

// Of returns the host of a *ringbus.Node.
func Of(node any) *Host { return of(node) }

// Add makes e close with the node, unless the node is closed already.
func (h *Host) Add(e io.Closer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return h.closedErr()
	}
	h.endpoints[e] = struct{}{}
	return nil
}

// Remove forgets e, which was closed.
func (h *Host) Remove(e io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.endpoints, e)
}

// Err says why the node can do nothing any more, or nil.
func (h *Host) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return h.closedErr()
	}
	return h.Node.Err()
}

func (h *Host) closedErr() error { return fmt.Errorf("node %q: %w", h.Node.Name(), os.ErrClosed) }

// Close closes what was added, wakes who sleeps in the pool, leaves the bus, and
// calls end. Of many who close, one does and the others wait for it.
func (h *Host) Close(end func() error) error {
	h.once.Do(func() { h.ended = h.close(end) })
	return h.ended
}

func (h *Host) close(end func() error) error {
	h.mu.Lock()
	h.closed = true
	var all []io.Closer
	for e := range h.endpoints {
		all = append(all, e)
	}
	h.mu.Unlock()
	var errs []error
	for _, e := range all {
		if err := e.Close(); !errors.Is(err, net.ErrClosed) { // somebody else was faster, and has finished
			errs = append(errs, err)
		}
	}
	h.Pool.Close()
	return errors.Join(append(errs, h.Node.Leave(), end())...)
}
