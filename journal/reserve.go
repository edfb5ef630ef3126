package journal

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/multilog"
)

// reservation is one of a writer's places for reservations. Its sequence is odd
// while it is open, so a Reservation that is used after its end is found out.
// Fields besides seq are guarded by the writer's mu.
type reservation struct {
	w      *Writer
	seq    atomic.Uint64
	claim  multilog.Claim
	header multilog.Header
	prefix multilog.Prefix
	data   []byte
	filled bool // by AppendFunc: Close waits for it
	silent bool // the filter left it out: data is private
	memory []byte
}

// Reservation is room for one record, in the journal's memory: fill it, then
// Commit, or Discard it. Readers wait for it, and everybody's records behind
// it, so neither must be forgotten, on a panic neither: defer Discard, which
// does nothing after Commit, or use [Writer.AppendFunc]. It must not be used
// after the writer's Close.
type Reservation struct {
	r   *reservation
	seq uint64
}

// Reserve makes room for a record of at least least bytes of data, and of up to
// most, if as much is there now. It waits like Append. If the journal's filter
// leaves the record out, the reservation is of private memory, of least bytes,
// and its Commit drops them. Its errors are those of Append; a [SizeError] is
// about least.
func (w *Writer) Reserve(ctx context.Context, least, most int, o *RecordOptions) (Reservation, error) {
	return w.take(ctx, least, most, o, false)
}

// take is Reserve; filled says that AppendFunc calls.
func (w *Writer) take(ctx context.Context, least, most int, o *RecordOptions, filled bool) (Reservation, error) {
	if least < 0 || most < least {
		panic(fmt.Sprintf("journal: Reserve of %d to %d bytes", least, most))
	}
	level := w.levelOf(o)
	if int(level) < w.log.Level() && !w.closed.Load() {
		w.silenced.Add(1)
		if filled {
			return Reservation{}, nil
		}
		return w.silent(least), nil
	}
	r, err := w.reserve(o, level, least, most, filled)
	if err != nil {
		_, err = w.retry(ctx, err, least, o, func() (uint64, error) {
			var err error
			r, err = w.reserve(o, level, least, most, filled)
			return 0, err
		})
	}
	return r, err
}

// reserve is Reserve without waiting.
func (w *Writer) reserve(o *RecordOptions, level int16, least, most int, filled bool) (Reservation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.reserver
	p, err := w.ready(h, o, least)
	if err != nil {
		return Reservation{}, err
	}
	most = min(most, w.log.Config().Limit()-p.Size())
	claim, err := h.tx.Reserve(p.Size()+least, p.Size()+most)
	if err != nil {
		return Reservation{}, err
	}
	r := w.spare()
	r.silent = false
	r.claim, r.header = claim, multilog.Header{Level: level}
	r.prefix.Copy(p)
	if r.filled = filled; filled {
		w.fills++
	}
	if h.now != nil {
		r.header.Mono, r.header.Wall = h.now()
	}
	r.data = w.log.Data(claim, p.Size())
	r.data = r.data[:min(most, len(r.data))]
	if shadowed {
		r.data = make([]byte, len(r.data))
	}
	return Reservation{r, r.seq.Add(1)}, nil
}

// silent returns a reservation that will be dropped.
func (w *Writer) silent(size int) Reservation {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.spare()
	if r.silent, r.filled = true, false; cap(r.memory) < size {
		r.memory = make([]byte, size)
	}
	r.data = r.memory[:size]
	return Reservation{r, r.seq.Add(1)}
}

// spare returns a place for a reservation. The caller holds mu.
func (w *Writer) spare() *reservation {
	for _, r := range w.open {
		if r.seq.Load()&1 == 0 {
			return r
		}
	}
	r := &reservation{w: w}
	w.open = append(w.open, r)
	return r
}

// live returns the reservation if it is open. The caller holds mu.
func (r Reservation) live() *reservation {
	if r.r == nil || r.r.seq.Load() != r.seq {
		return nil
	}
	return r.r
}

// Data is the reserved memory, of the size that was granted. Its bytes are
// whatever an earlier record left there. If another goroutine has closed the
// writer, it is other memory, which nobody will read.
func (r Reservation) Data() []byte {
	if r.r == nil {
		return nil
	}
	if r.r.seq.Load() != r.seq {
		if r.r.w.closed.Load() {
			return make([]byte, len(r.r.data))
		}
		panic("journal: Data of a reservation that has ended")
	}
	return r.r.data
}

// Commit makes the first length bytes of Data a record, which all readers see
// from now on, and ends the reservation. The errors: [ErrLapped], if it took so
// long that its room was taken away; [ErrFenced]; [ErrClosed]. There is no record
// then.
func (r Reservation) Commit(length int) error {
	if r.r == nil {
		return nil
	}
	w := r.r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	v := r.live()
	switch {
	case w.closed.Load() && (v == nil || !v.filled):
		return w.closedErr()
	case v == nil:
		panic("journal: Commit of a reservation that has ended")
	}
	if length < 0 || length > len(v.data) {
		panic(fmt.Sprintf("journal: Commit of %d bytes of a reservation of %d", length, len(v.data)))
	}
	if v.silent {
		v.seq.Add(1)
		return nil
	}
	if err := w.host.Node.Err(); err != nil {
		v.abort()
		return w.wrap(err)
	}
	if shadowed {
		w.log.Fill(v.claim, v.prefix.Size(), v.data[:length])
	}
	err := w.reserver.tx.Finish(v.claim, v.header, &v.prefix, length)
	v.seq.Add(1)
	if err != nil {
		return w.wrap(err)
	}
	return nil
}

// Discard ends the reservation without a record. After Commit, or the writer's
// Close, it does nothing.
func (r Reservation) Discard() {
	if r.r == nil {
		return
	}
	w := r.r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := r.live(); v != nil && !w.closed.Load() {
		v.abort()
	}
}

// abort ends the reservation if it is open. The caller holds mu.
func (r *reservation) abort() {
	if r.seq.Load()&1 == 0 {
		return
	}
	if !r.silent {
		invariant.Poison(r.data)
		_ = r.w.reserver.tx.Abort(r.claim) // it was taken away: as good
	}
	r.seq.Add(1)
}

// AppendFunc reserves least to most bytes, lets fill write them, and commits as
// many as fill returns. If fill fails or panics there is no record. Close waits
// for fill, and must not be called by it. The errors are fill's, and those of
// Append and of Commit.
func (w *Writer) AppendFunc(ctx context.Context, least, most int, o *RecordOptions, fill func(data []byte) (length int, err error)) error {
	r, err := w.take(ctx, least, most, o, true)
	if err != nil || r.r == nil {
		return err
	}
	defer r.end()
	n, err := fill(r.r.data)
	if err != nil {
		return err
	}
	return r.Commit(n)
}

// end ends a reservation of AppendFunc.
func (r Reservation) end() {
	w := r.r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := r.live(); v != nil {
		v.abort()
	}
	w.fills--
	w.idle.Broadcast()
}
