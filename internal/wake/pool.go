package wake

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// Pool is where the goroutines of one node sleep.
type Pool struct {
	slot   int
	home   Home
	bell   *atomic.Uint32
	local  *atomic.Uint32 // what the process sleeps on where bells have no futex
	futex  bool           // bells have futexes
	direct atomic.Int32   // sleepers that are not pooled

	mu       sync.Mutex
	sleepers map[*Sleeper]chan struct{}
	first    *Sleeper // of the direct ones
	running  bool
	closed   bool
}

// NewPool makes the pool of the node in the given slot, which home speaks of; it
// is kept reachable as long as the pool runs.
func NewPool(slot int, home Home) *Pool {
	p := &Pool{slot: slot, home: home, bell: home.BellOf(slot), sleepers: make(map[*Sleeper]chan struct{})}
	p.local, p.futex = home.Local(slot)
	if p.local == nil {
		p.local = new(atomic.Uint32)
	}
	home.Notify(p, p.Awaken)
	return p
}

// Ring rings b.
func (p *Pool) Ring(b Bell) { Ring(b, p.home) }

func (p *Pool) add(s *Sleeper, ch chan struct{}) {
	s.bell.Ref.Store(uint32(p.slot) + 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sleepers[s] = ch
	switch {
	case p.closed:
		wakeUp(ch)
	case !p.running:
		p.running = true
		go p.run()
	case p.home.Away(): // it may have come to long intervals
		p.bell.Add(1)
		p.rouse(p.bell)
	}
}

// enter and leave keep the list of the direct sleepers.
func (p *Pool) enter(s *Sleeper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.next = p.first; s.next != nil {
		s.next.prev = s
	}
	p.first = s
}

func (p *Pool) leave(s *Sleeper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.next != nil {
		s.next.prev = s.prev
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		p.first = s.next
	}
	s.next, s.prev = nil, nil
}

// Awaken makes the sleepers look whose bell was rung from another kernel. Alarm:
// it makes all look, because who may ring them is not who it was.
func (p *Pool) Awaken(alarm bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.futex {
		p.rouse(nil)
		return
	}
	for s := p.first; s != nil; s = s.next {
		if alarm { // it may be on its way into the futex just now
			s.bell.Word.Add(1)
		}
		sys.FutexWake(mem.Addr(s.bell.Word))
	}
	if alarm {
		p.bell.Add(1)
	}
	sys.FutexWake(mem.Addr(p.bell))
}

// rouse wakes who sleeps in this process until word changes.
func (p *Pool) rouse(word *atomic.Uint32) {
	if p.futex {
		sys.FutexWake(mem.Addr(word))
		return
	}
	p.local.Add(1)
	sys.FutexWake(mem.Addr(p.local))
}

// doze sleeps until word is not seen any more, or for a while if far; local is
// what the local word was before word was looked at. It may return early.
func (p *Pool) doze(word *atomic.Uint32, seen, local uint32, far bool, pause *backoff) {
	if !p.futex {
		word, seen = p.local, local
	}
	if !far {
		sys.FutexWait(mem.Addr(word), seen)
		return
	}
	pause.wait(word, seen, pause.next(int(p.direct.Load()), p.home.Covered()))
}

func (p *Pool) remove(s *Sleeper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sleepers, s)
}

// run sleeps on the node's bell for all pooled sleepers.
func (p *Pool) run() {
	pause := backoff{spec: new([2]atomic.Uint64)}
	for {
		seen := p.bell.Load()
		live := p.home.Live()
		p.mu.Lock()
		for s, ch := range p.sleepers {
			if p.closed || !live || s.bell.Word.Load() != s.seen {
				wakeUp(ch)
			}
		}
		idle := len(p.sleepers) == 0
		if p.closed {
			p.running = false
			p.mu.Unlock()
			runtime.KeepAlive(p.home)
			return
		}
		p.mu.Unlock()
		for {
			local := p.local.Load()
			if p.bell.Load() != seen || p.home.Live() != live {
				break
			}
			p.doze(p.bell, seen, local, p.home.Away() && !idle, &pause)
		}
		pause.slept = 0
	}
}

func wakeUp(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Close wakes the pooled sleepers and ends the pool's goroutine.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.home.Notify(p, nil)
	p.bell.Add(1)
	p.rouse(p.bell)
}

// Group lets one goroutine sleep on several bells at once.
type Group struct {
	pool     *Pool
	sleepers []*Sleeper
	ch       chan struct{}
}

// NewGroup makes a place to sleep on all bells.
func (p *Pool) NewGroup(bells []Bell) *Group {
	g := &Group{pool: p, ch: make(chan struct{}, 1)}
	for _, b := range bells {
		g.sleepers = append(g.sleepers, &Sleeper{pool: p, bell: b, pooled: true, ch: g.ch})
	}
	return g
}

// Prepare must come before the sleeps are announced.
func (g *Group) Prepare() {
	for _, s := range g.sleepers {
		s.seen = s.bell.Word.Load()
		g.pool.add(s, g.ch)
	}
}

// Cancel takes Prepare back.
func (g *Group) Cancel() {
	for _, s := range g.sleepers {
		g.pool.remove(s)
	}
	select {
	case <-g.ch:
	default:
	}
}

// Sleep returns when one of the bells was rung after Prepare, or ctx is done.
func (g *Group) Sleep(ctx context.Context) error {
	defer g.Cancel()
	select {
	case <-g.ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
