package virtq

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// packedDevice is the device's part of a packed ring.
type packedDevice struct {
	ring  []atomic.Uint64
	wish  *atomic.Uint32 // the driver's
	event *atomic.Uint32 // ours

	size     uint32
	eventOn  bool
	pos      uint32 // next available entry
	wrap     bool
	next     uint32 // next used entry
	usedWrap bool

	// What Call publishes: the first entry's word is not stored yet.
	first uint32
	word  uint64
	count uint32 // entries
}

func (p *packedDevice) open(d *Device, desc, driver, device []byte, at State) {
	n := d.config.Size
	*p = packedDevice{
		ring: mem.U64s(desc, 0, 2*n), size: uint32(n), eventOn: d.features.Has(EventIdx),
		wish: mem.U32(driver, int(d.config.Driver&7)), event: mem.U32(device, int(d.config.Device&7)),
		pos: uint32(at.Avail), wrap: !at.AvailWrapped, next: uint32(at.Used), usedWrap: !at.UsedWrapped,
	}
}

// pop is D1 and D3.
func (p *packedDevice) pop(d *Device, c *Chain) (bool, error) {
	i, wrap := p.pos, p.wrap
	room := d.config.Size - d.inflight
	for n := 1; ; n++ {
		if n > room {
			if n == 1 {
				return false, nil // the driver has nothing left to offer
			}
			return false, d.fail("descriptor flags", flagNext, "without NEXT: no more than the ring's entries in flight")
		}
		hi := p.ring[2*i+1].Load() // edge: available
		invariant.Point("virtq.D1")
		if hi&wrapFlags != availFlags(wrap) {
			if n == 1 {
				return false, nil
			}
			return false, d.fail("descriptor flags", hi>>48, "those of an available entry, as the chain's first")
		}
		lo := p.ring[2*i].Load()
		invariant.Point("virtq.D3")
		if i++; i == p.size {
			i, wrap = 0, !wrap
		}
		flags := uint16(hi >> 48)
		var err *BrokenError
		if flags&flagIndirect == 0 {
			err = c.add(d.memory, lo, uint32(hi), flags&flagWrite != 0)
		} else if err = d.tableFlags(flags); err == nil {
			err = d.addTable(c, lo, uint32(hi))
		}
		if err != nil {
			return false, d.failed(err)
		}
		if flags&flagNext == 0 {
			c.id, c.count = uint16(hi>>32), uint16(n)
			p.pos, p.wrap = i, wrap
			d.inflight += n
			return true, nil
		}
	}
}

// emit is U1: the word of an entry that stands for a chain of count entries.
func (p *packedDevice) emit(id, count uint16, length uint32) {
	w := uint64(length) | uint64(id)<<32 | usedFlags(p.usedWrap)
	if length > 0 {
		w |= flagWrite << 48
	}
	if p.count == 0 {
		p.first, p.word = p.next, w
	} else {
		mem.StoreRelease(&p.ring[2*p.next+1], w)
		invariant.Point("virtq.U1")
	}
	p.count += uint32(count)
	if p.next += uint32(count); p.next >= p.size {
		p.next, p.usedWrap = p.next-p.size, !p.usedWrap
	}
}

// call is U2 and U3.
func (p *packedDevice) call(d *Device) (bool, error) {
	if p.count == 0 {
		return false, nil
	}
	n := p.count
	p.count = 0
	p.ring[2*p.first+1].Store(p.word) // edge: used, call
	invariant.Point("virtq.U2")
	w := p.wish.Load()
	notify, ok := wanted(w, p.size, p.next, n, p.usedWrap, p.eventOn)
	if !ok {
		return true, d.fail("driver event", uint64(w), "an entry of the ring")
	}
	return notify, nil
}

// enable is W1 and W2.
func (p *packedDevice) enable() bool {
	w := uint32(eventEnable)
	if p.eventOn {
		w = p.pos | eventDesc<<16
		if p.wrap {
			w |= 0x8000
		}
	}
	p.event.Store(w) // edge: kick
	invariant.Point("virtq.W1")
	more := p.ring[2*p.pos+1].Load()&wrapFlags == availFlags(p.wrap)
	invariant.Point("virtq.W2")
	return more
}
