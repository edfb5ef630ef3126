package ringbus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/internal/wake"
)

// Service is one server of a service: clients share their calls out among all
// its servers, in whatever processes. One goroutine at a time ranges over its
// requests; any goroutine may answer them. It lasts until Close, or until its
// node closes.
type Service struct {
	*service
	policy  wake.Policy
	server  *calls.Server
	sleeper *wake.Sleeper
	looping atomic.Bool
	gate    host.Gate // of who waits for requests

	mu     sync.Mutex
	links  []*servedLink
	news   uint64
	fresh  bool // links are as news says
	turn   int
	out    int           // requests that are not answered
	quiet  chan struct{} // closed when none is, after closed
	closed bool
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
	v := &Service{service: s, policy: o.Wait.policy(), quiet: make(chan struct{})}
	if v.server, err = s.serve(); err != nil {
		s.area.Close()
		return nil, fmt.Errorf("service %q: %w", name, err)
	}
	v.sleeper = n.host.Pool.NewSleeper(v.server.Bell(), v.policy)
	if err := n.host.Add(v); err != nil {
		v.giveBack()
		return nil, err
	}
	return v, nil
}

// serve takes a server's slot; the dead make room.
func (s *service) serve() (*calls.Server, error) {
	owner := uint32(s.node.node.Owner())
	server, err := s.table.Serve(owner)
	if errors.Is(err, calls.ErrNoSlot) {
		if _, err := s.node.Recover(); err != nil {
			return nil, err
		}
		server, err = s.table.Serve(owner)
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
func (v *Service) next(ctx context.Context) (*Request, error) {
	v.gate.Enter("Service")
	defer v.gate.Leave()
	for spin := v.policy.Begin(); ; {
		r, err := v.poll()
		if r != nil || err != nil {
			return r, err
		}
		if spin.Next() {
			if err := interrupted(ctx, &spin); err != nil {
				return nil, err
			}
			continue
		}
		if err := v.node.node.Err(); err != nil {
			return nil, err
		}
		v.sleeper.Prepare()
		if v.announce() {
			v.sleeper.Cancel()
			continue
		}
		if err := v.sleeper.Sleep(ctx); err != nil {
			return nil, err
		}
		spin = v.policy.Begin()
	}
}

// poll takes a request of one of the links, each in its turn.
func (v *Service) poll() (*Request, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, v.closedErr()
	}
	if news := v.server.News(); !v.fresh || news != v.news {
		v.fresh, v.news = true, news
		v.relink()
	}
	for range v.links {
		v.turn++
		l := v.links[v.turn%len(v.links)]
		if r := l.pop(); r != nil {
			v.out++
			return r, nil
		}
	}
	return nil, nil
}

// announce asks all clients to be rung. It returns true if there is something to
// do already.
func (v *Service) announce() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	more := v.closed
	for _, l := range v.links {
		more = l.dev.EnableKick() && l.dev.Err() == nil || more
	}
	return more || !v.fresh || v.server.News() != v.news // edge: news
}

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

// Close ends the server. It waits until the requests that are out are answered:
// their memory is the clients' again after that. Calls that nobody took yet end
// with ErrPeerDied.
func (v *Service) Close() error {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		<-v.quiet
		return nil
	}
	v.closed = true
	if v.out == 0 {
		close(v.quiet)
	}
	v.mu.Unlock()
	v.gate.Shut(func() { v.node.ring(v.server.Bell()) })
	<-v.quiet
	v.node.host.Remove(v)
	v.giveBack()
	return nil
}

// giveBack ends what the server has in the service.
func (v *Service) giveBack() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.links {
		l.letGo()
	}
	v.links = nil
	v.sleeper.Close()
	v.server.Leave(v.node.ring)
	v.area.Close()
}

// answered ends a request.
func (v *Service) answered() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.out--
	if v.closed && v.out == 0 {
		close(v.quiet)
	}
}

func (v *Service) closedErr() error { return fmt.Errorf("service %q: %w", v.name, ErrClosed) }
