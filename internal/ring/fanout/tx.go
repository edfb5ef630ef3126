package fanout

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Tx is the publisher's end of a lane. One goroutine at a time uses it.
//
// What decides which payload may be written again (head, free, retired, the
// descriptor of each entry) is private and never read back from shared memory
// while the lane is open.
type Tx struct {
	lane  *Lane
	topic *Topic
	ring  func(wake.Bell)
	word  owned // the lane's owner word while we have it

	head    uint64 // next position
	allowed uint64 // positions below may be published without another look
	ahead   uint64 // how many positions ahead an entry's lines are fetched
	limit   uint64 // what the lane's limit word says

	desc    []uint32 // descriptor of each entry, noDescriptor where inline
	free    []uint32 // nobody can hold these
	retired []uint32 // unlinked, to be looked at
	held    []uint64 // scratch of reclaim, one bit per descriptor
	loaned  int
	bytes   uint64
}

// Head is the number of messages ever published on the lane.
func (x *Tx) Head() uint64 { return x.head }

// Lane returns the lane that x publishes on.
func (x *Tx) Lane() *Lane { return x.lane }

// Send publishes b, which is at most MaxMessage bytes long; now is the
// message's time in ns since 1970, 0 for none. It returns false if there is no
// room, and publishes nothing then.
func (x *Tx) Send(b []byte, now int64) bool {
	if len(b) > firstLine && len(b) <= InlineSize {
		// It was fetched ahead, but a subscriber's CPU that guessed right what it
		// waits for may have taken it back.
		x.fetchTail(x.head)
	}
	if x.head >= x.allowed && !x.refresh(1) {
		return false
	}
	d := uint32(noDescriptor)
	inline := b
	if len(b) > InlineSize {
		if d = x.take(); d == noDescriptor {
			return false
		}
		copy(x.lane.payload(d, uint64(len(b))), b) // P2
		inline = nil
	}
	x.publish(d, inline, len(b), now)
	return true
}

// SendLoan publishes the first length bytes of descriptor d, which came from
// Loan. It returns false if there is no room; the loan then goes on.
func (x *Tx) SendLoan(d uint32, length int, now int64) bool {
	if x.head >= x.allowed && !x.refresh(1) {
		return false
	}
	x.loaned--
	x.publish(d, nil, length, now)
	return true
}

// publish is steps P4 to P8 for one message.
func (x *Tx) publish(d uint32, inline []byte, length int, now int64) {
	p := x.head
	stamp := x.fill(p, d, inline, length, now)
	invariant.Point("fanout.P6")
	x.head = p + 1
	// P7, edge: publish (this swap | Rx.Poll's load of the stamp), wake (this
	// swap, then waiters | waiters, then the stamp), pin (this swap, then the
	// hold words in reclaim | hold word, then the stamp).
	stamp.Store(ready(p))
	invariant.Point("fanout.P7")
	if x.lane.waiters.Load() != 0 {
		x.wake()
	}
	if len(inline) > firstLine {
		x.fetchTail(p + x.ahead)
	}
	x.fetch(p + x.ahead)
	x.lookAhead()
}

// lookAhead is the P3 of the next message, done now, when nobody waits for it:
// the cursors' lines are with the subscribers.
func (x *Tx) lookAhead() {
	if x.head >= x.allowed {
		x.refresh(1)
	}
}

// fetch asks for the first line of position p's entry, which the lap before
// left with the subscribers: or each store would wait for its own. Never the
// very next one, which a waiting subscriber looks at and would take away again.
func (x *Tx) fetch(p uint64) { mem.PrefetchW(&x.lane.entry(p)[0]) }

// fetchTail is fetch for the second line.
func (x *Tx) fetchTail(p uint64) { mem.PrefetchW(&x.lane.entry(p)[secondLine]) }

// fill is steps P4 to P6: it takes position p-depth out of its entry and
// writes p's fields. All stores are release stores, in this order.
func (x *Tx) fill(p uint64, d uint32, inline []byte, length int, now int64) *atomic.Uint64 {
	e := x.lane.entry(p)
	invariant.Point("fanout.P4")
	// P4: from here nobody can begin to read position p-depth.
	mem.StoreRelease(&e[0], busy(p))
	invariant.Point("fanout.P5")
	if len(inline) > firstLine {
		// The second line first: a waiting subscriber polls the other one.
		mem.CopyIn(e[secondLine:], inline[firstLine:])
		inline = inline[:firstLine]
	}
	if len(inline) > 0 {
		mem.CopyIn(e[3:], inline)
	}
	flags := uint64(0)
	if now != 0 {
		flags = flagTime
		mem.StoreRelease(&e[2], uint64(now))
	}
	mem.StoreRelease(&e[1], packInfo(length, d, flags))
	if len(x.desc) > 0 {
		i := p & (x.lane.depth - 1)
		if old := x.desc[i]; old != noDescriptor {
			x.retired = append(x.retired, old)
		}
		x.desc[i] = d
	}
	x.bytes += uint64(length)
	return &e[0]
}

