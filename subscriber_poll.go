package ringbus

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// turnLength is how many messages of one publisher are received in a row
// while others have some too.
const turnLength = 32

// poll looks once at each lane, beginning with the one whose turn it is. If
// it returns Got, the record s.cur is filled and not yet lent.
func (s *Subscriber) poll() fanout.Status {
	rec := &s.records[s.cur]
	if rec.live() {
		if st := s.keep(rec); st != fanout.Got {
			return st
		}
		rec = &s.records[s.cur]
	}
	for range s.rx {
		if s.turn >= len(s.rx) {
			s.turn = 0
		}
		st := s.rx[s.turn].Poll(&rec.Record)
		if st == fanout.Empty {
			s.turn++
			continue
		}
		if st == fanout.Got {
			if rec.Record.Lost != 0 {
				s.slot.AddLost(rec.Record.Lost)
				s.lost.Add(rec.Record.Lost)
			}
			if s.count%turnLength == 0 {
				s.turn++
			}
		}
		return st
	}
	return fanout.Empty
}

// tooMany is poll's status where every record is lent.
const tooMany fanout.Status = -1

// keep pins rec, which is lent, and finds a free record.
func (s *Subscriber) keep(rec *record) fanout.Status {
	next := -1
	for i := range s.records {
		if !s.records[i].live() {
			next = i
			break
		}
	}
	if next < 0 {
		return tooMany
	}
	if !rec.kept {
		if st := rec.Rx.Keep(&rec.Record); st != fanout.Got {
			return st
		}
		rec.kept = true
	}
	s.cur = next
	return fanout.Got
}

// look polls, and does what the status asks for until there is a message, an
// error, or nothing.
func (s *Subscriber) look() (got bool, err error) {
	for {
		if s.gate.Closed.Load() {
			return false, s.closedErr()
		}
		if s.topic.ring.Lanes() != s.mask {
			if err := s.openLanes(); err != nil {
				return false, err
			}
		}
		st := s.poll()
		if st == fanout.Got || st == fanout.Empty {
			return st == fanout.Got, nil
		}
		if err := s.settle(st); err != nil {
			return false, err
		}
	}
}

// settle does what poll's status asks for, where that is neither a message nor
// nothing. After a nil error poll may be called again.
func (s *Subscriber) settle(st fanout.Status) error {
	switch st {
	case tooMany:
		return fmt.Errorf("subscriber on topic %q: %w: %d; release one, or raise SubscriberOptions.Hold", s.topic.name, ErrTooManyHeld, len(s.records))
	case fanout.Corrupt:
		rx := s.rx[s.turn]
		return fmt.Errorf("topic %q: lane %d: %w", s.topic.name, rx.Lane().Number, rx.Err())
	case fanout.Fenced:
		rx := s.rx[s.turn]
		var current *fanout.Record
		for i := range s.records {
			if r := &s.records[i]; r.live() && !r.kept && r.Rx == rx {
				current = &r.Record
			}
		}
		if rx.Rejoin(current) == fanout.Got {
			return nil
		}
	}
	if s.gate.Closed.Load() {
		return s.closedErr()
	}
	return fmt.Errorf("subscriber on topic %q: %w", s.topic.name, ErrFenced)
}

// wait is Receive where nothing was there at once.
func (s *Subscriber) wait(ctx context.Context) (Message, error) {
	defer runtime.KeepAlive(s)
	for spin := s.policy.Begin(); ; {
		got, err := s.look()
		if err != nil {
			return Message{}, err
		}
		if got {
			return s.records[s.cur].lend(), nil
		}
		if s.until && s.ended() {
			s.countLost()
			return Message{}, io.EOF
		}
		if s.glance(&spin) {
			continue
		}
		if spin.Next() {
			if err := interrupted(ctx, &spin); err != nil {
				return Message{}, err
			}
			continue
		}
		if err := s.topic.node.node.Err(); err != nil {
			return Message{}, err
		}
		s.sleeper.Prepare()
		s.announce()
		if s.ready() {
			s.sleeper.Cancel()
		} else if err := s.sleeper.Sleep(ctx); err != nil {
			return Message{}, err
		}
		spin = s.policy.Begin()
	}
}

// glance looks for a while at nothing but the next entry of each lane, so that
// what comes is seen at once.
func (s *Subscriber) glance(spin *wake.Spinner) bool {
	for spin.Rest() {
		for _, rx := range s.rx {
			if rx.Pending() {
				return true
			}
		}
	}
	return false
}

// announce tells the publishers that this subscriber sleeps.
func (s *Subscriber) announce() {
	for _, rx := range s.rx {
		rx.Announce()
	}
}

// ready reports whether the next Receive would not wait.
func (s *Subscriber) ready() bool {
	if s.gate.Closed.Load() || s.topic.ring.Lanes() != s.mask {
		return true
	}
	for _, rx := range s.rx {
		if !rx.Waiting() {
			return true
		}
	}
	return s.until && s.ended()
}

// ended reports whether every publisher that was there is gone and read.
func (s *Subscriber) ended() bool {
	for _, rx := range s.rx {
		l := rx.Lane()
		bit := uint64(1) << l.Number
		if s.there&bit == 0 && (s.published(l) || l.Taken() != s.taken[l.Number] || rx.Next() > 0 && !rx.Joined()) {
			s.there |= bit
		}
		if st, _ := l.State(); st == fanout.LaneOpen || st == fanout.LaneOpening || !rx.Ended() {
			return false
		}
	}
	return s.there != 0 && s.topic.ring.Lanes() == s.mask
}

// published reports whether l has a publisher, and not one that is dead.
func (s *Subscriber) published(l *fanout.Lane) bool {
	st, owner := l.State()
	return (st == fanout.LaneOpen || st == fanout.LaneOpening) &&
		s.topic.node.node.Status(segment.Owner(owner)) != segment.Dead
}

// countLost counts what was lost and no message will come to tell of.
func (s *Subscriber) countLost() {
	for _, rx := range s.rx {
		if n := rx.TakeLost(); n != 0 {
			s.slot.AddLost(n)
			s.lost.Add(n)
		}
	}
}
