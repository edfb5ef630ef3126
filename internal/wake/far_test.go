package wake

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// far is what a bus tells of other kernels.
type far struct {
	away, covered, dead, noFutex atomic.Bool
	remote                       atomic.Int32 // node + 1 that is of another kernel
	rung                         atomic.Int32 // its doorbell was

	mu  sync.Mutex
	all map[any]func(bool)
}

func (f *far) Far(slot int, ring bool) bool {
	if int32(slot)+1 != f.remote.Load() || slot < 0 {
		return false
	}
	if ring {
		f.rung.Add(1)
	}
	return true
}

func (f *far) Local(int) (*atomic.Uint32, bool) { return nil, !f.noFutex.Load() }
func (f *far) Away() bool                       { return f.away.Load() }
func (f *far) Covered() bool                    { return f.covered.Load() }
func (f *far) Live() bool                       { return !f.dead.Load() }

func (f *far) Notify(key any, g func(bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = make(map[any]func(bool))
	}
	f.all[key] = g
}

// tell is what the segment does when who is there has changed.
func (f *far) tell(alarm bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.all {
		if g != nil {
			g(alarm)
		}
	}
}

// asleep starts a sleep on s and returns when it is announced; the channel gives
// what Sleep returned.
func asleep(ctx context.Context, s *Sleeper) <-chan error {
	s.Prepare()
	done := make(chan error, 1)
	go func() { done <- s.Sleep(ctx) }()
	return done
}

// raise is what a node of another kernel does to a bell: no futex of ours hears it.
func raise(b *bus, i int) { b.bell(i).Word.Add(1) }

// far0 is a bus with away set, and a pool on it.
func far0(t *testing.T, futex bool) (*bus, *Pool) {
	b := newBus(64)
	b.away.Store(true)
	b.noFutex.Store(!futex)
	return b, b.pool(t, 0)
}

func eachFutex(t *testing.T, f func(t *testing.T, futex bool)) {
	t.Run("futex", func(t *testing.T) { f(t, true) })
	t.Run("none", func(t *testing.T) { f(t, false) })
}

