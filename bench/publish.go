package main

import (
	"time"

	"github.com/ringbus/ringbus"
)

// publishes is the parent's work alone: the child has the subscribers.
type publishes struct {
	topic string
	subs  int
	mode  ringbus.Mode
	count int
	lent  bool
}

// burst is how many messages are timed at a time: half of the depth, so that
// reliable subscribers never hold the publisher back within one.
const burst = 512

func publishing(o publishes) func(*party) (sample, error) {
	return func(p *party) (sample, error) {
		if p.parent {
			return o.publish(p)
		}
		return sample{}, o.attend(p)
	}
}

func (o *publishes) publish(p *party) (s sample, err error) {
	pub, ok := p.kept[o.topic].(*ringbus.Publisher)
	if !ok {
		options := small
		options.Wait = polling
		if o.lent {
			options.MaxMessage = 4 << 10
		}
		if pub, err = p.node.Publisher(o.topic, &options); err != nil {
			return s, err
		}
		p.kept[o.topic] = pub
	}
	if err := pub.WaitSubscribers(background, o.subs); err != nil {
		return s, err
	}
	b := make([]byte, 64)
	var times []float64
	for range max(p.count(o.count)/burst, 1) {
		p.meet()
		start := time.Now()
		for range burst {
			if o.lent {
				loan, err := pub.Loan(4 << 10)
				if err != nil {
					return s, err
				}
				if err := loan.Send(); err != nil {
					return s, err
				}
			} else if err := pub.Send(b); err != nil {
				return s, err
			}
		}
		times = append(times, float64(time.Since(start).Nanoseconds())/burst)
		p.meet()
	}
	s.value = median(times)
	return s, nil
}

// attend has the subscribers. Latest ones do nothing, reliable ones receive
// between two bursts, when nobody looks at the clock.
func (o *publishes) attend(p *party) (err error) {
	subs, ok := p.kept[o.topic].([]*ringbus.Subscriber)
	if !ok {
		for range o.subs {
			sub, err := p.node.Subscriber(o.topic, &ringbus.SubscriberOptions{Mode: o.mode, Hold: 1, Wait: polling})
			if err != nil {
				return err
			}
			subs = append(subs, sub)
		}
		p.kept[o.topic] = subs
	}
	for range max(p.count(o.count)/burst, 1) {
		p.meet()
		p.meet()
		if o.mode == ringbus.Latest {
			continue
		}
		for _, sub := range subs {
			for range burst {
				m, err := sub.Receive(background)
				if err != nil {
					return err
				}
				m.Release()
			}
		}
	}
	return nil
}
