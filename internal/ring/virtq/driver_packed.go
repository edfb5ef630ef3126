package virtq

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// packedDriver is the driver's part of a packed ring.
type packedDriver struct {
	ring  []atomic.Uint64
	event *atomic.Uint32 // ours
	wish  *atomic.Uint32 // the device's

	size     uint32
	eventOn  bool
	ids      []uint16 // free ones, used from the end
	pos      uint32   // next available entry
	wrap     bool
	last     uint32 // next used entry
	lastWrap bool

	// The batch that Kick publishes: its first entry's word is not stored yet.
	first uint32
	word  uint64
	count uint32 // entries
}

func (p *packedDriver) open(d *Driver, desc, driver, device []byte) {
	n := d.config.Size
	*p = packedDriver{
		ring: mem.U64s(desc, 0, 2*n), size: uint32(n), eventOn: d.features.Has(EventIdx),
		event: mem.U32(driver, int(d.config.Driver&7)), wish: mem.U32(device, int(d.config.Device&7)),
		wrap: true, lastWrap: true,
	}
	for i := range n {
		p.ids = append(p.ids, uint16(n-1-i))
	}
	for i := range p.ring {
		p.ring[i].Store(0)
	}
	p.event.Store(0)
	p.wish.Store(0)
}

// availFlags are the flags of an available entry, at their place in the word.
func availFlags(wrap bool) uint64 {
	if wrap {
		return flagAvail << 48
	}
	return flagUsed << 48
}

// usedFlags are those of a used one.
func usedFlags(wrap bool) uint64 {
	if wrap {
		return (flagAvail | flagUsed) << 48
	}
	return 0
}

const wrapFlags = (flagAvail | flagUsed) << 48

// add is A1 and A2.
func (p *packedDriver) add(d *Driver, readable, writable []Buffer, table bool) uint16 {
	id := p.ids[len(p.ids)-1]
	p.ids = p.ids[:len(p.ids)-1]
	first, wrap := p.pos, p.wrap
	var head uint64 // of the word of the chain's first entry
	if table {
		addr, length := d.fillTable(uint32(id), readable, writable)
		mem.StoreRelease(&p.ring[2*first], addr)
		invariant.Point("virtq.A1")
		head = uint64(length) | uint64(id)<<32 | flagIndirect<<48 | availFlags(wrap)
		p.step()
	} else {
		left := len(readable) + len(writable)
		for i, b := range readable {
			left--
			if w := p.put(b, id, 0, left); i == 0 {
				head = w
			} else {
				p.store(w)
			}
			p.step()
		}
		for i, b := range writable {
			left--
			if w := p.put(b, id, flagWrite, left); i == 0 && len(readable) == 0 {
				head = w
			} else {
				p.store(w)
			}
			p.step()
		}
	}
	if p.count == 0 {
		p.first, p.word = first, head
	} else {
		mem.StoreRelease(&p.ring[2*first+1], head)
		invariant.Point("virtq.A2")
	}
	p.count += (p.pos+p.size-first-1)%p.size + 1
	return id
}

// put writes the address of the entry at pos, and returns its word.
func (p *packedDriver) put(b Buffer, id uint16, flags uint64, left int) uint64 {
	if left > 0 {
		flags |= flagNext
	}
	mem.StoreRelease(&p.ring[2*p.pos], b.Addr)
	return uint64(b.Len) | uint64(id)<<32 | flags<<48 | availFlags(p.wrap)
}

func (p *packedDriver) store(w uint64) {
	mem.StoreRelease(&p.ring[2*p.pos+1], w)
	invariant.Point("virtq.A1")
}

func (p *packedDriver) step() {
	if p.pos++; p.pos == p.size {
		p.pos, p.wrap = 0, !p.wrap
	}
}

// kick is A3 and A4.
func (p *packedDriver) kick(d *Driver) (bool, error) {
	if p.count == 0 {
		return false, nil
	}
	n := p.count
	p.count = 0
	p.ring[2*p.first+1].Store(p.word) // edge: available, kick
	invariant.Point("virtq.A3")
	w := p.wish.Load()
	notify, ok := wanted(w, p.size, p.pos, n, p.wrap, p.eventOn)
	if !ok {
		return true, d.fail("device event", uint64(w), "an entry of the ring")
	}
	return notify, nil
}

// wanted says whether the event word w asks for a notification when the n
// entries before pos were published; ok is false if it asks for an entry that
// does not exist.
func wanted(w, size, pos, n uint32, wrap, eventOn bool) (notify, ok bool) {
	switch flags := w >> 16 & 3; {
	case flags == eventDisable:
		return false, true
	case flags != eventDesc || !eventOn:
		return true, true
	}
	at := w & 0x7FFF
	if at >= size {
		return false, false
	}
	if (w&0x8000 != 0) != wrap {
		at -= size
	}
	return uint16(pos-at-1) < uint16(n), true
}

// used is B1: the next entry, if the device has returned it.
func (p *packedDriver) used(d *Driver) (id, n uint32, ok bool) {
	w := p.ring[2*p.last+1].Load() // edge: used
	invariant.Point("virtq.B1")
	if w&wrapFlags != usedFlags(p.lastWrap) || d.chains == 0 {
		return 0, 0, false
	}
	id, n = uint32(w>>32)&0xFFFF, uint32(w)
	if w&(flagWrite<<48) == 0 && id < p.size && n > d.flights[id].writable {
		n = 0 // reserved, and not a length
	}
	return id, n, true
}

// release gives the id and the entries of a chain back.
func (p *packedDriver) release(_ *Driver, id, count uint32) {
	p.ids = append(p.ids, uint16(id))
	if p.last += count; p.last >= p.size {
		p.last, p.lastWrap = p.last-p.size, !p.lastWrap
	}
}

// enable is E1 and E2.
func (p *packedDriver) enable(d *Driver, ahead uint32) bool {
	w := uint32(eventEnable)
	if p.eventOn {
		at, wrap := p.last+ahead, p.lastWrap
		if at >= p.size {
			at, wrap = at-p.size, !wrap
		}
		w = at | eventDesc<<16
		if wrap {
			w |= 0x8000
		}
	}
	p.event.Store(w) // edge: call
	invariant.Point("virtq.E1")
	more := p.waiting(d)
	invariant.Point("virtq.E2")
	return more
}

// waiting says whether the next entry is used.
func (p *packedDriver) waiting(d *Driver) bool {
	used := p.ring[2*p.last+1].Load()
	return d.chains > 0 && used&wrapFlags == usedFlags(p.lastWrap)
}
