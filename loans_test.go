package ringbus_test

import (
	"errors"

	"github.com/ringbus/ringbus"
)

// loaning are the conversations about memory that is lent, both ways.
var loaning = []conversation{
	{"loans are sent in any order, shortened, given back, counted", func(s *side) {
		sub := s.sub("t", nil)
		s.tell("ready")
		for _, want := range []struct {
			n    uint64
			size int
		}{{3, 1000}, {1, 500}, {0, 104}, {5, 1024}} {
			m := s.receive(sub)
			s.check(intact(m.Data(), want.n, want.size))
			m.Release()
		}
	}, func(s *side) {
		s.hear("ready")
		pub := s.pub("t", small())
		var loans []ringbus.Loan
		for n, size := range []int{104, 1000, 1024, 1000} {
			l, err := pub.Loan(size)
			s.check(err)
			if len(l.Data()) != size || cap(l.Data()) != size {
				s.fail("a loan of %d bytes has %d, and %d to grow into", size, len(l.Data()), cap(l.Data()))
			}
			payload(l.Data(), uint64(n))
			loans = append(loans, l)
		}
		_, err := pub.Loan(10)
		s.want(err, ringbus.ErrTooManyLoans)
		s.check(loans[3].Send())
		payload(loans[1].Data(), 1)
		loans[1].Truncate(500)
		s.check(loans[1].Send())
		loans[2].Discard()
		s.check(loans[0].Send())
		for n := range uint64(100) {
			l, err := pub.Loan(1024)
			s.check(err)
			payload(l.Data(), n)
			l.Discard()
		}
		l, err := pub.Loan(1024)
		s.check(err)
		payload(l.Data(), 5)
		s.check(l.SendContext(s.ctx))
	}},
	{"message that is held stays what it is while the ring goes round", func(s *side) {
		for _, mode := range []ringbus.Mode{ringbus.Reliable, ringbus.Latest} {
			sub := s.sub("t", &ringbus.SubscriberOptions{Mode: mode, Hold: 5})
			s.tell("more")
			var held []ringbus.Message
			for range 4 {
				held = append(held, s.receive(sub))
			}
			for range 300 {
				m := s.receive(sub)
				s.check(intact(m.Data(), m.Sequence(), sizeOf(m.Sequence())))
				m.Release()
			}
			first := held[0].Sequence()
			for i, m := range held {
				if m.Sequence() != first+uint64(i) && mode == ringbus.Reliable {
					s.fail("message %d is %d", i, m.Sequence())
				}
				s.check(intact(m.Data(), m.Sequence(), sizeOf(m.Sequence())))
				m.Release()
			}
			s.check(sub.Close())
			s.tell("enough")
			s.hear("stopped")
		}
	}, func(s *side) {
		pub := s.pub("t", small())
		n := uint64(0)
		for range 2 {
			s.hear("more")
			enough := make(chan struct{})
			go func() {
				s.hear("enough")
				close(enough)
			}()
			for stop := false; !stop; {
				s.send(pub, n, n+10)
				n += 10
				select {
				case <-enough:
					stop = true
				default:
				}
			}
			s.tell("stopped")
		}
	}},
	{"subscriber that holds as much as it may is told so", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{Hold: 3})
		s.tell("ready")
		s.hear("sent")
		var held []ringbus.Message
		for range 3 {
			held = append(held, s.receive(sub))
		}
		_, err := sub.Receive(s.ctx)
		s.want(err, ringbus.ErrTooManyHeld)
		_, _, err = sub.TryReceive()
		s.want(err, ringbus.ErrTooManyHeld)
		held[1].Release()
		s.take(sub, 3)
		s.take(sub, 4)
		held[0].Release()
		held[2].Release()
		for n := uint64(5); n < 10; n++ {
			s.take(sub, n)
		}
	}, func(s *side) {
		s.hear("ready")
		s.send(s.pub("t", small()), 0, 10)
		s.tell("sent")
	}},
	{"messages are released by other goroutines", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{Hold: 8})
		s.tell("ready")
		work := make(chan ringbus.Message) // 3 with the workers, 4 here at most
		worker := func() error {
			for m := range work {
				if err := intact(m.Data(), m.Sequence(), sizeOf(m.Sequence())); err != nil {
					return err
				}
				m.Release()
			}
			return nil
		}
		s.together(worker, worker, worker, func() error {
			defer close(work)
			for n := range uint64(stream) {
				m, err := sub.Receive(s.ctx)
				if err != nil {
					return err
				}
				if m.Sequence() != n {
					return errors.New("messages are out of order")
				}
				work <- m
			}
			return nil
		})
	}, func(s *side) {
		s.hear("ready")
		s.send(s.pub("t", small()), 0, stream)
	}},
	{"range over messages ends each loan with the body", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{Hold: 1, UntilClose: true})
		s.tell("ready")
		var last ringbus.Message
		for m, err := range sub.Messages(s.ctx) {
			s.check(err)
			if last = m; m.Sequence() == 4 {
				break
			}
		}
		if panics(func() { last.Data() }) == nil {
			s.fail("the loan outlived a break")
		}
		if v := panics(func() {
			for m, err := range sub.Messages(s.ctx) {
				s.check(err)
				last = m
				panic("in the body")
			}
		}); v != "in the body" {
			s.fail("panicked with %v", v)
		}
		if panics(func() { last.Data() }) == nil || last == (ringbus.Message{}) {
			s.fail("the loan outlived a panic")
		}
		early := uint64(0)
		for m, err := range sub.Messages(s.ctx) {
			s.check(err)
			if n := m.Sequence(); n%2 == 0 {
				m.Release() // the body may do so itself
				early++
			}
		}
		if early != 47 {
			s.fail("released %d, want those of 6 to 99 that are even", early)
		}
	}, func(s *side) {
		s.hear("ready")
		s.send(s.pub("t", small()), 0, 100)
	}},
	{"close ends loans on both sides", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{Hold: 2})
		s.tell("ready")
		m, k := s.receive(sub), s.receive(sub)
		s.check(sub.Close())
		for _, m := range []ringbus.Message{m, k} {
			if panics(func() { m.Data() }) == nil {
				s.fail("data of a message after its subscriber's end")
			}
			m.Release() // does nothing
		}
		_, err := sub.Receive(s.ctx)
		s.want(err, ringbus.ErrClosed)
		_, _, err = sub.TryReceive()
		s.want(err, ringbus.ErrClosed)
		s.check(sub.Close())
		s.tell("closed")
		s.hear("sent")
	}, func(s *side) {
		s.hear("ready")
		pub := s.pub("t", small())
		s.send(pub, 0, 2)
		s.hear("closed")
		s.send(pub, 2, 200) // nothing of it is held any more
		l, err := pub.Loan(1000)
		s.check(err)
		s.check(pub.Close())
		if panics(func() { l.Data() }) == nil {
			s.fail("data of a loan after its publisher's end")
		}
		l.Discard() // does nothing
		s.want(l.Send(), ringbus.ErrClosed)
		s.want(pub.Send(nil), ringbus.ErrClosed)
		s.want(second(pub.SendBatch([][]byte{nil})), ringbus.ErrClosed)
		s.want(second(pub.Loan(1)), ringbus.ErrClosed)
		s.check(pub.Close())
		s.tell("sent")
	}},
}
