package cells

import (
	"slices"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Record is what Poll fills with a message. Its owner reuses it.
type Record struct {
	A, B        []byte // the payload, in two pieces where it passes the ring's end
	Number      uint64 // of the message, among all of the stream
	Lost        uint64 // messages lost right before this one
	Redelivered bool   // a shared reader that died, or gave it back, had it before
	next        uint64 // the position after it
	word        claimed
	pos         uint64
	buf         []byte
}

// Len is the message's length in bytes.
func (r *Record) Len() int { return len(r.A) + len(r.B) }

// Bytes returns the payload in one piece: where it lies, or copied into the
// record where it passes the ring's end.
func (r *Record) Bytes() []byte {
	if len(r.B) == 0 {
		return r.A
	}
	r.buf = append(append(r.buf[:0], r.A...), r.B...)
	return r.buf
}

// lend makes the record refer to the ring.
func (r *Record) lend(a, b []byte) { r.A, r.B = slices.Clip(a), slices.Clip(b) }

// Status is what Poll found.
type Status int

const (
	Empty   Status = iota // nothing yet
	Got                   // the record is filled
	Fenced                // the writer went on without us: Rejoin
	Evicted               // the slot is no longer ours
	Corrupt               // see Err
)

// Rx is a broadcast reader's end of a ring. One goroutine at a time uses it.
type Rx struct {
	ring   *Ring
	slot   *Slot
	bell   func(wake.Bell)
	lapped bool

	// Lag: where all was read, leave the cursor where it is until the next Poll,
	// a quarter of the ring behind at most. It is for rings whose messages are at
	// most a quarter: a larger one could wait for room that is there.
	Lag bool

	next  uint64 // position to read
	seen  uint64 // published as far as we know
	cur   cursor // what our cursor says
	lazy  uint64 // how far it may lag
	want  uint64 // the number that comes next
	known bool   // want is known
	out   bool   // we are fenced, or evicted
	held  uint64 // position after the message that was handed out; next if none is
	err   error
	small [EchoSize]byte // a message that was read from the echo; aligned to 8 bytes
}

// patience bounds what one Poll does while others change what it looks at.
const patience = 16

// OpenRx begins to read at slot s, of mode ModeHold or ModeLapped: at what is
// published next or, if oldest, at the oldest message that is there.
func OpenRx(s *Slot, oldest bool) (*Rx, error) {
	x := &Rx{
		ring: s.ring, slot: s, bell: s.bell, lapped: s.word.mode() == ModeLapped,
		cur: cursor(s.ring.cursors[s.index].Load()), lazy: s.ring.cells / 4,
	}
	x.join(oldest, false)
	if !s.Held() || x.expelled() {
		return nil, ErrFenced
	}
	return x, nil
}

// join is J1 to J3: a cursor, then a look whether the writer knew of it. back
// says that we were here before, and go on where we were if that is still there.
func (x *Rx) join(oldest, back bool) {
	r := x.ring
	state := curHold
	if x.lapped {
		state = curLapped
	}
	for try := 0; ; try++ {
		w := r.pub.Load() // J1
		at := pubPos(w)
		want, known := x.following(w)
		if low := nearest(r.low.Load(), at); oldest && at-low <= r.cells && low != at {
			_, number := r.header(low)
			at, want, known = low, number.Load()&^numberPad, true
			if ours := nearest(x.next, at); back && int64(ours-at) > 0 {
				at = ours
			}
		}
		invariant.Point("cells.J1")
		if x.expelled() {
			return
		}
		next := packCursor(state, x.slot.word.gen(), at)
		// J2, edge: join (this CAS, then low | low, then cursors)
		if !r.cursors[x.slot.index].CompareAndSwap(uint64(x.cur), uint64(next)) {
			x.cur = cursor(r.cursors[x.slot.index].Load())
			if !x.slot.Held() || try > patience {
				return // Poll will say so
			}
			continue
		}
		x.cur = next
		invariant.Point("cells.J2")
		x.next, x.seen, x.held = at, at, at
		if low := nearest(r.low.Load(), at); (int64(low-at) > 0 || !known) && try < patience { // J3, bounded in case it is garbage
			continue
		}
		if !x.known && known { // who comes back knows what it has lost since
			x.want, x.known = want, true
		}
		break
	}
	r.wake(r.room, x.bell, "cells.J4") // it may sleep on an older cursor, or want readers
}

// following returns the number of the message that follows pub's word w.
func (x *Rx) following(w uint64) (uint64, bool) {
	_, number := x.ring.header(pubPos(w) - 1)
	n := number.Load()
	if pubPos(x.ring.pub.Load()) != pubPos(w) { // I5: it stands as long as pub does
		return 0, false
	}
	if n&numberPad == 0 {
		n++
	}
	return n &^ numberPad, true
}

// expelled reports whether the cursor, as far as we know, was put out by who took
// the slot from us.
func (x *Rx) expelled() bool { return x.cur.gen() == x.slot.word.gen() && x.cur.state() == curOut }

// Err says what Poll found corrupt.
func (x *Rx) Err() error { return x.err }

// Poll reads the next message into rec, if it is there. Where x holds the
// writer back, rec refers to the ring until Release; else it is a copy.
func (x *Rx) Poll(rec *Record) Status {
	if x.lapped {
		return x.pollLapped(rec)
	}
	r := x.ring
	for {
		if x.out {
			return x.gone()
		}
		n := x.next
		if n == x.seen {
			// B1, edge: publish (Tx.publish | this load)
			to := nearest(r.Published(), n)
			if to == n {
				return x.idle()
			}
			if to-n > r.cells {
				return x.stray("stream's published position", to)
			}
			x.seen = to
			if x.listen(rec, n, to) {
				return Got
			}
		}
		head, number := r.header(n)
		info := head.Load()
		length, k, pad, ok := r.extent(info, n, x.seen-n)
		if !ok {
			return x.stray("header", info)
		}
		if pad {
			if !x.sure() {
				return x.gone()
			}
			x.next, x.held = n+k, n+k
			continue
		}
		if rec.Lost, ok = x.count(number.Load()); !ok {
			return x.stray("header's number", number.Load())
		}
		rec.lend(r.span(n, length))
		rec.Number, rec.Redelivered, rec.next, rec.pos = x.want-1, false, n+k, n
		x.held = n + k
		return Got
	}
}

// count takes number for the next message's, and returns how many are missing
// before it. A number that is not ahead, or far too far, is garbage.
func (x *Rx) count(number uint64) (lost uint64, ok bool) {
	if x.known {
		if lost = number - x.want; lost >= 1<<posBits {
			return 0, false
		}
	} else if number >= 1<<62 {
		return 0, false
	}
	x.want, x.known = number+1, true
	return lost, true
}

// Pending reports whether the next Poll may find something: a glance.
func (x *Rx) Pending() bool {
	return x.next != x.seen && !x.lapped || x.ring.Published() != x.next&posMask
}

// Release ends the use of rec, which Poll filled last, and passes it. It
// returns false if the writer went on without us meanwhile: then what was read
// may have been overwritten while it was read, and counts as lost.
func (x *Rx) Release(rec *Record) bool {
	if x.lapped {
		x.next = x.held
		return true
	}
	if !x.sure() {
		x.want, x.held, x.out = rec.Number-rec.Lost, x.next, true
		return false
	}
	x.next = x.held
	r := x.ring
	if (x.next-x.cur.pos())&posMask >= x.lazy || x.next == x.seen && !x.Lag || r.room.Load() != 0 {
		x.flush() // if it fails, Poll will say so
	}
	return true
}

// Sure reports whether what Poll has handed out was the message's all the time
// until now: where only a part of it was read, before its Release.
func (x *Rx) Sure() bool { return x.lapped || x.sure() }

// sure reports whether what was read until now is what was written: the writer
// has not gone on without us.
func (x *Rx) sure() bool {
	return x.cur.gen() == x.slot.word.gen() && cursor(x.ring.cursors[x.slot.index].Load()) == x.cur
}

// flush moves the cursor to next, B2, and wakes a writer that waits for room.
func (x *Rx) flush() bool {
	r := x.ring
	to := packCursor(curHold, x.cur.gen(), x.next)
	if to == x.cur {
		return true
	}
	// edge: free (reads, then this CAS), wake writer (this CAS, then roomWait)
	if !r.cursors[x.slot.index].CompareAndSwap(uint64(x.cur), uint64(to)) {
		return false
	}
	x.cur = to
	invariant.Point("cells.B2")
	r.wakeRoom(x.next, x.bell)
	return true
}

// idle is Poll where there is nothing.
func (x *Rx) idle() Status {
	if !x.flush() || !x.sure() {
		return x.gone()
	}
	return Empty
}

// gone says what it means that the cursor is not ours any more.
func (x *Rx) gone() Status {
	c := cursor(x.ring.cursors[x.slot.index].Load())
	if c.gen() == x.cur.gen() && c.state() == curFenced && x.slot.Held() {
		return Fenced
	}
	return Evicted
}

// Rejoin brings a fenced reader back; the next message tells what it lost.
func (x *Rx) Rejoin() {
	x.cur = cursor(x.ring.cursors[x.slot.index].Load())
	if !x.slot.Held() || x.cur.gen() != x.slot.word.gen() {
		return
	}
	x.join(true, true)
	x.err, x.out = nil, x.expelled()
}

// stray says that what was read is no message: the writer went on without us,
// or somebody wrote garbage. All that is known to be published is passed over.
func (x *Rx) stray(what string, have uint64) Status {
	if !x.lapped && !x.sure() {
		return x.gone()
	}
	x.err = &CorruptError{"stream's " + what, have}
	at := nearest(x.ring.Published(), x.seen)
	if at-x.next > x.ring.cells {
		x.err = &CorruptError{"stream's published position", at}
	}
	x.next, x.seen, x.held, x.known = at, at, at, false
	return Corrupt
}
