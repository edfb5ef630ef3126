package cells

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Offsets in a ring area.
const (
	ringTag    = 0x000
	ringConfig = 0x008
	ringLow    = 0x040
	ringPub    = 0x080
	ringEcho   = 0x088
	ringRead   = 0x100 // readWait
	ringRoom   = 0x108 // roomWait
	ringToken  = 0x110 // tokenWait
	ringGone   = 0x118 // readers gone
	ringRoomAt = 0x120
	ringSlots  = 0x140
	ringMaker  = 0x148
	ringBlock  = 0x180
	ringEnd    = 0x1C0
	ringGroups = 0x200
	groupSize  = 0x100
	ringSlot0  = 0x1000
	slotSize   = 0xC0
	ringHeads  = 0x4000
	headWords  = 2

	slotClaim  = 0x00
	slotLost   = 0x08
	slotCursor = 0x40
	slotBell   = 0x80
	slotRef    = 0x84

	groupSelf     = 0x00
	groupReturned = 0x08
	groupRclaim   = 0x40
	groupRdone    = 0x80
	groupName     = 0xC0

	ringMagic = 0x01_4D_41_45_52_54_53_52 // "RSTREAM", version 1
)

// Ring is a view of a ring area. Its methods may be called concurrently.
type Ring struct {
	config Config
	cells  uint64
	mask   uint64
	chunk  uint64 // how far low runs ahead, in cells

	data    []byte
	words   []atomic.Uint64 // the same bytes
	heads   []atomic.Uint64
	pub     *atomic.Uint64
	echo    []atomic.Uint64 // the last message, if it was small
	low     *atomic.Uint64
	end     *atomic.Uint64
	read    *atomic.Uint64 // slots that sleep until something is published
	room    *atomic.Uint64 // slots that sleep until there is room
	roomAt  *atomic.Uint64 // position that must be passed before those are rung
	token   *atomic.Uint64 // slots that sleep until the token is free
	gone    *atomic.Uint64 // bits: a hold reader left, or died
	slots   *atomic.Uint64 // slots that were ever used
	maker   *atomic.Uint64 // owner that makes a group
	blocked *atomic.Uint64
	claims  [MaxSlots]*atomic.Uint64
	lost    [MaxSlots]*atomic.Uint64
	cursors [MaxSlots]*atomic.Uint64
	bells   [MaxSlots]wake.Bell
	groups  []groupView
}

// groupView is a group's part of the area.
type groupView struct {
	self     *atomic.Uint64
	returned *atomic.Uint64 // counts claims that were handed back
	rclaim   *atomic.Uint64
	rdone    *atomic.Uint64
	name     []atomic.Uint64
	claims   []atomic.Uint64
}

// shape computes the offsets of a ring of configuration c.
func shape(c Config) (claims, data, total uint64) {
	claims = ringHeads + uint64(c.Cells)*headWords*8
	data = mem.Align(claims+uint64(c.Groups)*uint64(c.Cells)*8, mem.Page)
	return claims, data, data + uint64(c.Cells)*CellSize
}

// Size is the size in bytes of a ring area for c.
func Size(c Config) int64 {
	_, _, total := shape(c)
	return int64(total)
}

// Format makes a ring area of zeroed bytes.
func Format(area []byte, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	_, _, total := shape(c)
	if uint64(len(area)) < total {
		return fmt.Errorf("a ring of %d cells and %d groups needs %d bytes, not %d", c.Cells, c.Groups, total, len(area))
	}
	n := uint64(c.Cells)
	// Positions begin at N: what is zero is of an older lap. The number of the
	// first message is that of the pad before it.
	mem.U64s(area, ringHeads, c.Cells*headWords)[(n-1)*headWords+1].Store(numberPad)
	mem.U64(area, ringLow).Store(n)
	mem.U64(area, ringPub).Store(packPub(n, 0))
	mem.U64(area, ringConfig).Store(c.pack())
	mem.U64(area, ringTag).Store(ringMagic)
	return nil
}

