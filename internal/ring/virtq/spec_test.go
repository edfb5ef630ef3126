package virtq

import (
	"encoding/binary"
	"fmt"
)

// A second implementation of both sides and both layouts, for the tests, written
// from the text of the virtio specification, chapter 2, and not from this
// package: positions that never wrap, plain bytes, naive loops, nothing shared
// with the code under test but the addresses.

// specRing is where a queue is.
type specRing struct {
	bytes        []byte // of the memory that begins at base
	size         uint64
	packed       bool
	indirect     bool
	inOrder      bool
	event        bool
	desc         uint64
	driver       uint64
	device       uint64
	tables       uint64
	tableEntries uint64
}

func newSpecRing(r *rig) specRing {
	c := r.c
	return specRing{
		r.bytes, uint64(c.Size), c.Features.Has(RingPacked), c.Features.Has(IndirectDesc), c.Features.Has(InOrder),
		c.Features.Has(EventIdx), c.Desc, c.Driver, c.Device, c.Tables, uint64(c.TableLen),
	}
}

func (s *specRing) le16(addr uint64) uint16 { return binary.LittleEndian.Uint16(s.bytes[addr-base:]) }
func (s *specRing) le32(addr uint64) uint32 { return binary.LittleEndian.Uint32(s.bytes[addr-base:]) }
func (s *specRing) le64(addr uint64) uint64 { return binary.LittleEndian.Uint64(s.bytes[addr-base:]) }
func (s *specRing) set16(addr uint64, v int) {
	binary.LittleEndian.PutUint16(s.bytes[addr-base:], uint16(v))
}
func (s *specRing) set32(addr uint64, v int64) {
	binary.LittleEndian.PutUint32(s.bytes[addr-base:], uint32(v))
}
func (s *specRing) set64(addr, v uint64) { binary.LittleEndian.PutUint64(s.bytes[addr-base:], v) }

// wrapCounter at a position of a packed ring: it starts at 1 and changes with
// each round.
func (s *specRing) wrapCounter(pos uint64) int { return 1 - int(pos/s.size%2) }

// eventHit says whether the notification that the other side wants at the event
// structure at addr is due when positions [from, to) were made available or used.
func (s *specRing) packedEvent(addr, from, to uint64) bool {
	if from == to {
		return false
	}
	switch s.le16(addr+2) & 3 {
	case 1:
		return false
	case 2:
		for p := from; p < to; p++ {
			if s.le16(addr) == uint16(int(p%s.size)|s.wrapCounter(p)<<15) {
				return true
			}
		}
		return false
	}
	return true
}

// splitEvent is the same for a split ring: the index at addr, or the flags.
func (s *specRing) splitEvent(flags, index, from, to uint64) bool {
	if !s.event {
		return from != to && s.le16(flags)&1 == 0
	}
	for p := from; p < to; p++ {
		if s.le16(index) == uint16(p) {
			return true
		}
	}
	return false
}

// The side that each test drives: ours or the specification's.
type driverSide interface {
	add(readable, writable []Buffer, token uint64)
	kick() bool
	reap() (Used, bool)
	enable() bool
	disable()
}

type deviceSide interface {
	pop() (*served, bool)
	push(s *served, written uint64)
	call() bool
	enable() bool
	disable()
}

// served is a chain at a device.
type served struct {
	readable, writable [][]byte
	chain              *Chain // ours
	id                 uint16 // the specification's
	entries            uint64
}

// specDriver drives a queue as section 2.7.13 and 2.8.21 say.
type specDriver struct {
	specRing
	tokens  map[uint16]specFlight
	order   []uint16
	avail   uint64 // position of the next available entry: of the ring of heads, or of the packed ring
	shown   uint64 // what the device was told
	used    uint64
	nextRow uint64 // split, in order: the next descriptor of the table
	skipped int    // chains before the one that the device named
	told    uint32 // what it said of that one
	late    func() // packed: makes the batch's first entry available
}

type specFlight struct {
	token    uint64
	rows     []uint64 // split: descriptors
	entries  uint64
	writable uint32
}

func (d *specDriver) freeID() uint16 {
	for id := uint16(0); ; id++ {
		if _, busy := d.tokens[id]; !busy {
			return id
		}
	}
}

// freeRows finds n descriptors of the table that no chain has.
func (d *specDriver) freeRows(n int) (rows []uint64) {
	if d.inOrder {
		for range n {
			rows = append(rows, d.nextRow%d.size)
			d.nextRow++
		}
		return rows
	}
	taken := map[uint64]bool{}
	for _, f := range d.tokens {
		for _, row := range f.rows {
			taken[row] = true
		}
	}
	for row := d.size; row > 0 && len(rows) < n; row-- {
		if !taken[row-1] {
			rows = append(rows, row-1)
		}
	}
	if len(rows) < n {
		panic("table is full")
	}
	return rows
}

