//go:build invariants || race

package calls

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest/explore"
	"github.com/ringbus/ringbus/internal/wake"
)

// world is a service whose parties the explorer runs, and what the checker
// knows of it.
type world struct {
	x *explore.Explorer
	t *Table

	client [MaxLinks]string // who uses the area of a link as its client
	server [MaxLinks]string // who serves it
	acked  map[link]bool    // links that a server has begun to serve

	dead      map[uint32]bool
	evicted   map[uint32]bool // and goes on all the same
	recovered map[uint32]bool
	served    int
}

var scratch = mem.Alloc(Size)

func newWorld(x *explore.Explorer) *world {
	w := &world{x: x, acked: map[link]bool{}, dead: map[uint32]bool{}, evicted: map[uint32]bool{}, recovered: map[uint32]bool{}}
	x.Look(func() {
		clear(scratch)
		if err := Format(scratch); err != nil {
			panic(err)
		}
		var err error
		if w.t, err = Open(scratch); err != nil {
			panic(err)
		}
		// Few links and servers, so that they are used again soon. Generations wrap.
		for k := 2; k < MaxLinks; k++ {
			w.t.links[k].word.Store(uint64(link(0).with(linkRetired)))
		}
		for i := 2; i < MaxServers; i++ {
			w.t.servers[i].word.Store(uint64(packServer(serverHeld, 1, 0xFFFFF).with(serverLeaving)))
		}
		if x.Rand.IntN(2) == 0 {
			w.t.links[0].word.Store(uint64(packLink(linkFree, linkGens-1, 0)))
			w.t.servers[0].word.Store(uint64(packServer(serverFree, genMask-1, 0)))
		}
	})
	return w
}

func ringBell(b wake.Bell) { b.Word.Add(1) }

// takes says that a client has link k to itself.
func (w *world) takes(p *explore.Party, k int) {
	if w.client[k] != "" && w.client[k] != p.Name || w.server[k] != "" {
		w.x.Fail("has link %d, which %q and %q still use", k, w.client[k], w.server[k])
	}
	w.client[k] = p.Name
}

// asks is a client: it links with a server, waits until that has begun or has
// gone, leaves, and does so again.
func (w *world) asks(owner uint32, rounds int) func(p *explore.Party) {
	return func(p *explore.Party) {
		for range rounds {
			l, err := w.t.Claim(owner)
			if err != nil {
				continue // the others have them
			}
			w.takes(p, l.K)
			if !w.talks(p, l, owner) {
				w.client[l.K] = ""
				return // fenced
			}
			w.client[l.K] = ""
			l.Close(ringBell)
		}
	}
}

// talks goes on with a claimed link until it is time to close it; false if the
// client was fenced.
func (w *world) talks(p *explore.Party, l *Link, owner uint32) bool {
	for range 1 + p.Rand.IntN(3) {
		servers := w.t.Servers()
		if len(servers) == 0 {
			return true
		}
		ok, err := l.Connect(servers[p.Rand.IntN(len(servers))], 1, 1, l, ringBell)
		if errors.Is(err, ErrFenced) {
			if !w.evicted[owner] {
				w.x.Fail("fenced, and was not evicted")
			}
			return false
		}
		if err != nil {
			return true // tainted
		}
		if !ok {
			w.takes(p, l.K)
			continue
		}
		if p.Rand.IntN(3) == 0 {
			return true // changes its mind
		}
		for !l.Lost() {
			seen := uint32(0)
			w.x.Look(func() { seen = l.Bell().Word.Load() })
			if w.acked[l.word] {
				return true
			}
			if l.Lost() {
				break
			}
			p.Sleep("for its server", func() bool { return l.Bell().Word.Load() != seen })
		}
		switch err := l.Again(); {
		case errors.Is(err, ErrFenced):
			if !w.evicted[owner] {
				w.x.Fail("fenced, and was not evicted")
			}
			return false
		case err != nil:
			return true
		}
		w.takes(p, l.K)
	}
	return true
}

// serves is a server: it serves what comes, and leaves after so many rounds, 0:
// never.
func (w *world) serves(owner uint32, rounds int) func(p *explore.Party) {
	return func(p *explore.Party) {
		s, err := w.t.Serve(owner, ringBell)
		if err != nil {
			w.x.Fail("%v", err)
		}
		has := map[int]Served{}
		letGo := func(v Served) {
			w.server[v.Link] = ""
			delete(has, v.Link)
			s.Drop(v)
		}
		p.Idle = func() error { return w.idle(s, has) }
		for n := 0; rounds == 0 || n < rounds; n++ {
			seen := s.News()
			for _, v := range has {
				if s.Ended(v) {
					letGo(v)
				}
			}
			s.Links(func(v Served) {
				w.x.Point("calls.begins")
				if w.server[v.Link] != "" {
					w.x.Fail("begins with link %d, which %q serves", v.Link, w.server[v.Link])
				}
				w.server[v.Link], has[v.Link] = p.Name, v
				w.acked[v.word] = true
				w.served++
				ringBell(s.Client(v))
			})
			if rounds == 0 && w.evicted[owner] && !s.Held() {
				break
			}
			if rounds == 0 && s.News() == seen {
				p.Sleep("for links", func() bool { return s.News() != seen || w.evicted[owner] && !s.Held() })
			}
		}
		for _, v := range has {
			letGo(v)
		}
		s.Leave(ringBell)
	}
}

