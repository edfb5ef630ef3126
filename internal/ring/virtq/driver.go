package virtq

import "github.com/ringbus/ringbus/internal/mem"

// Buffer is a piece of memory, by the driver's address.
type Buffer struct {
	Addr uint64
	Len  uint32
}

// Used is a chain that the device has returned.
type Used struct {
	Token uint64 // what Add was given
	Len   uint32 // bytes that the device says it wrote; at most the chain's writable ones
}

// flight is what the driver knows of a chain under its id.
type flight struct {
	token    uint64
	writable uint32 // bytes
	count    uint16 // descriptors in the ring
	busy     bool
	seq      uint32 // chains added before it
}

// Driver is the side that makes chains available. One goroutine at a time
// uses it.
type Driver struct {
	config   Config
	features Features
	packed   bool
	broken   error

	flights []flight // by id: split the first descriptor, packed the buffer id
	free    int      // descriptors of the ring that are not in flight
	chains  int      // in flight
	added   uint32   // chains ever
	kicked  uint32   // of them published
	reaped  uint32

	// IN_ORDER: chains in flight, oldest first, at [reaped, added) mod Size.
	order []uint16
	// The device returned so many chains at once; it said the length of the last.
	batch    int
	batchLen uint32

	tables []tableWords
	split  splitDriver
	ring   packedDriver
}

// NewDriver makes the driver side of a queue that no device uses yet, and
// clears its memory.
func NewDriver(m *Memory, c Config) (*Driver, error) {
	desc, driver, device, err := c.parts(m)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		config: c, features: c.Features, packed: c.Features.Has(RingPacked), free: c.Size,
		flights: make([]flight, c.Size),
	}
	if c.Features.Has(InOrder) {
		d.order = make([]uint16, c.Size)
	}
	if err := d.openTables(m); err != nil {
		return nil, err
	}
	if d.packed {
		d.ring.open(d, desc, driver, device)
	} else {
		d.split.open(d, desc, driver, device)
	}
	return d, nil
}

// Config returns what NewDriver was given.
func (d *Driver) Config() Config { return d.config }

// Err returns why the queue is of no use any more, nil while it is.
func (d *Driver) Err() error { return d.broken }

// InFlight is the number of chains that the device has not returned.
func (d *Driver) InFlight() int { return d.chains }

// Free is the number of descriptors that the ring has room for.
func (d *Driver) Free() int { return d.free }

func (d *Driver) fail(field string, have uint64, want string) error {
	if d.broken == nil {
		d.broken = &BrokenError{field, have, want}
	}
	return d.broken
}

// Add makes a chain of buffers, the readable ones first; the device sees it
// after the next Kick. token comes back from Reap. The error is ErrFull, a
// TooLongError, or that of a broken queue. A chain of no buffers, or with one of
// no bytes, is the caller's mistake.
func (d *Driver) Add(readable, writable []Buffer, token uint64) error {
	if d.broken != nil {
		return d.broken
	}
	n := len(readable) + len(writable)
	total := check(readable) + check(writable)
	if n == 0 || total > maxBytes {
		panic("virtq: a chain has 1 byte to 2^32")
	}
	if n > d.config.Size {
		return &TooLongError{n, d.config.Size}
	}
	table := d.indirect(n)
	need := n
	if table {
		need = 1
	}
	if need > d.free || d.chains == d.config.Size {
		return ErrFull
	}
	f := flight{token: token, count: uint16(need), busy: true, seq: d.added}
	f.writable = uint32(min(sum(writable), 1<<32-1))
	var id uint16
	if d.packed {
		id = d.ring.add(d, readable, writable, table)
	} else {
		id = d.split.add(d, readable, writable, table)
	}
	d.flights[id] = f
	if d.order != nil {
		d.order[int(d.added%uint32(d.config.Size))] = id
	}
	d.added++
	d.chains++
	d.free -= need
	return nil
}

func check(bs []Buffer) (total uint64) {
	for _, b := range bs {
		if b.Len == 0 {
			panic("virtq: buffer of no bytes")
		}
		total += uint64(b.Len)
	}
	return total
}

func sum(bs []Buffer) (total uint64) {
	for _, b := range bs {
		total += uint64(b.Len)
	}
	return total
}

// Kick publishes what was added since the last Kick, at once, and says whether
// the device wants to be notified of it.
func (d *Driver) Kick() (notify bool, err error) {
	if d.broken != nil {
		return false, d.broken
	}
	d.kicked = d.added
	if d.packed {
		return d.ring.kick(d)
	}
	return d.split.kick(d), nil
}