// Open views area, which must outlive the Ring, and says which word disagrees
// if it is no ring.
func Open(area []byte) (*Ring, error) {
	if len(area) < ringHeads {
		return nil, &CorruptError{"stream area's size", uint64(len(area))}
	}
	if tag := mem.U64(area, ringTag).Load(); tag != ringMagic {
		return nil, &CorruptError{"stream tag", tag}
	}
	w := mem.U64(area, ringConfig).Load()
	c, ok := unpackConfig(w)
	if !ok {
		return nil, &CorruptError{"stream config", w}
	}
	claims, data, total := shape(c)
	if uint64(len(area)) < total {
		return nil, &CorruptError{"stream area's size", uint64(len(area))}
	}
	r := &Ring{
		config: c, cells: uint64(c.Cells), mask: uint64(c.Cells) - 1, chunk: uint64(c.Cells) / 8,
		data:  area[data:total:total],
		words: mem.U64s(area, int(data), c.Cells*CellSize/8),
		heads: mem.U64s(area, ringHeads, c.Cells*headWords),
		pub:   mem.U64(area, ringPub), echo: mem.U64s(area, ringEcho, echoWords), low: mem.U64(area, ringLow), end: mem.U64(area, ringEnd),
		read: mem.U64(area, ringRead), room: mem.U64(area, ringRoom), roomAt: mem.U64(area, ringRoomAt), token: mem.U64(area, ringToken),
		gone: mem.U64(area, ringGone), slots: mem.U64(area, ringSlots), maker: mem.U64(area, ringMaker),
		blocked: mem.U64(area, ringBlock),
	}
	for i := range MaxSlots {
		o := ringSlot0 + i*slotSize
		r.claims[i] = mem.U64(area, o+slotClaim)
		r.lost[i] = mem.U64(area, o+slotLost)
		r.cursors[i] = mem.U64(area, o+slotCursor)
		r.bells[i] = wake.Bell{Word: mem.U32(area, o+slotBell), Ref: mem.U32(area, o+slotRef)}
	}
	for g := range c.Groups {
		o := ringGroups + g*groupSize
		r.groups = append(r.groups, groupView{
			self: mem.U64(area, o+groupSelf), returned: mem.U64(area, o+groupReturned),
			rclaim: mem.U64(area, o+groupRclaim), rdone: mem.U64(area, o+groupRdone),
			name:   mem.U64s(area, o+groupName, MaxName/8),
			claims: mem.U64s(area, int(claims)+g*c.Cells*8, c.Cells),
		})
	}
	return r, nil
}

// Config returns what all parties agreed on.
func (r *Ring) Config() Config { return r.config }

// header returns the two header words of position p's cell.
func (r *Ring) header(p uint64) (info, number *atomic.Uint64) {
	i := (p & r.mask) * headWords
	return &r.heads[i], &r.heads[i+1]
}

// span returns the payload of a message of length bytes at position p, which
// was checked: two pieces where it passes the ring's end. Their capacity is that
// of the whole cells.
func (r *Ring) span(p, length uint64) (a, b []byte) {
	o := (p & r.mask) * CellSize
	first := min(length, r.cells*CellSize-o)
	second := length - first
	return r.data[o : o+first : o+mem.Align(first, CellSize)], r.data[:second:mem.Align(second, CellSize)]
}

// wake wakes whoever sleeps in the mask.
func (r *Ring) wake(mask *atomic.Uint64, ring func(wake.Bell), point string) {
	if mask.Load() == 0 {
		return
	}
	m := mask.Swap(0)
	invariant.Point(point)
	bitsOf(m, func(i int) { ring(r.bells[i]) })
}

// wakeRoom wakes the writer that sleeps until there is room, if pos, which a
// reader has come to, is as far as it asked for.
func (r *Ring) wakeRoom(pos uint64, ring func(wake.Bell)) {
	if r.room.Load() != 0 && signed44(pos-r.roomAt.Load()) >= 0 {
		r.wake(r.room, ring, "cells.B3")
	}
}

// ringSlots rings every slot that was ever used: after a death or an end,
// because the dead may have taken a mask and not rung.
func (r *Ring) ringSlots(ring func(wake.Bell)) {
	bitsOf(r.slots.Load(), func(i int) { ring(r.bells[i]) })
}

// bitsOf calls f for each set bit of m.
func bitsOf(m uint64, f func(i int)) {
	for ; m != 0; m &= m - 1 {
		f(bits.TrailingZeros64(m))
	}
}

// Published returns the position up to which messages are published, modulo 2^44.
func (r *Ring) Published() uint64 { return pubPos(r.pub.Load()) }

// Writer returns who has the token, 0 if nobody, and whether the stream is
// retired: its writer was evicted, and nobody may write to it again.
func (r *Ring) Writer() (owner uint32, dead bool) {
	o := pubOwner(r.pub.Load())
	if o == retired {
		return 0, true
	}
	return o, false
}

// Names reports whether anything in the ring belongs to owner.
func (r *Ring) Names(owner uint32) bool {
	if pubOwner(r.pub.Load()) == owner || uint32(r.maker.Load())&ownerMask == owner {
		return true
	}
	for i := range MaxSlots {
		if c := claim(r.claims[i].Load()); c.state() == claimHeld && c.owner() == owner {
			return true
		}
	}
	return false
}