// idle says what a sleeping server has missed.
func (w *world) idle(s *Server, has map[int]Served) error {
	for k := range w.t.links {
		l := link(w.t.links[k].word.Load())
		if !l.of(s.Slot, s.word.gen()) {
			continue
		}
		if v, ok := has[k]; l.state() == linkOpen && (!ok || v.word != l) || l.state() == linkLeft {
			return fmt.Errorf("link %d is in state %d", k, l.state())
		}
	}
	return nil
}

// recovers is a survivor who buries the dead.
func (w *world) recovers(p *explore.Party) {
	p.MayStay(true)
	for {
		var owner uint32
		find := func() bool {
			for o := range w.dead {
				if !w.recovered[o] {
					owner = o
					return true
				}
			}
			return false
		}
		if !find() {
			p.Sleep("for a death", find)
			if owner = 0; !find() {
				continue // the other one was quicker
			}
		}
		w.t.Recover(owner, w.evicted[owner], ringBell)
		w.recovered[owner] = true
	}
}

// mortal makes a party die at some step, or be evicted and go on.
func (w *world) mortal(p *explore.Party, owner uint32, evict bool) {
	if !evict {
		p.KillAt = 1 + w.x.Rand.IntN(25)
		p.AtDeath = func() {
			w.dead[owner] = true
			for k := range w.client {
				if w.client[k] == p.Name {
					w.client[k] = ""
				}
				if w.server[k] == p.Name {
					w.server[k] = ""
				}
			}
		}
		return
	}
	at := 1 + w.x.Rand.IntN(60)
	w.x.Add("operator", func(q *explore.Party) {
		q.Sleep("for the hour", func() bool { return w.x.Steps >= at })
		w.dead[owner], w.evicted[owner] = true, true
	}).MayStay(true)
}

func (w *world) check() error {
	for o := range w.dead {
		if !w.recovered[o] {
			return fmt.Errorf("owner %d was not recovered", o)
		}
		if w.evicted[o] {
			// It may have taken something after that. Who meets it recovers it again.
			w.t.Recover(o, true, ringBell)
		}
	}
	for _, s := range w.t.Verify(func(o uint32) bool { return w.recovered[o] }) {
		return errors.New(s)
	}
	for k := range 2 {
		l := link(w.t.links[k].word.Load())
		if s := l.state(); s != linkFree && s != linkRetired && !w.dead[l.client()] {
			return fmt.Errorf("link %d is left behind, %#x", k, uint64(l))
		}
		if l.state() == linkRetired && len(w.evicted) == 0 {
			return fmt.Errorf("link %d is retired, and nobody was evicted", k)
		}
	}
	return nil
}

func exploreTable(t *testing.T, scene func(w *world)) {
	t.Helper()
	served := 0
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x)
		scene(w)
		return func() error {
			served += w.served
			return w.check()
		}
	})
	if served == 0 {
		t.Error("no link was ever served")
	}
}

func TestExploreComeAndGo(t *testing.T) {
	exploreTable(t, func(w *world) {
		w.x.Add("client 1", w.asks(1, 3))
		w.x.Add("client 2", w.asks(2, 3))
		w.x.Add("server 3", w.serves(3, 0))
		w.x.Add("server 4", w.serves(4, 1+w.x.Rand.IntN(8)))
	})
}

func TestExploreServerDies(t *testing.T) {
	exploreTable(t, func(w *world) {
		w.x.Add("client 1", w.asks(1, 3))
		w.x.Add("client 2", w.asks(2, 3))
		w.mortal(w.x.Add("server 3", w.serves(3, 0)), 3, false)
		w.x.Add("server 4", w.serves(4, w.x.Rand.IntN(8)))
		w.survivors()
	})
}

func TestExploreClientDies(t *testing.T) {
	exploreTable(t, func(w *world) {
		w.mortal(w.x.Add("client 1", w.asks(1, 3)), 1, false)
		w.x.Add("client 2", w.asks(2, 3))
		w.x.Add("server 3", w.serves(3, 0))
		w.survivors()
	})
}

func TestExploreBothDie(t *testing.T) {
	exploreTable(t, func(w *world) {
		w.mortal(w.x.Add("client 1", w.asks(1, 3)), 1, false)
		w.x.Add("client 2", w.asks(2, 3))
		w.mortal(w.x.Add("server 3", w.serves(3, 0)), 3, false)
		w.x.Add("server 4", w.serves(4, 0))
		w.survivors()
	})
}

func TestExploreEvict(t *testing.T) {
	exploreTable(t, func(w *world) {
		c := w.x.Add("client 1", w.asks(1, 3))
		w.x.Add("client 2", w.asks(2, 3))
		s := w.x.Add("server 3", w.serves(3, 0))
		if w.x.Rand.IntN(2) == 0 {
			w.mortal(c, 1, true)
		} else {
			w.mortal(s, 3, true)
		}
		w.x.Add("server 4", w.serves(4, w.x.Rand.IntN(6)))
		w.survivors()
	})
}

// survivors are two who recover, of whom one may die over it.
func (w *world) survivors() {
	w.x.Add("recoverer 5", w.recovers)
	p := w.x.Add("recoverer 6", w.recovers)
	if w.x.Rand.IntN(2) == 0 {
		p.KillAt = 1 + w.x.Rand.IntN(12)
	}
}
