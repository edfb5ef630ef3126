package ringbus

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/fanout"
)

// record is one of a subscriber's places for messages. Its sequence is odd
// while the message is lent, so a Message that is used after its release is
// found out.
type record struct {
	fanout.Record
	sub    *Subscriber
	seq    atomic.Uint64
	kept   bool   // pinned beyond the next Receive
	shadow []byte // what invariant builds lend in place of Data, to poison it
}

// lend starts a loan.
func (r *record) lend() Message {
	if invariant.Enabled {
		r.shadow = append(r.shadow[:0:0], r.Record.Data...)
	}
	r.kept = false
	seq := r.seq.Load() + 1
	// Only the subscriber's goroutine lends; whoever it hands the message to
	// learns of it then.
	mem.StoreRelease(&r.seq, seq)
	return Message{r, seq}
}

// end ends the loan of sequence seq, if it is open. Two goroutines that release
// one message at the same moment are found out in invariant builds only: it
// would cost every message a locked instruction.
func (r *record) end(seq uint64) bool {
	pos, rx, shadow := r.Pos, r.Rx, r.shadow // the record is lent again soon
	if invariant.Enabled {
		if !r.seq.CompareAndSwap(seq, seq+1) {
			return false
		}
		invariant.Poison(shadow)
	} else {
		if r.seq.Load() != seq {
			return false
		}
		mem.StoreRelease(&r.seq, seq+1)
	}
	rx.Released(pos)
	return true
}

// live reports whether the record's message is lent.
func (r *record) live() bool { return r.seq.Load()&1 == 1 }

// Message is one received message, lent to its subscriber until Release. It
// may be passed to and released by another goroutine.
type Message struct {
	r   *record
	seq uint64
}

// open panics if the message was released.
func (m Message) open(what string) *record {
	if m.r == nil || m.r.seq.Load() != m.seq {
		panic("ringbus: " + what + " of a message that was released")
	}
	return m.r
}

// Data is the payload, in the topic's memory. It must not be written, nor used
// after Release. A hostile publisher can change it while it is read: copy what
// must not change between a check and its use.
func (m Message) Data() []byte {
	r := m.open("Data")
	if invariant.Enabled {
		return r.shadow
	}
	return r.Record.Data
}

// Lost is how many messages of this publisher the subscriber missed right
// before this one: it was too slow, and is a latest subscriber, or did not
// answer for so long that the publisher went on without it.
func (m Message) Lost() uint64 { return m.open("Lost").Record.Lost }

// Sequence is the message's position among all that were sent on its
// publisher's lane, from 0.
func (m Message) Sequence() uint64 { return m.open("Sequence").Pos }

// Time is when the message was sent, by its publisher's clock; zero if the
// publisher does not say.
func (m Message) Time() time.Time {
	ns := m.open("Time").Record.Time
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// Kernel is the id of the kernel by whose clock Time is, as
// [segment.Segment.Kernel] says it of our own; 0 if the node that sent the message
// is gone. The clocks of virtual machines differ, by seconds at times: compare
// times of one kernel only.
func (m Message) Kernel() uint64 {
	r := m.open("Kernel")
	return r.sub.kernel(r.Rx.Lane(), r.Pos)
}

// Publisher is the name of the node that sent the message; empty if that is
// long gone and another publisher has taken its place.
func (m Message) Publisher() string {
	r := m.open("Publisher")
	return r.sub.publisher(r.Rx.Lane(), r.Pos)
}

// Release ends the loan. It panics if the message was released before. It does
// nothing if the subscriber was closed, which ends all its loans.
func (m Message) Release() {
	if m.r == nil {
		panic("ringbus: Release of a message that was never received")
	}
	s := m.r.sub
	if !m.r.end(m.seq) && !s.gate.Closed.Load() {
		panic("ringbus: message released twice")
	}
	runtime.KeepAlive(s)
}

// finish releases the message if that was not done yet.
func (m Message) finish() {
	if m.r != nil {
		m.r.end(m.seq)
	}
}
