package fanout

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// OpenTx takes lane l for owner if it is new, closed, or its owner's death was
// recovered, and goes on where its last publisher stopped (O1 to O4). index
// and gen name the lane's directory entry. ok is false if somebody has it.
func OpenTx(t *Topic, l *Lane, owner uint32, name string, index int, gen uint32, ring func(wake.Bell)) (x *Tx, ok bool) {
	old := owned(l.owner.Load())
	if s := old.state(); s != LaneNew && s != LaneClosed && s != LaneDead {
		return nil, false
	}
	opening := packOwned(LaneOpening, old.gen()+1, owner)
	if !l.owner.CompareAndSwap(uint64(old), uint64(opening)) { // O1
		return nil, false
	}
	invariant.Point("fanout.O1")
	x = &Tx{lane: l, topic: t, ring: ring, word: opening, bytes: l.bytes.Load(), ahead: min(4, l.depth/2)}
	x.rebuild()
	x.rename(name)
	t.AddLane(l.Number, index, gen)
	x.prejoin()
	open := packOwned(LaneOpen, opening.gen(), owner)
	if !l.owner.CompareAndSwap(uint64(opening), uint64(open)) { // O3
		return nil, false // evicted while opening
	}
	x.word = open
	invariant.Point("fanout.O3")
	t.ringSlots(ring) // O4
	return x, true
}

// rebuild is O2: only publishers write stamps, and we are the only one, so
// they stand still. Positions are dense below head; what a predecessor wrote
// of a batch beyond it was never opened, and is taken back here.
func (x *Tx) rebuild() {
	l := x.lane
	x.limit = l.limit.Load()
	x.head = l.head()
	x.allowed = x.head // credit is not inherited
	if l.count > 0 {
		x.desc = make([]uint32, l.depth)
		x.free = make([]uint32, 0, l.count)
		x.retired = make([]uint32, 0, l.count)
		x.held = make([]uint64, (l.count+63)/64)
	}
	linked := make(map[uint32]bool, len(x.desc))
	for i := range x.desc {
		x.desc[i] = noDescriptor
	}
	for i := range l.depth {
		e := l.entry(i)
		s := e[0].Load()
		if s == 0 || s&1 == 1 {
			continue
		}
		q := stampPos(s)
		if q >= x.head {
			e[0].Store(busy(q))
			invariant.Point("fanout.O2")
			continue
		}
		d := infoDesc(e[1].Load())
		if d < l.count && !linked[d] && q&(l.depth-1) == i {
			linked[d] = true
			x.desc[i] = d
		}
	}
	for d := range l.count {
		if !linked[d] {
			x.retired = append(x.retired, d)
		}
	}
}

// rename stores the publisher's name. Messages below since were sent under
// the name that stood there before.
func (x *Tx) rename(name string) {
	if have, _ := x.lane.Name(); have == name {
		return
	}
	var b [nameSize]byte
	copy(b[:], name)
	x.lane.since.Store(x.head)
	for i := range x.lane.name {
		x.lane.name[i].Store(0)
	}
	mem.CopyIn(x.lane.name, b[:])
	invariant.Point("fanout.O2n")
}

// prejoin gives every subscriber that was here before the lane a cursor at
// head, so that it misses nothing: it may find the lane much later.
//
// edge: visible (the lane's bit, then these claims | claim, then the lane bits)
func (x *Tx) prejoin() {
	bitsOf(x.topic.slots.Load(), func(i int) { // refresh looks at these and no others
		for {
			w := x.lane.cursors[i].Load()
			held := claim(x.topic.claims[i].Load()) // after the cursor
			if held.state() != claimHeld || cursor(w).gen() == held.gen() {
				break
			}
			c := packCursor(x.lane.config.cursorState(held.mode()), held.gen(), x.head)
			if !x.lane.cursors[i].CompareAndSwap(w, uint64(c)) {
				continue // it joined by itself
			}
			invariant.Point("fanout.O2j")
			x.entitled(i) // heals, if the claim was given up meanwhile
			break
		}
	})
}

// cursorState is what a subscriber of mode m is in a lane of this topic.
func (c Config) cursorState(m Mode) int {
	if m == ModeLatest || c.LatestOnly {
		return curLatest
	}
	return curActive
}
