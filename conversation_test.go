package ringbus_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/ringbus/ringbus"
)

// A conversation is what two sides do to each other, wherever they are: in one
// process on the heap, in two mappings, in two processes.
type conversation struct {
	name string
	a, b func(s *side)
}

// conversations are all of them. Those about waiting, about limits and about
// loans have files of their own.
var conversations = slices.Concat(delivery, loaning, limits, waiting, crowd)

// stream is how many messages run where a conversation is about their flow.
const stream = 3000

var delivery = []conversation{
	{"reliable subscriber gets each message once and in order", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{UntilClose: true})
		s.tell("ready")
		for n := range uint64(stream) {
			s.take(sub, n)
		}
		_, err := sub.Receive(s.ctx)
		s.want(err, io.EOF)
	}, func(s *side) {
		s.hear("ready")
		pub := s.pub("t", small())
		s.send(pub, 0, stream)
		if pub.Sequence() != stream {
			s.fail("sequence is %d", pub.Sequence())
		}
	}},
	{"latest subscriber learns exactly what it lost", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest, UntilClose: true})
		s.tell("ready")
		if got, lost := s.drain(sub); got+lost != stream || lost != sub.Lost() || got == 0 {
			s.fail("got %d and lost %d of %d, told %d", got, lost, stream, sub.Lost())
		}
	}, func(s *side) {
		s.hear("ready")
		o := small()
		o.Reject = true // a latest subscriber never holds it up
		s.send(s.pub("t", o), 0, stream)
	}},
	{"latest subscriber that does not run loses all but the ring", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest, UntilClose: true})
		s.tell("ready")
		s.hear("sent")
		m := s.receive(sub)
		if m.Lost() != stream-16 || m.Sequence() != stream-16 {
			s.fail("first message is %d after a loss of %d", m.Sequence(), m.Lost())
		}
		s.check(intact(m.Data(), m.Sequence(), sizeOf(m.Sequence())))
		m.Release()
		if got, lost := s.drain(sub); got != 15 || lost != 0 {
			s.fail("then it got %d and lost %d", got, lost)
		}
	}, func(s *side) {
		s.hear("ready")
		s.send(s.pub("t", small()), 0, stream)
		s.tell("sent")
	}},
	{"reliable and latest subscribers share a topic", func(s *side) {
		all := s.sub("t", &ringbus.SubscriberOptions{UntilClose: true})
		some := s.sub("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest, UntilClose: true})
		late := s.sub("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest, UntilClose: true})
		s.tell("ready")
		s.together(
			func() error {
				for n := range uint64(stream) {
					s.take(all, n)
				}
				_, err := all.Receive(s.ctx)
				if !errors.Is(err, io.EOF) {
					return fmt.Errorf("after the last message: %w", err)
				}
				return nil
			},
			func() error {
				if got, lost := s.drain(some); got+lost != stream {
					return fmt.Errorf("got %d and lost %d of %d", got, lost, stream)
				}
				return nil
			})
		if got, lost := s.drain(late); got != 16 || lost != stream-16 {
			s.fail("who came late got %d and lost %d", got, lost)
		}
	}, func(s *side) {
		s.hear("ready")
		s.send(s.pub("t", small()), 0, stream)
	}},
	{"history is there at once, from a publisher that is gone", func(s *side) {
		s.hear("sent")
		for _, mode := range []ringbus.Mode{ringbus.Reliable, ringbus.Latest} {
			for _, history := range []uint64{0, 1, 12} {
				sub := s.sub("t", &ringbus.SubscriberOptions{Mode: mode, History: int(history)})
				for n := 100 - history; n < 100; n++ {
					s.take(sub, n)
				}
				if _, ok, err := sub.TryReceive(); ok || err != nil {
					s.fail("more than a history of %d, %v", history, err)
				}
				s.check(sub.Close())
			}
		}
		sub := s.sub("t", &ringbus.SubscriberOptions{History: 1000, UntilClose: true})
		if got, lost := s.drain(sub); got < 12 || lost != 0 {
			s.fail("of all there is it got %d and lost %d", got, lost)
		}
	}, func(s *side) {
		pub := s.pub("t", small())
		s.send(pub, 0, 100)
		s.check(pub.Close())
		s.tell("sent")
	}},
	{"history that was gone before the first message is no loss, what goes after it is", func(s *side) {
		s.hear("sent")
		one := s.sub("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest, History: 12})
		two := s.sub("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest, History: 12})
		s.take(one, 4)
		s.tell("more")
		s.hear("sent")
		for sub, want := range map[*ringbus.Subscriber]uint64{one: 95, two: 84} { // of 5 to 99, of 16 to 99
			m := s.receive(sub)
			if m.Sequence() != 100 || m.Lost() != want {
				s.fail("message %d after a loss of %d, want 100 and %d", m.Sequence(), m.Lost(), want)
			}
			m.Release()
		}
	}, func(s *side) {
		pub := s.pub("t", small())
		s.send(pub, 0, 16)
		s.tell("sent")
		s.hear("more")
		s.send(pub, 16, 116)
		s.tell("sent")
	}},
	{"subscriber that comes before the topic misses nothing", func(s *side) {
		early := s.sub("t", nil)
		late := s.sub("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest})
		s.tell("ready")
		s.hear("sent")
		for n := range uint64(16) {
			s.take(early, n)
			s.take(late, n)
		}
	}, func(s *side) {
		s.hear("ready")
		s.send(s.pub("t", small()), 0, 16)
		s.tell("sent")
	}},
	{"publisher that comes back under its name goes on", func(s *side) {
		sub := s.sub("t", nil)
		s.tell("ready")
		for n := range uint64(40) {
			m := s.receive(sub)
			if who := m.Publisher(); m.Sequence() != n || who != "b" && n < 30 || who != "b" && who != "else" {
				s.fail("message %d is %d from %q", n, m.Sequence(), who)
			}
			m.Release()
		}
	}, func(s *side) {
		s.hear("ready")
		for i := range uint64(3) {
			pub := s.pub("t", small())
			if pub.Sequence() != 10*i {
				s.fail("publisher %d begins at %d", i, pub.Sequence())
			}
			s.send(pub, 10*i, 10*i+10)
			s.check(pub.Close())
		}
		other, err := s.another("else").Publisher("t", small())
		s.check(err)
		if other.Sequence() != 0 { // a lane of its own while there are any
			s.fail("another name begins at %d", other.Sequence())
		}
		s.check(other.Close())
		s.send(s.pub("t", small()), 30, 40)
	}},
	{"sixteen publishers keep their own order", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{UntilClose: true})
		s.tell("ready")
		next := make(map[string]uint64)
		for m, err := range sub.Messages(s.ctx) {
			s.check(err)
			who := m.Publisher()
			if m.Sequence() != next[who] || m.Lost() != 0 {
				s.fail("message %d of %q, want %d", m.Sequence(), who, next[who])
			}
			s.check(intact(m.Data(), m.Sequence(), sizeOf(m.Sequence())))
			next[who]++
		}
		for who, n := range next {
			if n != 200 {
				s.fail("%d messages of %q", n, who)
			}
		}
		if len(next) != 16 {
			s.fail("messages of %d publishers", len(next))
		}
	}, func(s *side) {
		s.hear("ready")
		var all []func() error
		for i := range 16 {
			o := small()
			o.Depth = 8
			pub, err := s.another(fmt.Sprintf("p/%d", i)).Publisher("t", o)
			s.check(err)
			all = append(all, func() error {
				for n := range uint64(200) {
					if err := pub.SendContext(s.ctx, mixed(n)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		s.together(all...)
	}},
	{"messages of a megabyte arrive whole", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{Hold: 3})
		s.tell("ready")
		for n := range uint64(20) {
			m := s.receive(sub)
			s.check(intact(m.Data(), n, 1<<20-int(n)))
			m.Release()
		}
	}, func(s *side) {
		s.hear("ready")
		pub := s.pub("t", &ringbus.PublisherOptions{Depth: 2, MaxMessage: 1 << 20, Holds: 3, Loans: 1})
		for n := range uint64(20) {
			s.check(pub.SendContext(s.ctx, message(n, 1<<20-int(n))))
		}
	}},
	{"time is the publisher's, where it says so", func(s *side) {
		sub := s.sub("t", nil)
		s.tell("ready")
		m := s.receive(sub)
		if !m.Time().IsZero() {
			s.fail("time is %v", m.Time())
		}
		m.Release()
		m = s.receive(sub)
		if age := s.since(m.Time()); age < 0 || m.Time().IsZero() {
			s.fail("time is %v, %v ago", m.Time(), age)
		}
		m.Release()
	}, func(s *side) {
		s.hear("ready")
		pub := s.pub("t", small())
		s.check(pub.Send(nil))
		s.check(pub.Close())
		o := small()
		o.Timestamps = true
		s.check(s.pub("t", o).Send(nil))
	}},
	{"topic is removed once nobody has it open", func(s *side) {
		sub := s.sub("t/x", nil)
		s.tell("ready")
		s.hear("refused")
		s.check(sub.Close())
		s.tell("closed")
		s.hear("removed")
		if areas := s.Segment().Areas(); len(areas) != 0 {
			s.fail("there are areas: %+v", areas)
		}
	}, func(s *side) {
		s.hear("ready")
		pub := s.pub("t/x", small())
		s.check(pub.Send(nil))
		s.check(pub.Close())
		if err := s.Remove("t/x"); err == nil || !strings.Contains(err.Error(), `in use by node`) {
			s.fail("removed while it is open: %v", err)
		}
		s.tell("refused")
		s.hear("closed")
		s.check(s.Remove("t/x"))
		s.want(s.Remove("t/x"), fs.ErrNotExist)
		s.tell("removed")
	}},
}

// send sends messages from up to to, in turn by Send, by a loan, in a batch.
func (s *side) send(pub *ringbus.Publisher, from, to uint64) {
	for n := from; n < to; {
		switch n % 3 {
		case 0:
			s.check(pub.SendContext(s.ctx, mixed(n)))
			n++
		case 1:
			l, err := pub.Loan(sizeOf(n))
			s.check(err)
			payload(l.Data(), n)
			s.check(l.SendContext(s.ctx))
			n++
		default:
			var batch [][]byte
			for k := n; k < min(to, n+7); k++ {
				batch = append(batch, mixed(k))
			}
			sent, err := pub.SendBatchContext(s.ctx, batch)
			s.check(err)
			if sent != len(batch) {
				s.fail("%d of %d sent without an error", sent, len(batch))
			}
			n += uint64(sent)
		}
	}
}

// drain receives until the end and says how many messages came and how many
// were lost. Each must be where the sum of both says.
func (s *side) drain(sub *ringbus.Subscriber) (got, lost uint64) {
	first := uint64(0)
	for m, err := range sub.Messages(s.ctx) {
		s.check(err)
		if lost += m.Lost(); got == 0 {
			first = m.Sequence() - lost
		}
		if m.Sequence() != first+got+lost {
			s.fail("message %d after %d and a loss of %d", m.Sequence(), got, lost)
		}
		s.check(intact(m.Data(), m.Sequence(), sizeOf(m.Sequence())))
		got++
	}
	return got, lost
}
