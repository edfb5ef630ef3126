package stream

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// Reader reads a stream: bytes, as an io.Reader, or messages. Its methods may be
// called concurrently, and run one after the other, but a message that Receive
// returned is valid until the next call only. It ends with Close, or with its
// node.
type Reader struct {
	place
	group  string
	follow bool
	wait   *waiter

	mu     sync.Mutex
	rx     *cells.Rx     // one of the two
	shared *cells.Shared // the other
	rec    cells.Record
	lent   bool   // rec is Receive's last message
	rest   []byte // of the message that Read is in
	late   []byte // and what of it lies at the ring's beginning
	within bool   // Read is within a message
	claim  *Claim // the one that Read is in
	claims sync.Mutex
	open   map[*Claim]struct{} // under claims
	stale  bool                // the stream had ended already when we came:
	since  uint64              // there
	lost   atomic.Uint64
	closed atomic.Bool
	once   sync.Once // of Close: of several who close, the others wait for the first
}

// NewReader opens the stream for reading, and creates it if it is not there. It
// sees what is written from now on, or from the oldest message on that is there.
func NewReader(node *ringbus.Node, name string, o *ReaderOptions) (*Reader, error) {
	if o == nil {
		o = &ReaderOptions{}
	}
	p, err := create(node, name, o.Size, o.Groups)
	if err != nil {
		return nil, err
	}
	r := &Reader{place: *p, group: o.Group, follow: o.Follow, open: make(map[*Claim]struct{})}
	var bell wake.Bell
	if o.Group == "" {
		bell, err = r.attach(o)
	} else {
		bell, err = r.share(o)
	}
	if err != nil {
		_ = p.area.Close()
		return nil, err
	}
	r.since = r.ring.Published()
	r.stale = r.ended() != 0
	r.wait = newWaiter(p.host, policy(o.Wait), bell)
	if r.rx != nil {
		r.wait.glance = r.rx.Pending
	}
	if err := r.host.Add(r); err != nil {
		r.end()
		return nil, err
	}
	return r, nil
}

func (r *Reader) attach(o *ReaderOptions) (wake.Bell, error) {
	mode := cells.ModeHold
	if o.Lapped {
		mode = cells.ModeLapped
	}
	slot, err := r.join(mode)
	if err != nil {
		return wake.Bell{}, err
	}
	if r.rx, err = cells.OpenRx(slot, o.Oldest); err != nil {
		return wake.Bell{}, r.err(ErrFenced)
	}
	return slot.Bell(), nil
}

// share joins the group; who died while making one makes way.
func (r *Reader) share(o *ReaderOptions) (wake.Bell, error) {
	if err := segment.CheckName(o.Group); err != nil {
		return wake.Bell{}, r.err(err)
	}
	if len(o.Group) > cells.MaxName {
		return wake.Bell{}, r.err(&nameError{o.Group})
	}
	for try := 0; ; try++ {
		s, err := r.ring.JoinGroup(r.owner(), o.Group, o.Oldest, r.bell)
		switch {
		case err == nil:
			r.shared = s
			return s.Slot().Bell(), nil
		case errors.Is(err, cells.ErrFenced):
			return wake.Bell{}, r.err(ErrFenced)
		case !errors.Is(err, cells.ErrBusy) && try > 0, try > 2000:
			return wake.Bell{}, r.err(errors.Join(ErrTooMany, err))
		}
		if _, err := r.host.Node.Recover(); err != nil {
			return wake.Bell{}, err
		}
		time.Sleep(time.Millisecond)
	}
}

type nameError struct{ group string }

func (e *nameError) Error() string {
	return "group \"" + e.group + "\": a group's name has at most 64 bytes"
}

// Message is a message of a stream.
type Message struct {
	// Data is the payload, where it lies in the stream. It must not be written,
	// nor used after the next call of the Reader.
	Data []byte
	// Number is the message's number among all of the stream, from 0.
	Number uint64
	// Lost is how many messages the reader missed right before this one: it is
	// lapped, or did not answer for so long that the writer went on without it.
	Lost uint64
}

