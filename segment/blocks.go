package segment

import (
	"fmt"
	"os"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

func (s *Segment) blockTable() []atomic.Uint64 {
	return mem.U64s(s.b, blocksOff, int(s.super.blocks))
}

// blockWord is what the blocks of entry i carry.
func blockWord(i int, gen uint32) uint64 { return uint64(i+1)<<20 | uint64(gen) }

// stale says whether a block word names an entry that is free or of another
// generation, so that the block may be taken back.
func (s *Segment) stale(v uint64) bool {
	i := int(v>>20) - 1
	if i < 0 || i >= entryCount || v>>36 != 0 {
		return true
	}
	e := s.entry(i)
	return e.state() == EntryFree || e.state() == EntryPending || uint64(e.gen()) != v&entryGenMask
}

// take claims count consecutive blocks for entry i, first fit, and returns the
// first one. It says so if it met others at the same work, who may have given
// back meanwhile what it looked for.
func (s *Segment) take(i int, gen uint32, count int) (first int, ok, met bool) {
	table := s.blockTable()
	mine := blockWord(i, gen)
	for first+count <= len(table) {
		n := 0
		for n < count && s.free(&table[first+n]) {
			n++
		}
		if n < count {
			first += n + 1
			continue
		}
		n = 0
		for n < count && table[first+n].CompareAndSwap(0, mine) {
			invariant.Point("segment.create.block")
			n++
		}
		if n == count {
			return first, true, met
		}
		met = true
		for b := first; b < first+n; b++ {
			table[b].CompareAndSwap(mine, 0)
		}
		first += n + 1
	}
	return 0, false, met
}

// free says whether a block can be taken; one that is stale is freed first.
func (s *Segment) free(b *atomic.Uint64) bool {
	v := b.Load()
	return v == 0 || s.stale(v) && b.CompareAndSwap(v, 0)
}

// freeEntry gives back the blocks of entry i, which is FREEING in our hands,
// and frees the entry. It returns the number of blocks.
func (s *Segment) freeEntry(i int, e entry, f *os.File) int {
	table := s.blockTable()
	mine := blockWord(i, e.gen())
	total := 0
	for b := 0; b < len(table); b++ {
		n := 0
		for b+n < len(table) && table[b+n].Load() == mine {
			n++
		}
		if n == 0 {
			continue
		}
		s.punch(f, b, n)
		invariant.Point("segment.free.punched")
		for range n {
			table[b].CompareAndSwap(mine, 0)
			invariant.Point("segment.free.block")
			b++
		}
		total += n
	}
	invariant.Point("segment.free.blocks")
	s.turnEntry(i, e, e.with(EntryFree, Nobody))
	return total
}

// punch gives the pages of blocks back to the file system. That it may fail
// costs memory only: whoever takes the blocks next cleans them.
func (s *Segment) punch(f *os.File, first, n int) {
	if f != nil && !s.resident() {
		_, _ = sys.Punch(f, s.blockOff(first), int64(n)*int64(s.super.block))
	}
}

func (s *Segment) blockOff(b int) int64 { return controlSize + int64(b)*int64(s.super.block) }

// blocksFor returns how many blocks an area of size bytes takes.
func (s *Segment) blocksFor(size int64) int64 {
	return (size + int64(s.super.block) - 1) / int64(s.super.block)
}

// prepare makes the pages of blocks that we hold certain and zero.
func (s *Segment) prepare(f *os.File, first int, n int64) error {
	off, size := s.blockOff(first), n*int64(s.super.block)
	if f == nil {
		clear(s.b[off : off+size])
		return nil
	}
	clean, resident := false, s.resident()
	if !resident {
		var err error
		if clean, err = sys.Punch(f, off, size); err != nil {
			return err
		}
	}
	// Looking first spares everybody the moment in which a vain attempt has
	// taken all there is.
	if free, err := sys.Free(f); err == nil && free < size && !resident {
		return &SpaceError{Path: s.path, In: inFileSystem, Need: size, Free: free}
	}
	if err := reserve(f, s.path, off, size); err != nil {
		return err
	}
	if !clean {
		clear(s.b[off : off+size])
	}
	return nil
}

// extent reads and checks where the area of entry i lies: all its blocks, and
// no others, must carry its name.
func (s *Segment) extent(i int, e entry) (off, size int64, err error) {
	bad := func(field string, have, want any) (int64, int64, error) {
		return 0, 0, &FormatError{s.path, fmt.Sprintf("%s of directory entry %d", field, i), fmt.Sprint(have), fmt.Sprint(want)}
	}
	at := entryOff(i)
	uoff := mem.U64(s.b, at+entryOffset).Load()
	usize := mem.U64(s.b, at+entryLength).Load()
	if uoff < controlSize || uoff >= s.super.size || (uoff-controlSize)%s.super.block != 0 {
		return bad("offset", hex(uoff), "a block's offset inside the segment")
	}
	first := (uoff - controlSize) / s.super.block
	if first >= s.super.blocks {
		return bad("offset", hex(uoff), "a block's offset inside the segment")
	}
	if room := (s.super.blocks - first) * s.super.block; usize == 0 || usize > room {
		return bad("size", usize, fmt.Sprintf("1 to %d bytes", room))
	}
	table := s.blockTable()
	mine := blockWord(i, e.gen())
	n := uint64(s.blocksFor(int64(usize)))
	for b := first; b < first+n; b++ {
		if v := table[b].Load(); v != mine {
			return bad(fmt.Sprintf("owner of block %d", b), hex(v), hex(mine))
		}
	}
	return int64(uoff), int64(usize), nil
}

// Usage is how the blocks of a segment are used.
type Usage struct {
	Block  int64 // bytes of a block
	Blocks int   // blocks of the segment
	Free   int   // blocks that areas can be made of
	Run    int   // the longest run of free blocks
}

// Usage counts the blocks that are used and free.
func (s *Segment) Usage() Usage {
	u := Usage{Block: int64(s.super.block), Blocks: int(s.super.blocks)}
	table := s.blockTable()
	run := 0
	for i := range table {
		if v := table[i].Load(); v != 0 && !s.stale(v) {
			run = 0
			continue
		}
		run++
		u.Free++
		u.Run = max(u.Run, run)
	}
	return u
}
