package ringbus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ringbus/ringbus"
)

// asleep is how a goroutine waits that shall sleep at once.
var asleep = ringbus.Wait{Spin: -1}

// waiting are the conversations about sleeping, and about what wakes.
var waiting = []conversation{
	{"parked sides wake each other", func(s *side) {
		pub := s.pub("ping", small())
		sub := s.sub("pong", &ringbus.SubscriberOptions{Wait: asleep})
		s.tell("ready")
		s.check(pub.WaitSubscribers(s.ctx, 1))
		for n := range uint64(300) {
			s.check(pub.Send(mixed(n)))
			s.take(sub, n)
		}
	}, func(s *side) { s.pong(asleep) }},
	{"busy pollers on pinned threads wake each other", func(s *side) {
		w := ringbus.Wait{BusyPoll: true, Pinned: true}
		o := small()
		o.Wait = w
		pub := s.pub("ping", o)
		sub := s.sub("pong", &ringbus.SubscriberOptions{Wait: w})
		s.tell("ready")
		s.check(pub.WaitSubscribers(s.ctx, 1))
		unpin, err := ringbus.Pin(0)
		s.check(err)
		defer unpin()
		for n := range uint64(300) {
			s.check(pub.Send(mixed(n)))
			s.take(sub, n)
		}
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		_, err = sub.Receive(ctx) // polls its context too
		s.want(err, context.Canceled)
	}, func(s *side) { s.pong(ringbus.Wait{BusyPoll: true, Pinned: true}) }},
	{"pinned sleepers wake each other", func(s *side) {
		pub := s.pub("ping", small())
		sub := s.sub("pong", &ringbus.SubscriberOptions{Wait: ringbus.Wait{Spin: -1, Pinned: true}})
		s.tell("ready")
		s.check(pub.WaitSubscribers(s.ctx, 1))
		for n := range uint64(300) {
			s.check(pub.Send(mixed(n)))
			s.take(sub, n)
		}
	}, func(s *side) { s.pong(ringbus.Wait{Spin: -1, Pinned: true}) }},
	{"publisher that has to wait is woken by each of many", func(s *side) {
		one := s.sub("t", &ringbus.SubscriberOptions{Wait: asleep})
		two := s.sub("t", &ringbus.SubscriberOptions{Wait: asleep})
		s.tell("ready")
		for n := range uint64(500) {
			s.take(one, n)
			s.take(two, n)
		}
	}, func(s *side) {
		s.hear("ready")
		o := small()
		o.Wait, o.Depth = asleep, 1
		s.send(s.pub("t", o), 0, 500)
	}},
	{"one call waits on many topics", func(s *side) {
		var subs []*ringbus.Subscriber
		for i := range 5 {
			subs = append(subs, s.sub(fmt.Sprintf("t/%d", i), &ringbus.SubscriberOptions{Wait: asleep, UntilClose: i == 4}))
		}
		ctx, cancel := context.WithTimeout(s.ctx, time.Millisecond)
		defer cancel()
		_, err := ringbus.Select(ctx, subs...)
		s.want(err, context.DeadlineExceeded)
		for n := range uint64(200) {
			s.tell("next")
			k, err := ringbus.Select(s.ctx, subs...)
			s.check(err)
			if uint64(k) != n*3%5 {
				s.fail("message %d came by topic %d", n, k)
			}
			m, ok, err := subs[k].TryReceive()
			s.check(err)
			if !ok {
				s.fail("topic %d was ready and had nothing", k)
			}
			s.check(intact(m.Data(), n, sizeOf(n)))
			m.Release()
		}
		s.tell("end")
		k, err := ringbus.Select(s.ctx, subs...)
		s.check(err)
		_, err = subs[k].Receive(s.ctx)
		if s.want(err, io.EOF); k != 4 {
			s.fail("topic %d has ended", k)
		}
		_, err = ringbus.Select(ctx, subs[:4]...)
		s.want(err, context.DeadlineExceeded)
	}, func(s *side) {
		var pubs []*ringbus.Publisher
		for i := range 5 {
			pubs = append(pubs, s.pub(fmt.Sprintf("t/%d", i), small()))
		}
		for n := range uint64(200) {
			s.hear("next")
			s.check(pubs[n*3%5].Send(mixed(n)))
		}
		s.hear("end")
		s.check(pubs[4].Close())
	}},
	{"until-close ends when every publisher that was there has ended", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{Wait: asleep, UntilClose: true})
		s.tell("ready")
		if got, lost := s.count(sub); got != 60 || lost != 0 {
			s.fail("got %d and lost %d", got, lost)
		}
		_, err := sub.Receive(s.ctx)
		s.want(err, io.EOF)
		ctx, cancel := context.WithTimeout(s.ctx, time.Millisecond)
		defer cancel()
		late := s.sub("t", &ringbus.SubscriberOptions{UntilClose: true})
		_, err = late.Receive(ctx) // nobody was there yet
		s.want(err, context.DeadlineExceeded)
	}, func(s *side) {
		s.hear("ready")
		one := s.pub("t", small())
		two, err := s.another("two").Publisher("t", small())
		s.check(err)
		s.send(one, 0, 20)
		s.check(one.Close())
		s.send(two, 0, 40)
		s.check(two.Close())
	}},
	{"context ends every wait", func(s *side) {
		sub := s.sub("t", &ringbus.SubscriberOptions{Wait: asleep})
		pub := s.pub("full", &ringbus.PublisherOptions{Depth: 1, Wait: asleep})
		s.tell("ready")
		s.hear("ready")
		s.check(pub.Send(nil))
		loan, err := pub.Loan(1)
		s.check(err)
		for what, wait := range map[string]func(context.Context) error{
			"Receive":         func(c context.Context) error { return second(sub.Receive(c)) },
			"Send":            func(c context.Context) error { return pub.SendContext(c, nil) },
			"Loan.Send":       loan.SendContext,
			"SendBatch":       func(c context.Context) error { return second(pub.SendBatchContext(c, [][]byte{nil})) },
			"WaitSubscribers": func(c context.Context) error { return pub.WaitSubscribers(c, 2) },
			"Select":          func(c context.Context) error { return second(ringbus.Select(c, sub)) },
			"Messages": func(c context.Context) (err error) {
				for _, err = range sub.Messages(c) {
					continue
				}
				return err
			},
		} {
			s.check(interrupts(s.ctx, what, wait))
		}
		s.tell("done")
	}, func(s *side) {
		s.hear("ready")
		s.sub("full", nil)
		s.tell("ready")
		s.hear("done")
	}},
	{"close from another goroutine ends every wait", func(s *side) {
		s.hear("ready")
		for what, wait := range map[string]func(n *ringbus.Node) (func() error, func() error, error){
			"Receive": func(n *ringbus.Node) (func() error, func() error, error) {
				sub, err := n.Subscriber("t", &ringbus.SubscriberOptions{Wait: asleep})
				return func() error { return second(sub.Receive(s.ctx)) }, func() error { return sub.Close() }, err
			},
			"Messages": func(n *ringbus.Node) (func() error, func() error, error) {
				sub, err := n.Subscriber("t", &ringbus.SubscriberOptions{Wait: asleep})
				return func() (err error) {
					for _, err = range sub.Messages(s.ctx) {
						continue
					}
					return err
				}, func() error { return sub.Close() }, err
			},
			"Select": func(n *ringbus.Node) (func() error, func() error, error) {
				sub, err := n.Subscriber("t", &ringbus.SubscriberOptions{Wait: asleep})
				return func() error {
					if _, err := ringbus.Select(s.ctx, sub); err != nil {
						return err
					}
					return second(sub.Receive(s.ctx))
				}, func() error { return sub.Close() }, err
			},
			"Send": func(n *ringbus.Node) (func() error, func() error, error) {
				pub, err := n.Publisher("full", &ringbus.PublisherOptions{Depth: 1, Wait: asleep})
				return func() error { return errors.Join(pub.Send(nil), pub.Send(nil)) }, func() error { return pub.Close() }, err
			},
			"WaitSubscribers": func(n *ringbus.Node) (func() error, func() error, error) {
				pub, err := n.Publisher("full", &ringbus.PublisherOptions{Depth: 1, Wait: asleep})
				return func() error { return pub.WaitSubscribers(s.ctx, 2) }, func() error { return pub.Close() }, err
			},
		} {
			for _, whole := range []bool{false, true} {
				n, err := s.open("waiter/" + what)
				s.check(err)
				call, end, err := wait(n)
				s.check(err)
				if whole {
					end = n.Close
				}
				s.together(
					func() error {
						if err := call(); !closed(err) {
							return fmt.Errorf("%s: got %v", what, err)
						}
						return nil
					},
					func() error {
						time.Sleep(time.Millisecond) // let it sleep; it need not
						return end()
					})
				s.check(n.Close())
			}
		}
		s.tell("done")
	}, func(s *side) {
		s.sub("full", nil)
		s.tell("ready")
		s.hear("done")
	}},
	{"publisher waits for subscribers", func(s *side) {
		pub := s.pub("t", small())
		s.tell("ready")
		s.check(pub.WaitSubscribers(s.ctx, 3))
		if n := pub.Subscribers(); n != 3 {
			s.fail("%d subscribers", n)
		}
		s.check(pub.WaitSubscribers(s.ctx, 2))
		s.tell("all")
	}, func(s *side) {
		s.hear("ready")
		s.sub("t", nil)
		s.sub("t", &ringbus.SubscriberOptions{Mode: ringbus.Latest})
		s.sub("t", nil)
		s.hear("all")
	}},
}

