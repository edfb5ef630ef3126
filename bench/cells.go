package main

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/wake"
	cells "github.com/ringbus/ringbus/stream" // "stream" and "streams" are taken
)

// cellFlow is a flow of messages from the child to the parent over a stream.
type cellFlow struct {
	name  string
	size  int
	count int
	copy  bool // the receiver copies out, and the figure is in GB/s
}

func cellStream(o cellFlow) func(*party) (sample, error) {
	return func(p *party) (sample, error) {
		if p.parent {
			return o.receive(p)
		}
		return sample{}, o.send(p)
	}
}

func (o *cellFlow) receive(p *party) (s sample, err error) {
	r, ok := p.kept[o.name].(*cells.Reader)
	if !ok {
		if r, err = cells.NewReader(p.node, o.name, &cells.ReaderOptions{Size: max(256<<10, 4*o.size), Groups: -1, Wait: polling}); err != nil {
			return s, err
		}
		p.kept[o.name] = r
	}
	out := make([]byte, o.size)
	n := max(p.count(o.count)/chunks, 1)
	times := make([]float64, 0, chunks)
	var total uint64
	p.meet()
	start := time.Now()
	for range chunks {
		for range n {
			m, err := r.Receive(background)
			if err != nil {
				return s, err
			}
			if o.copy {
				copy(out, m.Data)
			} else {
				total += sum(m.Data)
			}
		}
		now := time.Now()
		times = append(times, now.Sub(start).Seconds())
		start = now
	}
	runtime.KeepAlive(total)
	if s.value = float64(n) / median(times) / 1e6; o.copy {
		s.value = float64(n*o.size) / median(times) / 1e9
	}
	return s, nil
}

func (o *cellFlow) send(p *party) (err error) {
	w, ok := p.kept[o.name].(*cells.Writer)
	if !ok {
		if w, err = cells.NewWriter(p.node, o.name, &cells.Options{Size: max(256<<10, 4*o.size), Groups: -1, Wait: polling}); err != nil {
			return err
		}
		p.kept[o.name] = w
	}
	if err := w.WaitReaders(background, 1); err != nil {
		return err
	}
	b := make([]byte, o.size)
	p.meet()
	for range max(p.count(o.count)/chunks, 1) * chunks {
		if err := w.Send(background, b); err != nil {
			return err
		}
	}
	return nil
}

// shares is a group of readers in the parent, each with work of its own for
// every message.
func shares(readers int) func(*party) (sample, error) {
	name := "share" + string(rune('0'+readers))
	return func(p *party) (s sample, err error) {
		const count = 100_000
		n := p.count(count)
		if !p.parent {
			return s, (&cellFlow{name: name, size: 64, count: count}).sendShared(p, name, readers)
		}
		var done atomic.Int64
		errs := make(chan error, readers)
		var rs []*cells.Reader
		for range readers {
			r, err := cells.NewReader(p.node, name, &cells.ReaderOptions{Group: "g", Size: 256 << 10})
			if err != nil {
				return s, err
			}
			rs = append(rs, r)
		}
		p.meet()
		start := time.Now()
		var all sync.WaitGroup
		for _, r := range rs {
			all.Go(func() {
				for {
					c, err := r.Claim(background)
					if err != nil {
						if !errors.Is(err, io.EOF) {
							errs <- err
						}
						return
					}
					work(time.Microsecond)
					if err := c.Done(); err != nil {
						errs <- err
						return
					}
					done.Add(1)
				}
			})
		}
		all.Wait()
		s.value = float64(n) / time.Since(start).Seconds() / 1e6
		for _, r := range rs {
			_ = r.Close()
		}
		select {
		case err := <-errs:
			return s, err
		default:
		}
		return s, nil
	}
}

func (o *cellFlow) sendShared(p *party, name string, readers int) error {
	w, err := cells.NewWriter(p.node, name, &cells.Options{Size: 256 << 10})
	if err != nil {
		return err
	}
	if err := w.WaitReaders(background, readers); err != nil {
		return err
	}
	b := make([]byte, o.size)
	p.meet()
	for range p.count(o.count) {
		if err := w.Send(background, b); err != nil {
			return err
		}
	}
	return w.Close()
}

// work is busy for so long.
func work(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
		wake.Pause()
	}
}

// talks is a conversation over a connection: on the bus, or a Unix socket.
type talks struct {
	name  string
	unix  bool
	spin  bool // both ends poll, each on a CPU of its own
	park  bool // the other end sleeps when a message comes
	count int
	bulk  int // one way, in pieces of so many bytes; 0: ping-pong of 64 bytes
}

func (o talks) connect(p *party) (net.Conn, error) {
	if c, ok := p.kept[o.name].(net.Conn); ok {
		return c, nil
	}
	at := filepath.Join(p.dir, "s-"+o.name[5:])
	var c net.Conn
	var err error
	if p.parent {
		for range 5000 {
			if o.unix {
				c, err = net.Dial("unix", at)
			} else {
				c, err = cells.Dial(background, p.node, o.name)
			}
			if err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
	} else {
		c, err = o.accept(p.node, at)
	}
	if err != nil {
		return nil, err
	}
	if s, ok := c.(*cells.Conn); ok && o.spin {
		s.SetWait(polling)
	}
	p.kept[o.name] = c
	return c, nil
}

func (o talks) accept(node *ringbus.Node, at string) (net.Conn, error) {
	var l net.Listener
	var err error
	if o.unix {
		l, err = net.Listen("unix", at)
	} else {
		l, err = cells.Listen(node, o.name)
	}
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.Accept()
}

func talk(o talks) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		c, err := o.connect(p)
		if err != nil {
			return s, err
		}
		n := p.count(o.count)
		p.meet()
		start := time.Now()
		if o.bulk > 0 {
			return o.pour(p, c, n, start)
		}
		return o.ping(p, c, n)
	}
}

// ping takes the time of each round trip, or of each 16 where nobody sleeps.
func (o talks) ping(p *party, c net.Conn, n int) (s sample, err error) {
	b, batch := make([]byte, 64), 16
	if o.park {
		batch = 1
	}
	var times []float64
	for range max(n/batch, 1) {
		if p.parent && o.park {
			work(200 * time.Microsecond)
		}
		at := time.Now()
		for range batch {
			if p.parent {
				if _, err = c.Write(b); err == nil {
					_, err = io.ReadFull(c, b)
				}
			} else if _, err = io.ReadFull(c, b); err == nil {
				_, err = c.Write(b)
			}
			if err != nil {
				return s, err
			}
		}
		times = append(times, float64(time.Since(at).Nanoseconds())/float64(2*batch))
	}
	if p.parent {
		s.value = median(times)
	}
	return s, nil
}

func (o talks) pour(p *party, c net.Conn, n int, start time.Time) (s sample, err error) {
	b := make([]byte, o.bulk)
	for range n {
		if p.parent {
			_, err = io.ReadFull(c, b)
		} else {
			_, err = c.Write(b)
		}
		if err != nil {
			return s, err
		}
	}
	if p.parent {
		s.value = float64(n*o.bulk) / time.Since(start).Seconds() / 1e9
	}
	return s, nil
}
