package ioqueue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/mpsc"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// Op is one request to a device. Code and Offset are the device's to
// understand; [File] knows the codes of this package.
type Op struct {
	Code   Code
	Offset int64
	Data   []byte // for the device
	Into   []byte // where the bytes go that come back
	// Repeatable: the op may be carried out again if the executor dies over it.
	Repeatable bool
}

// Code says what an op is. A device may have others than those of this package.
type Code uint16

// Queue is one end of a queue of ops for one device. Its methods may be called
// concurrently. It ends with Close, or with its node.
type Queue struct {
	near   *mpsc.Local // the ring, if it is within this process
	name   string
	ring   ring
	x      mpsc.Executor // the ring's, for who has control
	policy wake.Policy
	opts   Options
	max    int // bytes of an op
	shared bool
	closed atomic.Bool
	once   sync.Once // of Close: of several who close, the others wait for the first
	inside atomic.Int64
	mine   []atomic.Uint64 // by node, one more than the ticket that is out

	// Of the goroutine that has control.
	dev   Device
	ops   []mpsc.Op
	reqs  []Request
	carry func([]mpsc.Op)
	now   func() int64
	ends  func() bool // closed
	given []Request   // of Ops, by node
	own   []Request   // one, of Do where nobody else is

	handed atomic.Int64 // ops that Ops gave and that are not completed
}

func keyOf(name string) segment.Key { return segment.Key{Kind: segment.KindQueue, Name: name} }

// Open opens the queue of the given name, and creates it if it is not there.
func Open(node *ringbus.Node, name string, o *Options) (*Queue, error) {
	opts, err := o.resolve(name)
	if err != nil {
		return nil, err
	}
	h := host.Of(node)
	if err := segment.CheckName(name); err != nil {
		return nil, fmt.Errorf("ioqueue %q: %w", name, err)
	}
	if err := h.Err(); err != nil {
		return nil, err
	}
	area, view, err := place(h, name, mpsc.Config{Depth: opts.Depth, Size: opts.MaxData})
	if err != nil {
		return nil, fmt.Errorf("ioqueue %q: %w", name, err)
	}
	have := view.Config()
	if o == nil {
		o = &Options{}
	}
	for _, f := range []struct {
		name  string
		asked int
		have  int
	}{{"depth", o.Depth, have.Depth}, {"max-data", o.MaxData, have.Size}} {
		if f.asked != 0 && f.asked != f.have {
			_ = area.Close()
			return nil, &MismatchError{Queue: name, Field: f.name, Have: f.have, Want: f.asked}
		}
	}
	opts.Depth, opts.MaxData = have.Depth, have.Size
	q := newQueue(name, opts)
	q.max, q.shared = have.Size, true
	base := time.Now()
	wall := base.UnixNano()
	q.now = func() int64 { return wall + int64(time.Since(base)) } // one clock is cheaper than two
	q.ring = newShared(h, area, view)
	q.x = q.ring.executor()
	if err := h.Add(q); err != nil {
		_ = area.Close()
		return nil, err
	}
	return q, nil
}

// place opens the queue's area, or makes it.
func place(h *host.Host, name string, c mpsc.Config) (*segment.Area, *mpsc.Queue, error) {
	area, err := h.Node.Lookup(keyOf(name))
	if errors.Is(err, fs.ErrNotExist) {
		area, _, err = h.Node.Create(context.Background(), keyOf(name), mpsc.Size(c), func(b []byte) error { return mpsc.Format(b, c) })
		var other *segment.MismatchError
		if errors.As(err, &other) { // somebody else was quicker, and wanted another one
			area, err = h.Node.Lookup(keyOf(name))
		}
	}
	if err != nil {
		return nil, nil, err
	}
	view, err := mpsc.Open(area.Bytes())
	if err != nil {
		_ = area.Close()
	}
	return area, view, err
}

// New makes a queue within this process, without a bus. What ops are made of is
// not copied: it must stay as it is until the op is over.
func New(o *Options) *Queue {
	opts, err := o.resolve("")
	if err != nil {
		panic(err) // our caller's constants
	}
	q := newQueue("", opts)
	q.max = int(^uint(0) >> 1)
	q.now = func() int64 { return 0 }
	l := newLocal(q)
	q.ring, q.near = l, l.Local
	q.x = q.ring.executor()
	return q
}

// lone is a request that has lines to itself: what one writes of it that is alone
// is the first of them.
type lone struct {
	one [1]Request
	_   [32]byte // to 128, whose multiples the allocator hands out
}

func newQueue(name string, opts Options) *Queue {
	q := &Queue{
		name: name, opts: opts, policy: policy(opts.Wait), mine: make([]atomic.Uint64, opts.Depth),
		ops: make([]mpsc.Op, 0, opts.Batch), reqs: make([]Request, 0, opts.Batch), own: new(lone).one[:],
	}
	q.carry, q.ends = q.execute, q.closed.Load
	return q
}

// Remove removes the queue from the bus and gives its memory back. It is an
// error if any node has it open.
func Remove(node *ringbus.Node, name string) error {
	if err := host.Of(node).Node.Remove(keyOf(name)); err != nil {
		return fmt.Errorf("remove ioqueue %q: %w", name, err)
	}
	return nil
}

// Name returns the queue's name, empty for one within a process.
func (q *Queue) Name() string { return q.name }

// Depth is how many ops may be there at once.
func (q *Queue) Depth() int { return q.opts.Depth }

// MaxData is how many bytes an op may have.
func (q *Queue) MaxData() int { return q.max }

// Close closes this end. Calls that wait return ErrClosed; what was submitted
// and not waited for is carried out all the same, if there is somebody to do so.
func (q *Queue) Close() error {
	q.once.Do(q.end)
	return nil
}

func (q *Queue) end() {
	q.closed.Store(true)
	q.ring.wakeAll(q)
	for n := 1; q.inside.Load() != 0; n++ {
		if n%64 == 0 {
			q.ring.wakeAll(q)
		}
		time.Sleep(20 * time.Microsecond)
	}
	for i := range q.mine {
		if r := q.mine[i].Load(); r != 0 && q.shared {
			q.ring.Forget(mpsc.Ref(r-1), false)
		}
	}
	q.ring.close(q)
}

// enter begins a call.
func (q *Queue) enter() error {
	if q.shared {
		q.inside.Add(1) // else there is no memory to give back
	}
	if q.closed.Load() {
		q.leave()
		return q.closedErr()
	}
	return nil
}

func (q *Queue) leave() {
	if q.shared {
		q.inside.Add(-1)
	}
}

func (q *Queue) closedErr() error { return fmt.Errorf("ioqueue %q: %w", q.name, ErrClosed) }

// keep notes that a ticket is out.
func (q *Queue) keep(r mpsc.Ref) { mem.StoreRelease(&q.mine[r.Index()], uint64(r)+1) }

// over notes that a ticket's op is over.
func (q *Queue) over(r mpsc.Ref) { q.mine[r.Index()].CompareAndSwap(uint64(r)+1, 0) }
