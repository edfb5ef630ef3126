package fanout

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Record is what Poll fills with a message. Its owner reuses it.
type Record struct {
	Data   []byte // the payload: in the lane's pool, or in this record if inline
	Pos    uint64
	Time   int64  // ns since 1970 by the publisher's clock, 0 if not asked for
	Lost   uint64 // messages lost right before this one
	Rx     *Rx
	inline [InlineSize]byte // aligned to 8 bytes
	index  int
	desc   uint32
	Lent   bool // Data is in the pool
	held   bool // our hold word names a descriptor; it may be an older message's
}

// Init prepares r as the subscriber's record number index.
func (r *Record) Init(index int) { r.index = index }

// Status is what Poll found.
type Status int

const (
	Empty   Status = iota // nothing yet
	Got                   // the record is filled
	Fenced                // the publisher went on without us: Rejoin
	Evicted               // the slot is no longer ours
	Corrupt               // see Err
)

// Rx is a subscriber's end of a lane. Poll, Keep, Rejoin and the wait methods
// are for one goroutine at a time; Released may be called by any.
type Rx struct {
	lane   *Lane
	slot   *Slot
	ring   func(wake.Bell)
	cursor *atomic.Uint64
	holds  []atomic.Uint64
	state  int // curActive or curLatest
	gen    uint64

	next    uint64 // position to read
	first   uint64 // where it began
	given   bool   // the publisher made this place when it opened the lane
	flushed uint64 // what the cursor says, or less
	lazy    uint64 // how far the cursor may lag
	run     uint   // messages since Poll found nothing
	lost    uint64 // to be told with the next message
	again   uint   // calls of Poll by notReady
	since   uint64 // what lies before is history, of which nothing is lost
	err     error
	mine    [MaxRecords]uint64 // our last value of each hold word
}

// Lane returns the lane that r reads.
func (r *Rx) Lane() *Lane { return r.lane }

// Next returns the position that will be read next.
func (r *Rx) Next() uint64 { return r.next }

// Joined reports whether nothing was read or lost since r was opened.
func (r *Rx) Joined() bool { return r.next == r.first }

// Given reports whether the publisher came after the subscriber, and gave it
// its place in the lane.
func (r *Rx) Given() bool { return r.given }

// TakeLost returns how many messages were lost that no message has told of
// yet, and will not tell of them again.
func (r *Rx) TakeLost() uint64 {
	n := r.lost
	r.lost = 0
	return n
}

// Err says what Poll found corrupt.
func (r *Rx) Err() error { return r.err }

// streak is how many messages in a row, without a wait, make a subscriber fetch
// ahead, and how far. Fetching what is not written yet would take the lines
// away from the publisher.
const streak = 8

// patience bounds what one Poll does while the publisher overwrites what it
// looks at.
const patience = 64

