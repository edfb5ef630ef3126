package ringbus_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ringbus/ringbus"
)

// limits are the conversations about what is refused, and in which words.
var limits = []conversation{
	{"seventeenth publisher is refused until one goes", func(s *side) {
		pubs := s.publishers(0, 8)
		s.tell("eight")
		s.hear("sixteen")
		_, err := s.Publisher("t", nil)
		s.want(err, ringbus.ErrTooManyPublishers)
		s.check(pubs[3].Close())
		s.check(s.pub("t", nil).Send(nil))
		s.tell("done")
	}, func(s *side) {
		s.hear("eight")
		s.publishers(8, 16)
		_, err := s.Publisher("t", nil)
		s.want(err, ringbus.ErrTooManyPublishers)
		s.tell("sixteen")
		s.hear("done")
	}},
	{"sixty-fifth subscriber is refused until one goes", func(s *side) {
		subs := s.subscribers(32)
		s.tell("half")
		s.hear("full")
		_, err := s.Subscriber("t", nil)
		s.want(err, ringbus.ErrTooManySubscribers)
		s.check(subs[7].Close())
		subs[7] = s.sub("t", &ringbus.SubscriberOptions{Hold: 1})
		s.tell("send")
		for n := range uint64(5) {
			for _, sub := range subs {
				s.take(sub, n)
			}
		}
		s.tell("done")
	}, func(s *side) {
		s.hear("half")
		subs := s.subscribers(32)
		_, err := s.Subscriber("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest})
		s.want(err, ringbus.ErrTooManySubscribers)
		s.tell("full")
		s.hear("send")
		o := small()
		o.Holds = 128
		pub := s.pub("t", o)
		s.check(pub.WaitSubscribers(s.ctx, 64))
		s.send(pub, 0, 5)
		for n := range uint64(5) {
			for _, sub := range subs {
				s.take(sub, n)
			}
		}
		s.hear("done")
	}},
	{"full topic names who holds it back", func(s *side) {
		sub := s.sub("t", nil)
		s.sub("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest})
		s.tell("ready")
		s.hear("full")
		for n := range uint64(16) {
			s.take(sub, n)
		}
		if _, ok, err := sub.TryReceive(); ok || err != nil {
			s.fail("more than was sent: %v", err)
		}
		s.tell("taken")
		s.hear("sent")
		s.take(sub, 16)
	}, func(s *side) {
		s.hear("ready")
		o := small()
		o.Reject = true
		pub := s.pub("t", o)
		l, err := pub.Loan(sizeOf(16))
		s.check(err)
		s.send(pub, 0, 16)
		for _, err := range []error{pub.Send(nil), l.Send(), second(pub.SendBatch([][]byte{nil}))} {
			s.want(err, ringbus.ErrFull)
			var full *ringbus.FullError
			if !errors.As(err, &full) || fmt.Sprint(full.Blockers) != "[a]" || full.Depth != 16 || full.Topic != "t" {
				s.fail("got %#v", full)
			}
			if !strings.Contains(err.Error(), "[a] did not yet receive the last 16") {
				s.fail("%v does not say who", err)
			}
		}
		s.tell("full")
		s.hear("taken")
		payload(l.Data(), 16)
		s.check(l.Send()) // the loan went on
		s.tell("sent")
	}},
	{"disagreement about a topic names the field and both values", func(s *side) {
		s.hear("made")
		for _, c := range []struct {
			o          ringbus.PublisherOptions
			field      string
			have, want any
		}{
			{ringbus.PublisherOptions{Depth: 64}, "depth", 16, 64},
			{ringbus.PublisherOptions{Depth: 8}, "depth", 16, 8},
			{ringbus.PublisherOptions{MaxMessage: 2048}, "max-message", 1024, 2048},
			{ringbus.PublisherOptions{Loans: 9}, "loans", 4, 9},
			{ringbus.PublisherOptions{Holds: 35}, "holds", 34, 35},
			{ringbus.PublisherOptions{LatestOnly: true}, "latest-only", false, true},
			{ringbus.PublisherOptions{History: 13, Depth: 16}, "depth", 16, 32},
		} {
			_, err := s.Publisher("t", &c.o)
			var m *ringbus.MismatchError
			if !errors.As(err, &m) {
				s.fail("%s: got %v", c.field, err)
			}
			if m.Topic != "t" || m.Field != c.field || m.Have != c.have || m.Want != c.want {
				s.fail("got %+v, want %s %v, %v", m, c.field, c.have, c.want)
			}
			for _, w := range []string{`"t"`, c.field, fmt.Sprint(c.have), fmt.Sprint(c.want)} {
				if !strings.Contains(err.Error(), w) {
					s.fail("%q does not say %s", err, w)
				}
			}
		}
		for _, o := range []*ringbus.PublisherOptions{nil, {Depth: 9}, {MaxMessage: 1024}, {Holds: 5}, {History: 12}} {
			p := s.pub("t", o) // what fits is no disagreement
			if p.Depth() != 16 || p.MaxMessage() != 1024 {
				s.fail("depth %d and messages of %d bytes", p.Depth(), p.MaxMessage())
			}
			s.check(p.Close())
		}
		s.tell("done")
	}, func(s *side) {
		s.pub("t", small())
		s.tell("made")
		s.hear("done")
	}},
	{"reliable subscriber of a latest-only topic is refused", func(s *side) {
		s.hear("made")
		_, err := s.Subscriber("t", &ringbus.SubscriberOptions{Mode: ringbus.Reliable})
		if err == nil || !strings.Contains(err.Error(), "latest-only") {
			s.fail("got %v", err)
		}
		sub := s.sub("t", &ringbus.SubscriberOptions{UntilClose: true})
		s.tell("ready")
		if got, lost := s.drain(sub); got+lost != 100 {
			s.fail("got %d and lost %d", got, lost)
		}
	}, func(s *side) {
		o := small()
		o.LatestOnly, o.Reject = true, true
		pub := s.pub("t", o)
		s.tell("made")
		s.hear("ready")
		s.send(pub, 0, 100)
	}},
	{"topic that holds too little for one more subscriber says so", func(s *side) {
		s.hear("made")
		s.sub("t", &ringbus.SubscriberOptions{Hold: 16})
		sub := s.sub("t", &ringbus.SubscriberOptions{Hold: 16})
		_, err := s.Subscriber("t", &ringbus.SubscriberOptions{Hold: 1})
		if err == nil || !strings.Contains(err.Error(), "hold 34 messages in all, 34 are taken and this one wants 2") {
			s.fail("got %v", err)
		}
		s.check(sub.Close())
		s.sub("t", &ringbus.SubscriberOptions{Hold: 1})
		s.tell("done")
	}, func(s *side) {
		s.pub("t", small())
		s.tell("made")
		s.hear("done")
	}},
}

func second[T any](_ T, err error) error { return err }

// publishers opens publishers from up to to on topic t, each on its own node.
func (s *side) publishers(from, to int) []*ringbus.Publisher {
	var out []*ringbus.Publisher
	for i := from; i < to; i++ {
		o := small()
		o.Depth = 8
		p, err := s.another(fmt.Sprintf("p/%d", i)).Publisher("t", o)
		s.check(err)
		out = append(out, p)
	}
	return out
}

// subscribers opens n subscribers of topic t.
func (s *side) subscribers(n int) []*ringbus.Subscriber {
	var out []*ringbus.Subscriber
	for range n {
		out = append(out, s.sub("t", &ringbus.SubscriberOptions{Hold: 1}))
	}
	return out
}
