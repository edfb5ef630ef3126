package mpsc

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Offsets in a queue area.
const (
	queueTag     = 0x000
	queueDepth   = 0x008 // u32
	queueSize    = 0x00C // u32
	queueNodes   = 0x010
	queueData    = 0x018
	queueBroken  = 0x020
	queueTail    = 0x040
	queueHead    = 0x080
	queueLongest = 0x088
	queueTaken   = 0x090
	queuePark    = 0x0C0
	queueBell    = 0x0C8 // u32
	queueRef     = 0x0CC // u32
	queueLeft    = 0x100
	queueSwept   = 0x108
	queueSpace   = 0x140 // 4 words
	queueControl = 0x160 // 4 words
	queueUsed    = 0x180 // 4 words
	queueMembers = 0x200
	memberSize   = 0x40
	nodeArea     = queueMembers + MaxMembers*memberSize
	nodeSize     = 0x40

	memberBell   = 0x00 // u32
	memberRef    = 0x04 // u32
	memberSubmit = 0x08
	memberExec   = 0x10

	nodeState  = 0x00
	nodeLink   = 0x08
	nodeOffset = 0x10
	nodeCounts = 0x18
	nodeWait   = 0x20
	nodeBell   = 0x28 // u32
	nodeRef    = 0x2C // u32
	nodeResult = 0x30
	nodeTime   = 0x38

	queueMagic = 0x01_00_45_55_45_55_51_52 // "RQUEUE", version 1

	maskWords = MaxMembers / 64
)

// node is the view of one node: one line.
type node struct {
	state  *atomic.Uint64
	link   *atomic.Uint64
	offset *atomic.Uint64
	counts *atomic.Uint64 // bytes for the device 32 bits, bytes back 32
	wait   *atomic.Uint64
	result *atomic.Uint64
	time   *atomic.Uint64
	bell   wake.Bell
}

// member is the view of what a node of the bus has in the queue, by its slot.
type member struct {
	bell      wake.Bell
	submitted *atomic.Uint64
	executed  *atomic.Uint64
}

// Queue is a view of a queue area. Its parameters were checked when it was
// opened and are private copies. Its methods may be called concurrently.
type Queue struct {
	config Config
	stride uint64
	data   []byte

	broken  *atomic.Uint64
	tail    *atomic.Uint64
	head    *atomic.Uint64
	longest *atomic.Uint64
	taken   *atomic.Uint64
	park    *atomic.Uint64
	bell    wake.Bell
	left    *atomic.Uint64
	swept   *atomic.Uint64
	space   []atomic.Uint64
	control []atomic.Uint64
	used    []atomic.Uint64
	members [MaxMembers]member
	nodes   []node
}

// shape computes the offsets of a queue of configuration c.
func shape(c Config) (stride, data, total uint64) {
	stride = mem.Align(uint64(c.Size), mem.Line)
	if stride >= mem.Page {
		stride = mem.Align(stride, mem.Page)
	}
	data = mem.Align(nodeArea+uint64(c.Depth)*nodeSize, mem.Page)
	return stride, data, data + uint64(c.Depth)*stride
}

// Size is the size in bytes of a queue area for c.
func Size(c Config) int64 {
	_, _, total := shape(c)
	return int64(total)
}

// Format makes a queue area of zeroed bytes.
func Format(area []byte, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	_, data, total := shape(c)
	if uint64(len(area)) < total {
		return fmt.Errorf("a queue of %d ops of %d bytes needs %d bytes, not %d", c.Depth, c.Size, total, len(area))
	}
	mem.U32(area, queueDepth).Store(uint32(c.Depth))
	mem.U32(area, queueSize).Store(uint32(c.Size))
	mem.U64(area, queueNodes).Store(nodeArea)
	mem.U64(area, queueData).Store(data)
	mem.U64(area, queueTag).Store(queueMagic)
	return nil
}

