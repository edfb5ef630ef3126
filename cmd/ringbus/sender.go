package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ringbus/ringbus"
)

// sender sends on one publisher and counts.
type sender struct {
	ctx   context.Context
	pub   *ringbus.Publisher
	pace  pacer
	sent  uint64
	bytes uint64
}

// one sends a copy of b.
func (s *sender) one(b []byte) error {
	if _, err := s.pace.wait(s.ctx, 1); err != nil {
		return err
	}
	if err := s.pub.SendContext(s.ctx, b); err != nil {
		return err
	}
	s.sent, s.bytes = s.sent+1, s.bytes+uint64(len(b))
	return nil
}

// batch sends a copy of each of msgs.
func (s *sender) batch(msgs [][]byte) error {
	for len(msgs) > 0 {
		n, err := s.pace.wait(s.ctx, len(msgs))
		if err != nil {
			return err
		}
		n, err = s.pub.SendBatchContext(s.ctx, msgs[:n])
		for _, b := range msgs[:n] {
			s.bytes += uint64(len(b))
		}
		s.sent += uint64(n)
		if err != nil {
			return err
		}
		msgs = msgs[n:]
	}
	return nil
}

// fill reads size bytes of r into the topic's own memory and sends them. At
// the end of r it sends what there was before, if anything, and returns io.EOF
// or io.ErrUnexpectedEOF.
func (s *sender) fill(r io.Reader, size int) (int, error) {
	loan, err := s.pub.Loan(size)
	if err != nil {
		return 0, err
	}
	n, rerr := io.ReadFull(r, loan.Data())
	if n == 0 || rerr != nil && rerr != io.ErrUnexpectedEOF {
		loan.Discard()
		return 0, rerr
	}
	loan.Truncate(n)
	if _, err = s.pace.wait(s.ctx, 1); err == nil {
		err = loan.SendContext(s.ctx)
	}
	if err != nil {
		loan.Discard()
		return 0, err
	}
	s.sent, s.bytes = s.sent+1, s.bytes+uint64(n)
	return n, rerr
}

// chunks cuts r into messages of size bytes; the last one may be shorter.
func (s *sender) chunks(r io.Reader, size int) error {
	for {
		if _, err := s.fill(r, size); err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// lines sends each line of r, without its newline. What one read gives is sent
// as one batch.
func (s *sender) lines(r io.Reader) error {
	limit := s.pub.MaxMessage()
	buf := make([]byte, max(1<<20, 2*(limit+1)))
	var batch [][]byte
	end := 0
	for number := uint64(1); ; number += uint64(len(batch)) {
		n, rerr := r.Read(buf[end:])
		end += n
		rest := buf[:end]
		batch = batch[:0]
		long := false
		for !long {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 && rerr == io.EOF && len(rest) > 0 { // the last line has no newline
				i = len(rest)
			}
			if long = i > limit || i < 0 && len(rest) > limit; long || i < 0 {
				break
			}
			batch = append(batch, rest[:i])
			rest = rest[min(i+1, len(rest)):]
		}
		if err := s.batch(batch); err != nil {
			return err
		}
		switch {
		case long:
			return fmt.Errorf("line %d is longer than the topic's messages, which are limited to %d bytes: set --max-message when the topic is made, or use --chunk", number+uint64(len(batch)), limit)
		case rerr == io.EOF:
			return nil
		case rerr != nil:
			return rerr
		}
		end = copy(buf, rest)
	}
}

// pacer lets so many messages a second pass, none faster.
type pacer struct {
	rate  float64 // 0: any number
	start time.Time
	sent  float64
}

// wait waits until a message may be sent and returns how many may, up to most.
func (p *pacer) wait(ctx context.Context, most int) (int, error) {
	if p.rate == 0 {
		return most, nil
	}
	now := time.Now()
	if p.start.IsZero() {
		p.start = now
	}
	due := now.Sub(p.start).Seconds()*p.rate + 1
	if late := due - p.sent - p.rate; late > 1 { // after a stop: no burst of more than a second's
		p.start = p.start.Add(time.Duration(late / p.rate * float64(time.Second)))
		due -= late
	}
	if due < p.sent+1 {
		t := time.NewTimer(time.Duration((p.sent + 1 - due) / p.rate * float64(time.Second)))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		due = p.sent + 1
	}
	n := min(most, int(due-p.sent))
	p.sent += float64(n)
	return n, nil
}
