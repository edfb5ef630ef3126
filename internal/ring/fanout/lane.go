package fanout

import (
	"fmt"
	"math/bits"
	"strings"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Offsets in a lane area.
const (
	laneTag      = 0x000
	laneDepth    = 0x008 // u32
	laneCount    = 0x00C // u32
	laneSlotSize = 0x010
	laneMax      = 0x018
	laneRingOff  = 0x020
	lanePoolOff  = 0x028
	laneNumber   = 0x030 // u32
	laneOwner    = 0x040
	laneSince    = 0x048
	laneLimit    = 0x080
	laneWaiters  = 0x0C0
	lanePark     = 0x0C8 // u32
	laneBell     = 0x100 // u32
	laneRef      = 0x104 // u32
	laneBytes    = 0x140
	laneBlocked  = 0x148
	laneName     = 0x180 // 128 bytes
	laneCursors  = 0x200
	laneCurSize  = 0xC0 // cursor line, two lines of hold words
	laneRing     = 0x4000
	entrySize    = 0x80
	entryWords   = entrySize / 8
	secondLine   = mem.Line / 8 // word of an entry where its second line begins
	firstLine    = 40           // bytes of inline payload before it

	curFence = 0x08
	curHolds = 0x40
	nameSize = 128
)

// Lane is a view of a lane area: the index ring and the pool of one publisher.
// Its parameters were checked when it was opened and are private copies.
type Lane struct {
	Number int
	config Config
	depth  uint64
	chunk  uint64
	count  uint32
	size   uint64 // of a descriptor's payload, in bytes

	area    []byte
	pool    []byte
	ring    []atomic.Uint64 // depth * entryWords
	owner   *atomic.Uint64
	since   *atomic.Uint64
	limit   *atomic.Uint64
	waiters *atomic.Uint64
	park    *atomic.Uint32
	bell    wake.Bell
	bytes   *atomic.Uint64
	blocked *atomic.Uint64
	name    []atomic.Uint64
	cursors [MaxSlots]*atomic.Uint64
	fences  [MaxSlots]*atomic.Uint64
	holds   [MaxSlots][]atomic.Uint64
}

// laneShape computes the offsets of a lane of configuration c.
func laneShape(c Config) (size, pool, total uint64) {
	size = mem.Align(uint64(c.MaxMessage), mem.Line)
	if size >= mem.Page {
		size = mem.Align(size, mem.Page)
	}
	pool = mem.Align(laneRing+uint64(c.Depth)*entrySize, mem.Page)
	return size, pool, pool + uint64(c.descriptors())*size
}

// LaneSize is the size in bytes of a lane area for c.
func LaneSize(c Config) int64 {
	_, _, total := laneShape(c)
	return int64(total)
}

// FormatLane makes a lane area of zeroed bytes.
func FormatLane(area []byte, number int, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	size, pool, total := laneShape(c)
	if uint64(len(area)) < total {
		return fmt.Errorf("a lane of depth %d and messages of %d bytes needs %d bytes, not %d", c.Depth, c.MaxMessage, total, len(area))
	}
	mem.U32(area, laneDepth).Store(uint32(c.Depth))
	mem.U32(area, laneCount).Store(uint32(c.descriptors()))
	mem.U64(area, laneSlotSize).Store(size)
	mem.U64(area, laneMax).Store(uint64(c.MaxMessage))
	mem.U64(area, laneRingOff).Store(laneRing)
	mem.U64(area, lanePoolOff).Store(pool)
	mem.U32(area, laneNumber).Store(uint32(number))
	mem.U64(area, laneTag).Store(laneMagic)
	return nil
}

// OpenLane views area as lane number of a topic of configuration c, and says
// which word disagrees if it is not that. The area must outlive the Lane.
func OpenLane(area []byte, number int, c Config) (*Lane, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	size, pool, total := laneShape(c)
	if uint64(len(area)) < total {
		return nil, &CorruptError{"lane area's size", uint64(len(area))}
	}
	for _, f := range []struct {
		what string
		have uint64
		want uint64
	}{
		{"lane tag", mem.U64(area, laneTag).Load(), laneMagic},
		{"lane depth", uint64(mem.U32(area, laneDepth).Load()), uint64(c.Depth)},
		{"lane descriptor count", uint64(mem.U32(area, laneCount).Load()), uint64(c.descriptors())},
		{"lane descriptor size", mem.U64(area, laneSlotSize).Load(), size},
		{"lane max message", mem.U64(area, laneMax).Load(), uint64(c.MaxMessage)},
		{"lane ring offset", mem.U64(area, laneRingOff).Load(), laneRing},
		{"lane pool offset", mem.U64(area, lanePoolOff).Load(), pool},
		{"lane number", uint64(mem.U32(area, laneNumber).Load()), uint64(number)},
	} {
		if f.have != f.want {
			return nil, &CorruptError{f.what, f.have}
		}
	}
	l := &Lane{
		Number: number, config: c, depth: uint64(c.Depth), chunk: uint64(c.Chunk()),
		count: uint32(c.descriptors()), size: size,
		area:    area,
		pool:    area[pool:total:total],
		ring:    mem.U64s(area, laneRing, c.Depth*entryWords),
		owner:   mem.U64(area, laneOwner),
		since:   mem.U64(area, laneSince),
		limit:   mem.U64(area, laneLimit),
		waiters: mem.U64(area, laneWaiters),
		park:    mem.U32(area, lanePark),
		bell:    wake.Bell{Word: mem.U32(area, laneBell), Ref: mem.U32(area, laneRef)},
		bytes:   mem.U64(area, laneBytes),
		blocked: mem.U64(area, laneBlocked),
		name:    mem.U64s(area, laneName, nameSize/8),
	}
	for i := range MaxSlots {
		o := laneCursors + i*laneCurSize
		l.cursors[i] = mem.U64(area, o)
		l.fences[i] = mem.U64(area, o+curFence)
		l.holds[i] = mem.U64s(area, o+curHolds, MaxRecords)
	}
	return l, nil
}

// entry returns the words of position p's entry.
func (l *Lane) entry(p uint64) []atomic.Uint64 {
	o := (p & (l.depth - 1)) * entryWords
	return l.ring[o : o+entryWords : o+entryWords]
}

// payload returns length bytes of descriptor d; both were checked.
func (l *Lane) payload(d uint32, length uint64) []byte {
	o := uint64(d) * l.size
	return l.pool[o : o+length : o+length]
}

// State returns the lane's state and its owner.
func (l *Lane) State() (state int, owner uint32) {
	w := owned(l.owner.Load())
	return w.state(), w.owner()
}

// OwnerWord changes whenever the lane gets another owner or state.
func (l *Lane) OwnerWord() uint64 { return l.owner.Load() }

// Taken says how often the lane was taken by a publisher, modulo 2^21.
func (l *Lane) Taken() uint64 { return owned(l.owner.Load()).gen() }

// Name returns the name of the publisher that owns the lane or owned it last,
// and the position from which on messages are that publisher's.
func (l *Lane) Name() (name string, since uint64) {
	var b [nameSize]byte
	for range 8 {
		w := l.owner.Load()
		mem.CopyOut(b[:], l.name)
		since = l.since.Load()
		if l.owner.Load() == w && owned(w).state() != LaneOpening {
			break
		}
	}
	name = string(b[:])
	if i := strings.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return name, since
}

// head finds the first position that is not published: every position below
// limit-chunk is, and none at or above limit.
func (l *Lane) head() uint64 {
	limit := l.limit.Load()
	p := limit - min(limit, l.chunk)
	for p < limit && l.entry(p)[0].Load() == ready(p) {
		p++
	}
	return p
}

// LaneState describes a lane, for inspection.
type LaneState struct {
	Number      int
	State       int
	Owner       uint32
	Name        string
	Since       uint64
	Head        uint64 // messages published so far
	Bytes       uint64 // payload bytes, counted once per chunk
	Blocked     uint64 // times the publisher had to wait for room
	Config      Config
	Size        int64
	Subscribers []CursorState
}

// CursorState describes one subscriber's place in a lane.
type CursorState struct {
	Slot     int
	Position uint64
	Lag      uint64
	Fenced   bool
	Latest   bool
	Held     int // descriptors named by its hold words
}

// Inspect describes the lane and the place of the topic's subscribers in it.
func (l *Lane) Inspect(t *Topic) LaneState {
	w := owned(l.owner.Load())
	name, since := l.Name()
	head := l.head()
	s := LaneState{
		Number: l.Number, State: w.state(), Owner: w.owner(), Name: name, Since: since, Head: head,
		Bytes: l.bytes.Load(), Blocked: l.blocked.Load(), Config: l.config, Size: LaneSize(l.config),
	}
	for _, sub := range t.Subscribers() {
		c := cursor(l.cursors[sub.Slot].Load())
		if c.gen() != sub.gen || c.state() == curOut {
			continue
		}
		at := c.pos(head)
		cs := CursorState{Slot: sub.Slot, Position: at, Fenced: c.state() == curFenced, Latest: c.state() == curLatest}
		if at < head {
			cs.Lag = head - at
		}
		for k := range l.holds[sub.Slot] {
			if h := l.holds[sub.Slot][k].Load(); h != 0 && h>>32 == sub.gen {
				cs.Held++
			}
		}
		s.Subscribers = append(s.Subscribers, cs)
	}
	return s
}

// bitsOf calls f for each set bit of m.
func bitsOf(m uint64, f func(i int)) {
	for ; m != 0; m &= m - 1 {
		f(bits.TrailingZeros64(m))
	}
}
