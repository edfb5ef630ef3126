package stream

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Read reads bytes, without regard to where messages begin. It waits until the
// deadline, and returns io.EOF at the stream's end. Where messages were lost it
// returns a [LostError], once, and goes on after them. A reader that shares
// claims a message and is done with it when it has read all of it.
func (r *Reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() {
		return 0, r.err(ErrClosed)
	}
	if err := r.wait.dl.passed(); err != nil || len(p) == 0 {
		return 0, err
	}
	if r.lent { // Receive's
		r.pass()
	}
	for !r.within {
		if err := r.enter(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest, r.late = r.late, nil
	}
	if r.claim == nil && !r.rx.Sure() {
		r.pass() // what is missing is told by the next message's number
		return 0, r.err(errors.New("the writer went on without this reader, whose node was silent"))
	}
	if len(r.rest) > 0 {
		return n, nil
	}
	r.within = false
	if c := r.claim; c != nil {
		r.claim = nil
		return n, c.Done()
	}
	r.rx.Release(&r.rec)
	return n, nil
}

// enter begins the next message that has bytes.
func (r *Reader) enter() error {
	if r.shared != nil {
		c, err := r.take(byDeadline)
		if err != nil {
			return err
		}
		r.claim, r.rest, r.late = c, c.rec.A, c.rec.B
	} else {
		if err := r.next(byDeadline); err != nil {
			return err
		}
		r.rest, r.late = r.rec.A, r.rec.B
	}
	if r.within = len(r.rest) > 0; !r.within { // an empty message
		if c := r.claim; c != nil {
			r.claim = nil
			return c.Done()
		}
		r.rx.Release(&r.rec)
	}
	if r.claim == nil && r.rx != nil && r.rec.Lost > 0 {
		n := r.rec.Lost
		r.rec.Lost = 0
		r.countLost(n)
		return &LostError{r.name, n}
	}
	return nil
}

// Messages ranges over the messages as they come: for msg, err := range
// r.Messages(ctx). Each message's data is valid until the body ends. A reader
// that shares is done with it then, however the body ends but by a panic. After
// an error the range is over; at the stream's end it is over without one.
func (r *Reader) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			var m Message
			var c *Claim
			var err error
			if r.shared != nil {
				if c, err = r.Claim(ctx); err == nil {
					m = Message{Data: c.Data(), Number: c.Number()}
				}
			} else {
				m, err = r.Receive(ctx)
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(Message{}, err)
				}
				return
			}
			if !r.visit(m, c, yield) {
				return
			}
		}
	}
}

// visit runs the body of a range over Messages for one message.
func (r *Reader) visit(m Message, c *Claim, yield func(Message, error) bool) (more bool) {
	if c == nil {
		return yield(m, nil)
	}
	done := false
	defer func() {
		if !done {
			_ = c.Return() // the body panicked
		}
	}()
	more = yield(m, nil)
	done = true
	if err := c.Done(); err != nil && more {
		return yield(Message{}, err) && false
	}
	return more
}
