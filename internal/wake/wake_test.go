package wake

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestMain(m *testing.M) { shmtest.Main(m, nil) }

// bus is the bells of a few nodes, and of their endpoints, on the heap.
type bus struct {
	area  []byte
	words int
	far   // what is there of other kernels: nothing
}

const nodes = 4

func newBus(endpoints int) *bus {
	return &bus{area: mem.Alloc(64 * (nodes + endpoints)), words: nodes + endpoints}
}

func (b *bus) BellOf(slot int) *atomic.Uint32 {
	if slot < 0 || slot >= nodes {
		return nil
	}
	return mem.U32(b.area, 64*slot)
}

func (b *bus) bell(i int) Bell {
	return Bell{Word: mem.U32(b.area, 64*(nodes+i)), Ref: mem.U32(b.area, 64*(nodes+i)+4)}
}

// pool makes the pool of node slot; it is closed with the test.
func (b *bus) pool(t *testing.T, slot int) *Pool {
	p := NewPool(slot, b)
	t.Cleanup(p.Close)
	return p
}

// crowd takes the places of all direct sleepers, so that the next is pooled.
func crowd(t *testing.T, b *bus, p *Pool) {
	t.Helper()
	for range maxDirect {
		s := p.NewSleeper(b.bell(0), Policy{})
		s.Prepare()
		if s.pooled {
			t.Fatal("pooled among the first")
		}
		t.Cleanup(s.Cancel)
	}
}

func spin(until func() bool) {
	for !until() {
		runtime.Gosched()
	}
}

