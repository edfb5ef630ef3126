package segment

import (
	"fmt"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/mem"
)

// An Owner names a node in 20 bits, small enough for any shared word: the low
// 12 bits of its slot's generation (never 0) above the 8 bits of the slot's
// index. Zero names nobody.
type Owner uint32

// Nobody is the Owner that names no node.
const Nobody Owner = 0

const ownerMask = 1<<20 - 1

// Slot returns the index of the node slot.
func (o Owner) Slot() int { return int(o & 0xff) }

// Generation returns the low 12 bits of the slot's generation.
func (o Owner) Generation() uint32 { return uint32(o>>8) & 0xfff }

func (o Owner) String() string {
	if o == Nobody {
		return "nobody"
	}
	return fmt.Sprintf("node %d.%d", o.Slot(), o.Generation())
}

// NodeState is the state in a node slot's word.
type NodeState uint8

// The states of a node slot.
const (
	NodeFree    NodeState = 0
	NodeLive    NodeState = 1
	NodeFenced  NodeState = 2 // evicted, to be recovered by whoever comes first
	NodeBurying NodeState = 3 // being recovered, under the locks of the tag's kernel
)

func (s NodeState) String() string {
	if int(s) < len(nodeStates) {
		return nodeStates[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

var nodeStates = [...]string{"free", "live", "fenced", "burying"}

// word is the value of a node slot's word: state 4 bits, generation 32, tag of
// the kernel 28, from the bottom.
type word uint64

const tagMask = 1<<28 - 1

func newWord(st NodeState, gen uint32, tag uint64) word {
	return word(uint64(st) | uint64(gen)<<4 | tag<<36)
}

func (w word) state() NodeState { return NodeState(w & 0xf) }
func (w word) gen() uint32      { return uint32(w >> 4) }
func (w word) tag() uint64      { return uint64(w >> 36) }

func (w word) owner(slot int) Owner {
	return Owner(w.gen()&0xfff)<<8 | Owner(slot)
}

// with returns w in another state, under the locks of the kernel with tag.
func (w word) with(st NodeState, tag uint64) word { return newWord(st, w.gen(), tag) }

// next returns the generation after g; its low 12 bits are never 0.
func next(g uint32) uint32 {
	g++
	if g&0xfff == 0 {
		g++
	}
	return g
}

// tagOf folds a kernel id into the 28 bits that a node word has for it.
func tagOf(kernel uint64) uint64 {
	return (kernel ^ kernel>>28 ^ kernel>>56) & tagMask
}

func slotOff(slot int) int { return nodesOff + slot*nodeSize }

func (s *Segment) word(slot int) *atomic.Uint64 {
	return mem.U64(s.b, slotOff(slot)+nodeWord)
}

func (s *Segment) load(slot int) word { return word(s.word(slot).Load()) }

func (s *Segment) swap(slot int, from, to word) bool {
	return s.word(slot).CompareAndSwap(uint64(from), uint64(to))
}

func (s *Segment) beat(slot int) *atomic.Uint64 {
	return mem.U64(s.b, slotOff(slot)+nodeBeat)
}

// Heartbeat and use words carry the low 12 bits of the generation on top, so
// that what a former owner writes late does not count.

func tagged(gen uint32, v uint64) uint64    { return uint64(gen&0xfff)<<52 | v&(1<<52-1) }
func untag(v uint64) (gen uint32, x uint64) { return uint32(v >> 52), v & (1<<52 - 1) }
