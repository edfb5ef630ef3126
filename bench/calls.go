package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/ringbus/ringbus"
)

// callings are calls of 64 bytes that are answered with 64: the parent calls, the
// child serves.
type callings struct {
	service string
	count   int
	wait    ringbus.Wait
	us      bool
}

func calling(o callings) func(*party) (sample, error) {
	return func(p *party) (sample, error) {
		n := p.count(o.count) / batch * batch
		if !p.parent {
			return sample{}, o.serve(p, n)
		}
		client, ok := p.kept[o.service].(*ringbus.Client)
		if !ok {
			c, err := p.node.Client(o.service, &ringbus.ServiceOptions{Wait: o.wait})
			if err != nil {
				return sample{}, err
			}
			client, p.kept[o.service] = c, c
		}
		p.meet() // the server is there
		in, out := make([]byte, 64), make([]byte, 64)
		s, err := volley(p, n, 0, func() error {
			_, err := client.Call(background, in, out)
			return err
		}, func() error { return nil })
		if o.us {
			s.value /= 1e3
			s.scale /= 1e3
		}
		return s, err
	}
}

func (o *callings) serve(p *party, n int) error {
	service, ok := p.kept[o.service].(*ringbus.Service)
	if !ok {
		s, err := p.node.Service(o.service, &ringbus.ServiceOptions{Wait: o.wait})
		if err != nil {
			return err
		}
		service, p.kept[o.service] = s, s
	}
	p.meet()
	p.meet() // volley's
	if n == 0 {
		return nil
	}
	for r, err := range service.Requests(background) {
		if err != nil {
			return err
		}
		if err := r.Return(copy(r.Room(), r.Data())); err != nil {
			return err
		}
		if n--; n == 0 {
			break
		}
	}
	return nil
}

// replyFlow is the rate of the replies of 64 bytes to one request: the child
// answers, the parent reads them.
func replyFlow(service string, count int) func(*party) (sample, error) {
	return func(p *party) (sample, error) {
		if !p.parent {
			return sample{}, sendReplies(p, service)
		}
		client, ok := p.kept[service].(*ringbus.Client)
		if !ok {
			c, err := p.node.Client(service, &ringbus.ServiceOptions{Wait: polling})
			if err != nil {
				return sample{}, err
			}
			client, p.kept[service] = c, c
		}
		p.meet() // the server is there
		n := max(p.count(count)/chunks, 1)
		times := make([]float64, 0, chunks)
		left, total := n, uint64(0)
		start := time.Now()
		for b, err := range client.Stream(background, nil) {
			if err != nil {
				return sample{}, err
			}
			total += sum(b)
			if left--; left > 0 {
				continue
			}
			now := time.Now()
			if times = append(times, now.Sub(start).Seconds()); len(times) == chunks {
				break
			}
			start, left = now, n
		}
		runtime.KeepAlive(total)
		return sample{value: float64(n) / median(times) / 1e6}, nil
	}
}

// sendReplies answers one request until nobody wants more.
func sendReplies(p *party, service string) error {
	s, ok := p.kept[service].(*ringbus.Service)
	if !ok {
		v, err := p.node.Service(service, &ringbus.ServiceOptions{Wait: polling})
		if err != nil {
			return err
		}
		s, p.kept[service] = v, v
	}
	p.meet()
	reply := make([]byte, 64)
	for r, err := range s.Requests(background) {
		for err == nil {
			err = r.Send(background, reply)
		}
		if !errors.Is(err, context.Canceled) {
			return err
		}
		return r.End()
	}
	return nil
}
