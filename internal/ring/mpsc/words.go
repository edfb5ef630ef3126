package mpsc

import (
	"errors"
	"fmt"
)

// Limits of the format.
const (
	MaxDepth   = 1 << 14 // nodes of a queue
	MaxSize    = 1 << 24 // bytes of one op
	MaxMembers = 256     // node slots of a bus
)

// Owners that are no node's: the generation of a node, the upper 12 of 20 bits,
// is never 0.
const (
	nobody  = 0
	orphan  = 1 // what a dead owner left
	evicted = 2 // what an evicted owner left, and may still write into
	again   = 3 // control is free, and some op must be repeated before others are taken
)

// Status is the state of a node.
type Status uint8

// The states of a node.
const (
	Free        Status = 0
	Submitted   Status = 2 // its owner's; may be in the queue: only the walk from tail tells
	Issued      Status = 3 // taken by the executor; the device may have seen it
	Done        Status = 4 // completed, to be read by its owner
	Interrupted Status = 5 // its executor is gone: not known whether it was carried out
	Cancelled   Status = 6 // by its owner; it leaves the queue when the executor passes it
	Lost        Status = 7 // an evicted party may still write into it: never used again
)

// state is the word that owns a node: status 4 bits, owner 20, executor 20,
// turn 20.
type state uint64

const (
	ownerMask = 1<<20 - 1
	turnMask  = 1<<20 - 1
)

func packState(s Status, owner, executor, turn uint32) state {
	return state(s) | state(owner&ownerMask)<<4 | state(executor&ownerMask)<<24 | state(turn&turnMask)<<44
}

func (w state) status() Status   { return Status(w & 0xf) }
func (w state) owner() uint32    { return uint32(w>>4) & ownerMask }
func (w state) executor() uint32 { return uint32(w>>24) & ownerMask }
func (w state) turn() uint32     { return uint32(w>>44) & turnMask }

// with is w in another status, with another executor.
func (w state) with(s Status, executor uint32) state {
	return packState(s, w.owner(), executor, w.turn())
}

// left is w of another owner.
func (w state) left(owner uint32) state {
	return packState(w.status(), owner, w.executor(), w.turn())
}

// end is the word of a node that nobody needs any more.
func (w state) end() state {
	if w.owner() == evicted || w.executor() == evicted {
		return packState(Lost, 0, 0, w.turn())
	}
	return packState(Free, 0, 0, w.turn())
}

// tail is the word that orders submissions and names the executor: node 16
// bits, executor 20, sequence 28.
type tail uint64

const (
	seqMask = 1<<28 - 1
	none    = 0      // no node: the queue is empty
	temp    = 0xFFFF // the temporary node: the queue is empty, and owned
)

func packTail(seq uint64, executor uint32, node uint64) tail {
	return tail(node&0xFFFF | uint64(executor&ownerMask)<<16 | (seq&seqMask)<<36)
}

func (t tail) node() uint64     { return uint64(t) & 0xFFFF } // index + 1
func (t tail) executor() uint32 { return uint32(t>>16) & ownerMask }
func (t tail) seq() uint64      { return uint64(t) >> 36 }

// owned is t with another executor.
func (t tail) owned(executor uint32) tail { return packTail(t.seq(), executor, t.node()) }

// offered reports whether whoever can execute may take control: the queue is
// not empty and nobody has it, or a dead executor left it.
func (t tail) offered() bool {
	switch t.executor() {
	case nobody:
		return t.node() != none
	case orphan, again:
		return true
	}
	return false
}

// free reports whether a submitter that can execute gains control.
func (t tail) free() bool { return t.executor() <= again }

// link is the word by which the executor walks back: the node before, plus one,
// 16 bits; position 28; code 16; flags 4.
type link uint64

const flagRepeat = 1 << 60

func packLink(pos, prev uint64, code uint16, repeat bool) link {
	l := link(prev&0xFFFF | (pos&seqMask)<<16 | uint64(code)<<44)
	if repeat {
		l |= flagRepeat
	}
	return l
}

func (l link) prev() uint64 { return uint64(l) & 0xFFFF }
func (l link) pos() uint64  { return uint64(l>>16) & seqMask }
func (l link) code() uint16 { return uint16(l >> 44) }
func (l link) repeat() bool { return l&flagRepeat != 0 }

// Bits of a node's wait word, which its owner writes.
const (
	waitParked = 1 // sleeps, or is about to
	waitAble   = 2 // and can take control
)

// Config is what all parties of a queue agree on; its creator decides.
type Config struct {
	Depth int // ops that may be there at once
	Size  int // bytes of one op, those for the device and those back together
}

// Check says which field of c is outside of the format's limits.
func (c Config) Check() error {
	switch {
	case c.Depth < 1 || c.Depth > MaxDepth:
		return &LimitError{"depth", c.Depth, fmt.Sprintf("1 to %d ops", MaxDepth)}
	case c.Size < 0 || c.Size > MaxSize:
		return &LimitError{"size", c.Size, fmt.Sprintf("0 to %d bytes", MaxSize)}
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

// ErrFenced says that this node was taken for dead, or evicted, and its control
// or its ops may have been given to others.
var ErrFenced = errors.New("fenced: this node was taken for dead or evicted")

// CorruptError says which shared word holds what no correct peer writes.
type CorruptError struct {
	What string
	Have uint64
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt %s: %#x", e.What, e.Have)
}
