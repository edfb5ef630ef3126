//go:build invariants || race

package multilog

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest/explore"
	"github.com/ringbus/ringbus/internal/wake"
)

// writer is a party that appends total records.
func (w *world) writer(owner uint32, total int) *explore.Party {
	return w.x.Add(fmt.Sprintf("writer%x", owner), func(p *explore.Party) { w.write(p, owner, total) })
}

// hand is a writer at work.
type hand struct {
	w     *world
	p     *explore.Party
	owner uint32
	tx    *Tx
	place *Waiter
	d     draft
}

func (w *world) write(p *explore.Party, owner uint32, total int) {
	h := &hand{w: w, p: p, owner: owner}
	w.x.Look(func() { h.tx = w.view().NewTx(w.peers(owner)) })
	for i := range total {
		if err := h.append(uint64(owner)<<32 | uint64(i+1)); err != nil {
			if errors.Is(err, ErrFenced) && w.fenced[owner] {
				return
			}
			if !errors.Is(err, ErrLapped) || !w.stopped {
				w.x.Fail("record %d: %v", i, err)
			}
		}
	}
	if h.place != nil {
		h.place.Close()
	}
}

// append makes one record, in one of the ways there are.
func (h *hand) append(number uint64) error {
	w := h.w
	most := h.p.Rand.IntN(int(w.l.max)*CellSize - headerSize + 1)
	least := most
	if h.p.Rand.IntN(3) == 0 {
		least = h.p.Rand.IntN(most + 1)
	}
	w.begun[number] = true
	for {
		others, retries, sealed, holed := w.others(h.p), h.tx.Retries, w.sealed, w.holed()
		c, err := h.tx.Reserve(least, most)
		// The bound of the scheme: who fails once more lost to another's claim.
		if n := int(h.tx.Retries - retries); n > w.others(h.p)-others {
			w.x.Fail("%d retries, for %d claims of others", n, w.others(h.p)-others)
		}
		if w.fenced[h.owner] {
			return ErrFenced
		}
		if errors.Is(err, ErrFull) {
			if !h.waitRoom(most, holed || w.sealed != sealed) {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		h.d = draft{owner: h.owner, claim: c, number: number, length: min(most, c.Size())}
		break
	}
	w.open[h.p.Name] = &h.d
	defer delete(w.open, h.p.Name)
	return h.fill()
}

// others counts the claims that p did not make.
func (w *world) others(p *explore.Party) int { return w.claims - w.own[p.Name] }

// fill writes the record in two halves, and finishes it.
func (h *hand) fill() error {
	w, c := h.w, h.d.claim
	words := w.l.cell(c.Pos, c.cells)[headerSize/8:]
	data := text(h.d.number, h.d.length)
	half := len(data) / 16 * 8
	mem.CopyIn(words, data[:half])
	w.x.Point("half")
	mem.CopyIn(words[half/8:], data[half:])
	w.x.Point("whole")
	// I2: nobody else writes here.
	back := make([]byte, len(data))
	w.x.Look(func() { mem.CopyOut(back, words) })
	if !bytes.Equal(back, data) && w.memoryIsPlain() {
		w.x.Fail("I2: somebody wrote into the claim at %d of %#x", c.Pos, h.owner)
	}
	if h.p.Rand.IntN(8) == 0 {
		return h.tx.Abort(c)
	}
	if err := h.tx.Finish(c, Header{}, new(Prefix), h.d.length); err != nil {
		return err
	}
	if !h.d.done {
		w.x.Fail("a commit without W10")
	}
	return nil
}

// memoryIsPlain: what a party stored is there when it looks without scheduling.
func (w *world) memoryIsPlain() bool { return explore.Memory.Scale == 1 }

// waitRoom waits as a journal.Writer does, and says whether to try again.
func (h *hand) waitRoom(size int, holed bool) bool {
	w := h.w
	switch {
	case holed && !h.blocked(size):
		return false // no run was long enough
	case !holed && w.l.config.Mode == Overwrite:
		w.x.Fail("full, in overwrite mode, and nobody held a cell")
	}
	if h.place == nil {
		place, err := w.l.NewWaiter(w.peers(h.owner))
		must1(err)
		h.place = place
	}
	bell := h.place.Bell().Word
	seen := bell.Load()
	h.place.Asleep(size)
	defer h.place.Awake()
	if h.place.Ready() {
		return true
	}
	h.p.Idle = func() error {
		if h.blocked(size) {
			return nil
		}
		return fmt.Errorf("there is room for %d bytes", size)
	}
	h.p.Sleep("for room", func() bool { return bell.Load() != seen || w.holed() && !h.blocked(size) || w.fenced[h.owner] })
	return true
}

// blocked says whether a reader that counts is in the way of size bytes.
func (h *hand) blocked(size int) (yes bool) {
	l := h.w.l
	h.w.x.Look(func() {
		need := l.end() + cellsFor(size)
		if end := l.n - l.index(l.end()); cellsFor(size) > end {
			need += end // a pad comes first
		}
		for i := range l.readers {
			e := &l.readers[i]
			who := who(e.who.Load())
			yes = yes || who.state() == whoActive && who.holds() && h.w.status[who.owner()] == Alive && e.cursor.Load()+l.n < need
		}
	})
	return yes && l.config.Mode == Reject
}

// holed says whether cells are out of use, or may soon be.
func (w *world) holed() (yes bool) {
	w.x.Look(func() {
		for i := range w.l.states {
			st := state(w.l.states[i].Load()).status()
			yes = yes || st == stHole || st == stGone
		}
	})
	return yes
}

// appetite says when a reader ends; it is told after each record.
type appetite func(got uint64) bool

func forever(uint64) bool { return false }

// reader is a party that reads until it has enough. kind: 0 has no place, 1 has
// one, 2 holds the log.
func (w *world) reader(owner uint32, kind int, enough appetite) *explore.Party {
	return w.x.Add(fmt.Sprintf("reader%x", owner), func(p *explore.Party) { w.read(p, owner, kind, enough) })
}

func (w *world) read(p *explore.Party, owner uint32, kind int, enough appetite) {
	r := &reading{owner: owner, last: map[uint32]uint64{}}
	w.x.Look(func() { r.rx = w.view().NewRx(w.peers(owner)) })
	w.readers = append(w.readers, r)
	if kind > 0 {
		if err := r.rx.Register(kind == 2); err != nil {
			if w.fenced[owner] {
				return
			}
			w.x.Fail("register: %v", err)
		}
		r.holds = kind == 2 && w.l.config.Mode == Reject
	}
	r.base = r.rx.Seq
	if w.late > 0 {
		for range p.Rand.IntN(w.late) {
			w.x.Point("waits")
		}
	}
	for !enough(r.got) {
		if !w.next(p, r) {
			break
		}
	}
	r.finished = true
	if r.rx.entry != nil {
		r.rx.Unregister()
	}
}

// seek moves the reader somewhere; what it passes is not lost.
func (w *world) seek(p *explore.Party, r *reading) {
	was, pos := r.rx.Pos, uint64(0)
	var err error
	switch p.Rand.IntN(5) {
	case 0:
		err = r.rx.SeekFirst()
	case 1:
		err = r.rx.SeekLast(p.Rand.Uint64N(4))
	case 2:
		err = r.rx.SeekTime(0)
	default:
		pos = was + p.Rand.Uint64N(6) - 4
		err = r.rx.Seek(pos)
	}
	var none *NoRecordError
	var gone *GoneError
	switch {
	case errors.As(err, &none):
		if r.rx.Pos != was && !w.lapped(r) {
			w.x.Fail("at %d after %v; was at %d", r.rx.Pos, err, was)
		}
	case errors.As(err, &gone):
		if pos >= gone.Oldest {
			w.x.Fail("%v", err)
		}
	case err != nil:
		w.x.Fail("seek: %v", err)
	case pos > 0 && r.rx.Pos <= pos:
		w.x.Fail("sought what is after %d, and is at %d", pos, r.rx.Pos)
	}
	r.base, r.got, r.last = r.rx.Seq-r.rx.Lost, 0, map[uint32]uint64{}
	if err := r.check(w); err != nil {
		w.x.Fail("after a search: %v", err)
	}
}

// lapped: a reader that does not hold may lose its place while it looks.
func (w *world) lapped(r *reading) bool { return !r.holds || w.status[r.owner] != Alive }

// next reads one record, or sleeps until there may be one.
func (w *world) next(p *explore.Party, r *reading) bool {
	if w.seeks > 0 && p.Rand.IntN(w.seeks) == 0 {
		w.seek(p, r)
	}
	var rec Record
	f, err := r.rx.Next(&rec, true)
	if w.fenced[r.owner] {
		return false
	}
	if err != nil {
		w.x.Fail("at %d: %v", r.rx.Pos, err)
	}
	switch f {
	case Got:
		w.received(r, &rec)
		return true
	case Busy:
		return true
	}
	e, timed := r.rx.entry, true
	p.Idle = func() error {
		switch n := len(w.ledger); {
		case w.l.rings(r.rx.Pos, true):
			return fmt.Errorf("there is something at %d", r.rx.Pos)
		case !timed && n > 0 && w.ledger[n-1].pos > r.rx.Pos && w.sealable(r):
			return fmt.Errorf("who writes at %d is not alive, and there is more behind it", r.rx.Pos)
		}
		return nil
	}
	if e == nil {
		p.Sleep("polls", func() bool { return w.l.rings(r.rx.Pos, true) || w.sealable(r) || w.fenced[r.owner] })
		return true
	}
	bell := e.Bell().Word
	seen := bell.Load()
	timed = e.Asleep(r.rx)
	if !r.rx.Ready() {
		p.Sleep("for a record", func() bool { return bell.Load() != seen || timed && w.sealable(r) || w.fenced[r.owner] })
	}
	e.Awake()
	return true
}

// sealable: the record that the reader waits for is of one that is not alive; a
// reader looks at that now and then.
func (w *world) sealable(r *reading) bool {
	s, age := w.l.load(r.rx.Pos)
	return age == 0 && s.status() == stBusy && w.status[s.owner()] != Alive
}

// received checks one record.
func (w *world) received(r *reading, rec *Record) {
	r.got++
	n := numberOf(rec.Data)
	var found *entered
	for i := range w.ledger {
		if w.ledger[i].pos == rec.Position {
			found = &w.ledger[i]
		}
	}
	switch {
	case found == nil:
		w.x.Fail("received position %d, which nobody finished", rec.Position)
	case len(rec.Data) != found.length || !bytes.Equal(rec.Data, text(found.number, found.length)):
		w.x.Fail("position %d: %d bytes of %#x, finished were %d of %#x", rec.Position, len(rec.Data), n, found.length, found.number)
	}
	owner := uint32(found.number >> 32)
	if r.last[owner] >= found.number {
		w.x.Fail("record %#x after %#x", found.number, r.last[owner])
	}
	r.last[owner] = found.number
	if before, _ := w.before(rec.Position); rec.Sequence != before {
		w.x.Fail("position %d has sequence %d, %d were before it", rec.Position, rec.Sequence, before)
	}
	if err := r.check(w); err != nil {
		w.x.Fail("%v", err)
	}
}

// recoverers are two survivors who both notice owner's death; one may die.
func (w *world) recoverers(owner uint32) {
	left := 2
	for i := range 2 {
		p := w.x.Add(fmt.Sprintf("rec%d-%x", i, owner), func(p *explore.Party) {
			p.MayStay(true)
			p.Sleep("for a death", func() bool { return w.status[owner] == Dead })
			p.MayStay(false)
			w.l.Recover(owner, false, func(b wake.Bell) { b.Word.Add(1) })
			// The slot moves on: words of this generation are a zombie's now.
			w.status[owner] = Gone
		})
		if i == 0 && w.rng.IntN(2) == 0 {
			p.KillAt = 1 + w.rng.IntN(12)
			left--
		}
	}
}

// kill lets p die at a step of its that the schedule chooses, out of about
// span; owner is then dead by evidence.
func (w *world) kill(p *explore.Party, owner uint32, span int) {
	p.KillAt = 1 + w.rng.IntN(span)
	p.AtDeath = func() { w.status[owner] = Dead }
	w.recoverers(owner)
}

// halt lets p stand still at one of its steps, until nobody else can go on.
func (w *world) halt(p *explore.Party, span int) {
	p.StopAt = 1 + w.rng.IntN(span)
	w.stopped = true
}
