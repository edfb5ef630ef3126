// Package wake lets a goroutine sleep until another node rings its bell, and
// rings bells.
//
// A bell is a 32-bit counter in shared memory. Who wants to sleep reads it
// ([Sleeper.Prepare]), announces the sleep in a word of its ring, looks once
// more whether there is something to do, and sleeps while the counter has not
// changed ([Sleeper.Sleep]). Who has news raises the counter after the news is
// visible, if the sleep was announced ([Ring]). So a ring is never lost, and a
// peer that is awake costs no system call.
//
// There are two ways to sleep. A *direct* sleeper is a thread in futex(2) on its
// own bell: the fastest way, for few. A *pooled* sleeper is a goroutine on a
// channel; its bell refers to the bell of its node, on which one goroutine of
// the process sleeps for all: for many sleepers, and for one goroutine that
// waits on several bells.
//
// A futex does not reach into another kernel. As long as nodes of other kernels
// are about, a sleeper looks at its bell from time to time, in intervals that
// grow with the time it has slept, and its bell always names its node, so that
// such a ringer knows whose doorbell to ring, where there is one ([Home]). The nodes of one
// kernel wake each other by futex all the same; over the memory of a PCI device,
// which has no futexes, by a word beside it.
package wake

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/sys"
)

// DefaultSpin is how long a waiter looks before it sleeps.
const DefaultSpin = 25 * time.Microsecond

// maxDirect is how many goroutines of a process may sleep in futex(2), each on
// a thread of its own.
const maxDirect = 16

// Policy is how a goroutine waits.
type Policy struct {
	Spin     time.Duration // 0: DefaultSpin; negative: sleep at once
	BusyPoll bool          // never sleep
	Pinned   bool          // the goroutine is locked to its thread: never call Go's scheduler
}

// Spinner is one wait's budget of looking.
type Spinner struct {
	policy Policy
	start  time.Time
	n      uint
}

// Begin starts a wait under policy p.
func (p Policy) Begin() Spinner { return Spinner{policy: p} }

// A round is how many glances follow each other before a waiter thinks of
// others: whoever it waits for may need this very CPU. It takes a microsecond
// or two.
const (
	round = 64
	look  = 4 // a full look counts as so many glances
	burst = 4 // so many glances between two pauses
)

// Rest rests a moment between two glances at the word that is waited for. It
// returns false when it is time for Next: a full look, and thought for others.
//
// A few glances, then two pauses, of 15 to 50 ns each. More glances would take
// the line away from who is about to write it, and what the CPU reads ahead of
// its own glance the lines behind it: of many ways to divide the time this one
// was the fastest, and the one least disturbed by what else the program does.
func (s *Spinner) Rest() bool {
	if s.n%round == round-1 || !s.spins() {
		return false
	}
	if s.n++; s.n%burst == 0 {
		Pause()
		Pause()
	}
	return true
}

func (s *Spinner) spins() bool { return s.policy.Spin >= 0 || s.policy.BusyPoll }

// Next rests a moment between two full looks. It returns false when the time
// to look is used up and the waiter should sleep.
func (s *Spinner) Next() bool {
	if !s.spins() {
		return false
	}
	if s.n += look; s.n%round >= look {
		Pause()
		return true
	}
	if !s.policy.Pinned {
		runtime.Gosched()
	} else if s.policy.BusyPoll && s.n/round%16 != 0 {
		return true // it has this CPU to itself, or should
	}
	sys.Yield()
	if s.policy.BusyPoll {
		return true
	}
	if s.start.IsZero() {
		s.start = time.Now()
		return true
	}
	budget := s.policy.Spin
	if budget == 0 {
		budget = DefaultSpin
	}
	return time.Since(s.start) < budget
}

// RoundOver reports whether the last call of Next ended a round: a busy poller
// looks at its context then.
func (s *Spinner) RoundOver() bool { return s.n%round < look }

// ErrClosed is what Sleep returns when its Pool was closed.
var ErrClosed = errors.New("wake: closed")

