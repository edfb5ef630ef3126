package wake

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// Bell is the counter that a sleeper sleeps on, and its reference: 0, the futex on
// the counter; or the number of the sleeper's node, plus one, whose bell wants to
// be rung too, or, with refDirect, the futex on the counter all the same.
type Bell struct{ Word, Ref *atomic.Uint32 }

const (
	refDirect = 1 << 16
	refNode   = refDirect - 1
)

// Nodes is what a ringer knows of the nodes of a bus. Slots are peers' words.
type Nodes interface {
	// BellOf returns the bell of a node, nil if there is no such node.
	BellOf(slot int) *atomic.Uint32
	// Far says whether the node is one of another kernel, which no futex reaches,
	// and rings its doorbell if ring is set and there is one.
	Far(slot int, ring bool) bool
	// Local says whether bells have futexes; if not, on which word the node in the
	// slot sleeps, nil if that is known to its process only.
	Local(slot int) (word *atomic.Uint32, futex bool)
}

// Home is what a sleeper knows besides.
type Home interface {
	Nodes
	// Away says whether somebody may ring us whom a futex does not bring to us.
	Away() bool
	// Covered says whether all of those ring our doorbell.
	Covered() bool
	// Live says whether our node may still act.
	Live() bool
	// Notify has f called when sleepers should look: those whose bell was rung, or,
	// with alarm, all. A nil f: no longer. key tells who asks.
	Notify(key any, f func(alarm bool))
}

// Doorbell is how nodes of other kernels are rung. All methods may be called at
// the same time, and none waits.
type Doorbell interface {
	// Ring rings a peer's vector, and says whether it could.
	Ring(peer, vector uint16) bool
	// Up says whether peers can ring us.
	Up() bool
}

// Ring wakes whoever sleeps on b.
func Ring(b Bell, n Nodes) {
	b.Word.Add(1)
	ref := b.Ref.Load() // a peer's word
	slot := int(ref&refNode) - 1
	if ref != 0 && n.Far(slot, false) {
		if bell := n.BellOf(slot); bell != nil && ref&refDirect == 0 {
			bell.Add(1)
		}
		n.Far(slot, true)
		return
	}
	local, futex := n.Local(slot)
	if !futex {
		if bell := n.BellOf(slot); bell != nil && ref&refDirect == 0 {
			bell.Add(1)
		}
		if local != nil {
			local.Add(1)
			sys.FutexWake(mem.Addr(local))
		}
		return
	}
	if ref == 0 || ref&refDirect != 0 {
		sys.FutexWake(mem.Addr(b.Word))
		return
	}
	if bell := n.BellOf(slot); bell != nil {
		bell.Add(1)
		sys.FutexWake(mem.Addr(bell))
	}
}

// The intervals in which a sleeper looks by itself while nodes of other kernels
// are about: a quarter of the time that it has slept, between these.
const (
	shortest = 20 * time.Microsecond
	longest  = 2 * time.Millisecond // one sleeper; several share the looks that are
	tired    = 50 * time.Millisecond
	covered  = 100 * time.Millisecond // where a doorbell rings: in case that it does not
	share    = 100                    // looking takes at most one part in so many of a CPU
)

// backoff finds the intervals of one sleep.
type backoff struct {
	slept time.Duration
	looks int
	cost  time.Duration     // of a look
	spec  *[2]atomic.Uint64 // the interval as the kernel wants it
}

// wait sleeps until word is not seen any more, or the next interval is over.
func (b *backoff) wait(word *atomic.Uint32, seen uint32, d time.Duration) {
	b.spec[0].Store(uint64(d / time.Second))
	b.spec[1].Store(uint64(d % time.Second))
	if b.looks%32 == 16 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		before := sys.ThreadTime()
		defer func() { b.learn(time.Duration(sys.ThreadTime() - before)) }()
	}
	sys.FutexWaitFor(mem.Addr(word), seen, mem.Addr64(&b.spec[0]))
	runtime.KeepAlive(b.spec)
}

// learn takes note of what a look has cost, without believing in one that stands out.
func (b *backoff) learn(c time.Duration) {
	if b.cost == 0 {
		b.cost = c
	}
	b.cost += (min(c, 4*b.cost) - b.cost) / 4
}

// next returns for how long to sleep, as one of some sleepers. A look may cost a
// hundred times more on one machine than on another (an emulated one), so that it
// is measured now and then.
func (b *backoff) next(of int, doorbell bool) time.Duration {
	if doorbell {
		return covered
	}
	b.looks++
	// What the thread uses is half of what a look costs: Go's runtime has a look, too.
	limit := min(max(longest, 3*share*b.cost), tired) * time.Duration(max(of, 1))
	d := min(max(shortest, b.slept/4), limit)
	b.slept += d
	return d
}
