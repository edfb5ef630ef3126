package cells

import (
	"slices"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Tx is a writer's end of a ring. One goroutine at a time uses it. While it has
// the token its position and number are private and never read back.
type Tx struct {
	ring  *Ring
	slot  *Slot
	bell  func(wake.Bell)
	owner uint32
	word  uint64 // what pub says while we have the token; 0: we have not

	// Echo: repeat small messages beside pub. They reach a reader that waits in
	// half the time, and one that is busy with those before it more slowly,
	// because both then write and read the same lines.
	Echo bool

	head    uint64 // next position
	number  uint64 // of the next message
	low     uint64 // what the ring's low says
	allowed uint64 // positions below may be written without another look
	pending uint64 // bytes of the open reservation, plus one; 0: none is open
}

// OpenTx makes a writer of slot s, of mode [ModeWriter]. It has no token yet.
func OpenTx(s *Slot) *Tx {
	return &Tx{ring: s.ring, slot: s, bell: s.bell, owner: s.word.owner()}
}

// Grant is how Take ended.
type Grant int

const (
	Taken    Grant = iota
	Busy           // somebody has the token: [Ring.Writer]
	Retired        // nobody may write again
	Expelled       // the slot is no longer ours
)

// Take takes the token if nobody has it; T1 to T4. That is all of a takeover,
// too: of a dead writer's message nothing was visible.
func (x *Tx) Take() Grant {
	if x.word != 0 {
		return Taken
	}
	r := x.ring
	w := r.pub.Load() // T1
	switch pubOwner(w) {
	case 0:
	case retired:
		return Retired
	default:
		return Busy
	}
	mine := packPub(pubPos(w), x.owner)
	if !r.pub.CompareAndSwap(w, mine) { // T2
		return Busy
	}
	invariant.Point("cells.T2")
	if !x.slot.Held() { // we were evicted, and whoever did that may have looked before T2
		r.pub.CompareAndSwap(mine, w)
		r.wake(r.token, x.bell, "cells.G2")
		return Expelled
	}
	// T2a: what a writer echoed that died before it published is not to be taken
	// for what comes to its position now.
	mem.StoreRelease(&r.echo[echoStamp], 0)
	invariant.Point("cells.T2a")
	x.word, x.head = mine, pubPos(w)
	_, number := r.header(x.head - 1) // T3
	n := number.Load()
	if x.number = n &^ numberPad; n&numberPad == 0 {
		x.number++
	}
	x.low = nearest(r.low.Load(), x.head) // T4
	if x.head-x.low > r.cells {           // garbage by a peer
		x.low = x.head
	}
	x.allowed = x.head // credit is not inherited
	return Taken
}

// Has reports whether x has the token, as far as it knows.
func (x *Tx) Has() bool { return x.word != 0 }

// Lost reports whether the token was taken from us: an operator evicted our node.
func (x *Tx) Lost() bool { return x.word != 0 && x.ring.pub.Load() != x.word }

// Head is the number of messages ever published, while x has the token.
func (x *Tx) Head() uint64 { return x.number }

// Send publishes b, at most MaxMessage bytes. It returns false if there is no
// room, or the token is lost, and publishes nothing then. last gives the token
// back in the same step.
func (x *Tx) Send(b []byte, last bool) bool {
	n := uint64(len(b))
	k := cellsFor(n)
	if x.Echo {
		x.aheadEcho(len(b))
	}
	if x.head+k > x.allowed && !x.refresh(k) {
		return false
	}
	to, rest := x.ring.span(x.head, n)
	write(to, b[:len(to)]) // P1
	if len(rest) > 0 {
		write(rest, b[len(to):])
	}
	return x.publish(b, n<<8|flagMessage, k, last)
}

// publish is P2 and P3: the header, then the one step that makes the message
// visible. b is the payload.
func (x *Tx) publish(b []byte, info, k uint64, last bool) bool {
	r := x.ring
	invariant.Point("cells.P1")
	head, number := r.header(x.head)
	mem.StoreRelease(head, info)
	n := x.number
	if info&0xff == flagPad {
		n |= numberPad
	}
	mem.StoreRelease(number, n) // P2
	if k > 1 {
		_, end := r.header(x.head + k - 1)
		mem.StoreRelease(end, n)
	}
	invariant.Point("cells.P2")
	if x.Echo && len(b) <= EchoSize && info&0xff != flagPad {
		x.repeat(b)
	}
	owner := x.owner
	if last {
		owner = 0
	}
	next := packPub((x.head+k)&posMask, owner)
	// P3, edge: publish (this CAS | pub in Poll), wake reader (this CAS, then
	// readWait | readWait, then pub), wake next (likewise, tokenWait).
	if !r.pub.CompareAndSwap(x.word, next) {
		x.word = 0
		return false // evicted
	}
	invariant.Point("cells.P3")
	x.head += k
	if n&numberPad == 0 {
		x.number++
	}
	if x.word = next; last {
		x.word = 0
	}
	if r.read.Load() != 0 {
		r.wake(r.read, x.bell, "cells.P4")
	}
	if last {
		r.wake(r.token, x.bell, "cells.P5")
	}
	x.ahead()
	return true
}

// ahead asks for the lines that the next message but one is written to: readers
// have them.
func (x *Tx) ahead() {
	r := x.ring
	i := (x.head + 3) & r.mask
	mem.PrefetchW(&r.words[i*(CellSize/8)])
	mem.PrefetchW(&r.heads[((x.head+8)&r.mask)*headWords])
}

// Reserve returns size bytes of the ring in one piece, to be filled and
// committed; false if there is no room, or the token is lost. Until Commit
// nothing is visible, and nothing else may be sent.
func (x *Tx) Reserve(size int) ([]byte, bool) {
	r := x.ring
	k := cellsFor(uint64(size))
	if i := x.head & r.mask; i+k > r.cells {
		pad := r.cells - i
		if x.head+pad > x.allowed && !x.refresh(pad) {
			return nil, false
		}
		if !x.publish(nil, flagPad, pad, false) {
			return nil, false
		}
	}
	if x.head+k > x.allowed && !x.refresh(k) {
		return nil, false
	}
	b, _ := r.span(x.head, uint64(size))
	x.pending = uint64(size) + 1
	return slices.Clip(b), true
}

// Commit publishes the first n bytes of the reservation. It returns false if
// the token is lost.
func (x *Tx) Commit(n int, last bool) bool {
	x.pending = 0
	b, _ := x.ring.span(x.head, uint64(n))
	return x.publish(b, uint64(n)<<8|flagMessage, cellsFor(uint64(n)), last)
}

// Discard ends the reservation; nothing was visible.
func (x *Tx) Discard() { x.pending = 0 }

// Reserved reports whether a reservation is open.
func (x *Tx) Reserved() bool { return x.pending != 0 }

// Give gives the token back.
func (x *Tx) Give() {
	if x.word == 0 {
		return
	}
	// edge: wake next (this CAS, then tokenWait | tokenWait, then pub)
	x.ring.pub.CompareAndSwap(x.word, packPub(x.head&posMask, 0)) // G1
	x.word = 0
	invariant.Point("cells.G1")
	x.ring.wake(x.ring.token, x.bell, "cells.G2")
}

// End gives the token and the slot back. If no other writer is there, the
// stream has ended for readers that have read all, until one comes.
func (x *Tx) End() { x.EndAs(EndClosed) }

// EndAs is End that says how: [EndClosed], or as a death would be told.
func (x *Tx) EndAs(how int) {
	x.Give()
	r, s := x.ring, x.slot
	leaving := s.word.with(modeLeaving)
	r.claims[s.index].CompareAndSwap(uint64(s.word), uint64(leaving)) // E1
	invariant.Point("cells.E1")
	s.word = leaving
	r.markEnd(how)
	r.ringSlots(x.bell) // E3
	invariant.Point("cells.E3")
	s.leave()
}

// markEnd is E2: where nobody has the token and no writer is there, the stream
// has ended at what is published. Of a retired one it does not matter who is
// there: they cannot write either.
func (r *Ring) markEnd(state int) {
	for range patience {
		e := r.end.Load()
		w := r.pub.Load()
		o := pubOwner(w)
		if o == retired {
			state = EndDead
		} else if o != 0 || r.writers() > 0 {
			return
		}
		if e>>2 == pubPos(w) && e&3 != endNone {
			return
		}
		if r.end.CompareAndSwap(e, packEnd(pubPos(w), state)) {
			invariant.Point("cells.E2")
			return
		}
	}
}

// writers counts the writers that are there, with or without the token.
func (r *Ring) writers() int {
	n := 0
	bitsOf(r.slots.Load(), func(i int) {
		if c := claim(r.claims[i].Load()); c.state() == claimHeld && c.mode() == ModeWriter {
			n++
		}
	})
	return n
}
