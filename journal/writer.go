package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/multilog"
	"github.com/ringbus/ringbus/internal/wake"
)

// Writer appends records to a journal. Its methods may be called concurrently;
// the records of calls that follow each other keep their order. It ends with
// Close, or with its node.
type Writer struct {
	place
	level  int16
	key    string
	times  bool
	noWait bool
	policy wake.Policy

	prefix   multilog.Prefix // of records with the writer's own key
	limit    int             // of data behind it
	hands    atomic.Pointer[hand]
	closed   atomic.Bool
	once     sync.Once
	ended    error
	silenced atomic.Uint64

	mu       sync.Mutex
	idle     sync.Cond      // on mu: nobody waits or fills any more
	reserver *hand          // of reservations
	open     []*reservation // all that were ever made
	fills    int            // calls of AppendFunc that are filling
	waiting  map[*multilog.Waiter]struct{}
}

// NewWriter opens the journal for writing, and creates it if it is not there.
func NewWriter(node *ringbus.Node, name string, o *Options) (*Writer, error) {
	if o == nil {
		o = &Options{}
	}
	p, err := create(node, name, o)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		place: *p, level: narrow(o.Level), key: o.Key, times: !o.NoTime, noWait: o.NoWait, policy: policy(o.Wait),
		waiting: make(map[*multilog.Waiter]struct{}),
	}
	w.idle.L = &w.mu
	w.prefix.Set(node.Name(), o.Key)
	w.limit = p.log.Config().Limit() - w.prefix.Size()
	w.reserver = w.newHand()
	w.hands.Store(w.newHand())
	if err := w.host.Add(w); err != nil {
		_ = w.area.Close()
		return nil, err
	}
	return w, nil
}