func TestRingWakesADirectSleeper(t *testing.T) {
	b := newBus(1)
	p := b.pool(t, 1)
	for _, policy := range []Policy{{}, {Pinned: true}} {
		s := p.NewSleeper(b.bell(0), policy)
		for range 200 {
			s.Prepare()
			if s.pooled {
				t.Fatal("pooled though it is alone")
			}
			go p.Ring(b.bell(0))
			if err := s.Sleep(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
	}
}

func TestRingWakesAPooledSleeper(t *testing.T) {
	b := newBus(2)
	p, other := b.pool(t, 1), b.pool(t, 2)
	crowd(t, b, p)
	s := p.NewSleeper(b.bell(1), Policy{})
	for range 200 {
		s.Prepare()
		if !s.pooled || b.bell(1).Ref.Load() != 2 {
			t.Fatal("not pooled in a crowd")
		}
		go other.Ring(b.bell(1)) // the ringer knows nothing of the sleeper but its bell
		if err := s.Sleep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// A ring between Prepare and Sleep counts.
func TestRingBeforeTheSleepIsNotLost(t *testing.T) {
	b := newBus(2)
	p := b.pool(t, 0)
	for _, pooled := range []bool{false, true} {
		if pooled {
			crowd(t, b, p)
		}
		s := p.NewSleeper(b.bell(1), Policy{})
		for range 100 {
			s.Prepare()
			p.Ring(b.bell(1))
			if err := s.Sleep(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A place that was direct once and is pooled now, and back, is woken the way
// it sleeps.
func TestSleeperChangesItsWay(t *testing.T) {
	b := newBus(2)
	p := b.pool(t, 3)
	s := p.NewSleeper(b.bell(1), Policy{})
	for i := range 20 {
		p.direct.Store(int32(i % 2 * maxDirect))
		s.Prepare()
		if s.pooled != (i%2 == 1) {
			t.Fatalf("round %d: pooled %v", i, s.pooled)
		}
		go p.Ring(b.bell(1))
		if err := s.Sleep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	p.direct.Store(0)
}

func TestContextEndsASleep(t *testing.T) {
	b := newBus(2)
	p := b.pool(t, 0)
	for _, pooled := range []bool{false, true} {
		if pooled {
			crowd(t, b, p)
		}
		s := p.NewSleeper(b.bell(1), Policy{})
		ctx, cancel := context.WithCancel(context.Background())
		s.Prepare()
		go cancel()
		if err := s.Sleep(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("pooled %v: %v", pooled, err)
		}
		s.Prepare()
		if err := s.Sleep(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("pooled %v, again: %v", pooled, err)
		}
		// The next wait has another context, and the old one's end is no ring.
		other, end := context.WithCancel(context.Background())
		defer end()
		s.Prepare()
		go p.Ring(b.bell(1))
		if err := s.Sleep(other); err != nil {
			t.Fatalf("pooled %v, after a cancelled one: %v", pooled, err)
		}
		s.Close()
	}
}

func TestAContextThatIsForgottenRingsNoBell(t *testing.T) {
	b := newBus(1)
	p := b.pool(t, 0)
	s := p.NewSleeper(b.bell(0), Policy{})
	for i := range 30000 {
		ctx, cancel := context.WithCancel(context.Background())
		s.Prepare()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			cancel() // has a goroutine ring
			p.Ring(b.bell(0))
		}()
		_ = s.Sleep(ctx)
		s.Forget()
		<-ended
		rung := b.bell(0).Word.Load()
		for range i % 50 {
			runtime.Gosched()
		}
		if b.bell(0).Word.Load() != rung {
			t.Fatal("it was rung")
		}
	}
}

func TestRingOfABellWithAWildReference(t *testing.T) {
	b := newBus(1)
	p := b.pool(t, 0)
	for _, ref := range []uint32{1 << 31, ^uint32(0), nodes + 1, 1000} {
		b.bell(0).Ref.Store(ref)
		p.Ring(b.bell(0))
	}
	if n := b.bell(0).Word.Load(); n != 4 {
		t.Errorf("the bell says %d", n)
	}
}

func TestGroupWakesForAnyOfItsBells(t *testing.T) {
	const bells = 5
	b := newBus(bells)
	p := b.pool(t, 2)
	var all []Bell
	for i := range bells {
		all = append(all, b.bell(i))
	}
	g := p.NewGroup(all)
	for i := range 100 {
		g.Prepare()
		go p.Ring(all[i%bells])
		if err := g.Sleep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.Prepare()
	go cancel()
	if err := g.Sleep(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	g.Prepare()
	g.Cancel()
	if len(p.sleepers) != 0 {
		t.Errorf("%d sleepers are left in the pool", len(p.sleepers))
	}
}

// pingPong hands a turn to and fro, with the protocol of the rings: news, then
// the sleeper's word | the sleeper's word, then the news. A lost wake-up hangs.
func pingPong(t *testing.T, mine, theirs *Sleeper, ring func(Bell), turns *[2]atomic.Uint64, parked *[2]atomic.Uint32, me int, rounds uint64) {
	for n := uint64(1); n <= rounds; n++ {
		turns[1-me].Store(n)
		if parked[1-me].Load() != 0 && parked[1-me].Swap(0) != 0 {
			ring(theirs.bell)
		}
		for turns[me].Load() < n {
			mine.Prepare()
			parked[me].Store(1)
			if turns[me].Load() >= n {
				mine.Cancel()
				break
			}
			if err := mine.Sleep(context.Background()); err != nil {
				t.Error(err)
				return
			}
		}
	}
}

func TestNoWakeUpIsLost(t *testing.T) {
	for _, c := range []struct {
		name   string
		pooled [2]bool
	}{{"direct", [2]bool{}}, {"pooled", [2]bool{true, true}}, {"mixed", [2]bool{false, true}}} {
		t.Run(c.name, func(t *testing.T) {
			b := newBus(3)
			var s [2]*Sleeper
			var pools [2]*Pool
			for i := range s {
				pools[i] = b.pool(t, i)
				if c.pooled[i] {
					pools[i].direct.Store(maxDirect)
				}
				s[i] = pools[i].NewSleeper(b.bell(i+1), Policy{})
			}
			var turns [2]atomic.Uint64
			var parked [2]atomic.Uint32
			var wg sync.WaitGroup
			for i := range s {
				wg.Go(func() { pingPong(t, s[i], s[1-i], pools[i].Ring, &turns, &parked, i, 5000) })
			}
			wg.Wait()
		})
	}
}

// A thousand sleepers of one process need a few threads, and all are woken.
func TestThousandSleepersInOnePool(t *testing.T) {
	const count = 1000
	b := newBus(count)
	p, other := b.pool(t, 1), b.pool(t, 2)
	for range 3 {
		var ready, done sync.WaitGroup
		ready.Add(count)
		for i := range count {
			done.Go(func() {
				s := p.NewSleeper(b.bell(i), Policy{})
				defer s.Close()
				s.Prepare()
				ready.Done()
				if err := s.Sleep(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		ready.Wait()
		if n := p.direct.Load(); n > maxDirect {
			t.Errorf("%d sleep in the kernel", n)
		}
		for i := range count {
			other.Ring(b.bell(i))
		}
		done.Wait()
	}
	if n := p.direct.Load(); n != 0 {
		t.Errorf("%d places of direct sleepers are not given back", n)
	}
}

func TestCloseWakesThePooled(t *testing.T) {
	b := newBus(9)
	p := NewPool(1, b)
	p.direct.Store(maxDirect)
	var ready, done sync.WaitGroup
	for i := range 8 {
		ready.Add(1)
		done.Go(func() {
			s := p.NewSleeper(b.bell(i), Policy{})
			s.Prepare()
			ready.Done()
			_ = s.Sleep(context.Background()) // its caller looks why it was woken
		})
	}
	ready.Wait()
	p.Close()
	done.Wait()
	// Who comes after the close does not sleep either.
	s := p.NewSleeper(b.bell(8), Policy{})
	s.Prepare()
	_ = s.Sleep(context.Background())
	spin(func() bool { p.mu.Lock(); defer p.mu.Unlock(); return !p.running })
}

func TestSpinnerEndsUnlessItBusyPolls(t *testing.T) {
	for _, p := range []Policy{{}, {Spin: 1}, {Pinned: true}, {Spin: -1}} {
		s := p.Begin()
		spin(func() bool { return !s.Next() })
	}
	s := Policy{BusyPoll: true}.Begin()
	for range 10_000 {
		if !s.Next() {
			t.Fatal("a busy poller goes to sleep")
		}
	}
}