// Poll reads the next message into rec, if it is there. The record must have
// been released, or handed to Keep and replaced by another one.
func (r *Rx) Poll(rec *Record) Status {
	n := r.next
	e := r.lane.entry(n)
	s := e[0].Load() // S1, edge: publish (Tx.publish | this load)
	if s != ready(n) {
		return r.notReady(rec, s)
	}
	info := e[1].Load() // S2
	length, d := infoLength(info), infoDesc(info)
	rec.Time = 0
	if info&flagTime != 0 {
		rec.Time = int64(e[2].Load())
	}
	if d == noDescriptor {
		if length > InlineSize {
			return r.corrupt("entry's inline length", info)
		}
		first := length
		if length > firstLine {
			// Line by line: a load across both would wait for each in turn, and
			// the second is on its way while the first is copied.
			mem.CopyOut(rec.inline[firstLine:length], e[secondLine:]) // S2i
			first = firstLine
		}
		mem.CopyOut(rec.inline[:first], e[3:])
		rec.Data = rec.inline[:length:length]
		rec.Lent = false
	} else {
		if d >= r.lane.count || length > r.lane.size {
			return r.corrupt("entry's descriptor or length", info)
		}
		rec.Data = r.lane.payload(d, length)
		rec.Lent = true
		rec.desc = d
	}
	if r.state == curActive {
		invariant.Point("fanout.S2")
		if rec.held {
			// An older message's, kept once in this record. It goes before the
			// cursor comes: a fence pins one more than the hold words do.
			r.hold(rec, 0)
		}
		if !r.secure(n, rec.Lent) { // S3
			return r.gone(cursor(r.cursor.Load()))
		}
	} else {
		if rec.Lent && !r.hold(rec, holdWord(r.gen, d)) { // S3
			return Evicted
		}
		invariant.Point("fanout.S3")
		// S4, S3i, edge: pin (hold word, then this load | stamp, then hold words)
		if s := e[0].Load(); s != ready(n) {
			return r.notReady(rec, s)
		}
		if n-r.flushed >= r.lazy { // for inspection only
			r.advance(n)
			r.flushed = n
		}
	}
	if r.run++; r.run > streak {
		r.prefetch(n+streak, length > firstLine && !rec.Lent)
	}
	rec.Pos, rec.Rx = n, r
	rec.Lost, r.lost = r.lost, 0
	r.next = n + 1
	return Got
}

// prefetch asks for the entry of position p: we are behind, and it is written
// already.
func (r *Rx) prefetch(p uint64, second bool) {
	e := r.lane.entry(p)
	if mem.Prefetch(&e[0]); second {
		mem.Prefetch(&e[secondLine])
	}
}

// Pending reports whether the next entry has changed since Poll found it empty:
// a glance at one word, without the checks of Waiting.
func (r *Rx) Pending() bool {
	n := r.next
	s := r.lane.entry(n)[0].Load()
	return s >= ready(n) && s != busy(n)
}

// secure is S3 of a reliable subscriber: it fails unless position n, which was
// just read, was still ours. What lies before n is passed: its loans have ended
// or hold words name them. A lent message needs the cursor exactly on it,
// because that is the one descriptor that a fence pins; over inline messages,
// which were copied, the cursor follows lazily.
func (r *Rx) secure(n uint64, lent bool) bool {
	if n-r.flushed >= r.lazy || lent && n != r.flushed {
		if !r.advance(n) {
			return false
		}
		r.flushed = n
		return true
	}
	c := cursor(r.cursor.Load())
	return c.state() == curActive && c.gen() == r.gen
}

// hold sets the record's hold word. It fails if the word is not what we left
// and the slot has another owner. A former owner, evicted and yet alive, may
// write it late too; that counts for nobody.
func (r *Rx) hold(rec *Record, w uint64) bool {
	k := rec.index
	for !r.holds[k].CompareAndSwap(r.mine[k], w) {
		r.mine[k] = r.holds[k].Load()
		if cursor(r.cursor.Load()).gen() != r.gen { // after the word: the cursor was first
			return false
		}
	}
	r.mine[k] = w
	rec.held = w != 0
	return true
}

// Keep pins rec, the record that Poll filled last, beyond the next Poll. It
// must be called before that if the loan has not ended.
func (r *Rx) Keep(rec *Record) Status {
	if !rec.Lent || r.state == curLatest {
		return Got // copied, or pinned when it was read
	}
	if !r.hold(rec, holdWord(r.gen, rec.desc)) {
		return Evicted
	}
	invariant.Point("fanout.S4")
	return Got
}

