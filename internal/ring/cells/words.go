package cells

import (
	"fmt"

	"github.com/ringbus/ringbus/internal/mem"
)

// Limits of the format.
const (
	CellSize  = mem.Line // bytes of payload in a cell
	MinCells  = 16
	MaxCells  = 1 << 24
	MaxSlots  = 64 // participants of one ring: writers, those that wait included, and readers
	MaxGroups = 8
	MaxName   = 64 // bytes of a group's name
)

// Config is what every party of a ring agrees on. Its creator stores it.
type Config struct {
	Cells  int // a power of two
	Groups int // shared groups there may be
}

// ConfigFor is the configuration of a ring that takes messages of size bytes.
func ConfigFor(size, groups int) Config {
	c := Config{Cells: MinCells, Groups: groups}
	for c.Cells < MaxCells && c.MaxMessage() < size {
		c.Cells *= 2
	}
	return c
}

// MaxMessage is the largest message in bytes: all cells but one.
func (c Config) MaxMessage() int { return (c.Cells - 1) * CellSize }

// Check says which field of c is outside of the format's limits.
func (c Config) Check() error {
	switch {
	case c.Cells < MinCells || c.Cells > MaxCells || c.Cells&(c.Cells-1) != 0:
		return &LimitError{"cells", c.Cells, fmt.Sprintf("a power of two from %d to %d", MinCells, MaxCells)}
	case c.Groups < 0 || c.Groups > MaxGroups:
		return &LimitError{"groups", c.Groups, fmt.Sprintf("0 to %d", MaxGroups)}
	}
	return nil
}

// LimitError says that a parameter is outside of what the format can express.
type LimitError struct {
	Field string
	Have  int
	Want  string
}

func (e *LimitError) Error() string { return fmt.Sprintf("%s %d: must be %s", e.Field, e.Have, e.Want) }

// CorruptError says which shared word holds what no correct peer writes.
type CorruptError struct {
	What string
	Have uint64
}

func (e *CorruptError) Error() string { return fmt.Sprintf("corrupt %s: %#x", e.What, e.Have) }

const configSet = 1 << 15

func (c Config) pack() uint64 {
	w := uint64(configSet) | uint64(c.Groups)<<8
	for n := c.Cells; n > 1; n >>= 1 {
		w++
	}
	return w
}

func unpackConfig(w uint64) (Config, bool) {
	c := Config{Cells: 1 << (w & 63), Groups: int(w>>8) & 15}
	return c, w == c.pack() && c.Check() == nil
}

// Positions count cells and never wrap for their owner; shared words hold their
// low 44 bits, compared by their distance.
const (
	posBits = 44
	posMask = 1<<posBits - 1
)

// signed44 reads the low 44 bits of d as a signed number.
func signed44(d uint64) int64 { return int64(d<<(64-posBits)) >> (64 - posBits) }

// nearest is the position with the low bits p that is nearest to near.
func nearest(p, near uint64) uint64 { return near + uint64(signed44(p-near)) }

const ownerMask = 1<<20 - 1

// retired stands in pub in place of a writer that was evicted and may still
// write: nobody takes the token again. It is no owner, whose generation is never 0.
const retired = 1

// packPub makes pub's word.
func packPub(pos uint64, owner uint32) uint64 { return pos<<20 | uint64(owner) }

func pubOwner(w uint64) uint32 { return uint32(w) & ownerMask }
func pubPos(w uint64) uint64   { return w >> 20 }

// The header's first word: length 40 bits, flags 8.
const (
	flagMessage = 1
	flagPad     = 2 // no message: the cells up to the ring's end
)

// numberPad, in a header's number, says that the cells are a pad: the number is
// that of the next message.
const numberPad = 1 << 63

// cellsFor is how many cells a message of n bytes takes.
func cellsFor(n uint64) uint64 { return max(1, (n+CellSize-1)/CellSize) }

// extent checks a header's first word, read at position p, and returns length
// and cells of the message. room is how many cells there can be.
func (r *Ring) extent(info, p, room uint64) (length, k uint64, pad, ok bool) {
	length = info >> 8
	switch info & 0xff {
	case flagMessage:
		k = cellsFor(length)
		return length, k, false, length <= uint64(r.config.MaxMessage()) && k <= room
	case flagPad:
		k = r.cells - p&r.mask
		return 0, k, true, length == 0 && k < r.cells && k <= room
	}
	return 0, 0, false, false
}