func (d *specDriver) add(readable, writable []Buffer, token uint64) {
	all := append(append([]Buffer{}, readable...), writable...)
	f := specFlight{token: token}
	for _, b := range writable {
		f.writable += b.Len
	}
	table := d.indirect && len(all) > 1 && uint64(len(all)) <= d.tableEntries
	if d.packed {
		id := d.freeID()
		f.entries = uint64(len(all))
		if table {
			f.entries = 1
		}
		d.addPacked(all, len(readable), id, table)
		d.tokens[id] = f
		d.order = append(d.order, id)
		return
	}
	rows := 1
	if !table {
		rows = len(all)
	}
	f.rows, f.entries = d.freeRows(rows), 1
	head := uint16(f.rows[0])
	if table {
		at := d.tables + f.rows[0]*d.tableEntries*16
		// The table's own order is backwards: its first descriptor is number 0.
		row := func(i int) uint64 {
			if i == 0 {
				return 0
			}
			return uint64(len(all) - i)
		}
		for i, b := range all {
			next := uint64(0)
			if i+1 < len(all) {
				next = row(i + 1)
			}
			d.row(at+row(i)*16, b, i >= len(readable), i+1 < len(all), next)
		}
		d.set64(d.desc+f.rows[0]*16, at)
		d.set32(d.desc+f.rows[0]*16+8, int64(len(all)*16))
		d.set16(d.desc+f.rows[0]*16+12, 4)
	} else {
		for i, b := range all {
			next := uint64(0)
			if i+1 < len(all) {
				next = f.rows[i+1]
			}
			d.row(d.desc+f.rows[i]*16, b, i >= len(readable), i+1 < len(all), next)
		}
	}
	d.set16(d.driver+4+d.avail%d.size*2, int(head))
	d.avail++
	d.tokens[head] = f
	d.order = append(d.order, head)
}

func (d *specDriver) row(at uint64, b Buffer, write, more bool, next uint64) {
	flags := 0
	if more {
		flags |= 1
	}
	if write {
		flags |= 2
	}
	d.set64(at, b.Addr)
	d.set32(at+8, int64(b.Len))
	d.set16(at+12, flags)
	d.set16(at+14, int(next))
}

func (d *specDriver) addPacked(all []Buffer, readable int, id uint16, table bool) {
	entry := func(pos uint64, addr uint64, length uint32, flags int) func() {
		at := d.desc + pos%d.size*16
		if d.wrapCounter(pos) == 1 {
			flags |= 1 << 7
		} else {
			flags |= 1 << 15
		}
		d.set64(at, addr)
		d.set32(at+8, int64(length))
		d.set16(at+12, int(id))
		return func() { d.set16(at+14, flags) }
	}
	var shows []func()
	if table {
		at := d.tables + uint64(id)*d.tableEntries*16
		for i, b := range all {
			flags := 0
			if i >= readable {
				flags = 2
			}
			d.set64(at+uint64(i)*16, b.Addr)
			d.set32(at+uint64(i)*16+8, int64(b.Len))
			d.set16(at+uint64(i)*16+12, 0xDEAD) // reserved: ignored
			d.set16(at+uint64(i)*16+14, flags)
		}
		shows = append(shows, entry(d.avail, at, uint32(len(all)*16), 4))
		d.avail++
	} else {
		for i, b := range all {
			flags := 0
			if i+1 < len(all) {
				flags |= 1
			}
			if i >= readable {
				flags |= 2
			}
			shows = append(shows, entry(d.avail, b.Addr, b.Len, flags))
			d.avail++
		}
	}
	for i := len(shows) - 1; i > 0; i-- {
		shows[i]()
	}
	if d.late == nil {
		d.late = shows[0]
	} else {
		shows[0]()
	}
}

func (d *specDriver) kick() (notify bool) {
	if d.packed {
		if d.late != nil {
			d.late()
			d.late = nil
		}
		notify = d.packedEvent(d.device, d.shown, d.avail)
	} else {
		d.set16(d.driver+2, int(d.avail%65536))
		notify = d.splitEvent(d.device, d.device+4+8*d.size, d.shown, d.avail)
	}
	d.shown = d.avail
	return notify
}

func (d *specDriver) pending() bool {
	if d.packed {
		flags, w := int(d.le16(d.desc+d.used%d.size*16+14)), d.wrapCounter(d.used)
		return flags>>7&1 == w && flags>>15&1 == w
	}
	return d.le16(d.device+2) != uint16(d.used)
}

