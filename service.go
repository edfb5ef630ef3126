package ringbus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/ring/calls"
)

// Service is one server of a service: clients share their calls out among all
// its servers, in whatever processes. One goroutine at a time ranges over its
// requests; any goroutine may answer them. It lasts until Close, or until its
// node closes.
type Service struct {
	*service
	crew
	server  *calls.Server
	looping atomic.Bool
	loop    waiter // who ranges over the requests
	over    atomic.Bool

	links []*servedLink
	news  uint64
	fresh bool // links are as news says
	turn  int
	ready fifo // requests that were taken and are not out yet
	out   int  // requests that are not answered

	closing  sync.Once
	closeErr error
}

// Service begins to serve the service of the given name. Clients find it at
// once; their calls wait until Requests is ranged over.
func (n *Node) Service(name string, o *ServiceOptions) (*Service, error) {
	if o == nil {
		o = &ServiceOptions{}
	}
	s, err := n.openService(name, o)
	if err != nil {
		return nil, err
	}
	v := &Service{service: s}
	if v.server, err = s.serve(); err != nil {
		s.area.Close()
		return nil, fmt.Errorf("service %q: %w", name, err)
	}
	v.crew.open(v, n, o.Wait.policy(), v.server.Bell())
	if err := n.host.Add(v); err != nil {
		v.giveBack()
		return nil, err
	}
	return v, nil
}

// serve takes a server's slot; the dead make room.
func (s *service) serve() (*calls.Server, error) {
	owner := uint32(s.node.node.Owner())
	server, err := s.table.Serve(owner, s.node.ring)
	if errors.Is(err, calls.ErrNoSlot) {
		if _, err := s.node.Recover(); err != nil {
			return nil, err
		}
		server, err = s.table.Serve(owner, s.node.ring)
	}
	if errors.Is(err, calls.ErrNoSlot) {
		return nil, ErrTooManyServers
	}
	return server, err
}

// Name is the name of the service.
func (v *Service) Name() string { return v.name }

// MaxRequest and MaxReply are what all of the service agreed on, in bytes.
func (v *Service) MaxRequest() int { return v.config.MaxRequest }

// MaxReply is the largest reply in bytes.
func (v *Service) MaxReply() int { return v.config.MaxReply }

// Requests yields the calls of all clients and waits for them. It ends with an
// error when ctx is done, and with ErrClosed when the service is closed. Each
// request must be answered, by whatever goroutine, in the loop's body or later.
func (v *Service) Requests(ctx context.Context) iter.Seq2[*Request, error] {
	return func(yield func(*Request, error) bool) {
		if v.looping.Swap(true) {
			panic("ringbus: two loops over the requests of one service")
		}
		defer v.looping.Store(false)
		for {
			r, err := v.next(ctx)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// next returns the next request.
func (v *Service) next(ctx context.Context) (r *Request, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	err = v.await(ctx, &v.loop, func() bool {
		if r == nil && !v.closed {
			r = v.ready.take()
		}
		return r != nil || v.closed
	})
	switch {
	case r != nil:
		v.out++
		return r, nil
	case v.closed:
		return nil, v.closedErr()
	}
	return nil, err
}

// look takes requests of the links, each in its turn, until one is there for who
// ranges over them; all that there are if somebody waits for something else.
func (v *Service) look() {
	if news := v.server.News(); !v.fresh || news != v.news {
		v.fresh, v.news = true, news
		v.relink()
	}
	for again := true; again; {
		again = false
		for range v.links {
			v.turn++
			r := v.links[v.turn%len(v.links)].pop()
			if r == nil {
				continue
			}
			v.ready.put(r)
			if v.loop.leads {
				return
			}
			v.wake(&v.loop)
			again = true
		}
	}
}

// announce asks all clients to be rung. It returns true if there is something to
// do already.
func (v *Service) announce() (more bool) {
	for _, l := range v.links {
		more = l.dev.EnableKick() && l.dev.Err() == nil || more
	}
	return more || !v.fresh || v.server.News() != v.news // edge: news
}

func (v *Service) err() error { return v.node.node.Err() }

// relink lets go of links that ended, and takes up new ones.
func (v *Service) relink() {
	keep := v.links[:0]
	for _, l := range v.links {
		if l.ended() {
			continue
		}
		keep = append(keep, l)
	}
	clear(v.links[len(keep):])
	v.links = keep
	v.server.Links(func(s calls.Served) {
		l, err := v.link(s)
		if err != nil {
			v.server.Refuse(s, v.node.ring)
			return
		}
		v.links = append(v.links, l)
	})
}

// Close ends the server. Answer what is out before: a request that is not answered
// ends with ErrPeerDied at its client, and must not be used any more, which is then
// the error, a HeldError. Calls that nobody took yet end with ErrPeerDied as well.
func (v *Service) Close() error {
	v.closing.Do(func() { v.closeErr = v.finish() })
	return v.closeErr
}

func (v *Service) finish() error {
	v.mu.Lock()
	v.shut()
	out := v.out
	v.mu.Unlock()
	v.giveBack()
	v.node.host.Remove(v) // until then the node waits for us before it leaves
	if out > 0 {
		return &HeldError{v.name, "requests", out}
	}
	return nil
}

// giveBack ends what the server has in the service.
func (v *Service) giveBack() {
	v.sleeper.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over.Store(true)
	for _, l := range v.links {
		l.letGo()
	}
	v.links = nil
	v.server.Leave(v.node.ring)
	v.area.Close()
}

func (v *Service) closedErr() error { return fmt.Errorf("service %q: %w", v.name, ErrClosed) }
