package virtq

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// splitDevice is the device's part of a split ring.
type splitDevice struct {
	desc  []atomic.Uint64 // the driver's
	driv  mem.Half        // the driver's: flags
	avail mem.Half        // the driver's: available index
	heads mem.Halves      // the driver's: available ring
	wish  mem.Half        // the driver's: used_event
	state *atomic.Uint32  // ours: flags, used index
	elems []atomic.Uint32 // ours: used ring
	event mem.Half        // ours: avail_event

	mask    uint16
	eventOn bool
	flags   uint32   // what state has
	busy    []uint64 // a bit for each head in flight
	last    uint16   // next available
	seen    uint16   // available index when it was last looked at
	idx     uint16   // next used
	called  uint16   // published
}

func (s *splitDevice) open(d *Device, desc, driver, device []byte, at State) {
	n := d.config.Size
	off := int(d.config.Driver & 7)
	*s = splitDevice{
		desc: mem.U64s(desc, 0, 2*n), mask: uint16(n - 1), eventOn: d.features.Has(EventIdx),
		driv: mem.U16(driver, off), avail: mem.U16(driver, off+2),
		heads: mem.U16s(driver, off+4, n), wish: mem.U16(driver, off+4+2*n),
		busy: make([]uint64, (n+63)/64),
		last: at.Avail, seen: at.Avail, idx: at.Used, called: at.Used,
	}
	off = int(d.config.Device & 7)
	s.state, s.elems, s.event = mem.U32(device, off), mem.U32s(device, off+4, 2*n), mem.U16(device, off+4+8*n)
}

// pop is D1 to D3.
func (s *splitDevice) pop(d *Device, c *Chain) (bool, error) {
	if s.last == s.seen && !s.look(d) {
		return false, d.broken
	}
	head := s.heads.Load(uint32(s.last & s.mask))
	invariant.Point("virtq.D2")
	if head > s.mask {
		return false, d.fail("available head", uint64(head), "the number of a descriptor")
	}
	bit := uint64(1) << (head & 63)
	if s.busy[head>>6]&bit != 0 {
		return false, d.fail("available head", uint64(head), "of a chain that is not in flight")
	}
	if err := s.walk(d, c, head); err != nil {
		return false, d.failed(err)
	}
	s.busy[head>>6] |= bit
	s.last++
	c.id, c.count = head, 1
	d.inflight++
	return true, nil
}

// look reads the available index. It returns false if nothing is there, or
// something impossible.
func (s *splitDevice) look(d *Device) bool {
	idx := s.avail.Load() // edge: available
	invariant.Point("virtq.D1")
	if n := int(idx - s.last); n > d.config.Size-d.inflight {
		d.fail("available index", uint64(idx), "ahead by at most what is not in flight")
		return false
	}
	s.seen = idx
	return idx != s.last
}

func (s *splitDevice) walk(d *Device, c *Chain, i uint16) *BrokenError {
	for range int(s.mask) + 1 { // more would be a loop
		lo, hi := s.desc[2*int(i)].Load(), s.desc[2*int(i)+1].Load()
		invariant.Point("virtq.D3")
		flags := uint16(hi >> 32)
		if flags&flagIndirect != 0 {
			if err := d.tableFlags(flags); err != nil {
				return err
			}
			return d.addTable(c, lo, uint32(hi))
		}
		if err := c.add(d.memory, lo, uint32(hi), flags&flagWrite != 0); err != nil {
			return err
		}
		if flags&flagNext == 0 {
			return nil
		}
		if i = uint16(hi >> 48); i > s.mask {
			return &BrokenError{"descriptor next", uint64(i), "the number of a descriptor"}
		}
	}
	return &BrokenError{"descriptor next", uint64(i), "without a loop"}
}

// tableFlags checks the flags of a descriptor that refers to a table.
func (d *Device) tableFlags(flags uint16) *BrokenError {
	if !d.features.Has(IndirectDesc) {
		return &BrokenError{"descriptor flags", uint64(flags), "without INDIRECT, which was not agreed on"}
	}
	if flags&flagNext != 0 {
		return &BrokenError{"descriptor flags", uint64(flags), "without NEXT where there is INDIRECT"}
	}
	return nil
}

// emit is U1: an element that stands for so many chains.
func (s *splitDevice) emit(id, chains uint16, length uint32) {
	i := 2 * int(s.idx&s.mask)
	mem.StoreRelease32(&s.elems[i], uint32(id))
	mem.StoreRelease32(&s.elems[i+1], length)
	invariant.Point("virtq.U1")
	s.idx += chains
}

// release takes head out of flight. In a packed ring, whose ids are the
// driver's own business, there is nothing to do.
func (s *splitDevice) release(head uint16) {
	if s.busy != nil {
		s.busy[head>>6] &^= 1 << (head & 63)
	}
}

// call is U2 and U3.
func (s *splitDevice) call() bool {
	old, new := s.called, s.idx
	if old == new {
		return false
	}
	s.state.Store(uint32(new)<<16 | s.flags) // edge: used, call
	invariant.Point("virtq.U2")
	s.called = new
	if s.eventOn {
		return new-s.wish.Load()-1 < new-old
	}
	return s.driv.Load()&suppress == 0
}

// enable is W1 and W2.
func (s *splitDevice) enable(d *Device) bool {
	if s.last != s.seen {
		return true
	}
	if s.eventOn {
		s.event.Store(s.last) // edge: kick
	} else {
		s.flags = 0
		s.state.Store(uint32(s.called) << 16) // edge: kick
	}
	invariant.Point("virtq.W1")
	return s.look(d) || d.broken != nil
}
