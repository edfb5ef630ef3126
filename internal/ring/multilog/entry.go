package multilog

import (
	"math/bits"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Entry is the place of a registered reader: it can sleep there, and in reject
// mode hold the log's space.
type Entry struct {
	log  *Log
	i    int
	word who
	hold bool
	ring func(wake.Bell)
	seq  uint64 // generation 32, announcements 31, 0: never the same twice
	told uint64 // where the reader was when it found nothing last

	timed bool // the sleep that was announced last
}

// Register gives r a place, for the owner that r's peers say. With hold, in
// reject mode, nothing is given up that r did not pass; r is then at the oldest
// record.
func (r *Rx) Register(hold bool) error {
	l := r.log
	for i := range MaxReaders {
		e := &l.readers[i]
		old := who(e.who.Load())
		if old.state() != whoFree {
			continue
		}
		gen := uint64(uint32(old.gen() + 1))
		flags := uint64(0)
		if hold {
			flags = whoHolds
		}
		l.used.Or(1 << i) // edge: join; a bit too many costs a look
		invariant.Point("multilog.J0")
		// J1: owner and generation in the step that takes the entry.
		if !e.who.CompareAndSwap(uint64(old), uint64(packWho(whoJoining, flags, r.peers.Me, gen))) {
			continue
		}
		invariant.Point("multilog.J1")
		e.park.Store(0)
		l.alert.And(^uint64(1 << i)) // as the one before may have left it
		e.bell.Ref.Store(0)
		e.lost.Store(0)
		e.lostBytes.Store(0)
		r.entry = &Entry{log: l, i: i, word: packWho(whoActive, flags, r.peers.Me, gen), hold: hold, ring: r.peers.Ring, seq: gen << 32}
		return r.activate()
	}
	return ErrNoEntry
}

// activate is J2; J3 is that of rewind: from there on, head does not pass the
// cursor of a reader that holds.
func (r *Rx) activate() error {
	e := &r.log.readers[r.entry.i]
	e.cursor.Store(r.Pos)
	invariant.Point("multilog.J2")
	joining := r.entry.word&^15 | who(whoJoining)
	if !e.who.CompareAndSwap(uint64(joining), uint64(r.entry.word)) {
		r.entry = nil // recovered: we were taken for dead
		return ErrFenced
	}
	invariant.Point("multilog.J2a")
	if !r.entry.hold {
		return nil
	}
	err := r.rewind()
	if err != nil {
		r.Unregister()
	}
	return err
}

// Unregister gives r's place back.
func (r *Rx) Unregister() {
	e := r.entry
	if e == nil {
		return
	}
	r.entry = nil
	e.Awake()
	words := &e.log.readers[e.i]
	words.who.CompareAndSwap(uint64(e.word), uint64(e.word.free()))
	invariant.Point("multilog.L1")
	e.log.ringWaiters(e.ring)
}

// Bell is what r's owner sleeps on.
func (e *Entry) Bell() wake.Bell { return e.log.readers[e.i].bell }

// Entry returns r's place, or nil.
func (r *Rx) Entry() *Entry { return r.entry }

// Fenced reports whether the place was taken away.
func (e *Entry) Fenced() bool { return who(e.log.readers[e.i].who.Load()) != e.word }

// passed tells the others where the reader is.
func (e *Entry) passed(r *Rx) {
	words := &e.log.readers[e.i]
	if !e.hold {
		return // told when it sleeps
	}
	// R6, edge: wake writer (cursor | waiters). A swap, because a load follows.
	old := words.cursor.Swap(r.Pos)
	invariant.Point("multilog.R6")
	if e.log.waiters.Load() != 0 {
		e.log.crossed(old, r.Pos, e.log.n/8, e.ring) // not for each record
	}
}

// idle is for a reader that finds nothing to read: no more of its steps will
// wake the writers that have room by now.
func (e *Entry) idle(r *Rx) {
	if !e.hold || e.told == r.Pos {
		return
	}
	if e.log.waiters.Load() != 0 {
		e.log.crossed(e.told, r.Pos, 0, e.ring)
	}
	e.told = r.Pos
}

// Report stores what the reader has lost, for inspection.
func (e *Entry) Report(s Skipped) {
	e.log.readers[e.i].lost.Store(s.Lost)
	e.log.readers[e.i].lostBytes.Store(s.LostBytes)
}

// Asleep is K2: the reader, who has prepared to sleep on its bell, announces
// it. It must look once more (Ready) before it sleeps. timed says that the
// record it waits for is being written: then it must look again in a while,
// because its writer may be of another kernel and fall silent. Otherwise
// whoever writes behind an unfinished record rings it once, so that it learns
// that there is one.
func (e *Entry) Asleep(r *Rx) (timed bool) {
	words := &e.log.readers[e.i]
	words.cursor.Store(r.Pos)
	e.seq += 2
	park := e.seq
	if timed = r.waits(); timed {
		park |= parkTimed
	}
	e.timed = timed
	words.park.Store(park)
	invariant.Point("multilog.K2")
	e.log.alert.Or(1 << e.i) // edge: wake reader (alert | the state word)
	invariant.Point("multilog.K2a")
	return timed
}

// waits reports whether the record at Pos is being written.
func (r *Rx) waits() bool {
	w, age := r.log.load(r.Pos)
	return age == 0 && w.status() == stBusy
}

// parkTimed in a reader's park word: it will look again, ring for news only.
const parkTimed = 1

// Awake is K4: takes Asleep back.
func (e *Entry) Awake() {
	e.log.readers[e.i].park.Store(0)
	invariant.Point("multilog.K4")
	e.log.alert.And(^uint64(1 << e.i))
}

// Ready is K3: it reports whether there is more to find than when the reader's
// entry fell asleep: what a waker would ring it for.
func (r *Rx) Ready() bool { return r.log.rings(r.Pos, r.entry.timed) }

// rings reports whether a reader that sleeps at p wants to be rung.
func (l *Log) rings(p uint64, timed bool) bool {
	w, age := l.load(p)
	return age < 0 || age == 0 && (!timed || w.status() != stBusy)
}

// wakeReaders rings the sleepers that can go on.
func (l *Log) wakeReaders(ring func(wake.Bell)) {
	if m := l.alert.Load(); m != 0 {
		l.wakeThese(m, ring)
	}
}

func (l *Log) wakeThese(m uint64, ring func(wake.Bell)) {
	for ; m != 0; m &= m - 1 {
		e := &l.readers[bits.TrailingZeros64(m)]
		p := e.park.Load()
		if p == 0 {
			continue
		}
		if l.rings(e.cursor.Load(), p&parkTimed != 0) {
			wakeEntry(e, p, ring)
		}
	}
}

// wakeEntry rings first and takes the announcement after that: a waker who is
// stopped between the two costs the others a ring, never the sleeper its
// wake-up.
func wakeEntry(e *entry, park uint64, ring func(wake.Bell)) {
	invariant.Point("multilog.K5")
	ring(e.bell)
	invariant.Point("multilog.K6")
	e.park.CompareAndSwap(park, 0)
}
