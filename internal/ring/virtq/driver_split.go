package virtq

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// splitDriver is the driver's part of a split ring.
type splitDriver struct {
	desc  []atomic.Uint64
	flags mem.Half        // ours
	avail mem.Half        // ours: the available index
	heads mem.Halves      // ours: the available ring
	event mem.Half        // ours: used_event
	state *atomic.Uint32  // the device's: flags, used index
	elems []atomic.Uint32 // the device's: the used ring
	wish  mem.Half        // the device's: avail_event

	mask    uint16
	eventOn bool
	inOrder bool
	next    []uint16 // descriptor after each, free or in a chain
	head    uint16   // next free descriptor
	idx     uint16   // next available
	kicked  uint16   // published
	last    uint16   // next used
	seen    uint16   // used index when it was last looked at
}

func (s *splitDriver) open(d *Driver, desc, driver, device []byte) {
	n := d.config.Size
	at := int(d.config.Driver & 7)
	*s = splitDriver{
		desc: mem.U64s(desc, 0, 2*n), mask: uint16(n - 1),
		flags: mem.U16(driver, at), avail: mem.U16(driver, at+2),
		heads: mem.U16s(driver, at+4, n), event: mem.U16(driver, at+4+2*n),
		eventOn: d.features.Has(EventIdx), inOrder: d.features.Has(InOrder),
		next: make([]uint16, n),
	}
	at = int(d.config.Device & 7)
	s.state, s.elems, s.wish = mem.U32(device, at), mem.U32s(device, at+4, 2*n), mem.U16(device, at+4+8*n)
	for i := range s.next {
		s.next[i] = uint16(i+1) & s.mask
	}
	for i := range s.desc {
		s.desc[i].Store(0)
	}
	for i := range uint32(n) {
		s.heads.Store(i, 0)
		s.elems[2*i].Store(0)
		s.elems[2*i+1].Store(0)
	}
	s.flags.Store(0)
	s.avail.Store(0)
	s.event.Store(0)
	s.state.Store(0)
	s.wish.Store(0)
}

// add is A1 and A2. In order, chains are released in order too, so that the
// free descriptors follow each other around the table, as IN_ORDER wants.
func (s *splitDriver) add(d *Driver, readable, writable []Buffer, table bool) uint16 {
	head := s.head
	if table {
		addr, length := d.fillTable(uint32(head), readable, writable)
		s.put(head, addr, length, flagIndirect)
		s.head = s.next[head]
	} else {
		i, left := head, len(readable)+len(writable)
		for _, b := range readable {
			i, left = s.link(i, b, 0, left-1), left-1
		}
		for _, b := range writable {
			i, left = s.link(i, b, flagWrite, left-1), left-1
		}
		s.head = i
	}
	s.heads.StoreRelease(uint32(s.idx&s.mask), head)
	invariant.Point("virtq.A2")
	s.idx++
	return head
}

// link writes descriptor i, followed by left more, and returns the next one.
func (s *splitDriver) link(i uint16, b Buffer, flags uint64, left int) uint16 {
	next := s.next[i]
	if left > 0 {
		flags |= flagNext | uint64(next)<<16
	}
	s.put(i, b.Addr, b.Len, flags)
	return next
}

// put writes descriptor i; next is above flags.
func (s *splitDriver) put(i uint16, addr uint64, length uint32, flags uint64) {
	mem.StoreRelease(&s.desc[2*int(i)], addr)
	mem.StoreRelease(&s.desc[2*int(i)+1], uint64(length)|flags<<32)
	invariant.Point("virtq.A1")
}

// kick is A3 and A4.
func (s *splitDriver) kick(*Driver) bool {
	old, new := s.kicked, s.idx
	if old == new {
		return false
	}
	s.avail.Store(new) // edge: available, kick
	invariant.Point("virtq.A3")
	s.kicked = new
	if s.eventOn {
		return new-s.wish.Load()-1 < new-old
	}
	return s.state.Load()&suppress == 0
}

// waiting is the number of used elements that the last look found.
func (s *splitDriver) waiting() uint16 { return s.seen - s.last }

// used is B1 and B2.
func (s *splitDriver) used(d *Driver) (id, n uint32, ok bool) {
	if s.last == s.seen && !s.look(d) {
		return 0, 0, false
	}
	i := 2 * int(s.last&s.mask)
	id, n = s.elems[i].Load(), s.elems[i+1].Load()
	invariant.Point("virtq.B2")
	return id, n, true
}

// look reads the used index. It returns false if nothing is there, or
// something impossible.
func (s *splitDriver) look(d *Driver) bool {
	idx := uint16(s.state.Load() >> 16) // edge: used
	invariant.Point("virtq.B1")
	if int(idx-s.last) > d.chains {
		d.fail("used index", uint64(idx), "at most what is in flight ahead")
		return false
	}
	s.seen = idx
	return idx != s.last
}

// release gives the descriptors of chain head back.
func (s *splitDriver) release(_ *Driver, head, count uint32) {
	s.last++
	if s.inOrder {
		return // next still has them in order around the table
	}
	end := uint16(head)
	for range count - 1 {
		end = s.next[end]
	}
	s.next[end] = s.head
	s.head = uint16(head)
}

// enable is E1 and E2.
func (s *splitDriver) enable(d *Driver, ahead uint32) bool {
	if s.eventOn {
		s.event.Store(s.last + uint16(ahead)) // edge: call
	} else {
		s.flags.Store(0) // edge: call
		ahead = 0
	}
	invariant.Point("virtq.E1")
	return !s.look(d) && d.broken != nil || uint32(s.waiting()) > ahead
}
