package calls

import (
	"fmt"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Recover ends all that owner, who is dead by evidence, had in the service. Each
// step is a CAS from a word that names the owner or its slot's generation, so any
// number of recoverers may run it at once, and it may be cut short and run
// again. evicted says that owner may still write into the areas of its links:
// these are never used again.
func (t *Table) Recover(owner uint32, evicted bool, ring func(wake.Bell)) {
	mark := link(0)
	if evicted {
		mark = tainted
	}
	for i := range t.servers {
		if s := server(t.servers[i].word.Load()); s.state() != serverFree && s.owner() == owner {
			invariant.Point("calls.V1")
			t.leave(i, s, evicted, ring) // V1
		}
	}
	for k := range t.links {
		if w := link(t.links[k].word.Load()); w.state() != linkFree && w.client() == owner {
			invariant.Point("calls.V2")
			t.close(k, w, mark, ring) // V2
		}
	}
}

// Verify returns what is wrong in the table, in words. gone says whether an owner
// is dead and recovered. While parties run, what moved between two looks is not
// reported.
func (t *Table) Verify(gone func(owner uint32) bool) (out []string) {
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for i := range t.servers {
		s := server(t.servers[i].word.Load())
		switch {
		case s.state() > serverEvicted:
			wrong("server %d: word %#x has an unknown state", i, uint64(s))
		case s.state() != serverFree && gone(s.owner()) && server(t.servers[i].word.Load()) == s:
			wrong("server %d is of an owner that is gone, %#x", i, s.owner())
		}
	}
	for k := range t.links {
		w := link(t.links[k].word.Load())
		again := func() bool { return link(t.links[k].word.Load()) == w }
		switch w.state() {
		case linkFree, linkRetired:
		case linkClaimed, linkLost:
			if gone(w.client()) && again() {
				wrong("link %d is of a client that is gone, %#x", k, w.client())
			}
		case linkOpen, linkLeft:
			s := server(t.servers[w.server()].word.Load())
			if (s.state() == serverFree || s.gen() != w.serverGen()) && again() {
				wrong("link %d is with server %d, which is gone", k, w.server())
			}
			if w.state() == linkOpen && gone(w.client()) && again() {
				wrong("link %d is open by a client that is gone, %#x", k, w.client())
			}
		default:
			wrong("link %d: word %#x has an unknown state", k, uint64(w))
		}
	}
	return out
}
