package segment

import (
	"fmt"
	"slices"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
)

// A Problem is one violation of the format's invariants.
type Problem struct {
	Where string // which part: "superblock", "node 3", "entry 17", "block 99"
	What  string
	// Repairable says that Recover puts it right.
	Repairable bool
}

func (p Problem) String() string { return p.Where + ": " + p.What }

// Verify checks every invariant of the control part and returns what is wrong.
// On a bus that is in use, what it sees may be under way: only what it sees
// three times in a row, a few milliseconds apart, is a problem.
func (s *Segment) Verify() []Problem {
	found := s.verify()
	for range 2 {
		if len(found) == 0 {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
		now := s.verify()
		found = slices.DeleteFunc(found, func(p Problem) bool { return !slices.Contains(now, p) })
	}
	return found
}

func (s *Segment) verify() []Problem {
	c := checker{s: s}
	c.superblock()
	for slot := range nodeCount {
		c.node(slot)
	}
	for i := range entryCount {
		c.entry(i)
	}
	c.blocks()
	return c.found
}

// checker collects what one pass over the control part finds.
type checker struct {
	s     *Segment
	found []Problem
	keys  map[Key]int // entries by the key that they hold
}

func (c *checker) report(where, format string, args ...any) {
	c.found = append(c.found, Problem{Where: where, What: fmt.Sprintf(format, args...)})
}

func (c *checker) repairable(where, format string, args ...any) {
	c.report(where, format, args...)
	c.found[len(c.found)-1].Repairable = true
}

func (c *checker) superblock() {
	head := copySuper(c.s.b)
	if _, err := check(head, "", c.s.Size()); err != nil {
		c.report("superblock", "%v", err)
	}
	if st := c.s.state().Load(); st != stateReady && st != stateRemoving {
		c.report("superblock", "state is %d, want %d", st, stateReady)
	}
}

func (c *checker) node(slot int) {
	s := c.s
	where := fmt.Sprintf("node %d", slot)
	w := s.load(slot)
	o := w.owner(slot)
	switch w.state() {
	case NodeFree:
	case NodeLive, NodeFenced, NodeBurying:
		if o.Generation() == 0 {
			c.report(where, "it is %v in generation %d, whose low 12 bits are 0", w.state(), w.gen())
		}
		if s.status(o, s.own) == Dead {
			c.repairable(where, "it is dead (%v) and not recovered yet", w.state())
		}
	default:
		c.report(where, "%v is none of the format's", w.state())
	}
	if gen, _ := untag(s.beat(slot).Load()); w.state() == NodeLive && gen == o.Generation() {
		if err := CheckName(s.rawName(slotOff(slot) + nodeName)); err != nil {
			c.report(where, "%v", err)
		}
	}
	c.nodeUses(where, slot, w)
}

func (c *checker) nodeUses(where string, slot int, w word) {
	uses := mem.U64s(c.s.b, slotOff(slot)+nodeUses, useWords)
	for k := range uses {
		gen, bits := untag(uses[k].Load())
		if gen != w.gen()&0xfff || bits == 0 {
			continue
		}
		for bit := range useBits {
			if bits>>bit&1 == 0 {
				continue
			}
			i := k*useBits + bit
			switch {
			case i >= entryCount:
				c.report(where, "it uses entry %d, which does not exist", i)
			case w.state() == NodeFree:
				c.report(where, "it is free and uses entry %d", i)
			case c.s.entry(i).state() == EntryFree:
				c.report(where, "it uses entry %d, which is free", i)
			}
		}
	}
}

func (c *checker) entry(i int) {
	s := c.s
	where := fmt.Sprintf("entry %d", i)
	e := s.entry(i)
	switch e.state() {
	case EntryFree, EntryReady:
		if e.owner() != Nobody {
			c.repairable(where, "it is %v and belongs to %v", e.state(), e.owner())
		}
	case EntryPending, EntryClaimed, EntryRemoving, EntryFreeing:
		w := s.load(e.owner().Slot())
		if e.owner() == Nobody || w.state() == NodeFree || w.owner(e.owner().Slot()) != e.owner() {
			c.repairable(where, "it is %v and belongs to %v, which is gone", e.state(), e.owner())
		}
	case EntryLost:
	default:
		c.report(where, "%v is none of the format's", e.state())
		return
	}
	if st := e.state(); st == EntryClaimed || st == EntryReady || st == EntryRemoving {
		c.entryKey(where, i)
	}
	if st := e.state(); st == EntryReady || st == EntryRemoving {
		c.entryExtent(where, i, e)
	}
}

func (c *checker) entryKey(where string, i int) {
	s := c.s
	k := s.rawKey(i)
	if err := k.check(); err != nil {
		c.report(where, "%v", err)
	}
	if have := mem.U64(s.b, entryOff(i)+entryHash).Load(); have != k.hash() {
		c.report(where, "hash of %v is %#x, want %#x", k, have, k.hash())
	}
	if c.keys == nil {
		c.keys = make(map[Key]int)
	}
	if j, ok := c.keys[k]; ok {
		c.report(where, "it has the key %v, which entry %d has too", k, j)
	}
	c.keys[k] = i
}

func (c *checker) entryExtent(where string, i int, e entry) {
	s := c.s
	_, size, err := s.extent(i, e)
	if err != nil {
		c.report(where, "%v", err)
		return
	}
	have := int64(0)
	table := s.blockTable()
	for b := range table {
		if table[b].Load() == blockWord(i, e.gen()) {
			have++
		}
	}
	if want := s.blocksFor(size); have != want {
		c.report(where, "it has %d blocks, want %d for %d bytes", have, want, size)
	}
}

// blocks finds block words that name nobody: they cost nothing, since whoever
// looks for blocks takes them back, but nothing of ours leaves them behind.
func (c *checker) blocks() {
	table := c.s.blockTable()
	for b := range table {
		if v := table[b].Load(); v != 0 && c.s.stale(v) {
			c.repairable(fmt.Sprintf("block %d", b), "it names %#x, which is no area", v)
		}
	}
}
