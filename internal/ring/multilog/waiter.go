package multilog

import (
	"math/bits"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Waiter is the place at which a writer sleeps until readers have passed what
// it needs.
type Waiter struct {
	log  *Log
	i    int
	word who
	seq  uint64 // generation 32, announcements 32: never the same twice
	need uint64 // the head that it waits for

	peers Peers
}

// NewWaiter takes a place to sleep for the owner that p says.
func (l *Log) NewWaiter(p Peers) (*Waiter, error) {
	for i := range MaxWaiters {
		e := &l.waiting[i]
		old := who(e.who.Load())
		if old.state() != whoFree {
			continue
		}
		word := packWho(whoActive, 0, p.Me, uint64(uint32(old.gen()+1)))
		invariant.Point("multilog.J4")
		if !e.who.CompareAndSwap(uint64(old), uint64(word)) {
			continue
		}
		invariant.Point("multilog.J5")
		e.park.Store(0)
		e.bell.Ref.Store(0)
		return &Waiter{log: l, i: i, word: word, seq: word.gen() << 32, peers: p}, nil
	}
	return nil, ErrNoEntry
}

// Close gives the place back.
func (w *Waiter) Close() {
	w.Awake()
	w.log.waiting[w.i].who.CompareAndSwap(uint64(w.word), uint64(w.word.free()))
	invariant.Point("multilog.L2")
}

// Bell is what the writer sleeps on.
func (w *Waiter) Bell() wake.Bell { return w.log.waiting[w.i].bell }

// Asleep is K2: the writer, who has prepared to sleep on its bell, announces
// how far readers must be for size bytes to be there. It must look once more
// (Ready) before it sleeps.
func (w *Waiter) Asleep(size int) {
	l := w.log
	e := &l.waiting[w.i]
	tail, k := l.end(), cellsFor(size)
	if end := l.n - l.index(tail); k > end {
		k += end // a pad comes first
	}
	w.need = tail + k - min(tail+k, l.n)
	e.cursor.Store(w.need)
	w.seq++
	e.park.Store(w.seq)
	invariant.Point("multilog.K2w")
	l.waiters.Or(1 << w.i) // edge: wake writer (waiters | the cursors)
	invariant.Point("multilog.K2x")
	// The readers that it waits for may sleep over a claim that is not a record,
	// or whose writer fell silent, and nobody else may come by.
	l.wakeReaders(w.peers.Ring)
}

// Ready is K3: it reports whether readers have passed what the record needs.
func (w *Waiter) Ready() bool { return w.log.held(w.need, w.peers.Status) >= w.need }

// Awake is K4: takes Asleep back.
func (w *Waiter) Awake() {
	w.log.waiting[w.i].park.Store(0)
	invariant.Point("multilog.K4w")
	w.log.waiters.And(^uint64(1 << w.i))
}

// end is the true tail, or a little behind it.
func (l *Log) end() uint64 {
	p := max(l.tail.Load(), l.loadRoom().head())
	for range l.n {
		w, age := l.load(p)
		if age != 0 {
			return p
		}
		k, err := l.span(p, w)
		if err != nil {
			return p
		}
		p += k
	}
	return p
}

// crossed rings the writers that waited for a reader to come as far as more
// beyond what they need. Others may be in their way still: each reader rings
// once, as it crosses.
func (l *Log) crossed(from, to, more uint64, ring func(wake.Bell)) {
	for m := l.waiters.Load(); m != 0; m &= m - 1 {
		e := &l.waiting[bits.TrailingZeros64(m)]
		at := e.cursor.Load() + more
		if p := e.park.Load(); p != 0 && from < at && to >= at {
			wakeEntry(e, p, ring)
		}
	}
}

// ringWaiters rings all writers that sleep: a reader went.
func (l *Log) ringWaiters(ring func(wake.Bell)) {
	for i := range l.waiting {
		if e := &l.waiting[i]; who(e.who.Load()).state() != whoFree {
			ring(e.bell)
		}
	}
}
