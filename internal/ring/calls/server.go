package calls

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Server is a server's slot. One goroutine at a time uses it.
type Server struct {
	t    *Table
	Slot int
	word server
	has  [MaxLinks]bool // links that were given out by Links, until Drop
}

// Serve takes a slot for a server of owner's. Clients that have a server already,
// and may be waiting because it is busy, are rung.
func (t *Table) Serve(owner uint32, ring func(wake.Bell)) (*Server, error) {
	for i := range t.servers {
		old := server(t.servers[i].word.Load())
		if old.state() != serverFree {
			continue
		}
		word := packServer(serverHeld, old.gen()+1, owner)
		invariant.Point("calls.S1")
		if !t.servers[i].word.CompareAndSwap(uint64(old), uint64(word)) { // S1
			continue
		}
		invariant.Point("calls.S2")
		t.changes.Add(1) // S2, edge: changes
		t.ringClients(ring)
		return &Server{t: t, Slot: i, word: word}, nil
	}
	return nil, ErrNoSlot
}

// ringClients is S5: it rings each client that is linked with a server.
func (t *Table) ringClients(ring func(wake.Bell)) {
	invariant.Point("calls.S5")
	var rung [MaxLinks]bool
	for k := range t.links {
		if link(t.links[k].word.Load()).state() != linkOpen {
			continue
		}
		if home := t.links[k].home.Load() % MaxLinks; !rung[home] {
			rung[home] = true
			ring(t.links[home].bell) // S5
		}
	}
}

// Bell is what clients ring.
func (s *Server) Bell() wake.Bell { return s.t.servers[s.Slot].bell }

// News is a number that changes when links came or went: the server looks at
// Links again.
func (s *Server) News() uint64 { return s.t.servers[s.Slot].news.Load() }

// Held says whether the slot is still the server's.
func (s *Server) Held() bool { return server(s.t.servers[s.Slot].word.Load()) == s.word }

// A Served is a link as its server sees it.
type Served struct {
	Link  int
	Index int    // of the area's directory entry
	Gen   uint32 // and its generation

	word link
}

// Links calls f for each link that the server may serve and does not yet. It may
// serve it until Ended says that it must let go of it; Drop follows. Links whose
// clients have left before anybody served them are freed on the way.
func (s *Server) Links(f func(Served)) {
	for k := range s.t.links {
		l := &s.t.links[k]
		w := link(l.word.Load())
		if s.has[k] || !w.of(s.Slot, s.word.gen()) {
			continue
		}
		if w.state() == linkLeft {
			s.free(k, w)
		}
		if w.state() != linkOpen {
			continue
		}
		area := l.area.Load()
		if link(l.word.Load()) != w {
			continue // news will tell
		}
		invariant.Point("calls.S4")
		// Who was evicted must not begin with a link that nobody looks at for its
		// sake any more: link, then own word | L1, then the links.
		if !s.Held() { // S4
			return
		}
		s.has[k] = true
		f(Served{k, int(area>>20) - 1, uint32(area) & (1<<20 - 1), w})
	}
}

// Ended says whether the link is the server's no more. The server stops using its
// area, then calls Drop.
func (s *Server) Ended(v Served) bool { return link(s.t.links[v.Link].word.Load()) != v.word }

// Drop frees a link that ended, which the server has let go of.
func (s *Server) Drop(v Served) {
	s.has[v.Link] = false
	s.free(v.Link, v.word)
}

// free is S3: what w was and its client has left is free.
func (s *Server) free(k int, w link) {
	word := s.t.links[k].word
	for {
		now := link(word.Load())
		if now.with(linkOpen)&^tainted != w.with(linkOpen)&^tainted || now.state() != linkLeft {
			return
		}
		invariant.Point("calls.S3")
		if word.CompareAndSwap(uint64(now), uint64(now.ended())) { // S3
			return
		}
	}
}

// Refuse is Drop of a link that has not ended, and that the server cannot serve:
// its client looks for another one.
func (s *Server) Refuse(v Served, ring func(wake.Bell)) {
	if s.t.links[v.Link].word.CompareAndSwap(uint64(v.word), uint64(v.word.with(linkLost))) {
		ring(s.Client(v))
	}
	s.Drop(v)
}

// Retire is Refuse or Drop of a link into whose area somebody may still write for
// the server: it is never used again.
func (s *Server) Retire(v Served, ring func(wake.Bell)) {
	s.t.lose(v.Link, s.Slot, s.word.gen(), true, ring)
	s.has[v.Link] = false
}

// Client is the bell of a link's client.
func (s *Server) Client(v Served) wake.Bell { return s.t.home(v.Link) }

// Leave ends the server, which has let go of all its links. Their clients are
// rung.
func (s *Server) Leave(ring func(wake.Bell)) {
	s.t.leave(s.Slot, s.word, false, ring)
}

// leave is L1 to L4, for a server that leaves or, by anybody, for one that is
// dead. Any number may do it at once.
func (t *Table) leave(i int, held server, evicted bool, ring func(wake.Bell)) {
	word := t.servers[i].word
	leaving := held.with(serverLeaving)
	if evicted {
		leaving = held.with(serverEvicted)
	}
	invariant.Point("calls.L1")
	// L1, edge: leave (this CAS, then the links | link OPEN, then this word).
	word.CompareAndSwap(uint64(held.with(serverHeld)), uint64(leaving))
	leaving = server(word.Load())
	if s := leaving.state(); leaving.with(serverHeld) != held.with(serverHeld) || s != serverLeaving && s != serverEvicted {
		return // somebody has been through
	}
	evicted = evicted || leaving.state() == serverEvicted
	t.changes.Add(1)
	invariant.Point("calls.L2")
	for k := range t.links {
		t.lose(k, i, held.gen(), evicted, ring)
	}
	invariant.Point("calls.L4")
	word.CompareAndSwap(uint64(leaving), uint64(packServer(serverFree, held.gen(), 0))) // L4
}

// lose is L2 and L3 for one link: its server has gone.
func (t *Table) lose(k, i int, gen uint64, evicted bool, ring func(wake.Bell)) {
	word := t.links[k].word
	for {
		w := link(word.Load())
		if !w.of(i, gen) {
			return
		}
		mark := link(0)
		if evicted {
			mark = tainted
		}
		switch w.state() {
		case linkOpen:
			if !word.CompareAndSwap(uint64(w), uint64(w.with(linkLost)|mark)) { // L2
				continue
			}
		case linkLeft:
			if !word.CompareAndSwap(uint64(w), uint64((w | mark).ended())) {
				continue
			}
			return
		case linkLost:
			if w&tainted != mark && evicted && !word.CompareAndSwap(uint64(w), uint64(w|mark)) {
				continue
			}
		default:
			return
		}
		invariant.Point("calls.L3")
		ring(t.home(k)) // L3, whoever did L2
		return
	}
}
