package virtq

import "github.com/ringbus/ringbus/internal/mem"

// State is where a device goes on in a queue that was in use before. The zero
// value is the beginning.
type State struct {
	Avail uint16 // split: the next available index; packed: the next available entry
	Used  uint16 // the same for used ones

	// Packed: the wrap counters are 0. They begin with 1.
	AvailWrapped bool
	UsedWrapped  bool
}

// done is a chain that was popped from a queue with IN_ORDER.
type done struct {
	id, count uint16
	length    uint32
	full      bool // all of its writable part was written
	ready     bool // pushed
}

// Device is the side that uses the chains. One goroutine at a time uses it.
type Device struct {
	config   Config
	memory   *Memory
	features Features
	packed   bool
	broken   error

	inflight int // split: chains; packed: entries
	popped   uint32
	pushed   uint32 // IN_ORDER: chains returned, in order
	order    []done // IN_ORDER: chains in flight, at [pushed, popped) mod Size

	split splitDevice
	ring  packedDevice
}

// NewDevice makes the device side of a queue.
func NewDevice(m *Memory, c Config, s State) (*Device, error) {
	desc, driver, device, err := c.parts(m)
	if err != nil {
		return nil, err
	}
	d := &Device{config: c, memory: m, features: c.Features, packed: c.Features.Has(RingPacked)}
	if d.packed && (int(s.Avail) >= c.Size || int(s.Used) >= c.Size) {
		return nil, &LayoutError{"state", uint64(max(s.Avail, s.Used)), "an entry of the ring"}
	}
	if c.Features.Has(InOrder) {
		d.order = make([]done, c.Size)
	}
	if d.packed {
		d.ring.open(d, desc, driver, device, s)
	} else {
		d.split.open(d, desc, driver, device, s)
	}
	return d, nil
}

// Config returns what NewDevice was given.
func (d *Device) Config() Config { return d.config }

// Err returns why the queue is of no use any more, nil while it is.
func (d *Device) Err() error { return d.broken }

// InFlight is what was popped and not pushed: chains of a split ring, entries of
// a packed one.
func (d *Device) InFlight() int { return d.inflight }

// State is where another device could go on, once nothing is in flight and Call
// was called.
func (d *Device) State() State {
	if d.packed {
		return State{uint16(d.ring.pos), uint16(d.ring.next), !d.ring.wrap, !d.ring.usedWrap}
	}
	return State{Avail: d.split.last, Used: d.split.idx}
}

func (d *Device) fail(field string, have uint64, want string) error {
	return d.failed(&BrokenError{field, have, want})
}

func (d *Device) failed(err *BrokenError) error {
	if d.broken == nil {
		d.broken = err
	}
	return d.broken
}

// Pop takes the next chain; ok is false if there is none. c must not be one that
// is in flight.
func (d *Device) Pop(c *Chain) (ok bool, err error) {
	if c.live {
		panic("virtq: Pop into a chain in flight")
	}
	if d.broken != nil {
		return false, d.broken
	}
	c.reset()
	if d.packed {
		ok, err = d.ring.pop(d, c)
	} else {
		ok, err = d.split.pop(d, c)
	}
	if !ok {
		c.reset()
		return false, err
	}
	c.live, c.seq = true, d.popped
	if d.order != nil {
		d.order[d.slot(d.popped)] = done{id: c.id, count: c.count}
	}
	d.popped++
	return true, nil
}

func (d *Device) slot(seq uint32) uint32 { return seq % uint32(d.config.Size) }

// PopMany is Pop for up to len(cs) chains; it returns how many there were.
func (d *Device) PopMany(cs []Chain) (n int, err error) {
	for n < len(cs) {
		ok, err := d.Pop(&cs[n])
		if !ok {
			return n, err
		}
		n++
	}
	return n, nil
}

// Push returns c, of whose writable part the first written bytes were written.
// The driver sees it after the next Call. With IN_ORDER it sees it when all
// chains popped before were pushed too.
func (d *Device) Push(c *Chain, written uint64) error {
	if !c.live {
		panic("virtq: Push of a chain that is not in flight")
	}
	if written > c.writable {
		panic("virtq: more was written than is writable")
	}
	c.live = false
	if d.broken != nil {
		return d.broken
	}
	length := uint32(min(written, 1<<32-1))
	if d.order == nil {
		d.emit(c.id, c.count, 1, length)
		d.split.release(c.id)
		return nil
	}
	o := &d.order[d.slot(c.seq)]
	o.length, o.full, o.ready = length, written == c.writable, true
	return nil
}

// PushMany is Push for several.
func (d *Device) PushMany(cs []Chain, written []uint64) error {
	for i := range cs {
		if err := d.Push(&cs[i], written[i]); err != nil {
			return err
		}
	}
	return nil
}

// emit writes a used element that stands for so many chains and entries.
func (d *Device) emit(id, count uint16, chains uint16, length uint32) {
	if d.packed {
		d.inflight -= int(count)
		d.ring.emit(id, count, length)
	} else {
		d.inflight -= int(chains)
		d.split.emit(id, chains, length)
	}
}

// emitInOrder returns the oldest chains that were pushed. One element stands for
// several if the driver learns nothing less from it: it takes those before the
// last for written to the end.
func (d *Device) emitInOrder() {
	chains, count := uint16(0), uint16(0)
	for d.pushed != d.popped && d.order[d.slot(d.pushed)].ready {
		o := &d.order[d.slot(d.pushed)]
		o.ready = false
		d.pushed++
		chains++
		count += o.count
		d.split.release(o.id)
		last := d.pushed == d.popped || !d.order[d.slot(d.pushed)].ready
		if last || !o.full {
			d.emit(o.id, count, chains, o.length)
			chains, count = 0, 0
		}
	}
}

// Call publishes what was pushed since the last Call, at once, and says whether
// the driver wants to be notified of it.
func (d *Device) Call() (notify bool, err error) {
	if d.broken != nil {
		return false, d.broken
	}
	if d.order != nil {
		d.emitInOrder()
	}
	if d.packed {
		return d.ring.call(d)
	}
	return d.split.call(), nil
}

// DisableKick asks the driver for no notifications. Some may come even so: with
// EVENT_IDX a split ring can only leave an old wish in place.
func (d *Device) DisableKick() {
	if d.packed {
		mem.StoreRelease32(d.ring.event, eventDisable<<16)
	} else if !d.features.Has(EventIdx) {
		mem.StoreRelease32(d.split.state, uint32(d.split.called)<<16|suppress)
		d.split.flags = suppress
	}
}

// EnableKick asks for a notification of the next chain. If it returns true there
// is one already: pop before you sleep.
func (d *Device) EnableKick() (more bool) {
	if d.broken != nil {
		return true
	}
	if d.packed {
		return d.ring.enable()
	}
	return d.split.enable(d)
}
