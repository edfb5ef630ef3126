package segment

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

var _ = invariant.Declare("segment.format.sized", "segment.format.formatting",
	"segment.format.zeroed", "segment.format.fields", "segment.format.magic")

// super is a checked copy of a superblock.
type super struct {
	size, block, blocks uint64
	id                  [16]byte
}

// condition is what a superblock says about the file that it begins.
type condition int

const (
	empty condition = iota // never formatted, or its creator died over it
	ready
	removing // somebody is removing it, or died over it
)

// examine tells the condition of a superblock from a copy of its bytes.
func examine(b []byte, path string) (condition, error) {
	le := binary.LittleEndian
	state, mg := le.Uint64(b[sbState:]), le.Uint64(b[sbMagic:])
	if mg == magic { // before the state: another version may have it elsewhere
		if err := checkVersion(b, path); err != nil {
			return 0, err
		}
	}
	switch {
	case state == stateReady && mg == magic:
		return ready, nil
	case state == stateRemoving && mg == magic:
		return removing, nil
	case state == stateFormatting && (mg == magic || mg == 0):
		return empty, nil
	case zero(b):
		return empty, nil
	case mg != magic:
		return 0, &FormatError{path, "magic", hex(mg), hex(magic) + ", the mark of a bus"}
	}
	return 0, &FormatError{path, "state", fmt.Sprint(state), "0 to 3"}
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// check reads the fields of a copy of a superblock and returns what follows
// from them, or says which one is wrong. have is the size of what it lies in.
func check(b []byte, path string, have int64) (super, error) {
	le := binary.LittleEndian
	bad := func(field string, have, want any) (super, error) {
		return super{}, &FormatError{path, field, fmt.Sprint(have), fmt.Sprint(want)}
	}
	if v := le.Uint64(b[sbMagic:]); v != magic {
		return bad("magic", hex(v), hex(magic))
	}
	if err := checkVersion(b, path); err != nil {
		return super{}, err
	}
	if v := le.Uint64(b[sbIncompat:]); v != 0 {
		return bad("incompatible features", hex(v), "0: this program knows none of them")
	}
	s := super{
		size:   le.Uint64(b[sbSize:]),
		block:  le.Uint64(b[sbBlockSize:]),
		blocks: le.Uint64(b[sbBlocks:]),
		id:     [16]byte(b[sbID:]),
	}
	if s.size < minSize || s.size > maxSize {
		return bad("size", s.size, fmt.Sprintf("%d to %d bytes", minSize, uint64(maxSize)))
	}
	block, blocks := blockSizeFor(s.size)
	if s.block != block {
		return bad("block size", s.block, block)
	}
	if s.blocks != blocks {
		return bad("number of blocks", s.blocks, blocks)
	}
	if have < 0 || uint64(have) < s.size {
		return bad("length of the file", fmt.Sprintf("%d bytes (truncated)", have), fmt.Sprintf("%d bytes", s.size))
	}
	return s, nil
}

// checkVersion says whether we know where the fields of a superblock are, and
// in which byte order.
func checkVersion(b []byte, path string) error {
	switch v := binary.LittleEndian.Uint32(b[sbByteOrder:]); v {
	case byteOrder:
	case 0x04030201:
		return &FormatError{path, "byte order", "big-endian", "little-endian"}
	default:
		return &FormatError{path, "byte order", hex(uint64(v)), hex(byteOrder)}
	}
	if v := binary.LittleEndian.Uint32(b[sbVersion:]); v != formatVersion {
		return &FormatError{path, "version", fmt.Sprint(v), fmt.Sprint(formatVersion)}
	}
	return nil
}

// format writes an empty bus of the given size into its control part b, whose
// caller holds the creation lock. Nobody looks past the state before it is
// READY. fresh says that b is known to be zero.
func format(b []byte, size uint64, fresh bool) {
	state := mem.U64(b, sbState)
	state.Store(stateFormatting)
	invariant.Point("segment.format.formatting")
	if !fresh {
		mem.U64(b, sbMagic).Store(0)
		words := mem.U64s(b, 0, controlSize/8)
		for i := range words {
			if i != sbState/8 && words[i].Load() != 0 {
				words[i].Store(0)
			}
		}
	}
	invariant.Point("segment.format.zeroed")
	block, blocks := blockSizeFor(size)
	mem.U32(b, sbByteOrder).Store(byteOrder)
	mem.U32(b, sbVersion).Store(formatVersion)
	mem.U64(b, sbSize).Store(size)
	mem.U64(b, sbBlockSize).Store(block)
	mem.U64(b, sbBlocks).Store(blocks)
	mem.U64(b, sbCreated).Store(uint64(time.Now().UnixNano()))
	var id [16]byte
	_, _ = rand.Read(id[:])
	mem.CopyIn(mem.U64s(b, sbID, 2), id[:])
	invariant.Point("segment.format.fields")
	mem.U64(b, sbMagic).Store(magic)
	invariant.Point("segment.format.magic")
	state.Store(stateReady) // edge: publish the segment (release)
}
