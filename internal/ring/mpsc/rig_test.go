package mpsc

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// newQueue is a queue on the heap.
func newQueue(t testing.TB, c Config) *Queue {
	t.Helper()
	q, err := tryQueue(c)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func tryQueue(c Config) (*Queue, error) {
	area := mem.Alloc(int(Size(c)))
	if err := Format(area, c); err != nil {
		return nil, err
	}
	return Open(area)
}

// count is a ring that only counts.
func count(b wake.Bell) { b.Word.Add(1) }

// owner makes the owner of node slot k.
func owner(k int) uint32 { return 1<<8 | uint32(k) }

// end is one party's view of either kind of queue.
type end interface {
	alloc(r *Request, able bool) (Ref, bool)
	Submit(refs []Ref, able bool) Control
	Claim(empty bool) Control
	Look(r Ref) Status
	Result(r Ref) (int32, []byte)
	Free(r Ref)
	Cancel(r Ref, able bool) bool
	Forget(r Ref, able bool)
	Announce(r Ref, able bool)
	Awake(r Ref, able bool)
	Offered() bool

	executor() Executor
	heard(r Ref) func() bool      // prepares a sleep and says what ends it
	wantSpace() func() bool       // the same for a free node
	wantControl() func() bool     // and for control
	settle() error                // does what one without a device can
	leftover() bool               // control was left by the dead
	park() (func() bool, func())  // executor: prepares a sleep over the empty queue
	sleep(r Ref, s *wake.Spinner) // real goroutines: rests
	hasOp(r Ref) (turn uint32)
}

// shared is an end of a Queue.
type shared struct {
	*Member
	x *Exec
}

func newShared(q *Queue, owner uint32) *shared {
	m := q.Member(owner, count)
	return &shared{m, m.Exec()}
}

func changed(w *atomic.Uint32) func() bool {
	was := w.Load()
	return func() bool { return w.Load() != was }
}

func (s *shared) alloc(r *Request, able bool) (Ref, bool) { return s.Alloc(r, able) }
func (s *shared) executor() Executor                      { return s.x }
func (s *shared) heard(r Ref) func() bool                 { return changed(s.q.nodes[r.Index()].bell.Word) }
func (s *shared) wantSpace() func() bool {
	f := changed(s.line.bell.Word)
	s.WantSpace()
	return f
}

func (s *shared) wantControl() func() bool {
	f := changed(s.line.bell.Word)
	s.WantControl()
	return f
}

func (s *shared) settle() error {
	_, err := s.x.Settle()
	return err
}

func (s *shared) leftover() bool {
	_, left := s.Member.Executor()
	return left
}

func (s *shared) park() (func() bool, func()) {
	f := changed(s.q.bell.Word)
	s.x.Park()
	if !s.x.Idle() || s.Unswept() {
		return func() bool { return true }, s.x.Unpark
	}
	return f, s.x.Unpark
}

func (s *shared) sleep(Ref, *wake.Spinner) {}
func (s *shared) hasOp(r Ref) uint32       { return s.q.nodes[r.Index()].load().turn() }

// local is an end of a Local queue.
type local struct{ *Local }

func (l local) alloc(r *Request, able bool) (Ref, bool) {
	return l.Alloc(r, make([]byte, r.In), able)
}

func (l local) executor() Executor { return l.Local }

func (l local) heard(r Ref) func() bool {
	ch := l.at(r).wake
	select {
	case <-ch: // of another sleep
	default:
	}
	return func() bool { return len(ch) > 0 }
}

// on prepares a sleep over sig, unless ready.
func (l local) on(sig *signal, ready bool) func() bool {
	select {
	case <-sig.ch:
	default:
	}
	if ready {
		return func() bool { return true }
	}
	return func() bool { return len(sig.ch) > 0 }
}

func (l local) wantSpace() func() bool {
	l.space.waiting.Store(100) // the explorer's sleepers do not count
	return l.on(&l.space, uint32(l.free.Load()) != 0)
}

func (l local) wantControl() func() bool {
	l.spare.waiting.Store(100)
	return l.on(&l.spare, l.tail.Load() == none && l.own.Load() == 0 || l.Local.Offered())
}

func (l local) settle() error  { return nil }
func (l local) leftover() bool { return false }
func (l local) park() (func() bool, func()) {
	f := l.on(&l.idle, false)
	l.Local.park.Store(1)
	unpark := func() { l.Local.park.Store(0) }
	if l.front() != none {
		return func() bool { return true }, unpark
	}
	return f, unpark
}
func (l local) sleep(r Ref, _ *wake.Spinner) { _ = l.Sleep(context.Background(), r) }
func (l local) hasOp(r Ref) uint32           { return uint32(l.at(r).turn.Load()) }