func (d *specDriver) reap() (Used, bool) {
	if d.skipped == 0 {
		if !d.pending() {
			return Used{}, false
		}
		var id uint16
		if d.packed {
			at := d.desc + d.used%d.size*16
			id, d.told = d.le16(at+12), d.le32(at+8)
			if d.le16(at+14)&2 == 0 {
				d.told = 0
			}
		} else {
			at := d.device + 4 + d.used%d.size*8
			id, d.told = uint16(d.le32(at)), d.le32(at+4)
		}
		if _, ok := d.tokens[id]; !ok {
			panic(fmt.Sprintf("used id %d is not in flight", id))
		}
		if d.inOrder {
			for d.order[d.skipped] != id {
				d.skipped++
			}
			d.skipped++
		} else {
			f := d.tokens[id]
			delete(d.tokens, id)
			d.used += f.entries
			return Used{f.token, d.told}, true
		}
	}
	id := d.order[0]
	d.order = d.order[1:]
	f := d.tokens[id]
	delete(d.tokens, id)
	d.used += f.entries
	n := f.writable
	if d.skipped--; d.skipped == 0 {
		n = d.told
	}
	return Used{f.token, n}, true
}

func (d *specDriver) enable() bool {
	if d.packed {
		d.set16(d.driver, int(d.used%d.size)|d.wrapCounter(d.used)<<15)
		d.set16(d.driver+2, map[bool]int{true: 2}[d.event])
	} else if d.event {
		d.set16(d.driver+4+2*d.size, int(d.used%65536))
	} else {
		d.set16(d.driver, 0)
	}
	return d.skipped > 0 || d.pending()
}

func (d *specDriver) disable() {
	if d.packed {
		d.set16(d.driver+2, 1)
	} else if !d.event {
		d.set16(d.driver, 1)
	}
}

// specDevice serves a queue as section 2.7.14 and 2.8.22 say.
type specDevice struct {
	specRing
	avail uint64
	used  uint64
	shown uint64
	late  func()
}

func (d *specDevice) pending() bool {
	if d.packed {
		flags, w := int(d.le16(d.desc+d.avail%d.size*16+14)), d.wrapCounter(d.avail)
		return flags>>7&1 == w && flags>>15&1 != w
	}
	return d.le16(d.driver+2) != uint16(d.avail)
}

func (s *served) take(d *specDevice, at uint64, write bool) {
	addr, n := d.le64(at), d.le32(at+8)
	b := d.bytes[addr-base : addr-base+uint64(n)]
	if write {
		s.writable = append(s.writable, b)
	} else {
		s.readable = append(s.readable, b)
	}
}

func (d *specDevice) pop() (*served, bool) {
	if !d.pending() {
		return nil, false
	}
	s := &served{}
	if d.packed {
		for more := true; more; {
			at := d.desc + d.avail%d.size*16
			flags := d.le16(at + 14)
			s.id, more = d.le16(at+12), flags&1 != 0
			if flags&4 != 0 {
				for i := uint64(0); i < uint64(d.le32(at+8)); i += 16 {
					s.take(d, d.le64(at)+i, d.le16(d.le64(at)+i+14)&2 != 0)
				}
			} else {
				s.take(d, at, flags&2 != 0)
			}
			d.avail++
			s.entries++
		}
		return s, true
	}
	s.id, s.entries = d.le16(d.driver+4+d.avail%d.size*2), 1
	d.avail++
	table, row := d.desc, uint64(s.id)
	for {
		at := table + row*16
		switch flags := d.le16(at + 12); {
		case flags&4 != 0:
			table, row = d.le64(at), 0
		case flags&1 != 0:
			s.take(d, at, flags&2 != 0)
			row = uint64(d.le16(at + 14))
		default:
			s.take(d, at, flags&2 != 0)
			return s, true
		}
	}
}

func (d *specDevice) push(s *served, written uint64) {
	if !d.packed {
		at := d.device + 4 + d.used%d.size*8
		d.set32(at, int64(s.id))
		d.set32(at+4, int64(written))
		d.used++
		return
	}
	at, w := d.desc+d.used%d.size*16, d.wrapCounter(d.used)
	flags := w<<7 | w<<15
	if written > 0 {
		flags |= 2
	}
	show := func() {
		d.set16(at+12, int(s.id))
		d.set32(at+8, int64(written))
		d.set16(at+14, flags)
	}
	if d.late == nil {
		d.late = show
	} else {
		show()
	}
	d.used += s.entries
}

func (d *specDevice) call() (notify bool) {
	if d.packed {
		if d.late != nil {
			d.late()
			d.late = nil
		}
		notify = d.packedEvent(d.driver, d.shown, d.used)
	} else {
		d.set16(d.device+2, int(d.used%65536))
		notify = d.splitEvent(d.driver, d.driver+4+2*d.size, d.shown, d.used)
	}
	d.shown = d.used
	return notify
}

func (d *specDevice) enable() bool {
	if d.packed {
		d.set16(d.device, int(d.avail%d.size)|d.wrapCounter(d.avail)<<15)
		d.set16(d.device+2, map[bool]int{true: 2}[d.event])
	} else if d.event {
		d.set16(d.device+4+8*d.size, int(d.avail%65536))
	} else {
		d.set16(d.device, 0)
	}
	return d.pending()
}

func (d *specDevice) disable() {
	if d.packed {
		d.set16(d.device+2, 1)
	} else if !d.event {
		d.set16(d.device, 1)
	}
}
