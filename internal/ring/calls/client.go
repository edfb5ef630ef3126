package calls

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Link is a client's link. One goroutine at a time uses it.
type Link struct {
	t    *Table
	K    int // which one; its area is known by this number
	word link
}

// Claim takes a link for a client of owner's. Its area is the client's alone
// until Connect.
func (t *Table) Claim(owner uint32) (*Link, error) {
	for k := range t.links {
		old := link(t.links[k].word.Load())
		if old.state() != linkFree {
			continue
		}
		word := packLink(linkClaimed, old.gen()+1, owner)
		invariant.Point("calls.C1")
		if t.links[k].word.CompareAndSwap(uint64(old), uint64(word)) { // C1
			return &Link{t, k, word}, nil
		}
	}
	return nil, ErrNoSlot
}

// Bell is what servers ring of the client whose home this link is.
func (l *Link) Bell() wake.Bell { return l.t.links[l.K].bell }

// Connect opens the link to a server: its area is the directory entry of the
// given index and generation, the client's bell that of its link home. It returns
// false if the server has gone, and the link is the client's alone again;
// ErrFenced if the client was.
func (l *Link) Connect(s ServerRef, index int, gen uint32, home *Link, ring func(wake.Bell)) (bool, error) {
	slot := &l.t.links[l.K]
	invariant.Point("calls.C2")
	slot.area.Store(uint64(index+1)<<20 | uint64(gen)) // C2
	slot.home.Store(uint32(home.K))
	open := l.word.to(s.Slot, s.Gen)
	invariant.Point("calls.C3")
	// C3, edge: leave (this CAS, then the server's word | its word, then the links).
	if !slot.word.CompareAndSwap(uint64(l.word), uint64(open)) {
		return false, ErrFenced
	}
	l.word = open
	invariant.Point("calls.C4")
	if w := server(l.t.servers[s.Slot].word.Load()); w.state() != serverHeld || w.gen() != s.Gen { // C4
		mark := link(0)
		if w.state() == serverEvicted && w.gen() == s.Gen {
			mark = tainted // it may have begun
		}
		invariant.Point("calls.C5")
		slot.word.CompareAndSwap(uint64(open), uint64(open.with(linkLost)|mark)) // C5: as L2 would
		return false, l.Again()
	}
	invariant.Point("calls.C6")
	l.t.tell(s.Slot, ring) // C6
	return true, nil
}

// Lost says whether the server has gone.
func (l *Link) Lost() bool { return link(l.t.links[l.K].word.Load()) != l.word }

// Again takes a lost link back, for another server. ErrNoSlot: its area is not to
// be used again; the link is good for nothing but its bell, until Close.
func (l *Link) Again() error {
	word := l.t.links[l.K].word
	for {
		w := link(word.Load())
		switch {
		case w.gen() != l.word.gen() || w.client() != l.word.client() || w.state() != linkLost:
			return ErrFenced
		case w&tainted != 0:
			l.word = w
			return ErrNoSlot
		}
		next := packLink(linkClaimed, w.gen()+1, w.client())
		invariant.Point("calls.C1")
		if word.CompareAndSwap(uint64(w), uint64(next)) {
			l.word = next
			return nil
		}
	}
}

// Close gives the link up: the client uses its area no more.
func (l *Link) Close(ring func(wake.Bell)) { l.t.close(l.K, l.word, 0, ring) }

// Retire is Close, of a link into whose area somebody may still write for the
// client: it is never used again.
func (l *Link) Retire(ring func(wake.Bell)) { l.t.close(l.K, l.word, tainted, ring) }

// close is C7, for a client that closes or, by anybody, for one that is dead. Any
// number may do it at once.
func (t *Table) close(k int, mine link, mark link, ring func(wake.Bell)) {
	word := t.links[k].word
	if mark != 0 {
		defer func() { ring(t.home(k)) }() // the evicted may be asleep, and should hear of it
	}
	for {
		w := link(word.Load())
		if w.gen() != mine.gen() || w.client() != mine.client() {
			return
		}
		invariant.Point("calls.C7")
		switch w.state() {
		case linkClaimed, linkLost:
			if word.CompareAndSwap(uint64(w), uint64((w | mark).ended())) {
				return
			}
		case linkOpen:
			if word.CompareAndSwap(uint64(w), uint64(w.with(linkLeft)|mark)) {
				t.left(k, w, ring)
				return
			}
		case linkLeft: // whoever took it here may not have gone on
			if w|mark == w || word.CompareAndSwap(uint64(w), uint64(w|mark)) {
				t.left(k, w, ring)
				return
			}
		default:
			return
		}
	}
}

// left is what follows LEFT: the server frees the link, or, if it has gone
// without having seen it, we do.
func (t *Table) left(k int, w link, ring func(wake.Bell)) {
	t.tell(w.server(), ring)
	invariant.Point("calls.C8")
	// C8, edge: leave (link LEFT, then the server's word | its word, then the links).
	if s := server(t.servers[w.server()].word.Load()); s.state() != serverHeld || s.gen() != w.serverGen() {
		t.lose(k, w.server(), w.serverGen(), s.state() == serverEvicted && s.gen() == w.serverGen(), ring)
	}
}

// ServerBell is the bell of the server that the link was connected with.
func (l *Link) ServerBell(s ServerRef) wake.Bell { return l.t.servers[s.Slot%MaxServers].bell }