// Sleeper is the place of one endpoint to sleep at. One goroutine at a time
// uses it.
type Sleeper struct {
	pool   *Pool
	bell   Bell
	pinned bool
	seen   uint32
	pooled bool
	far    bool // the bell names our node, and the sleeper looks by itself
	ch     chan struct{}

	pause      backoff
	next, prev *Sleeper // the direct sleepers of the pool, under its lock

	// The context whose end rings the bell, kept from one wait to the next,
	// because most waits have the same one. Its channel stands for it: not
	// every context can be compared.
	done <-chan struct{}
	stop func() bool
	rang chan struct{} // closed when the context's end has rung the bell
}

// NewSleeper makes a place to sleep on bell b.
func (p *Pool) NewSleeper(b Bell, policy Policy) *Sleeper {
	return &Sleeper{pool: p, bell: b, pinned: policy.Pinned, pause: backoff{spec: new([2]atomic.Uint64)}}
}

// Prepare must come before the sleep is announced.
func (s *Sleeper) Prepare() {
	s.seen = s.bell.Word.Load()
	s.pooled = !s.pinned && s.pool.direct.Add(1) > maxDirect
	if s.pooled {
		s.pool.direct.Add(-1)
		if s.ch == nil {
			s.ch = make(chan struct{}, 1)
		}
		s.pool.add(s, s.ch)
	} else {
		s.refer(s.pool.home.Away())
		s.pool.enter(s)
	}
}

// refer says in the bell how to wake this direct sleeper.
func (s *Sleeper) refer(far bool) {
	s.far = far
	if far || !s.pool.futex {
		s.bell.Ref.Store(uint32(s.pool.slot) + 1 | refDirect)
	} else {
		s.bell.Ref.Store(0)
	}
}

// Cancel takes Prepare back.
func (s *Sleeper) Cancel() {
	if s.pooled {
		s.pool.remove(s)
		s.drain()
		return
	}
	s.pool.leave(s)
	if !s.pinned {
		s.pool.direct.Add(-1)
	}
}

// Sleep returns when the bell was rung after Prepare, or ctx is done; its
// error then is ctx's. It also returns, with no error, when the node may not act
// any more.
func (s *Sleeper) Sleep(ctx context.Context) error {
	defer s.Cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.pooled {
		select {
		case <-s.ch:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.watch(ctx)
	// The futex keeps this P until the runtime takes it away, up to 0.1 ms later.
	// Goroutines that were made runnable before the wait have run: the spin has
	// called the scheduler. Who does not spin has asked for the shortest way.
	s.pause.slept = 0
	for s.pool.home.Live() {
		local := s.pool.local.Load()
		far := s.pool.home.Away()
		if far && !s.far {
			s.refer(true)
		}
		if s.bell.Word.Load() != s.seen || ctx.Err() != nil {
			break
		}
		s.pool.doze(s.bell.Word, s.seen, local, far, &s.pause)
	}
	return ctx.Err()
}

// watch makes the end of ctx ring the bell.
func (s *Sleeper) watch(ctx context.Context) {
	done := ctx.Done()
	if s.done == done {
		return
	}
	s.Forget()
	s.done = done
	if done != nil {
		bell, pool, rang := s.bell, s.pool, make(chan struct{})
		s.rang = rang
		s.stop = context.AfterFunc(ctx, func() {
			defer close(rang)
			Ring(bell, pool.home)
			pool.rouse(bell.Word) // whatever a peer has written into the reference
		})
	}
}

// Forget forgets the context of the last Sleep: from now on its end does not
// ring the bell. Who makes a context for one Sleep forgets it before it is
// cancelled.
func (s *Sleeper) Forget() {
	if s.stop != nil && !s.stop() {
		<-s.rang // nobody touches the bell after this
	}
	s.done, s.stop = nil, nil
}

// Close forgets the context. The sleeper is not used again.
func (s *Sleeper) Close() { s.Forget() }

func (s *Sleeper) drain() {
	select {
	case <-s.ch:
	default:
	}
}
