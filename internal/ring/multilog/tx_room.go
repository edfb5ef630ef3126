package multilog

import (
	"math/bits"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
)

// makeRoom is W4 and W5: it gives up the oldest records until a claim of most
// cells fits at pos, the true tail, and returns how many fit: at least least,
// or [ErrFull]. errAgain: pos is old.
func (t *Tx) makeRoom(pos, least, most uint64) (uint64, error) {
	l := t.log
	if pos+most <= t.head+l.n && pos >= t.head {
		return most, nil
	}
	for range stubborn {
		r := l.loadRoom() // W4, edge: join (joins here | the joiner's cursor, then joins)
		head := r.head()
		t.head = head
		switch {
		case head > pos:
			return 0, errAgain
		case pos > head+l.n:
			if l.loadRoom() != r {
				continue
			}
			return 0, &CorruptError{"room word", uint64(r)} // or pos; nothing tiles there
		case pos+most <= head+l.n:
			return most, nil
		}
		need := pos + most - l.n
		goal := min(need+l.slack, pos)
		if l.config.Mode == Reject {
			held := l.held(need, t.peers.Status)
			if held <= head { // W5: held by readers; grant what is there
				if have := head + l.n - pos; have >= least {
					return have, nil
				}
				return 0, ErrFull
			}
			goal = min(goal, held)
		}
		if err := t.giveUp(r, need, goal); err != nil {
			return 0, err
		}
	}
	return 0, &CorruptError{"room word, which does not stand still", l.room.Load()}
}

// held is E1: the smallest cursor of the readers that hold. Those that are not
// alive do not count, if they are in the way of need.
func (l *Log) held(need uint64, status func(uint32) Status) uint64 {
	low := uint64(maxHead)
	for m := l.used.Load(); m != 0; m &= m - 1 {
		e := &l.readers[bits.TrailingZeros64(m)]
		w := who(e.who.Load())
		if w.state() != whoActive || !w.holds() {
			continue
		}
		c := e.cursor.Load()
		if c < need && status(w.owner()) != Alive {
			continue
		}
		low = min(low, c)
	}
	return low
}

// giveUp is E2 to E6: it moves head from r over the oldest records, up to goal
// if they are all final, and at least over one.
func (t *Tx) giveUp(r room, need, goal uint64) error {
	l := t.log
	head := r.head()
	p, records, size := head, uint64(0), uint64(0)
	for p < goal {
		x, age := l.load(p) // E2
		// What nearly all are; the cases below say the same of it.
		if k := x.cells(); age == 0 && x.status() == stReady && k-1 < l.max && k <= l.n-l.index(p) && p+k-head < l.n {
			records++
			size += l.length(p, k)
			p += k
			continue
		}
		if age != 0 {
			if p > head {
				break
			}
			switch {
			case l.loadRoom() != r:
				return nil // head moved
			case age > 0:
				return &CorruptError{"tail word", l.tail.Load()} // nothing is claimed here: pos is not the true tail
			}
			return &CorruptError{"room word", uint64(r)}
		}
		k, err := l.span(p, x)
		if err != nil {
			return err
		}
		if p > head && (p >= need && x.status() == stBusy || p+k-head >= l.n) {
			break // not in the way; and index(head) is not to be that of the new head
		}
		if x.status() == stBusy {
			l.seal(t.peers, p, x)
			continue
		}
		if x.status() == stReady {
			records++
			size += l.length(p, k)
		}
		p += k
	}
	invariant.Point("multilog.E2")
	rank := l.rank(head)
	v, b := rank[0].Load(), rank[1].Load() // E3
	if l.loadRoom() != r {                 // E4: v, b and all words were those of this head
		return nil
	}
	invariant.Point("multilog.E4")
	rank = l.rank(p) // E5
	raise(&rank[0], v+records)
	invariant.Point("multilog.E5")
	raise(&rank[1], b+size)
	invariant.Point("multilog.E5b")
	// E6, edge: rank (E5, then this | room, ranks, room)
	if l.room.CompareAndSwap(uint64(r), uint64(packRoom(p, r.joins()))) {
		t.head = p
	}
	invariant.Point("multilog.E6")
	return nil
}

// rank returns K and B of a head at p.
func (l *Log) rank(p uint64) []atomic.Uint64 {
	i := l.index(p) * 2
	return l.ranks[i : i+2]
}

// raise is CAS-max: others raise it to the same value, or did to a later one.
func raise(a *atomic.Uint64, v uint64) {
	for range stubborn {
		old := a.Load()
		if old >= v || a.CompareAndSwap(old, v) {
			return
		}
	}
}

// seal closes the BUSY claim w of p, whose owner is dead, or is in the way: what
// a living or suspect one may still write into becomes a hole until it says that
// it does not; what an evicted one may, is gone. w was loaded before the owner
// is asked after: all words of one that is dead by a lock are sealed before its
// slot moves on, so a BUSY word of an older generation is always a zombie's.
func (l *Log) seal(peers Peers, p uint64, w state) {
	to := stHole
	switch peers.Status(w.owner()) {
	case Dead:
		to = stTomb
	case Gone:
		to = stGone
	}
	if !l.state(p).CompareAndSwap(uint64(w), uint64(w.with(to))) {
		return // others did, or its owner finished it
	}
	invariant.Point("multilog.E2s")
	if to == stTomb {
		l.tombs.Add(1)
	} else {
		l.holes.Add(1)
	}
	l.wakeReaders(peers.Ring)
}