// SendBatch publishes a prefix of msgs, each at most MaxMessage bytes long, and
// returns how many. The entries are written last to first, so that a
// subscriber sees none of them before the one full barrier that opens all.
func (x *Tx) SendBatch(msgs [][]byte, now int64) int {
	n := uint64(len(msgs))
	if n > x.lane.chunk {
		n = x.lane.chunk
	}
	if n == 0 || x.head+n > x.allowed && !x.refresh(n) && x.head >= x.allowed {
		return 0
	}
	n = min(n, x.allowed-x.head)
	n = x.takeFor(msgs[:n])
	if n == 0 {
		return 0
	}
	p := x.head
	for j := n - 1; j > 0; j-- {
		if j > x.ahead {
			if x.fetch(p + j - x.ahead); len(msgs[j]) > firstLine {
				x.fetchTail(p + j - x.ahead)
			}
		}
		mem.StoreRelease(x.fillCopy(p+j, msgs[j], now), ready(p+j))
		invariant.Point("fanout.B1")
	}
	stamp := x.fillCopy(p, msgs[0], now)
	x.head = p + n
	invariant.Point("fanout.P6")
	stamp.Store(ready(p)) // P7 for the whole batch, see publish
	invariant.Point("fanout.P7")
	if x.lane.waiters.Load() != 0 {
		x.wake()
	}
	x.lookAhead()
	return int(n)
}

// fillCopy is fill for a message that is copied; a free descriptor is there.
func (x *Tx) fillCopy(p uint64, b []byte, now int64) *atomic.Uint64 {
	if len(b) <= InlineSize {
		return x.fill(p, noDescriptor, b, len(b), now)
	}
	d := x.pop()
	copy(x.lane.payload(d, uint64(len(b))), b) // P2
	return x.fill(p, d, nil, len(b), now)
}

// takeFor returns for how many of msgs there are free descriptors.
func (x *Tx) takeFor(msgs [][]byte) uint64 {
	need := 0
	for i, b := range msgs {
		if len(b) <= InlineSize {
			continue
		}
		if need++; need > len(x.free) {
			x.reclaim()
			if need > len(x.free) {
				return uint64(i)
			}
		}
	}
	return uint64(len(msgs))
}

// wake is P8: take the waiters bits and ring each slot.
func (x *Tx) wake() {
	mask := x.lane.waiters.Swap(0)
	invariant.Point("fanout.P8")
	bitsOf(mask, func(i int) { x.ring(x.topic.bells[i]) })
}

// Loan lends a free descriptor and its MaxMessage bytes. It fails if all loans
// are open, or a hostile subscriber holds more than it may.
func (x *Tx) Loan() (d uint32, buf []byte, ok bool) {
	if x.loaned >= x.lane.config.Loans {
		return 0, nil, false
	}
	if d = x.take(); d == noDescriptor {
		return 0, nil, false
	}
	x.loaned++
	invariant.Point("fanout.P2")
	return d, x.lane.payload(d, uint64(x.lane.config.MaxMessage)), true
}

// Return takes a loan back unpublished.
func (x *Tx) Return(d uint32) {
	x.loaned--
	x.free = append(x.free, d)
}

// take pops a free descriptor, P1, or returns noDescriptor.
func (x *Tx) take() uint32 {
	if len(x.free) == 0 {
		x.reclaim()
		if len(x.free) == 0 {
			return noDescriptor
		}
	}
	return x.pop()
}

func (x *Tx) pop() uint32 {
	d := x.free[len(x.free)-1]
	x.free = x.free[:len(x.free)-1]
	return d
}

// Close ends the lane: subscribers read what is there and then see the end.
func (x *Tx) Close() {
	x.lane.bytes.Store(x.bytes)
	closed := packOwned(LaneClosed, x.word.gen(), x.word.owner())
	x.lane.owner.CompareAndSwap(uint64(x.word), uint64(closed)) // C1
	invariant.Point("fanout.C1")
	x.topic.ringSlots(x.ring) // C2
	invariant.Point("fanout.C2")
}