// Receive returns the next message, and waits for it until ctx ends. At the
// stream's end it returns io.EOF, or [ErrWriterDied]. It is for readers without
// a group.
func (r *Reader) Receive(ctx context.Context) (Message, error) {
	if r.rx == nil {
		panic("stream: Receive of a reader that shares: it has Claim")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass()
	st := cells.Empty
	if !r.closed.Load() {
		st = r.rx.Poll(&r.rec)
	}
	switch st {
	case cells.Got:
	case cells.Corrupt:
		return Message{}, r.err(r.rx.Err())
	default:
		if err := r.next(ctx); err != nil {
			return Message{}, err
		}
	}
	r.lent = true
	if r.rec.Lost > 0 {
		r.countLost(r.rec.Lost)
	}
	runtime.KeepAlive(r)
	return Message{r.rec.Bytes(), r.rec.Number, r.rec.Lost}, nil
}

// pass gives back what the last call returned.
func (r *Reader) pass() {
	if r.lent || r.within {
		r.lent, r.within, r.rest, r.late = false, false, nil, nil
		if r.claim == nil {
			r.rx.Release(&r.rec)
		}
	}
}

// next waits for a message of a reader without a group, and fills rec.
func (r *Reader) next(ctx context.Context) error {
	return r.wait.until(ctx, func() (bool, error) {
		if r.closed.Load() {
			return false, r.err(ErrClosed)
		}
		switch r.rx.Poll(&r.rec) {
		case cells.Got:
			return true, nil
		case cells.Fenced:
			r.rx.Rejoin()
			return false, nil
		case cells.Evicted:
			return false, r.err(ErrFenced)
		case cells.Corrupt:
			return false, r.err(r.rx.Err())
		}
		return false, r.over()
	}, func() time.Duration {
		r.rx.Announce()
		return 0
	})
}

// ended says whether the stream has ended where the reader is.
func (r *Reader) ended() int {
	if r.rx != nil {
		return r.rx.Ended()
	}
	return r.shared.Ended()
}

// over is the error of a stream that has ended, if that is an end for r.
func (r *Reader) over() error {
	if r.follow {
		return nil
	}
	how := r.ended()
	if how == 0 {
		return nil
	}
	if r.stale && r.ring.Published() == r.since { // a former writer's end
		return nil
	}
	if r.rx != nil {
		r.countLost(r.rx.TakeLost())
	}
	if how == cells.EndDead {
		return r.err(ErrWriterDied)
	}
	return io.EOF
}

func (r *Reader) countLost(n uint64) {
	if n > 0 {
		r.lost.Add(n)
		r.rx.Slot().AddLost(n)
	}
}

// Lost is how many messages this reader has lost so far.
func (r *Reader) Lost() uint64 { return r.lost.Load() }

// Stream returns the stream's name.
func (r *Reader) Stream() string { return r.name }

// SetReadDeadline has Read fail with os.ErrDeadlineExceeded after t; the zero
// time: never. Calls with a context do not heed it.
func (r *Reader) SetReadDeadline(t time.Time) error {
	if r.closed.Load() {
		return r.err(ErrClosed)
	}
	r.wait.dl.set(t)
	return nil
}

// Close ends the reader. Messages that it has claimed and not done are given to
// others of its group. A call that waits returns ErrClosed.
func (r *Reader) Close() error {
	r.once.Do(func() {
		r.closed.Store(true)
		r.wait.wake()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.end()
		r.host.Remove(r)
	})
	return nil
}

func (r *Reader) end() {
	r.claims.Lock()
	for c := range r.open {
		r.shared.Return(&c.rec)
	}
	clear(r.open)
	r.claims.Unlock()
	if r.rx != nil {
		r.rx.Leave()
	} else {
		r.shared.Leave()
	}
	if r.wait != nil {
		r.wait.close()
	}
	_ = r.area.Close()
}