// pong sends back on topic pong what comes by topic ping.
func (s *side) pong(w ringbus.Wait) {
	o := small()
	o.Wait = w
	pub := s.pub("pong", o)
	s.hear("ready")
	sub := s.sub("ping", &ringbus.SubscriberOptions{Wait: w, UntilClose: true})
	for m, err := range sub.Messages(s.ctx) {
		s.check(err)
		s.check(pub.Send(m.Data()))
	}
}

// count is drain for messages of several publishers.
func (s *side) count(sub *ringbus.Subscriber) (got, lost int) {
	for m, err := range sub.Messages(s.ctx) {
		s.check(err)
		got++
		lost += int(m.Lost())
	}
	return got, lost
}

// since is how long ago t was, which it may be by two clocks of one machine.
func (s *side) since(t time.Time) time.Duration { return time.Since(t) + time.Second }

// interrupts checks that wait ends with its context: one that is done before,
// one that is cancelled, one whose time comes, and that not too early.
func interrupts(ctx context.Context, what string, wait func(context.Context) error) error {
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := wait(done); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s with a context that is done: %w", what, err)
	}
	later, cancel := context.WithCancel(ctx)
	time.AfterFunc(2*time.Millisecond, cancel)
	if err := wait(later); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s that is cancelled: %w", what, err)
	}
	start := time.Now()
	timed, cancel := context.WithTimeout(ctx, 3*time.Millisecond)
	defer cancel()
	if err := wait(timed); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s with a deadline: %w", what, err)
	}
	if took := time.Since(start); took < 3*time.Millisecond {
		return fmt.Errorf("%s with a deadline of 3 ms took %v", what, took)
	}
	return nil
}