// Write appends p as one record of the writer's own level, whole or not at all.
// It waits like Append, for as long as it takes, and has its errors.
func (w *Writer) Write(p []byte) (int, error) {
	if _, err := w.Append(context.Background(), p, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Append appends data as one record, whole or not at all, and returns the
// record's position, which is greater than that of any record finished before;
// 0 if the journal's filter left the record out. In reject mode it waits for
// room until ctx ends, unless the writer's Options say NoWait.
//
// The errors: a [SizeError], if data is larger than a record may be; [ErrFull],
// if the writer does not wait, and in overwrite mode if nothing but records that
// are being written is in the way; [ErrClosed]; [ErrFenced]; a [CorruptError];
// ctx's; and one in words if the key is too long.
func (w *Writer) Append(ctx context.Context, data []byte, o *RecordOptions) (position uint64, err error) {
	return w.put(ctx, data, w.levelOf(o), o)
}

// put is Append at a level.
func (w *Writer) put(ctx context.Context, data []byte, level int16, o *RecordOptions) (position uint64, err error) {
	if int(level) < w.log.Level() && !w.closed.Load() {
		w.silenced.Add(1)
		return 0, nil
	}
	h := w.hands.Load()
	if !h.busy.CompareAndSwap(0, 1) {
		h = w.otherHand()
	}
	// Close sets closed, then waits for all hands: one of the two sees the other.
	p := &w.prefix
	if w.closed.Load() || len(data) > w.limit || o != nil && o.Key != w.key { // rarely
		p, err = w.ready(h, o, len(data))
	}
	if err == nil {
		position, err = h.tx.Append(data, level, h.now, p)
	}
	h.release()
	if err != nil {
		return w.retry(ctx, err, len(data), o, func() (uint64, error) { return w.again(data, level, o) })
	}
	runtime.KeepAlive(w)
	return position, nil
}

// again is another try of put.
func (w *Writer) again(data []byte, level int16, o *RecordOptions) (uint64, error) {
	h := w.otherHand()
	defer h.release()
	p, err := w.ready(h, o, len(data))
	if err != nil {
		return 0, err
	}
	return h.tx.Append(data, level, h.now, p)
}

func (w *Writer) levelOf(o *RecordOptions) int16 {
	if o == nil {
		return w.level
	}
	return narrow(o.Level)
}

// ready returns what lies before the data of a record of the given size, or
// says why there can be none. The caller has h.
func (w *Writer) ready(h *hand, o *RecordOptions, size int) (*multilog.Prefix, error) {
	if w.closed.Load() {
		return nil, w.closedErr()
	}
	p := &w.prefix
	if o != nil && o.Key != w.key {
		if len(o.Key) > multilog.MaxKey {
			return nil, keyError(w.name, o.Key)
		}
		p = h.prefixFor(w.host.Node.Name(), o.Key)
	}
	if limit := w.log.Config().Limit() - p.Size(); size > limit {
		w.log.CountRefused() // loggers look at no error
		return nil, &SizeError{Journal: w.name, Size: size, Max: limit}
	}
	return p, nil
}

// prefixSize is how much a record has besides header and data.
func (w *Writer) prefixSize(o *RecordOptions) int {
	key := w.key
	if o != nil {
		key = o.Key
	}
	return multilog.PrefixSize(w.host.Node.Name(), key)
}

// retry ends a call that met err: it waits where that can help.
func (w *Writer) retry(ctx context.Context, err error, size int, o *RecordOptions, try func() (uint64, error)) (uint64, error) {
	spin := w.policy.Begin()
	overwrite := w.log.Config().Mode == multilog.Overwrite
	for {
		switch {
		case errors.Is(err, ErrLapped): // nobody will see it: once more
		case !errors.Is(err, multilog.ErrFull):
			return 0, w.wrap(err)
		case spin.Next() && !w.noWait:
		case w.noWait || overwrite:
			w.log.CountRefused()
			return 0, w.full(err)
		default:
			if errors.Is(err, multilog.ErrNoRun) { // nobody says when that ends
				err = pause(ctx, relook/10)
			} else {
				err = w.park(ctx, size+w.prefixSize(o))
			}
			if err != nil {
				return 0, err
			}
			spin = w.policy.Begin()
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		var position uint64
		if position, err = try(); err == nil {
			return position, nil
		}
	}
}

// full is what is told of err, which is an ErrFull.
func (w *Writer) full(err error) error {
	e := &FullError{Journal: w.name}
	if !errors.Is(err, multilog.ErrNoRun) {
		e.Blockers = w.names(w.log.Blockers())
	}
	return e
}

// wrap names the journal in err.
func (w *Writer) wrap(err error) error {
	if errors.Is(err, multilog.ErrFenced) {
		err = ErrFenced
	}
	var size *SizeError
	if errors.As(err, &size) || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("journal %q: %w", w.name, err)
}

func (w *Writer) closedErr() error { return fmt.Errorf("writer of journal %q: %w", w.name, ErrClosed) }

// Name returns the journal's name.
func (w *Writer) Name() string { return w.name }

// MaxRecord is the size limit of a record's data in bytes, with the writer's
// own key.
func (w *Writer) MaxRecord() int { return w.limit }

// Enabled reports whether the journal's filter lets records of this level
// pass. It costs one load.
func (w *Writer) Enabled(level slog.Level) bool { return int(narrow(level)) >= w.log.Level() }

// Silenced is how many records of this writer the journal's filter left out.
func (w *Writer) Silenced() uint64 { return w.silenced.Load() }

// Close gives up open reservations and ends the writer. Calls that wait return
// ErrClosed; it waits for those of AppendFunc that fill a record.
func (w *Writer) Close() error {
	w.once.Do(func() { w.ended = w.close() })
	return w.ended
}

func (w *Writer) close() error {
	w.closed.Store(true)
	w.mu.Lock()
	for len(w.waiting)+w.fills > 0 {
		for waiter := range w.waiting {
			w.ring(waiter.Bell())
		}
		w.idle.Wait()
	}
	for _, r := range w.open {
		r.abort()
	}
	w.mu.Unlock()
	w.await()
	defer w.host.Remove(w) // until then the node waits for us before it leaves
	return w.area.Close()
}