// NotificationData is what a notification of queue says where
// NOTIFICATION_DATA was agreed on: which queue, and up to where.
func (d *Driver) NotificationData(queue uint16) uint32 {
	if d.packed {
		data := uint32(queue) | d.ring.pos<<16
		if d.ring.wrap {
			data |= 1 << 31
		}
		return data
	}
	return uint32(queue) | uint32(d.split.idx)<<16
}

// Reap takes a chain that the device has returned; ok is false if there is
// none.
func (d *Driver) Reap() (u Used, ok bool, err error) {
	if d.broken != nil {
		return Used{}, false, d.broken
	}
	if d.batch > 0 {
		return d.reapBatch(), true, nil
	}
	var id, n uint32
	if d.packed {
		id, n, ok = d.ring.used(d)
	} else {
		id, n, ok = d.split.used(d)
	}
	if !ok {
		return Used{}, false, d.broken
	}
	if id >= uint32(d.config.Size) || !d.flights[id].busy || int32(d.flights[id].seq-d.kicked) >= 0 {
		return Used{}, false, d.fail("used id", uint64(id), "the id of a chain in flight")
	}
	if n > d.flights[id].writable {
		return Used{}, false, d.fail("used length", uint64(n), "at most the chain's writable part")
	}
	if d.order != nil {
		// The chains up to this one are used.
		d.batch = int(d.flights[id].seq - d.reaped + 1)
		d.batchLen = n
		if !d.packed && d.batch > int(d.split.waiting()) {
			return Used{}, false, d.fail("used id", uint64(id), "of a chain no later than the used index says")
		}
		return d.reapBatch(), true, nil
	}
	return d.release(id, n), true, nil
}

// reapBatch takes the oldest of the chains that were returned at once. Those
// before the last were written to completely.
func (d *Driver) reapBatch() Used {
	id := uint32(d.order[int(d.reaped%uint32(d.config.Size))])
	n := d.batchLen
	if d.batch--; d.batch > 0 {
		n = d.flights[id].writable
	}
	return d.release(id, n)
}

// release takes chain id out of flight.
func (d *Driver) release(id, n uint32) Used {
	f := &d.flights[id]
	u := Used{f.token, n}
	f.busy = false
	d.chains--
	d.free += int(f.count)
	d.reaped++
	if d.packed {
		d.ring.release(d, id, uint32(f.count))
	} else {
		d.split.release(d, id, uint32(f.count))
	}
	return u
}

// ReapMany is Reap for up to len(us) chains; it returns how many there were.
func (d *Driver) ReapMany(us []Used) (n int, err error) {
	for n < len(us) {
		u, ok, err := d.Reap()
		if !ok {
			return n, err
		}
		us[n] = u
		n++
	}
	return n, nil
}

// DisableCall asks the device for no notifications. Some may come even so: with
// EVENT_IDX a split ring can only leave an old wish in place.
func (d *Driver) DisableCall() {
	if d.packed {
		mem.StoreRelease32(d.ring.event, eventDisable<<16)
	} else if !d.features.Has(EventIdx) {
		d.split.flags.StoreRelease(suppress)
	}
}

// EnableCall asks for a notification of the next chain that the device returns.
// If it returns true there is one already: reap before you sleep.
func (d *Driver) EnableCall() (more bool) { return d.enable(0) }

// EnableCallLater is EnableCall, but with EVENT_IDX only of the chain with which
// three quarters of what is in flight are returned.
func (d *Driver) EnableCallLater() (more bool) {
	if d.packed {
		return d.enable(uint32(d.config.Size-d.free) * 3 / 4)
	}
	return d.enable(uint32(d.chains) * 3 / 4)
}

func (d *Driver) enable(ahead uint32) bool {
	if d.broken != nil || d.batch > 0 {
		return true
	}
	if d.packed {
		return d.ring.enable(d, ahead)
	}
	return d.split.enable(d, ahead)
}

// Detach takes back the chains in flight, in no order, when the queue or its
// device was reset. The queue is of no use after that; a new one may be made in
// its place, of another size if need be.
func (d *Driver) Detach(f func(token uint64)) {
	if d.broken == nil {
		d.broken = ErrDetached
	}
	for i := range d.flights {
		if fl := &d.flights[i]; fl.busy {
			fl.busy = false
			f(fl.token)
		}
	}
	d.chains, d.batch = 0, 0
}

// Waiting says whether Reap would take a chain, or fail.
func (d *Driver) Waiting() (more bool, err error) {
	if d.broken != nil {
		return false, d.broken
	}
	if d.batch > 0 {
		return true, nil
	}
	if d.packed {
		return d.ring.waiting(d), nil
	}
	return d.split.last != d.split.seen || d.split.look(d), d.broken
}
