package fanout

import "fmt"

// Limits of the format.
const (
	MaxLanes   = 16      // publishers of one topic
	MaxSlots   = 64      // subscribers of one topic
	MaxRecords = 16      // messages one subscriber may hold at once, hold words of a slot
	MaxDepth   = 1 << 20 // entries of a lane's index ring
	MaxMessage = 1 << 30 // bytes
	MaxHolds   = 1<<9 - 1
	MaxLoans   = 1<<8 - 1
	InlineSize = 104 // bytes of payload that fit into an entry
)

// noDescriptor in an entry says that the payload is inline.
const noDescriptor = 1<<24 - 1

// Stamps of an entry. A fresh entry is 0.
func ready(p uint64) uint64 { return 2 * (p + 1) }
func busy(p uint64) uint64  { return 2*(p+1) + 1 }

// stampPos is the position that a stamp other than 0 names.
func stampPos(s uint64) uint64 { return s/2 - 1 }

// The info word of an entry: length 32 bits, descriptor 24, flags 8.
const flagTime = 1

func packInfo(length int, desc uint32, flags uint64) uint64 {
	return uint64(length)<<32 | uint64(desc)<<8 | flags
}

func infoLength(w uint64) uint64 { return w >> 32 }
func infoDesc(w uint64) uint32   { return uint32(w>>8) & noDescriptor }

// Config is what every party of a topic agrees on. Its creator stores it in
// one word, so it is there whole or not at all.
type Config struct {
	Depth      int  // entries of the index ring, a power of two
	MaxMessage int  // bytes
	Holds      int  // sum of the messages that all subscribers may hold at once
	Loans      int  // loans a publisher may have open at once
	LatestOnly bool // no subscriber holds a publisher back
}

const configSet = 1 << 6

func (c Config) pack() uint64 {
	w := uint64(configSet)
	for d := c.Depth; d > 1; d >>= 1 {
		w++
	}
	if c.LatestOnly {
		w |= 1 << 5
	}
	return w | uint64(c.Holds)<<7 | uint64(c.Loans)<<16 | uint64(c.MaxMessage)<<32
}

func unpackConfig(w uint64) (c Config, ok bool) {
	if w&configSet == 0 {
		return Config{}, false
	}
	return Config{
		Depth:      1 << (w & 31),
		MaxMessage: int(w >> 32),
		Holds:      int(w>>7) & MaxHolds,
		Loans:      int(w>>16) & MaxLoans,
		LatestOnly: w&(1<<5) != 0,
	}, true
}

// Check says which field of c is outside of the format's limits.
func (c Config) Check() error {
	switch {
	case c.Depth < 1 || c.Depth > MaxDepth || c.Depth&(c.Depth-1) != 0:
		return &LimitError{"depth", c.Depth, fmt.Sprintf("a power of two from 1 to %d messages", MaxDepth)}
	case c.MaxMessage < 0 || c.MaxMessage > MaxMessage:
		return &LimitError{"max-message", c.MaxMessage, fmt.Sprintf("0 to %d bytes", MaxMessage)}
	case c.Holds < 1 || c.Holds > MaxHolds:
		return &LimitError{"holds", c.Holds, fmt.Sprintf("1 to %d messages", MaxHolds)}
	case c.Loans < 1 || c.Loans > MaxLoans:
		return &LimitError{"loans", c.Loans, fmt.Sprintf("1 to %d loans", MaxLoans)}
	}
	return nil
}

// LimitError says that a parameter is outside of what the format can express.
type LimitError struct {
	Field string
	Have  int
	Want  string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s %d: must be %s", e.Field, e.Have, e.Want)
}

// Chunk is how far limit may run ahead of head, and how far a reliable cursor
// may lag behind what its subscriber has passed, in messages.
func (c Config) Chunk() int { return max(1, c.Depth/4) }

// spare is how many descriptors are retired between two looks at the hold words.
func (c Config) spare() int { return min(16, c.Chunk()) }

// descriptors is the size of a lane's pool: one for each entry, loan and
// hold, and a spare batch, so that a publisher always finds a free one.
func (c Config) descriptors() int {
	if c.MaxMessage <= InlineSize {
		return 0
	}
	return c.Depth + c.Loans + c.Holds + c.spare()
}

// Modes of a subscriber.
type Mode uint8

const (
	ModeDefault  Mode = iota // reliable, unless the topic is latest-only
	ModeReliable             // holds the publisher back
	ModeLatest               // is lapped and told what it lost
)

// claim is the word that owns a subscriber slot of a topic: state 3 bits, mode
// 2, records 5, generation 21, owner 20.
type claim uint64

const (
	claimFree    = 0
	claimHeld    = 1
	claimLeaving = 2 // its owner leaves or is dead: it counts no more, and is not free yet
	genMask      = 1<<21 - 1
)

func packClaim(state int, mode Mode, records int, gen uint64, owner uint32) claim {
	return claim(uint64(state) | uint64(mode)<<3 | uint64(records)<<5 | (gen&genMask)<<10 | uint64(owner)<<31)
}

// with is c in another state.
func (c claim) with(state int) claim { return c&^7 | claim(state) }

func (c claim) state() int    { return int(c & 7) }
func (c claim) mode() Mode    { return Mode(c>>3) & 3 }
func (c claim) records() int  { return min(int(c>>5)&31, MaxRecords) }
func (c claim) gen() uint64   { return uint64(c>>10) & genMask }
func (c claim) owner() uint32 { return uint32(c>>31) & (1<<20 - 1) }

// cursor is the word by which a subscriber protects a lane: state 3 bits,
// generation 21, position 40 (modular).
type cursor uint64

const (
	curOut    = 0
	curActive = 1 // protects [position, ...)
	curFenced = 2 // protects only the descriptor in the fence word, and its hold words
	curLatest = 3 // protects only its hold words
)

const posMask = 1<<40 - 1

func packCursor(state int, gen, pos uint64) cursor {
	return cursor(uint64(state) | (gen&genMask)<<3 | (pos&posMask)<<24)
}

func (c cursor) state() int  { return int(c & 7) }
func (c cursor) gen() uint64 { return uint64(c>>3) & genMask }

// pos is the full position of c, the one that is nearest to near.
func (c cursor) pos(near uint64) uint64 {
	return near + uint64(signed40(uint64(c>>24)-near))
}

// signed40 reads the low 40 bits of d as a signed number.
func signed40(d uint64) int64 { return int64(d<<24) >> 24 }

// holdWord names a descriptor that a slot of generation gen holds; 0 names none.
func holdWord(gen uint64, desc uint32) uint64 { return gen<<32 | uint64(desc+1) }

// owned is the word that owns a lane: state 3 bits, generation 21, owner 20.
type owned uint64

// States of a lane.
const (
	LaneNew     = 0
	LaneOpening = 1
	LaneOpen    = 2
	LaneClosed  = 3
	LaneDead    = 4
	LaneRetired = 5 // its owner was evicted and may still write: nobody takes it again
)

func packOwned(state int, gen uint64, owner uint32) owned {
	return owned(uint64(state) | (gen&genMask)<<3 | uint64(owner)<<24)
}

func (o owned) state() int    { return int(o & 7) }
func (o owned) gen() uint64   { return uint64(o>>3) & genMask }
func (o owned) owner() uint32 { return uint32(o>>24) & (1<<20 - 1) }
