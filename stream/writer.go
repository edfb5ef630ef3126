package stream

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/segment"
)

// Writer writes to a stream: bytes, as an io.Writer, or messages. Its methods
// may be called concurrently, and run one after the other. It ends with Close,
// or with its node; if its process dies, readers are told so after all that was
// written.
type Writer struct {
	place
	turns  bool
	reject bool
	wait   *waiter

	mu     sync.Mutex
	tx     *cells.Tx
	lent   *Reservation
	closed atomic.Bool
	once   sync.Once // of Close: of several who close, the others wait for the first
}

// NewWriter opens the stream for writing, and creates it if it is not there. It
// waits for nobody: the first message does, if there is another writer.
func NewWriter(node *ringbus.Node, name string, o *Options) (*Writer, error) {
	if o == nil {
		o = &Options{}
	}
	p, err := create(node, name, o.Size, o.Groups)
	if err != nil {
		return nil, err
	}
	slot, err := p.join(cells.ModeWriter)
	if err != nil {
		_ = p.area.Close()
		return nil, err
	}
	w := &Writer{place: *p, turns: o.Turns, reject: o.Reject, tx: cells.OpenTx(slot)}
	w.wait = newWaiter(p.host, policy(o.Wait), slot.Bell())
	if err := w.host.Add(w); err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// Write writes b as one message, or, if it is longer than MaxMessage, as
// several. It waits until the deadline.
func (w *Writer) Write(b []byte) (int, error) {
	most := w.MaxMessage()
	for n := 0; ; {
		part := b[n:min(len(b), n+most)]
		if len(part) > 0 {
			if err := w.send(byDeadline, part); err != nil {
				return n, err
			}
		}
		if n += len(part); n == len(b) {
			return n, nil
		}
	}
}

// Send writes b as one message, whole or not at all. It waits for room, and for
// another writer, until ctx ends.
func (w *Writer) Send(ctx context.Context, b []byte) error {
	if len(b) > w.MaxMessage() {
		return &SizeError{w.name, len(b), w.MaxMessage()}
	}
	return w.send(ctx, b)
}

func (w *Writer) send(ctx context.Context, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(ctx); err != nil {
		return err
	}
	if w.tx.Take() == cells.Taken && w.tx.Send(b, w.turns) {
		runtime.KeepAlive(w)
		return nil
	}
	return w.until(ctx, len(b), func() bool { return w.tx.Send(b, w.turns) })
}

// begin begins a call under the lock.
func (w *Writer) begin(ctx context.Context) error {
	if w.lent != nil {
		panic("stream: a Reservation is open: Commit or Discard it first")
	}
	if w.closed.Load() {
		return w.err(ErrClosed)
	}
	if ctx == byDeadline {
		return w.wait.dl.passed()
	}
	return nil
}

// until takes the token and does try, as soon as that can be.
func (w *Writer) until(ctx context.Context, size int, try func() bool) error {
	ready := func() (bool, error) {
		if w.closed.Load() {
			return false, w.err(ErrClosed)
		}
		switch w.tx.Take() {
		case cells.Retired:
			return false, w.err(ErrRetired)
		case cells.Expelled:
			return false, w.err(ErrFenced)
		case cells.Busy:
			return false, nil
		}
		if try() {
			return true, nil
		}
		if !w.tx.Has() {
			return false, w.err(ErrFenced)
		}
		return false, nil
	}
	if w.reject {
		w.clear(size)
		ok, err := ready()
		switch {
		case ok || err != nil:
			return err
		case w.tx.Has():
			return w.err(ErrFull)
		}
		return w.err(ErrBusy)
	}
	counted := false
	return w.wait.until(ctx, ready, func() (most time.Duration) {
		if w.clear(size) {
			most = suspectPoll
		}
		if !w.tx.Has() {
			w.tx.AnnounceToken()
			return most
		}
		w.tx.Announce(size, !counted)
		if !counted {
			counted, most = true, halfAsleep
			w.tx.CountBlocked()
		}
		return most
	})
}

// clear removes the dead and the silent from the way. It reports whether
// somebody in it is of another kernel, who rings no bell.
func (w *Writer) clear(size int) (foreign bool) {
	node := w.host.Node
	if !w.tx.Has() {
		o, _ := w.ring.Writer()
		if o != 0 && w.status(o) == segment.Dead {
			w.bury(o)
		}
		return o != 0 && node.Foreign(segment.Owner(o))
	}
	w.tx.Sweep()
	for _, b := range w.tx.Blockers(size) {
		if b.Owner == 0 {
			continue
		}
		switch w.status(b.Owner) {
		case segment.Dead:
			w.bury(b.Owner)
			w.tx.HandBack(b)
		case segment.Suspect:
			w.tx.Fence(b)
			w.tx.HandBack(b)
		default:
			foreign = foreign || node.Foreign(segment.Owner(b.Owner))
		}
	}
	return foreign
}

// SetWriteDeadline has Write fail with os.ErrDeadlineExceeded after t; the zero
// time: never. Calls with a context do not heed it.
func (w *Writer) SetWriteDeadline(t time.Time) error {
	if w.closed.Load() {
		return w.err(ErrClosed)
	}
	w.wait.dl.set(t)
	return nil
}

// Stream returns the stream's name.
func (w *Writer) Stream() string { return w.name }

// MaxMessage is the largest message that the stream takes, in bytes.
func (w *Writer) MaxMessage() int { return w.ring.Config().MaxMessage() }

// Readers is the number of readers there are, of all kinds.
func (w *Writer) Readers() int {
	return w.ring.Readers(func(o uint32) bool { return w.status(o) != segment.Dead })
}

// WaitReaders waits until there are at least n readers.
func (w *Writer) WaitReaders(ctx context.Context, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(ctx); err != nil {
		return err
	}
	return w.wait.until(ctx, func() (bool, error) {
		if w.closed.Load() {
			return false, w.err(ErrClosed)
		}
		return w.Readers() >= n, nil
	}, func() time.Duration {
		w.tx.AnnounceReaders()
		return 0
	})
}

// Close gives the stream to the next writer. If there is none, it has ended for
// its readers, after what was written. A call that waits returns ErrClosed.
func (w *Writer) Close() error {
	w.once.Do(func() {
		w.closed.Store(true)
		w.wait.wake()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.end()
		w.host.Remove(w)
	})
	return nil
}

func (w *Writer) end() {
	if w.lent != nil {
		w.lent.end()
	}
	w.tx.End()
	w.wait.close()
	_ = w.area.Close()
}
