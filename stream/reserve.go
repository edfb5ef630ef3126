package stream

import (
	"context"
	"fmt"
)

// Reservation is memory of the stream, lent to its writer: fill Data, then
// Commit it, or Discard it. Nothing is visible, and the writer does nothing
// else, until then. It must not be used after that, nor after the writer's Close.
type Reservation struct {
	w    *Writer
	data []byte
}

// Reserve lends size bytes of the stream in one piece. It waits for room, and
// for another writer, until ctx ends.
func (w *Writer) Reserve(ctx context.Context, size int) (*Reservation, error) {
	if size < 0 {
		panic(fmt.Sprintf("stream: Reserve of %d bytes", size))
	}
	if size > w.MaxMessage() {
		return nil, &SizeError{w.name, size, w.MaxMessage()}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	r := &Reservation{w: w}
	err := w.until(ctx, size, func() bool {
		b, ok := w.tx.Reserve(size)
		r.data = b
		return ok
	})
	if err != nil {
		return nil, err
	}
	w.lent = r
	return r, nil
}

// Data is the lent memory. Its bytes are whatever an earlier message left there.
func (r *Reservation) Data() []byte {
	if r.w == nil {
		panic("stream: Data of a Reservation that has ended")
	}
	return r.data
}

// Commit writes the first n bytes as one message, and ends the reservation.
func (r *Reservation) Commit(n int) error {
	w := r.w
	if w == nil {
		panic("stream: Commit of a Reservation that has ended")
	}
	if n < 0 || n > len(r.data) {
		panic(fmt.Sprintf("stream: Commit of %d bytes of %d", n, len(r.data)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed.Load() || w.lent != r {
		return w.err(ErrClosed)
	}
	r.end()
	if !w.tx.Commit(n, w.turns) {
		return w.err(ErrFenced)
	}
	return nil
}

// Discard ends the reservation without a message.
func (r *Reservation) Discard() {
	w := r.w
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lent != r {
		return
	}
	r.end()
	w.tx.Discard()
	if w.turns {
		w.tx.Give()
	}
}

func (r *Reservation) end() { r.w.lent, r.w, r.data = nil, nil, nil }