// End states.
const (
	endNone   = 0
	EndClosed = 1 // the writer closed
	EndDead   = 2 // it died
)

// end is the word that says how the stream ended at a position, if nothing was
// written since: state 2 bits, position 44.
func packEnd(pos uint64, state int) uint64 { return pos&posMask<<2 | uint64(state) }

// Modes of a participant.
type Mode uint8

const (
	ModeWriter  Mode = iota
	ModeHold         // sees everything, holds the writer back
	ModeLapped       // sees everything that it is fast enough for
	ModeShared       // shares messages with the others of its group
	modeLeaving      // a writer that is about to leave: it counts as none
)

// claim is the word that owns a slot: state 2 bits, mode 3, group 4, generation
// of the group 15, generation 18, owner 20.
type claim uint64

const (
	claimFree = 0
	claimHeld = 1
	genMask   = 1<<18 - 1
	groupMask = 1<<15 - 1
)

func packClaim(state int, mode Mode, group int, groupGen, gen uint64, owner uint32) claim {
	return claim(uint64(state) | uint64(mode)<<2 | uint64(group)<<5 | (groupGen&groupMask)<<9 | (gen&genMask)<<24 | uint64(owner)<<44)
}

// with is c in another mode.
func (c claim) with(m Mode) claim { return c&^(7<<2) | claim(m)<<2 }

func (c claim) state() int       { return int(c & 3) }
func (c claim) mode() Mode       { return Mode(c>>2) & 7 }
func (c claim) group() int       { return int(c>>5) & 15 }
func (c claim) groupGen() uint64 { return uint64(c>>9) & groupMask }
func (c claim) gen() uint64      { return uint64(c>>24) & genMask }
func (c claim) owner() uint32    { return uint32(c>>44) & ownerMask }

// cursor is where a broadcast reader is: state 2 bits, generation of its slot
// 18, position 44.
type cursor uint64

const (
	curOut    = 0
	curHold   = 1 // holds the writer back
	curFenced = 2 // did so, and was passed over
	curLapped = 3 // for inspection only
)

func packCursor(state int, gen, pos uint64) cursor {
	return cursor(uint64(state) | (gen&genMask)<<2 | pos&posMask<<20)
}

func (c cursor) state() int  { return int(c & 3) }
func (c cursor) gen() uint64 { return uint64(c>>2) & genMask }
func (c cursor) pos() uint64 { return uint64(c >> 20) }

// claimed is a group's word for the message that begins in a cell: owner 20
// bits, status 2, position 42 (its two lowest bits are those of the cell). One
// of an older position says that nobody has claimed the message yet.
type claimed uint64

const (
	stClaimed = 1
	stAgain   = 2 // claimed again after its reader died; or, of nobody, to be claimed again
	stFin     = 3
)

func packClaimed(pos uint64, status int, owner uint32) claimed {
	return claimed(uint64(owner) | uint64(status)<<20 | pos>>2<<22)
}

func (c claimed) owner() uint32 { return uint32(c) & ownerMask }
func (c claimed) status() int   { return int(c>>20) & 3 }

// since is how far position p is ahead of c's, in laps' units: 0 for the same
// message, more for an older word.
func (c claimed) since(p uint64) int64 { return signed44((p>>2 - uint64(c>>22)) << 2) }

// open reports whether c is an unfinished claim, of somebody or nobody.
func (c claimed) open() bool { return c.status() == stClaimed || c.status() == stAgain }

// groupWord owns a group's entry: state 2 bits, generation 20, joins 20, maker 20.
type groupWord uint64

const (
	groupFree    = 0
	groupMaking  = 1
	groupOpen    = 2
	groupRetired = 3 // its maker was evicted and may still write into it
)

const groupGens = 1<<20 - 1

func packGroup(state int, gen, joins uint64, maker uint32) groupWord {
	return groupWord(uint64(state) | (gen&groupGens)<<2 | (joins&groupGens)<<22 | uint64(maker)<<42)
}

func (g groupWord) state() int    { return int(g & 3) }
func (g groupWord) gen() uint64   { return uint64(g>>2) & groupGens }
func (g groupWord) joins() uint64 { return uint64(g>>22) & groupGens }
func (g groupWord) maker() uint32 { return uint32(g>>42) & ownerMask }