// Open views area, which must outlive the Queue, and says which word is wrong
// if it is no queue.
func Open(area []byte) (*Queue, error) {
	if len(area) < nodeArea {
		return nil, &CorruptError{"queue area's size", uint64(len(area))}
	}
	if tag := mem.U64(area, queueTag).Load(); tag != queueMagic {
		return nil, &CorruptError{"queue tag", tag}
	}
	c := Config{Depth: int(mem.U32(area, queueDepth).Load()), Size: int(mem.U32(area, queueSize).Load())}
	if err := c.Check(); err != nil {
		return nil, &CorruptError{"queue config (" + err.Error() + ")", mem.U64(area, queueDepth).Load()}
	}
	stride, data, total := shape(c)
	if uint64(len(area)) < total {
		return nil, &CorruptError{"queue area's size", uint64(len(area))}
	}
	if have := mem.U64(area, queueNodes).Load(); have != nodeArea {
		return nil, &CorruptError{"queue's node offset", have}
	}
	if have := mem.U64(area, queueData).Load(); have != data {
		return nil, &CorruptError{"queue's data offset", have}
	}
	q := &Queue{
		config: c, stride: stride, data: area[data:total:total],
		broken: mem.U64(area, queueBroken), tail: mem.U64(area, queueTail), head: mem.U64(area, queueHead), longest: mem.U64(area, queueLongest),
		taken: mem.U64(area, queueTaken), park: mem.U64(area, queuePark),
		bell: wake.Bell{Word: mem.U32(area, queueBell), Ref: mem.U32(area, queueRef)},
		left: mem.U64(area, queueLeft), swept: mem.U64(area, queueSwept),
		space: mem.U64s(area, queueSpace, maskWords), control: mem.U64s(area, queueControl, maskWords),
		used: mem.U64s(area, queueUsed, maskWords), nodes: make([]node, c.Depth),
	}
	for i := range q.members {
		o := queueMembers + i*memberSize
		q.members[i] = member{
			wake.Bell{Word: mem.U32(area, o+memberBell), Ref: mem.U32(area, o+memberRef)},
			mem.U64(area, o+memberSubmit), mem.U64(area, o+memberExec),
		}
	}
	for i := range q.nodes {
		o := nodeArea + i*nodeSize
		q.nodes[i] = node{
			state: mem.U64(area, o+nodeState), link: mem.U64(area, o+nodeLink), offset: mem.U64(area, o+nodeOffset),
			counts: mem.U64(area, o+nodeCounts), wait: mem.U64(area, o+nodeWait), result: mem.U64(area, o+nodeResult),
			time: mem.U64(area, o+nodeTime), bell: wake.Bell{Word: mem.U32(area, o+nodeBell), Ref: mem.U32(area, o+nodeRef)},
		}
	}
	return q, nil
}

// Config returns what the queue's creator decided.
func (q *Queue) Config() Config { return q.config }

// Broken reports whether an executor found the queue garbled. Nobody can put it
// right; what was submitted is not carried out.
func (q *Queue) Broken() bool { return q.broken.Load() != 0 }

// Break tells everybody that the queue is garbled.
func (q *Queue) Break(ring func(wake.Bell)) {
	q.broken.Store(1)
	q.ringAll(ring)
}

// Asleep reports whether an executor sleeps over the empty queue.
func (q *Queue) Asleep() bool { return q.park.Load() != 0 }

// ExecutorBell is what an executor sleeps on that has control of an empty queue.
func (q *Queue) ExecutorBell() wake.Bell { return q.bell }

// NodeBell is what the owner of node i sleeps on.
func (q *Queue) NodeBell(i uint32) wake.Bell { return q.nodes[i].bell }

// buffer returns the memory of node i.
func (q *Queue) buffer(i uint32) []byte {
	o := uint64(i) * q.stride
	return q.data[o : o+uint64(q.config.Size) : o+uint64(q.config.Size)]
}

func (q *Queue) loadTail() tail { return tail(q.tail.Load()) }

func (q *Queue) swapTail(from, to tail) bool {
	return q.tail.CompareAndSwap(uint64(from), uint64(to))
}

func (n *node) load() state { return state(n.state.Load()) }

func (n *node) swap(from, to state) bool {
	return n.state.CompareAndSwap(uint64(from), uint64(to))
}

// parked reports whether node n's owner sleeps, or is about to.
func (n *node) parked() bool { return n.wait.Load()&waitParked != 0 }

// ringMask rings the members that mask names, and takes their bits.
func (q *Queue) ringMask(mask []atomic.Uint64, ring func(wake.Bell)) (rung bool) {
	for k := range mask {
		if mask[k].Load() == 0 {
			continue
		}
		for m := mask[k].Swap(0); m != 0; m &= m - 1 {
			ring(q.members[k*64+bits.TrailingZeros64(m)].bell)
			rung = true
		}
	}
	return rung
}

// ringExecutor rings an executor that sleeps over the empty queue.
func (q *Queue) ringExecutor(ring func(wake.Bell)) {
	if q.park.Load() != 0 && q.park.Swap(0) != 0 {
		ring(q.bell)
	}
}

// ringAble rings all who can take control and sleep, those for want of a node
// among them.
func (q *Queue) ringAble(ring func(wake.Bell)) {
	for i := range q.nodes {
		if n := &q.nodes[i]; n.wait.Load() == waitParked|waitAble {
			ring(n.bell)
		}
	}
	q.ringMask(q.control, ring)
	q.ringMask(q.space, ring)
}
