//go:build invariants || race

package cells

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest/explore"
	"github.com/ringbus/ringbus/internal/wake"
)

// world is what the parties of one schedule share: a ring, and what the checker
// knows about them.
type world struct {
	x    *explore.Explorer
	rng  *rand.Rand
	ring *Ring

	dead    map[uint32]bool // owners, by evidence
	evicted map[uint32]bool // likewise, and they go on
	suspect map[uint32]bool
	sizes   []int
	turns   bool // writers give the token back with each message
	linger  bool // writers stay until all have written
	writers int  // that have not ended
	retired bool // an evicted writer may have retired the stream

	published []uint64        // epoch of each message, by number
	done      map[uint64]int  // how often a shared reader finished a message
	marked    map[uint64]bool // deliveries that were marked
	given     map[uint64]int  // deliveries
}

var scratch = mem.Alloc(64 << 10)

func newWorld(x *explore.Explorer, groups int) *world {
	w := &world{
		x: x, rng: rand.New(rand.NewPCG(x.Rand.Uint64(), 7)), dead: map[uint32]bool{}, evicted: map[uint32]bool{}, suspect: map[uint32]bool{},
		done: map[uint64]int{}, marked: map[uint64]bool{}, given: map[uint64]int{},
	}
	x.Look(func() {
		c := Config{Cells: 16, Groups: groups}
		area := scratch[:Size(c)]
		clear(area)
		must(Format(area, c))
		w.ring = try(Open(area))
	})
	most := w.ring.Config().MaxMessage()
	w.sizes = [][]int{{8, 900}, {300, 400, 500}, {most, 8}, {64 * 4}, {700, 8, 65}, {8, 104, 65, 120}}[w.rng.IntN(6)]
	was := false
	x.Passed = func(*explore.Party, string) {
		if _, retired := w.ring.Writer(); retired {
			was = true
		} else if was {
			x.Fail("the stream was retired, and is not any more")
		}
	}
	x.Watch = func() error {
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
func sleepOn(p *explore.Party, b wake.Bell, seen uint32, why string) {
	p.Sleep(why, func() bool { return b.Word.Load() != seen })
}

// kill lets p die at a step of its that the schedule chooses, out of about span;
// owner is then dead by evidence, and two survivors notice.
func (w *world) kill(p *explore.Party, owner uint32, span int) {
	p.KillAt = 1 + w.rng.IntN(span)
	p.AtDeath = func() { w.dead[owner] = true }
	w.bury(owner)
}

// bury are two who notice that owner is gone; one may die over it.
func (w *world) bury(owner uint32) {
	for i := range 2 {
		q := w.x.Add(fmt.Sprintf("rec%d", i), func(p *explore.Party) {
			p.Sleep("for a death", func() bool { return w.gone(owner) })
			w.recover(owner)
		})
		q.MayStay(true)
		if i == 0 && w.rng.IntN(2) == 0 {
			q.KillAt = 1 + w.rng.IntN(12)
		}
	}
}

// evict has an operator say at some time that owner is gone, who goes on.
func (w *world) evict(owner uint32, span int) {
	w.x.Add("operator", func(p *explore.Party) {
		for range w.rng.IntN(span) {
			p.GiveWay()
		}
		w.evicted[owner] = true
		w.recover(owner)
	})
}

// write is a writer that sends count messages and ends the stream.
func (w *world) write(owner uint32, count int) *explore.Party {
	w.writers++
	return w.x.Add(fmt.Sprintf("writer%x", owner), func(p *explore.Party) {
		x := OpenTx(try(w.ring.Join(owner, ModeWriter, bell)))
		x.Echo = p.Rand.IntN(4) > 0
		for range count {
			if !w.send(p, x) {
				break
			}
		}
		w.writers--
		if w.linger {
			x.Give()
			p.Sleep("for the others", func() bool { return w.writers == 0 })
		}
		x.End()
	})
}

// take waits for the token as a stream's writer does.
func (w *world) take(p *explore.Party, x *Tx) bool {
	for {
		if w.evicted[x.owner] {
			return false
		}
		switch x.Take() {
		case Taken:
			return true
		case Retired:
			if !w.retired {
				p.X.Fail("the stream is retired")
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
		sleepOn(p, x.slot.Bell(), seen, "for the token")
	}
}

// send sends one message and notes it; false if the writer was evicted.
func (w *world) send(p *explore.Party, x *Tx) bool {
	size := w.sizes[p.Rand.IntN(len(w.sizes))]
	reserve := p.Rand.IntN(4) == 0
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
				p.X.Fail("lost the token")
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

func (w *world) waitRoom(p *explore.Party, x *Tx, size int, reserve bool) bool {
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
		much := p.Rand.IntN(4) == 0
		if x.Announce(size, much); enough() {
			return true
		}
		if much { // a short sleep
			for range p.Rand.IntN(20) {
				p.GiveWay()
			}
			continue
		}
		p.Idle = func() error { return fmt.Errorf("for %d bytes: %+v", size, w.ring.Inspect()) }
		sleepOn(p, x.slot.Bell(), seen, "for room")
		p.Idle = nil
	}
	return true
}

// check says whether the payload of message number is its writer's.
func (w *world) check(p *explore.Party, b []byte, number uint64) {
	n, err := intact(b)
	if err != nil || n&(1<<40-1) != number || number >= uint64(len(w.published)) || n>>40 != w.published[number] {
		p.X.Fail("message %d carries %#x: %v", number, n, err)
	}
}

// over says whether nothing more will come.
func (w *world) over() bool { return w.writers <= 0 }

// total is how many messages were published.
func (w *world) total() (n uint64) {
	w.x.Look(func() { n = w.ring.Inspect().Messages })
	return n
}
