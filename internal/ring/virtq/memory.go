package virtq

import (
	"encoding/binary"
	"slices"

	"github.com/ringbus/ringbus/internal/mem"
)

// Region is one piece of the memory that addresses mean.
type Region struct {
	Addr  uint64 // of its first byte, as the driver says it
	Bytes []byte // where it is here
}

// Memory translates the driver's addresses. It does not change; any number of
// queues may share it.
type Memory struct{ regions []Region }

// NewMemory makes a memory of regions, which are aligned to 8 bytes, here and
// there, and do not overlap. A buffer may go from one into the next.
func NewMemory(regions ...Region) (*Memory, error) {
	rs := slices.Clone(regions)
	slices.SortFunc(rs, func(a, b Region) int {
		switch {
		case a.Addr < b.Addr:
			return -1
		case a.Addr > b.Addr:
			return 1
		}
		return 0
	})
	for i, r := range rs {
		n := uint64(len(r.Bytes))
		switch {
		case n == 0 || n%8 != 0:
			return nil, &LayoutError{"region size", n, "a multiple of 8 bytes, and not 0"}
		case r.Addr%8 != 0 || mem.Misaligned(r.Bytes, 8):
			return nil, &LayoutError{"region address", r.Addr, "aligned to 8 bytes, here and there"}
		case r.Addr+n < r.Addr:
			return nil, &LayoutError{"region address", r.Addr, "so that the region ends below 2^64"}
		case i > 0 && r.Addr-rs[i-1].Addr < uint64(len(rs[i-1].Bytes)):
			return nil, &LayoutError{"region address", r.Addr, "outside of the other regions"}
		}
	}
	if len(rs) == 0 {
		return nil, &LayoutError{"regions", 0, "one at least"}
	}
	return &Memory{rs}, nil
}

// from returns the bytes that begin at addr, at most n, and at least one; nil if
// addr means nothing. The rest of them may be in the next region.
func (m *Memory) from(addr, n uint64) []byte {
	r := &m.regions[0]
	off := addr - r.Addr
	if off >= uint64(len(r.Bytes)) {
		if r = m.region(addr); r == nil {
			return nil
		}
		off = addr - r.Addr
	}
	end := min(n, uint64(len(r.Bytes))-off) + off
	return r.Bytes[off:end:end]
}

// region finds the region of addr.
func (m *Memory) region(addr uint64) *Region {
	lo, hi := 0, len(m.regions)
	for lo < hi { // the last region that begins at addr or below
		if mid := (lo + hi) / 2; m.regions[mid].Addr <= addr {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 || addr-m.regions[lo-1].Addr >= uint64(len(m.regions[lo-1].Bytes)) {
		return nil
	}
	return &m.regions[lo-1]
}

// Slice returns the n bytes at addr, which must be in one region; nil if they
// are not.
func (m *Memory) Slice(addr, n uint64) []byte {
	b := m.from(addr, n)
	if uint64(len(b)) != n {
		return nil
	}
	return b
}

// part is Slice for a part of a queue, aligned.
func (m *Memory) part(field string, addr, size, align uint64) ([]byte, error) {
	if addr%align != 0 {
		return nil, &LayoutError{field + " address", addr, alignments[align]}
	}
	// The words around its last half word must be there too; regions end at 8.
	if b := m.from(addr&^7, mem.Align(addr&7+size, 8)); uint64(len(b)) == mem.Align(addr&7+size, 8) {
		return b, nil
	}
	return nil, &LayoutError{field + " address", addr, "so that all of it is in one region of memory"}
}

var alignments = map[uint64]string{
	2: "aligned to 2 bytes", 4: "aligned to 4 bytes", 8: "aligned to 8 bytes", 16: "aligned to 16 bytes",
}

// descriptor loads the 16 bytes at addr, each once; false if they are not all
// in memory.
func (m *Memory) descriptor(addr uint64) (lo, hi uint64, ok bool) {
	b := m.from(addr, 16)
	if len(b) == 16 && addr%8 == 0 {
		w := mem.U64s(b, 0, 2)
		return w[0].Load(), w[1].Load(), true
	}
	// No driver does this, and none is forbidden to: not aligned, or in two regions.
	var whole [16]byte
	n := copy(whole[:], b)
	if n == 0 {
		return 0, 0, false
	}
	if n < 16 {
		rest := m.from(addr+uint64(n), uint64(16-n))
		if len(rest) != 16-n {
			return 0, 0, false
		}
		copy(whole[n:], rest)
	}
	return binary.LittleEndian.Uint64(whole[:8]), binary.LittleEndian.Uint64(whole[8:]), true
}
