package main

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"time"

	"github.com/ringbus/ringbus"
)

// pings is a ping-pong over a pair of topics.
type pings struct {
	topic  string
	size   int
	count  int  // round trips of a full run
	lent   bool // Loan and Send, else Send of a slice
	few    bool // of the depth that large messages have
	touch  bool // the payload is filled and read
	stamps bool
	wait   *ringbus.Wait // nil: polling
	lock   bool          // to the thread
	gap    time.Duration // before each round trip
}

// duplex is a publisher and a subscriber of one process in a ping-pong.
type duplex struct {
	pings
	pub *ringbus.Publisher
	sub *ringbus.Subscriber
	buf []byte
	sum uint64
}

var background = context.Background()

// duplex opens p's ends, once for each pings.
func (p *party) duplex(o pings) (*duplex, error) {
	if d, ok := p.kept[o.topic]; ok {
		return d.(*duplex), nil
	}
	mine, yours := o.topic+"/ping", o.topic+"/pong"
	if !p.parent {
		mine, yours = yours, mine
	}
	wait := polling
	if o.wait != nil {
		wait = *o.wait
	}
	d := &duplex{pings: o, buf: make([]byte, o.size)}
	var err error
	if d.sub, err = p.node.Subscriber(yours, &ringbus.SubscriberOptions{Wait: wait}); err != nil {
		return nil, err
	}
	options := ringbus.PublisherOptions{Wait: wait, Timestamps: o.stamps}
	if o.few { // the depth that 1 MiB gets, with fewer descriptors: a few tens of MiB
		options.Depth, options.Loans, options.Holds = 16, 1, 3
	}
	if o.size > 104 {
		options.MaxMessage = o.size
	}
	if d.pub, err = p.node.Publisher(mine, &options); err != nil {
		return nil, err
	}
	p.kept[o.topic] = d
	return d, d.pub.WaitSubscribers(background, 1)
}

func (d *duplex) send() error {
	if !d.lent {
		if d.touch {
			binary.LittleEndian.PutUint64(d.buf, d.sum)
		}
		return d.pub.Send(d.buf)
	}
	loan, err := d.pub.Loan(d.size)
	if err != nil {
		return err
	}
	if d.touch {
		copy(loan.Data(), d.buf)
	}
	return loan.Send()
}

func (d *duplex) receive() error {
	m, err := d.sub.Receive(background)
	if err != nil {
		return err
	}
	if d.touch {
		d.sum += sum(m.Data())
	}
	m.Release()
	return nil
}

// sum reads b as words.
func sum(b []byte) (n uint64) {
	for len(b) >= 8 {
		n += binary.LittleEndian.Uint64(b)
		b = b[8:]
	}
	return n
}

func pingPong(o pings) func(*party) (sample, error) {
	return func(p *party) (sample, error) {
		d, err := p.duplex(o)
		if err != nil {
			return sample{}, err
		}
		if o.lock {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		s, err := volley(p, p.count(o.count), o.gap, d.send, d.receive)
		if o.wait != nil { // these are told in us
			s.value /= 1e3
			s.scale /= 1e3
		}
		return s, err
	}
}

// allocations counts what either process allocates per message of a ping-pong.
func allocations(o pings) func(*party) (sample, error) {
	o.wait = &ringbus.Wait{}
	return func(p *party) (sample, error) {
		d, err := p.duplex(o)
		if err != nil {
			return sample{}, err
		}
		n := p.count(o.count)
		var before, after runtime.MemStats
		p.meet()
		runtime.ReadMemStats(&before)
		for range n {
			first, second := d.send, d.receive
			if !p.parent {
				first, second = second, first
			}
			if err := first(); err != nil {
				return sample{}, err
			}
			if err := second(); err != nil {
				return sample{}, err
			}
		}
		runtime.ReadMemStats(&after)
		// One each way is two messages; a handful are the runtime's own.
		per := max(0, float64(after.Mallocs-before.Mallocs)-8) / float64(2*n)
		return sample{value: per}, nil
	}
}

// unixSocket measures count round trips of 64 bytes over a stream socket.
func unixSocket(count int) func(*party) (sample, error) {
	return func(p *party) (sample, error) {
		conn, err := p.conn()
		if err != nil {
			return sample{}, err
		}
		buf := make([]byte, 64)
		s, err := volley(p, p.count(count), 0,
			func() error { _, err := conn.Write(buf); return err },
			func() error { _, err := io.ReadFull(conn, buf); return err })
		s.value /= 1e3
		s.scale /= 1e3
		return s, err
	}
}

// conn connects both processes, once.
func (p *party) conn() (net.Conn, error) {
	if c, ok := p.kept["conn"]; ok {
		return c.(net.Conn), nil
	}
	path := filepath.Join(p.dir, "socket")
	var c net.Conn
	if p.parent {
		l, err := net.Listen("unix", path)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		p.meet()
		if c, err = l.Accept(); err != nil {
			return nil, err
		}
	} else {
		p.meet()
		var err error
		if c, err = net.Dial("unix", path); err != nil {
			return nil, err
		}
	}
	p.kept["conn"] = c
	return c, nil
}
