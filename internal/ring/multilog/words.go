package multilog

import "fmt"

// Limits of the format.
const (
	CellSize   = 128       // bytes
	MinCells   = 256       // of an area
	MaxCells   = 1 << 28   // of an area
	MaxRecord  = 1<<13 - 1 // cells
	MaxReaders = 64        // registered at a time
	MaxWaiters = 64        // writers that may sleep at a time
	MaxKey     = 255       // bytes
	MaxName    = 128       // bytes of a writer's name
	headerSize = 32        // bytes, before name and key
	maxHead    = 1<<54 - 1 // positions that fit into room
)

// status is what a state word says of its claim.
type status uint64

// The statuses of a claim: see the package comment.
const (
	stNone  status = iota // a fresh word
	stBusy                // being written
	stReady               // a record
	stTomb                // its owner died over it
	stPad                 // nothing here
	stHole                // taken away from an owner that may still write
	stGone                // the same, and nobody will ever say that it stopped
)

func (s status) String() string {
	if s > stGone {
		return fmt.Sprintf("status %d", uint64(s))
	}
	return [...]string{"none", "busy", "ready", "tombstone", "pad", "hole", "gone"}[s]
}

// state is a state word: lap 28 bits, cells 13, owner 20, status 3.
type state uint64

const (
	lapBits = 28
	lapMask = 1<<lapBits - 1
	// ancient is how many laps old a word may get before it is rewritten, so
	// that it never looks new.
	ancient = 1 << (lapBits - 2)
)

func packState(lap uint64, st status, owner uint32, cells uint64) state {
	return state(lap&lapMask<<36 | cells<<23 | uint64(owner)<<3 | uint64(st))
}

func (w state) status() status { return status(w & 7) }
func (w state) owner() uint32  { return uint32(w>>3) & (1<<20 - 1) }
func (w state) cells() uint64  { return uint64(w>>23) & MaxRecord }
func (w state) lap() uint64    { return uint64(w >> 36) }

// with is w with another status.
func (w state) with(st status) state { return w&^7 | state(st) }

// age is how many laps w is older than lap; negative if it is newer.
func (w state) age(lap uint64) int64 {
	return int64((lap-w.lap())<<(64-lapBits)) >> (64 - lapBits)
}

// room is the word {head 54, joins 10}.
type room uint64

func packRoom(head, joins uint64) room { return room(head<<10 | joins&(1<<10-1)) }
func (r room) head() uint64            { return uint64(r >> 10) }
func (r room) joins() uint64           { return uint64(r) & (1<<10 - 1) }

// who is a reader's or waiter's word: generation 32, owner 20, flags 4, state 4.
type who uint64

// The states of an entry.
const (
	whoFree uint64 = iota
	whoJoining
	whoActive
	whoRetired // its owner was evicted, and may still write into the entry
)

// whoHolds: in reject mode nothing is given up that this reader did not pass.
const whoHolds = 1 << 4

func packWho(st, flags uint64, owner uint32, gen uint64) who {
	return who(st | flags | uint64(owner)<<8 | gen<<32)
}
func (w who) state() uint64 { return uint64(w) & 15 }
func (w who) holds() bool   { return w&whoHolds != 0 }
func (w who) owner() uint32 { return uint32(w>>8) & (1<<20 - 1) }
func (w who) gen() uint64   { return uint64(w >> 32) }

// free is the word after w: same generation, nobody's.
func (w who) free() who { return packWho(whoFree, 0, 0, w.gen()) }

// Mode says what happens when the log is full.
type Mode uint8

// The modes of a log.
const (
	// Overwrite: the oldest records go; readers that are too slow are told what
	// they lost. A flight recorder.
	Overwrite Mode = iota + 1
	// Reject: nothing goes that a registered reader did not pass.
	Reject
)

func (m Mode) String() string {
	switch m {
	case Overwrite:
		return "overwrite"
	case Reject:
		return "reject"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Config is what every party of a log agrees on.
type Config struct {
	Cells    int  // a power of two
	Mode     Mode // when the log is full
	Checksum bool // records carry a CRC-32C, which readers check
}

// Check says which field of c is outside of the format's limits.
func (c Config) Check() error {
	switch {
	case c.Cells < MinCells || c.Cells > MaxCells || c.Cells&(c.Cells-1) != 0:
		return &LimitError{"cells", c.Cells, fmt.Sprintf("a power of two from %d to %d", MinCells, MaxCells)}
	case c.Mode != Overwrite && c.Mode != Reject:
		return &LimitError{"mode", int(c.Mode), "1 (overwrite) or 2 (reject)"}
	}
	return nil
}

// maxCells is the largest record's size in cells.
func (c Config) maxCells() uint64 { return min(uint64(c.Cells)/2, MaxRecord) }

// Limit is the largest record's size in bytes: data, key and writer's name.
func (c Config) Limit() int { return int(c.maxCells())*CellSize - headerSize }

// pack makes the config word: version 8 bits, mode 8, checksum 8, log2 of the
// cells 8.
func (c Config) pack() uint64 {
	w := uint64(configVersion) | uint64(c.Mode)<<8
	if c.Checksum {
		w |= 1 << 16
	}
	for n := c.Cells; n > 1; n >>= 1 {
		w += 1 << 24
	}
	return w
}

const configVersion = 1

func unpackConfig(w uint64) (Config, error) {
	c := Config{Mode: Mode(w >> 8), Checksum: w>>16&1 != 0}
	switch {
	case uint8(w) != configVersion:
		return c, &VersionError{Have: int(uint8(w)), Want: configVersion}
	case w>>24 > 28:
		return c, &CorruptError{"journal config", w}
	}
	c.Cells = 1 << (w >> 24)
	if c.Check() != nil || c.pack() != w {
		return c, &CorruptError{"journal config", w}
	}
	return c, nil
}