// notReady is Poll where the stamp s is not READY(next).
func (r *Rx) notReady(rec *Record, s uint64) Status {
	r.run = 0
	for range patience {
		n := r.next
		if s < ready(n) || s == busy(n) { // 0 or an older position: not yet
			if r.flushed < n {
				if !r.advance(n) {
					return r.gone(cursor(r.cursor.Load()))
				}
				r.flushed = n
			} else if c := cursor(r.cursor.Load()); c.gen() != r.gen || c.state() != r.state {
				return r.gone(c)
			}
			return Empty
		}
		if s == ready(n) {
			// Poll may find it overwritten and come back here, again and again
			// if a publisher is out for that.
			if r.again++; r.again%patience == 0 {
				return Empty
			}
			return r.Poll(rec)
		}
		if r.state == curActive {
			if c := cursor(r.cursor.Load()); c.state() != curActive || c.gen() != r.gen {
				return r.gone(c)
			}
			return r.corrupt("entry's stamp", s)
		}
		if (stampPos(s)-n)&(r.lane.depth-1) != 0 {
			return r.corrupt("entry's stamp", s) // of another entry
		}
		// Q1: lapped. Everything before q-depth+1 is gone, and was published.
		to := stampPos(s) - r.lane.depth + 1
		from := n
		if n == r.first { // what is gone of the history before the first message
			from = min(max(n, r.since), to)
			r.first += min(to, r.since) - min(n, r.since)
		}
		r.lost += to - from
		r.next = to
		s = r.lane.entry(to)[0].Load()
	}
	return Empty
}

// gone says what the cursor means when it is no longer ours.
func (r *Rx) gone(c cursor) Status {
	if c.gen() == r.gen && c.state() == curFenced {
		return Fenced
	}
	return Evicted
}

func (r *Rx) corrupt(what string, have uint64) Status {
	r.err = &CorruptError{what, have}
	r.next++ // the garbled message is its writer's loss, not our end
	return Corrupt
}

// Released is called when the loan of position pos has ended, by any
// goroutine. It passes the cursor on at once if the publisher waits for it or
// the lane is so short that it may.
func (r *Rx) Released(pos uint64) {
	if r.state == curActive && (r.lazy == 1 || r.lane.park.Load() != 0) {
		r.advance(pos + 1)
	}
}

// advance moves the cursor to position to unless it is there already, S5, and
// rings a publisher that sleeps, S6. It fails if the cursor is no longer ours.
func (r *Rx) advance(to uint64) bool {
	for {
		w := r.cursor.Load()
		c := cursor(w)
		if c.gen() != r.gen || c.state() != r.state {
			return false
		}
		if at := c.pos(to); at >= to {
			break
		}
		if r.cursor.CompareAndSwap(w, uint64(packCursor(r.state, r.gen, to))) {
			invariant.Point("fanout.S5")
			break
		}
	}
	r.ringPublisher()
	return true
}

// ringPublisher wakes the publisher if it sleeps: the taker of the parked word
// rings. edge: wake publisher (cursor, then this load | park, then cursors)
func (r *Rx) ringPublisher() { r.lane.ringPublisher(r.ring) }

func (l *Lane) ringPublisher(ring func(wake.Bell)) {
	if l.park.Load() != 0 && l.park.Swap(0) != 0 {
		invariant.Point("fanout.S6")
		ring(l.bell)
	}
}

// Announce is W2: the slot sleeps. Look with Waiting after it, before the sleep.
func (r *Rx) Announce() {
	// edge: wake subscriber (this OR, then the stamp | stamp, then waiters)
	r.lane.waiters.Or(1 << r.slot.Index)
	invariant.Point("fanout.W2")
}

// Waiting reports whether there is nothing to do for r: no message, no loss to
// find out about, and the slot still ours.
func (r *Rx) Waiting() bool {
	n := r.next
	s := r.lane.entry(n)[0].Load()
	if s >= ready(n) && s != busy(n) {
		return false
	}
	c := cursor(r.cursor.Load())
	return c.gen() == r.gen && c.state() == r.state
}

// Ended reports whether the lane's publisher has closed it or is dead and
// everything it published was read.
func (r *Rx) Ended() bool {
	if s := owned(r.lane.owner.Load()).state(); s != LaneClosed && s != LaneDead && s != LaneRetired {
		return false
	}
	return r.Waiting() // the message may have come before the close
}
