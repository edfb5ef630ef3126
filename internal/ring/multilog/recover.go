package multilog

import (
	"math/bits"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Recover ends everything that owner, who is dead by evidence, held in the
// log. Each step is a CAS on a word that names the owner, so any number of
// recoverers may run it at once, and it may be cut short and run again: whoever
// marks the owner's node free must have run it whole. evicted says that the
// only evidence is an operator's word, and the owner may still write late: the
// cells of its open claims are not given to others then, as long as the log
// lives. Recover returns how many records and reader entries it ended.
func (l *Log) Recover(owner uint32, evicted bool, ring func(wake.Bell)) (records, readers int) {
	for i := range l.states {
		if l.bury(i, owner, evicted) {
			records++
		}
	}
	for m := l.used.Load(); m != 0; m &= m - 1 {
		if l.expel(&l.readers[bits.TrailingZeros64(m)], owner, evicted) {
			readers++
		}
	}
	for i := range l.waiting {
		l.expel(&l.waiting[i], owner, evicted)
	}
	// All, whatever they announced: the dead may have been about to.
	for m := l.used.Load(); m != 0; m &= m - 1 {
		ring(l.readers[bits.TrailingZeros64(m)].bell)
		invariant.Point("multilog.V4")
	}
	l.ringWaiters(ring)
	invariant.Point("multilog.V5")
	return records, readers
}

// bury ends the claim in state word i, if it is an open one of owner, who is
// dead, and reports whether it was this call that ended a record.
func (l *Log) bury(i int, owner uint32, evicted bool) bool {
	for range stubborn {
		w := state(l.states[i].Load())
		to := stGone
		switch {
		case w.owner() != owner || w.status() != stBusy && w.status() != stHole:
			return false
		case evicted:
		case w.status() == stBusy:
			to = stTomb
		default:
			to = stPad
		}
		if !l.states[i].CompareAndSwap(uint64(w), uint64(w.with(to))) {
			continue
		}
		invariant.Point("multilog.V1")
		switch {
		case w.status() == stHole:
			return false // counted when it was made
		case to == stTomb:
			l.tombs.Add(1)
		default:
			l.holes.Add(1)
		}
		return true
	}
	return false
}

// expel frees e if owner has it; if the owner was evicted and may still write
// into it, e is nobody's for ever.
func (l *Log) expel(e *entry, owner uint32, evicted bool) bool {
	for range stubborn {
		w := who(e.who.Load())
		if w.state() == whoFree || w.state() == whoRetired || w.owner() != owner {
			return false
		}
		to := w.free()
		if evicted {
			to = packWho(whoRetired, 0, owner, w.gen())
		}
		if e.who.CompareAndSwap(uint64(w), uint64(to)) {
			invariant.Point("multilog.V3")
			return true
		}
	}
	return false
}