func TestSleeperSeesABellThatNoFutexRings(t *testing.T) {
	eachFutex(t, func(t *testing.T, futex bool) {
		b, p := far0(t, futex)
		for range 20 {
			s := p.NewSleeper(b.bell(0), Policy{})
			done := asleep(context.Background(), s)
			raise(b, 0)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestPooledSleeperSeesABellThatNoFutexRings(t *testing.T) {
	eachFutex(t, func(t *testing.T, futex bool) {
		b, p := far0(t, futex)
		crowd(t, b, p)
		for range 20 {
			s := p.NewSleeper(b.bell(1), Policy{})
			done := asleep(context.Background(), s)
			b.bell(1).Word.Add(1)
			if b.bell(1).Ref.Load() != 1 {
				t.Fatal("the bell does not name its node")
			}
			b.BellOf(0).Add(1) // as a ringer of another kernel does after it has read the reference
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A sleeper that went to sleep among nodes of its own kernel only must notice that
// another kernel's node has come.
func TestSleeperBeginsToLookWhenANodeOfAnotherKernelComes(t *testing.T) {
	b := newBus(64)
	p := b.pool(t, 0)
	s := p.NewSleeper(b.bell(0), Policy{})
	for range 50 {
		done := asleep(context.Background(), s)
		b.away.Store(true)
		b.tell(true)
		raise(b, 0)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		b.away.Store(false)
	}
	crowd(t, b, p)
	pooled := p.NewSleeper(b.bell(1), Policy{})
	for range 50 {
		done := asleep(context.Background(), pooled)
		b.away.Store(true)
		b.tell(true)
		raise(b, 1)
		b.BellOf(0).Add(1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		b.away.Store(false)
	}
}

func TestFarSleeperIsStillRungByFutex(t *testing.T) {
	b, p := far0(t, true)
	b.covered.Store(true) // it looks ten times a second only
	s := p.NewSleeper(b.bell(0), Policy{})
	begin := time.Now()
	for range 100 {
		done := asleep(context.Background(), s)
		p.Ring(b.bell(0))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("100 rings took %v: nobody heard them", d)
	}
}

func TestDoorbellWakesWhoseBellWasRung(t *testing.T) {
	eachFutex(t, func(t *testing.T, futex bool) {
		b, p := far0(t, futex)
		b.covered.Store(true)
		s := p.NewSleeper(b.bell(0), Policy{})
		for range 50 {
			done := asleep(context.Background(), s)
			raise(b, 0)
			b.tell(false)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestNodeOfAnotherKernelIsRungByItsDoorbell(t *testing.T) {
	b := newBus(1)
	b.remote.Store(3)
	bell := b.bell(0)
	for _, ref := range []uint32{3, 3 | refDirect} {
		rung, word := b.rung.Load(), bell.Word.Load()
		bell.Ref.Store(ref)
		Ring(bell, b)
		if b.rung.Load() != rung+1 || bell.Word.Load() != word+1 {
			t.Errorf("reference %#x: rung %d times", ref, b.rung.Load()-rung)
		}
	}
	for _, garbage := range []uint32{0, 2, 4, 1 << 17, ^uint32(0), refDirect} {
		rung := b.rung.Load()
		bell.Ref.Store(garbage)
		Ring(bell, b)
		if b.rung.Load() != rung {
			t.Errorf("reference %#x rings a doorbell", garbage)
		}
	}
}

func TestCancelledSleepOfTheFarEndsAtOnce(t *testing.T) {
	eachFutex(t, func(t *testing.T, futex bool) {
		b, p := far0(t, futex)
		b.covered.Store(true)
		s := p.NewSleeper(b.bell(0), Policy{})
		defer s.Close()
		begin := time.Now()
		for range 50 {
			ctx, cancel := context.WithCancel(context.Background())
			done := asleep(ctx, s)
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		if d := time.Since(begin); d > 4*time.Second {
			t.Errorf("50 cancelled sleeps took %v", d)
		}
	})
}

func TestSleepEndsWhenTheNodeMayNotAct(t *testing.T) {
	eachFutex(t, func(t *testing.T, futex bool) {
		b, p := far0(t, futex)
		direct := asleep(context.Background(), p.NewSleeper(b.bell(0), Policy{Pinned: true}))
		crowd(t, b, p)
		pooled := asleep(context.Background(), p.NewSleeper(b.bell(1), Policy{}))
		b.dead.Store(true)
		b.tell(true)
		if err := errors.Join(<-direct, <-pooled); err != nil {
			t.Error(err)
		}
	})
}

// Who sleeps for long looks rarely, who has just begun often.
func TestIntervalsGrowWithTheSleep(t *testing.T) {
	var b backoff
	total, looks := time.Duration(0), 0
	for total < time.Second {
		total += b.next(1, false)
		looks++
	}
	if first := (&backoff{}).next(1, false); first > 100*time.Microsecond {
		t.Errorf("the first look comes after %v", first)
	}
	if looks > 700 {
		t.Errorf("%d looks in the first second", looks)
	}
	if d := b.next(16, false); d < 16*longest {
		t.Errorf("sixteen sleepers look every %v each", d)
	}
	if d := b.next(1, true); d != covered {
		t.Errorf("where a doorbell rings it looks every %v", d)
	}
}

// TestIdleSleepersCostLittle sleeps for a while and asks the kernel what it cost:
// about a hundredth of a CPU where nobody else is, several times that where caches
// are cold each time, and all there is of one or more if they went on looking.
func TestIdleSleepersCostLittle(t *testing.T) {
	eachFutex(t, func(t *testing.T, futex bool) {
		b, p := far0(t, futex)
		var all []<-chan error
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for i := range 20 {
			all = append(all, asleep(ctx, p.NewSleeper(b.bell(i), Policy{})))
		}
		const slept = 2 * time.Second
		<-time.NewTimer(time.Second).C // until the intervals are long
		wait := time.NewTimer(slept)
		before := cpu(t)
		<-wait.C
		used := cpu(t) - before
		t.Logf("%v of %v", used, slept)
		if used > slept/4 {
			t.Errorf("20 idle sleepers used %v of a CPU in %v", used, slept)
		}
		cancel()
		for _, done := range all {
			<-done
		}
	})
}
