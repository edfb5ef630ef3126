//go:build invariants || race

package cells

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// world is what the parties of one schedule share: a ring, and what the checker
// knows about them.
type world struct {
	x    *explorer
	rng  *rand.Rand
	ring *Ring

	dead    map[uint32]bool // owners, by evidence
	evicted map[uint32]bool // likewise, and they go on
	suspect map[uint32]bool
	sizes   []int
	turns   bool // writers give the token back with each message
	writers int  // that have not ended
	retired bool // an evicted writer may have retired the stream

	published []uint64        // epoch of each message, by number
	done      map[uint64]int  // how often a shared reader finished a message
	marked    map[uint64]bool // deliveries that were marked
	given     map[uint64]int  // deliveries
}

var scratch = mem.Alloc(64 << 10)

func newWorld(x *explorer, groups int) *world {
	w := &world{
		x: x, rng: rand.New(rand.NewPCG(x.rng.Uint64(), 7)), dead: map[uint32]bool{}, evicted: map[uint32]bool{}, suspect: map[uint32]bool{},
		done: map[uint64]int{}, marked: map[uint64]bool{}, given: map[uint64]int{},
	}
	x.look(func() {
		c := Config{Cells: 16, Groups: groups}
		area := scratch[:Size(c)]
		clear(area)
		must(Format(area, c))
		w.ring = try(Open(area))
	})
	most := w.ring.Config().MaxMessage()
	w.sizes = [][]int{{8, 900}, {300, 400, 500}, {most, 8}, {64 * 4}, {700, 8, 65}, {8, 104, 65, 120}}[w.rng.IntN(6)]
	x.watch = func() error {
		for _, s := range w.ring.Verify() {
			return errors.New(s)
		}
		return nil
	}
	return w
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func try[T any](v T, err error) T {
	must(err)
	return v
}

func (w *world) gone(owner uint32) bool { return w.dead[owner] || w.evicted[owner] }

func (w *world) recover(owner uint32) { w.ring.Recover(owner, w.evicted[owner], bell) }

// sleepOn sleeps until the bell changes from seen.
func (p *party) sleepOn(b wake.Bell, seen uint32, why string) {
	p.sleep(why, func() bool { return b.Word.Load() != seen })
}

// kill lets p die at a step of its that the schedule chooses, out of about span;
// owner is then dead by evidence, and two survivors notice.
func (w *world) kill(p *party, owner uint32, span int) {
	p.killAt = 1 + w.rng.IntN(span)
	p.atDeath = func() { w.dead[owner] = true }
	w.bury(owner)
}

// bury are two who notice that owner is gone; one may die over it.
func (w *world) bury(owner uint32) {
	for i := range 2 {
		q := w.x.add(fmt.Sprintf("rec%d", i), func(p *party) {
			p.sleep("for a death", func() bool { return w.gone(owner) })
			w.recover(owner)
		})
		q.mayStay = true
		if i == 0 && w.rng.IntN(2) == 0 {
			q.killAt = 1 + w.rng.IntN(12)
		}
	}
}

// evict has an operator say at some time that owner is gone, who goes on.
func (w *world) evict(owner uint32, span int) {
	w.x.add("operator", func(p *party) {
		for range w.rng.IntN(span) {
			p.idle()
		}
		w.evicted[owner] = true
		w.recover(owner)
	})
}

// write is a writer that sends count messages and ends the stream.
func (w *world) write(owner uint32, count int) *party {
	w.writers++
	return w.x.add(fmt.Sprintf("writer%x", owner), func(p *party) {
		x := OpenTx(try(w.ring.Join(owner, ModeWriter, bell)))
		x.Echo = p.rng.IntN(4) > 0
		for range count {
			if !w.send(p, x) {
				break
			}
		}
		w.writers--
		x.End()
	})
}

// take waits for the token as a stream's writer does.
func (w *world) take(p *party, x *Tx) bool {
	for {
		if w.evicted[x.owner] {
			return false
		}
		switch x.Take() {
		case Taken:
			return true
		case Retired:
			if !w.retired {
				p.x.fail("the stream is retired")
			}
			return false
		case Expelled:
			return false
		}
		if o, _ := w.ring.Writer(); w.gone(o) {
			w.recover(o)
			continue
		}
		seen := x.slot.Bell().Word.Load()
		if x.AnnounceToken(); x.Take() == Taken {
			return true
		}
		if o, _ := w.ring.Writer(); o == 0 || w.gone(o) {
			continue
		}
		p.sleepOn(x.slot.Bell(), seen, "for the token")
	}
}

// send sends one message and notes it; false if the writer was evicted.
func (w *world) send(p *party, x *Tx) bool {
	size := w.sizes[p.rng.IntN(len(w.sizes))]
	reserve := p.rng.IntN(4) == 0
	for {
		if !w.take(p, x) {
			return false
		}
		number := x.Head()
		ok := false
		if reserve {
			var b []byte
			if b, ok = x.Reserve(size); ok {
				copy(b, numbered(number|uint64(x.owner)<<40, size))
				ok = w.note(x, number, func() bool { return x.Commit(size, w.turns) })
			}
		} else {
			ok = w.note(x, number, func() bool { return x.Send(numbered(number|uint64(x.owner)<<40, size), w.turns) })
		}
		if ok {
			return true
		}
		if !x.Has() {
			if !w.evicted[x.owner] {
				p.x.fail("lost the token")
			}
			return false
		}
		if !w.waitRoom(p, x, size, reserve) {
			return false
		}
	}
}

// note keeps what was published under a number: its writer. A message counts
// from the step that publishes it, so it is noted before, and taken back.
func (w *world) note(x *Tx, number uint64, send func() bool) bool {
	for uint64(len(w.published)) <= number {
		w.published = append(w.published, 0)
	}
	w.published[number] = uint64(x.owner)
	return send()
}

func (w *world) waitRoom(p *party, x *Tx, size int, reserve bool) bool {
	enough := func() bool {
		if reserve { // the ring's end may be in the way
			_, ok := x.Reserve(size)
			return ok || !x.Has()
		}
		return x.Room(size) || !x.Has()
	}
	for !enough() {
		if w.evicted[x.owner] {
			return false
		}
		x.Sweep()
		for _, b := range x.Blockers(size) {
			switch {
			case w.gone(b.Owner):
				w.recover(b.Owner)
			case w.suspect[b.Owner]:
				x.Fence(b)
			}
		}
		if enough() {
			return true
		}
		seen := x.slot.Bell().Word.Load()
		if x.Announce(size, false); enough() {
			return true
		}
		p.sleepOn(x.slot.Bell(), seen, "for room")
	}
	return true
}

// check says whether the payload of message number is its writer's.
func (w *world) check(p *party, b []byte, number uint64) {
	n, err := intact(b)
	if err != nil || n&(1<<40-1) != number || number >= uint64(len(w.published)) || n>>40 != w.published[number] {
		p.x.fail("message %d carries %#x: %v", number, n, err)
	}
}

// over says whether nothing more will come.
func (w *world) over() bool {
	if w.writers > 0 {
		for _, q := range w.x.parties {
			if q.name[0] == 'w' && (q.state == runs || q.state == sleeps) {
				return false
			}
		}
	}
	return true
}

// total is how many messages were published.
func (w *world) total() (n uint64) {
	w.x.look(func() { n = w.ring.Inspect().Messages })
	return n
}

// read is a broadcast reader; it ends when the stream does.
func (w *world) read(owner uint32, m Mode, oldest bool) *party {
	return w.x.add(fmt.Sprintf("reader%x", owner), func(p *party) {
		s := try(w.ring.Join(owner, m, bell))
		x, err := OpenRx(s, oldest)
		if err != nil {
			return
		}
		x.Lag = slices.Max(w.sizes) <= w.ring.Config().Cells/4*CellSize && p.rng.IntN(2) == 0
		var rec Record
		next, first := uint64(0), true
		for {
			st := x.Poll(&rec)
			switch st {
			case Got:
				b := append([]byte(nil), rec.Bytes()...)
				if !x.Release(&rec) {
					continue
				}
				w.check(p, b, rec.Number)
				if !first && rec.Number != next+rec.Lost || m == ModeHold && rec.Lost > 0 && !w.suspect[owner] {
					p.x.fail("message %d after %d, and %d lost", rec.Number, next, rec.Lost)
				}
				next, first = rec.Number+1, false
				continue
			case Fenced:
				if !w.suspect[owner] {
					p.x.fail("fenced")
				}
				w.x.lowest-- // others first: or it is fenced again and again before it has read anything
				p.prio = w.x.lowest
				x.Rejoin()
				continue
			case Evicted:
				if !w.evicted[owner] {
					p.x.fail("evicted")
				}
				return
			case Corrupt:
				p.x.fail("%v", x.Err())
			}
			if x.Ended() != 0 && w.over() {
				next += x.TakeLost()
				if n := w.total(); !first && next != n && !w.evicted[owner] {
					p.x.fail("ended after message %d of %d", next, n)
				}
				break
			}
			if x.Ended() != 0 && p.rng.IntN(2) == 0 {
				p.idle() // another writer may come
				continue
			}
			seen := s.Bell().Word.Load()
			x.Announce()
			if !x.Waiting() {
				if x.Ended() != 0 && !x.Pending() {
					p.idle()
				}
				continue
			}
			p.sleepOn(s.Bell(), seen, "for a message")
		}
		x.Leave()
	})
}

// share is a reader of group g; it ends when the stream does.
func (w *world) share(owner uint32, most int) *party {
	return w.x.add(fmt.Sprintf("shared%x", owner), func(p *party) {
		var x *Shared
		for {
			var err error
			if x, err = w.ring.JoinGroup(owner, "g", true, bell); err == nil {
				break
			}
			if (err == ErrNoGroup || err == ErrFenced) && w.retired {
				return // a zombie, or a zombie has the last one
			}
			if err != ErrBusy {
				p.x.fail("%v", err)
			}
			for o := range w.dead {
				w.recover(o)
			}
			p.idle()
		}
		var open []*Record
		for got := 0; ; {
			rec := new(Record)
			st := Empty
			if len(open) < 3 && got < most {
				st = x.Poll(rec)
			}
			switch st {
			case Got:
				got++
				w.given[key(x, rec)]++
				if rec.Redelivered {
					w.marked[key(x, rec)] = true
				} else if w.given[key(x, rec)] > 1 && !w.gone(owner) {
					p.x.fail("message %d is delivered again without a mark", rec.Number)
				}
				open = append(open, rec)
				if p.rng.IntN(2) == 0 {
					continue
				}
			case Evicted:
				return
			case Corrupt:
				p.x.fail("%v", x.Err())
			}
			if len(open) > 0 {
				i := p.rng.IntN(len(open))
				w.finish(p, x, open[i])
				open = append(open[:i], open[i+1:]...)
				continue
			}
			if got >= most || x.Ended() != 0 && w.over() {
				break
			}
			if x.Ended() != 0 {
				p.idle()
				continue
			}
			for _, o := range x.Unfinished() {
				if w.gone(o) {
					w.recover(o)
				}
			}
			seen := x.slot.Bell().Word.Load()
			if x.Announce(); x.Waiting() {
				p.sleepOn(x.slot.Bell(), seen, "for a message")
			}
		}
		x.Leave()
	})
}

// key names a message and a group: one that was dissolved and made anew may
// begin with the same messages.
func key(x *Shared, rec *Record) uint64 { return rec.Number | x.gen<<44 | uint64(x.index)<<60 }

// finish finishes a message, or gives it back.
func (w *world) finish(p *party, x *Shared, rec *Record) {
	b := append([]byte(nil), rec.Bytes()...)
	if p.rng.IntN(8) == 0 {
		if !x.Return(rec) && !w.evicted[x.owner] {
			p.x.fail("message %d cannot be given back", rec.Number)
		}
		return
	}
	if !x.Done(rec) {
		if !w.evicted[x.owner] {
			p.x.fail("message %d cannot be finished", rec.Number)
		}
		return
	}
	w.check(p, b, rec.Number)
	if w.done[key(x, rec)]++; w.done[key(x, rec)] > 1 {
		p.x.fail("message %d is finished twice", rec.Number)
	}
}

// allDone is for the end, where no reader died: each message was finished once.
func (w *world) allDone() error {
	for _, g := range w.ring.Inspect().Groups {
		if g.Unfinished != 0 {
			return fmt.Errorf("%d cells are unfinished", g.Unfinished)
		}
	}
	return w.x.watch()
}

// forever is a reader's appetite: until the stream ends.
const forever = 1 << 30

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// idle lets others go on first: p only looks again and again.
func (p *party) idle() {
	p.x.lowest--
	p.prio = p.x.lowest
	p.x.point("idle")
}
