package main

import (
	"encoding/binary"
	"runtime"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
)

// streams is a flow of messages from the child to the parent.
type streams struct {
	topic   string
	options ringbus.PublisherOptions
	size    int
	count   int
	batch   int  // SendBatch of so many; 0: Send
	lent    bool // Loan, copy, Send; the receiver copies out
}

// chunks is how many parts a run is cut into; the median part is the figure, so
// that a moment in which one process does not run drops out.
const chunks = 100

func stream(o streams) func(*party) (sample, error) {
	return func(p *party) (sample, error) {
		if p.parent {
			return o.receive(p)
		}
		return sample{}, o.send(p)
	}
}

// receive takes the time of each chunk.
func (o *streams) receive(p *party) (s sample, err error) {
	sub, ok := p.kept[o.topic].(*ringbus.Subscriber)
	if !ok {
		if sub, err = p.node.Subscriber(o.topic, &ringbus.SubscriberOptions{Wait: polling, Hold: 1}); err != nil {
			return s, err
		}
		p.kept[o.topic] = sub
	}
	var out []byte
	if o.lent {
		out = make([]byte, o.size)
	}
	n := max(p.count(o.count)/chunks, 1)
	times := make([]float64, 0, chunks)
	var total uint64
	p.meet()
	start := time.Now()
	for range chunks {
		for range n {
			m, err := sub.Receive(background)
			if err != nil {
				return s, err
			}
			if o.lent {
				copy(out, m.Data())
			} else {
				total += sum(m.Data())
			}
			m.Release()
		}
		now := time.Now()
		times = append(times, now.Sub(start).Seconds())
		start = now
	}
	runtime.KeepAlive(total)
	s.value = float64(n) / median(times) / 1e6
	if o.lent {
		s.value = float64(n*o.size) / median(times) / 1e9
	}
	return s, nil
}

func (o *streams) send(p *party) (err error) {
	pub, ok := p.kept[o.topic].(*ringbus.Publisher)
	if !ok {
		options := o.options
		options.Wait = polling
		if pub, err = p.node.Publisher(o.topic, &options); err != nil {
			return err
		}
		p.kept[o.topic] = pub
	}
	if err := pub.WaitSubscribers(background, 1); err != nil {
		return err
	}
	n := max(p.count(o.count)/chunks, 1) * chunks
	b := make([]byte, o.size)
	msgs := make([][]byte, o.batch)
	for i := range msgs {
		msgs[i] = make([]byte, o.size)
	}
	p.meet()
	for i := 0; i < n; i++ {
		switch {
		case o.batch > 0:
			for _, b := range msgs {
				binary.LittleEndian.PutUint64(b, uint64(i))
			}
			if _, err := pub.SendBatch(msgs[:min(o.batch, n-i)]); err != nil {
				return err
			}
			i += o.batch - 1
		case o.lent:
			loan, err := pub.Loan(o.size)
			if err != nil {
				return err
			}
			copy(loan.Data(), b)
			if err := loan.Send(); err != nil {
				return err
			}
		default:
			if err := pub.Send(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// plainCopy is what two processes reach without any ring: a flag for each slot
// says whose it is.
func plainCopy(p *party) (s sample, err error) {
	n := max(p.count(800)/chunks, 1)
	own := make([]byte, copySize)
	slot := func(i int) []byte {
		o := arenaSlots + i%copySlots*copySize
		return p.arena[o : o+copySize]
	}
	flag := func(i int) int { return arenaFlags + i%copySlots*mem.Line }
	p.meet()
	start := time.Now()
	times := make([]float64, 0, chunks)
	for i := range n * chunks {
		f := p.word(flag(i))
		if p.parent {
			for f.Load() == 0 {
			}
			copy(own, slot(i))
			f.Store(0)
			if (i+1)%n == 0 {
				now := time.Now()
				times = append(times, now.Sub(start).Seconds())
				start = now
			}
			continue
		}
		for f.Load() != 0 {
		}
		copy(slot(i), own)
		f.Store(1)
	}
	if p.parent {
		s.value = float64(n*copySize) / median(times) / 1e9
	}
	return s, nil
}
