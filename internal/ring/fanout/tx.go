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

// reclaim frees the retired descriptors that nobody holds. It comes after the
// full barrier of the publication that unlinked them (edge: pin): either we
// see a subscriber's hold word here, or the subscriber saw our stamp.
func (x *Tx) reclaim() {
	clear(x.held)
	mark := func(w, gen uint64) {
		if w != 0 && w>>32 == gen {
			if d := uint32(w) - 1; d < x.lane.count {
				x.held[d/64] |= 1 << (d % 64)
			}
		}
	}
	bitsOf(x.topic.slots.Load(), func(i int) {
		c, held := x.entitled(i)
		if c.state() == curOut {
			return
		}
		// The fence word first: it is replaced by hold words on the way back.
		if c.state() == curFenced {
			mark(x.lane.fences[i].Load(), c.gen())
		}
		for k := range held.records() {
			mark(x.lane.holds[i][k].Load(), c.gen())
		}
	})
	keep := x.retired[:0]
	for _, d := range x.retired {
		if x.held[d/64]&(1<<(d%64)) != 0 {
			keep = append(keep, d)
		} else {
			x.free = append(x.free, d)
		}
	}
	x.retired = keep
	invariant.Point("fanout.P1")
}

// entitled returns slot i's cursor and claim. A cursor without a claim of its
// generation (set on behalf of a subscriber that died meanwhile) is healed.
func (x *Tx) entitled(i int) (cursor, claim) {
	w := x.lane.cursors[i].Load()
	c := cursor(w)
	if c.state() == curOut {
		return c, 0
	}
	held := claim(x.topic.claims[i].Load()) // after the cursor: generations only grow
	if held.state() == claimHeld && held.gen() == c.gen() {
		return c, held
	}
	x.lane.cursors[i].CompareAndSwap(w, uint64(packCursor(curOut, c.gen(), 0)))
	invariant.Point("fanout.H1")
	return packCursor(curOut, c.gen(), 0), 0
}

// refresh is P3: announce how far we may go, then look how far we can. It
// returns whether n more positions may be published.
func (x *Tx) refresh(n uint64) bool {
	l := x.lane
	if x.Evicted() {
		x.allowed = x.head
		return false
	}
	if to := x.head + l.chunk; to != x.limit {
		x.limit = to
		// R1, edge: join (this store, then slots and cursors | cursor, then limit)
		l.limit.Store(to)
		invariant.Point("fanout.R1")
		l.bytes.Store(x.bytes)
	}
	allowed := x.limit
	bitsOf(x.topic.slots.Load(), func(i int) { // R2
		c := cursor(l.cursors[i].Load())
		if c.state() != curActive {
			return
		}
		// A cursor outside of [head-depth, head] belongs to a joiner that will
		// look again, or to nobody we need to trust.
		lag := x.head - c.pos(x.head)
		if lag == l.depth { // we would wait for it: only if it is still there
			if c, _ = x.entitled(i); c.state() != curActive {
				return
			}
			lag = x.head - c.pos(x.head)
		}
		if lag <= l.depth {
			allowed = min(allowed, x.head-lag+l.depth)
		}
	})
	invariant.Point("fanout.R2")
	x.allowed = allowed
	return x.head+n <= allowed
}

// Room looks whether a message can be published now.
func (x *Tx) Room() bool {
	if x.head >= x.allowed && !x.refresh(1) {
		return false
	}
	if x.lane.count > 0 && len(x.free) == 0 {
		x.reclaim()
		return len(x.free) > 0
	}
	return true
}

// Evicted reports whether the lane was taken from us: an operator evicted our
// node. A publisher looks once per chunk.
func (x *Tx) Evicted() bool { return owned(x.lane.owner.Load()) != x.word }

// Blocker is a subscriber that holds the publisher back.
type Blocker struct {
	Slot  int
	Owner uint32
	Lag   uint64 // messages
	word  uint64
}

// Blockers lists the subscribers for which x cannot publish. Claims that are
// no more are healed on the way, so the list may be empty: try again then.
func (x *Tx) Blockers() []Blocker {
	var out []Blocker
	bitsOf(x.topic.slots.Load(), func(i int) {
		w := x.lane.cursors[i].Load()
		c, held := x.entitled(i)
		if c.state() != curActive || uint64(c) != w {
			return
		}
		if lag := x.head - c.pos(x.head); lag == x.lane.depth {
			out = append(out, Blocker{Slot: i, Owner: held.owner(), Lag: lag, word: w})
		}
	})
	return out
}

// Fence stops b from holding x back. b's node is suspect: it may be alive and
// read the message at its cursor, whose descriptor stays pinned.
func (x *Tx) Fence(b Blocker) {
	c := cursor(b.word)
	d := uint32(noDescriptor)
	if len(x.desc) > 0 {
		d = x.desc[c.pos(x.head)&(x.lane.depth-1)]
	}
	if d == noDescriptor {
		x.lane.fences[b.Slot].Store(0)
	} else {
		x.lane.fences[b.Slot].Store(holdWord(c.gen(), d)) // F1
	}
	invariant.Point("fanout.F1")
	x.lane.cursors[b.Slot].CompareAndSwap(b.word, uint64(packCursor(curFenced, c.gen(), c.pos(x.head)))) // F2
	invariant.Point("fanout.F2")
}

// Park says that the publisher will sleep until its bell changes from the
// returned value. Look again after Park and before the sleep.
func (x *Tx) Park() (bell uint32) {
	bell = x.lane.bell.Word.Load() // K1
	// K2, edge: wake publisher (this store, then cursors | cursor, then park)
	x.lane.park.Store(1)
	invariant.Point("fanout.K2")
	return bell
}

// Unpark takes Park back.
func (x *Tx) Unpark() {
	x.lane.park.Store(0)
}

// CountBlocked counts one wait for room, for inspection.
func (x *Tx) CountBlocked() { x.lane.blocked.Add(1) }

// Bell returns the publisher's bell.
func (x *Tx) Bell() wake.Bell { return x.lane.bell }

// Ready counts the subscribers that have a place in this lane and whose owner
// is alive: until the dead are recovered they have one too.
func (x *Tx) Ready(alive func(owner uint32) bool) int {
	n := 0
	bitsOf(x.topic.slots.Load(), func(i int) {
		if c, held := x.entitled(i); c.state() != curOut && alive(held.owner()) {
			n++
		}
	})
	return n
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
