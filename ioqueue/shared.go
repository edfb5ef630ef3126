package ioqueue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/ring/mpsc"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// shared is a queue in a segment.
type shared struct {
	*mpsc.Member
	host     *host.Host
	area     *segment.Area
	view     *mpsc.Queue
	exec     *mpsc.Exec
	settling sync.Mutex // over settler
	settler  *mpsc.Exec
	idle     *wake.Sleeper                  // of whoever of us has control
	sleepers []atomic.Pointer[wake.Sleeper] // by node
	buffers  buffers
}

func newShared(h *host.Host, area *segment.Area, view *mpsc.Queue) *shared {
	m := view.Member(uint32(h.Node.Owner()), h.Pool.Ring)
	return &shared{
		Member: m, host: h, area: area, view: view, exec: m.Exec(), settler: m.Exec(),
		idle:     h.Pool.NewSleeper(view.ExecutorBell(), wake.Policy{}),
		sleepers: make([]atomic.Pointer[wake.Sleeper], view.Config().Depth), buffers: buffers{depth: view.Config().Depth},
	}
}

func (s *shared) alloc(r mpsc.Request, _ []byte, able bool) (mpsc.Ref, bool) {
	return s.Alloc(&r, able)
}

func (s *shared) submit1(r mpsc.Ref, able bool) mpsc.Control {
	return s.Submit([]mpsc.Ref{r}, able)
}

func (s *shared) refs() *[]mpsc.Ref       { return s.buffers.get() }
func (s *shared) giveBack(b *[]mpsc.Ref)  { s.buffers.put(b) }
func (s *shared) executor() mpsc.Executor { return s.exec.Sync() }
func (s *shared) local() bool             { return false }
func (s *shared) pending() bool           { return !s.exec.Idle() }

func (s *shared) broken() error {
	if s.view.Broken() {
		return fmt.Errorf("ioqueue %q: %w", s.area.Key().Name, ErrBroken)
	}
	return nil
}

func (s *shared) fail() { s.view.Break(s.host.Pool.Ring) }

func (s *shared) err() error { return s.host.Node.Err() }

// suspectPoll is how often one who waits looks again at an executor of another
// kernel, whose death or silence rings no bell.
const suspectPoll = 100 * time.Millisecond

// look does what must be done before a sleep over what an executor does: it
// buries one that is dead, settles what was left, and says what is wrong.
// foreign reports that nobody will ring if the executor dies.
func (s *shared) look() (foreign bool, err error) {
	if err := s.err(); err != nil {
		return false, err
	}
	if err := s.broken(); err != nil {
		return false, err
	}
	owner, left := s.Executor()
	o := segment.Owner(owner)
	if owner != 0 && o != s.host.Node.Owner() {
		switch s.host.Node.Status(o) {
		case segment.Dead:
			s.host.Node.RecoverOwner(o)
			_, left = s.Executor()
		case segment.Suspect:
			return true, fmt.Errorf("ioqueue %q: executor %q: %w", s.area.Key().Name, s.host.Node.NameOf(o), ErrSuspect)
		default:
			foreign = s.host.Node.Foreign(o)
		}
	}
	if left {
		err = s.settle()
	}
	return foreign, err
}

// settle does what one without a device can where somebody died.
func (s *shared) settle() error {
	s.settling.Lock()
	defer s.settling.Unlock()
	_, err := s.settler.Settle()
	switch {
	case errors.Is(err, mpsc.ErrFenced):
		return fmt.Errorf("ioqueue %q: %w", s.area.Key().Name, ErrFenced)
	case err != nil:
		s.fail()
		return fmt.Errorf("ioqueue %q: %w: %w", s.area.Key().Name, ErrBroken, err)
	}
	return nil
}

// limited is ctx that ends soon if the executor's death would ring no bell.
func limited(ctx context.Context, foreign bool) (context.Context, context.CancelFunc) {
	if !foreign {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, suspectPoll)
}

func (s *shared) sleepOp(ctx context.Context, q *Queue, r mpsc.Ref, able bool) error {
	defer runtime.KeepAlive(s.area)
	foreign := false
	if !able || !s.Offered() { // else it takes over itself, device in hand
		var err error
		if foreign, err = s.look(); err != nil {
			return err
		}
	}
	sleep, cancel := limited(ctx, foreign)
	defer cancel()
	z := s.sleepers[r.Index()].Load()
	if z == nil {
		z = s.host.Pool.NewSleeper(s.view.NodeBell(r.Index()), q.policy)
		s.sleepers[r.Index()].Store(z)
	}
	z.Prepare()
	s.Announce(r, able)
	defer func() {
		if s.Look(r) != mpsc.Free { // else the words are another's
			s.Awake(r, able)
		}
	}()
	_, left := s.Executor()
	if q.ready(r, able) || left && !able || s.view.Broken() {
		z.Cancel()
		return nil
	}
	if err := z.Sleep(sleep); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// sleepMember sleeps on our own bell until try says that it is over. announce
// asks for the ring.
func (s *shared) sleepMember(ctx context.Context, announce func(), try func() bool) error {
	defer runtime.KeepAlive(s.area)
	group := s.host.Pool.NewGroup([]wake.Bell{s.Bell()})
	for !try() {
		foreign, err := s.look()
		if err != nil {
			return err
		}
		if s.Unswept() {
			if err := s.settle(); err != nil {
				return err
			}
		}
		group.Prepare()
		announce()
		if try() {
			group.Cancel()
			return nil
		}
		sleep, cancel := limited(ctx, foreign)
		err = group.Sleep(sleep)
		cancel()
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (s *shared) sleepSpace(ctx context.Context, try func() bool) error {
	return s.sleepMember(ctx, s.WantSpace, try)
}

func (s *shared) sleepControl(ctx context.Context, _ *Queue, try func() bool) error {
	defer s.WaivesControl()
	return s.sleepMember(ctx, s.WantControl, func() bool { return try() || s.view.Broken() })
}

func (s *shared) sleepIdle(ctx context.Context, q *Queue) error {
	defer runtime.KeepAlive(s.area)
	if err := s.err(); err != nil {
		return err
	}
	s.idle.Prepare()
	s.exec.Park()
	defer s.exec.Unpark()
	if !s.exec.Idle() || q.closed.Load() || s.Unswept() {
		s.idle.Cancel()
		return nil
	}
	return s.idle.Sleep(ctx)
}

func (s *shared) wakeAll(q *Queue) {
	for i := range q.mine {
		if r := q.mine[i].Load(); r != 0 {
			s.host.Pool.Ring(s.view.NodeBell(mpsc.Ref(r - 1).Index()))
		}
	}
	s.host.Pool.Ring(s.Bell())
	if owner, _ := s.Executor(); owner == uint32(s.host.Node.Owner()) {
		s.host.Pool.Ring(s.view.ExecutorBell())
	}
}

func (s *shared) close(q *Queue) {
	for i := range s.sleepers {
		if z := s.sleepers[i].Load(); z != nil {
			z.Close()
		}
	}
	s.idle.Close()
	_ = s.area.Close()
	s.host.Remove(q) // until then the node waits for us before it leaves
}

// buffers keeps room for the references of a batch.
type buffers struct {
	depth int
	pool  sync.Pool
}

func (b *buffers) get() *[]mpsc.Ref {
	if r, ok := b.pool.Get().(*[]mpsc.Ref); ok {
		return r
	}
	r := make([]mpsc.Ref, 0, b.depth)
	return &r
}

func (b *buffers) put(r *[]mpsc.Ref) {
	*r = (*r)[:0]
	b.pool.Put(r)
}
