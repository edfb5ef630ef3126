package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/ioqueue"
)

// burn takes d on the CPU.
func burn(d time.Duration) {
	if d > 0 {
		for start := time.Now(); time.Since(start) < d; {
			continue
		}
	}
}

// slow is a device that takes d for each op.
func slow(d time.Duration) ioqueue.Device {
	return ioqueue.DeviceFunc(func(ops []ioqueue.Request) {
		for i := range ops {
			burn(d)
			ops[i].Complete(0)
		}
	})
}

// queue is an end of a queue of the bus.
func (p *party) queue(name string, o ioqueue.Options) (*ioqueue.Queue, error) {
	if q, ok := p.kept["io "+name].(*ioqueue.Queue); ok {
		return q, nil
	}
	q, err := ioqueue.Open(p.node, name, &o)
	p.kept["io "+name] = q
	return q, err
}

// doAlone is the time of a Do where nobody else is, by the parent.
func doAlone(count int, inBus bool) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		if !p.parent {
			return s, nil
		}
		q := ioqueue.New(nil)
		if inBus {
			if q, err = p.queue("alone", ioqueue.Options{MaxData: 64}); err != nil {
				return s, err
			}
		}
		dev := slow(0)
		n := p.count(count)
		start := time.Now()
		for range n {
			if _, err := q.Do(background, ioqueue.Op{}, dev); err != nil {
				return s, err
			}
		}
		s.value = float64(time.Since(start).Nanoseconds()) / float64(n)
		return s, nil
	}
}

// way is a way for goroutines to use one device: it returns what each of them
// calls for an op, and what ends it all.
type way func(d time.Duration) (ask func(), end func())

func byQueue(d time.Duration) (func(), func()) {
	q, dev := ioqueue.New(nil), slow(d)
	return func() { _, _ = q.Do(background, ioqueue.Op{}, dev) }, func() { _ = q.Close() }
}

// byMutex is a mutex around the very device that the queue has.
func byMutex(d time.Duration) (func(), func()) {
	var mu sync.Mutex
	dev, op := slow(d), make([]ioqueue.Request, 1)
	return func() {
		mu.Lock()
		op[0] = ioqueue.Request{}
		dev.Execute(op)
		mu.Unlock()
	}, func() {}
}

// byDevice is the device and nothing else, for one goroutine: its own limit.
func byDevice(d time.Duration) (func(), func()) {
	dev, op := slow(d), make([]ioqueue.Request, 1)
	return func() {
		op[0] = ioqueue.Request{}
		dev.Execute(op)
	}, func() {}
}

func byChannel(d time.Duration) (func(), func()) {
	ops := make(chan chan struct{}, 64)
	dev, op := slow(d), make([]ioqueue.Request, 1)
	go func() {
		for done := range ops {
			op[0] = ioqueue.Request{}
			dev.Execute(op)
			done <- struct{}{}
		}
	}()
	answers := sync.Pool{New: func() any { return make(chan struct{}, 1) }}
	return func() {
		done := answers.Get().(chan struct{})
		ops <- done
		<-done
		answers.Put(done)
	}, func() { close(ops) }
}

// crowd is the time for each op of count, by so many goroutines of the parent;
// and how long one of 32 took.
func crowd(use way, goroutines, count int, d time.Duration) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		if !p.parent {
			return s, nil
		}
		ask, end := use(d)
		defer end()
		var left atomic.Int64
		n := p.count(count)
		left.Store(int64(n))
		times := make([][]time.Duration, goroutines)
		var wg sync.WaitGroup
		begin := time.Now()
		for k := range goroutines {
			wg.Go(func() {
				for i := 0; left.Add(-1) >= 0; i++ {
					if i%32 != 0 {
						ask()
						continue
					}
					start := time.Now()
					ask()
					times[k] = append(times[k], time.Since(start))
				}
			})
		}
		wg.Wait()
		s.value = float64(time.Since(begin).Nanoseconds()) / float64(n)
		s.hist, s.scale = newHistogram(), 1
		for _, list := range times {
			for _, t := range list {
				_ = s.hist.RecordValue(t.Nanoseconds())
			}
		}
		return s, nil
	}
}

// served is millions of ops a second that the parent submits in batches and the
// child executes.
func served(count, batch int) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		q, err := p.queue("served", ioqueue.Options{Depth: 1024, MaxData: 64, Batch: batch, Wait: polling})
		if err != nil {
			return s, err
		}
		if !p.parent {
			ctx, cancel := context.WithCancel(background)
			over := p.word(arenaOver)
			p.meet()
			go func() {
				for over.Swap(0) == 0 {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			if err := q.Serve(ctx, slow(0)); !errors.Is(err, context.Canceled) {
				return s, err
			}
			p.meet()
			return s, nil
		}
		p.meet()
		ops := make([]ioqueue.Op, batch)
		var windows [4][]ioqueue.Ticket // some batches are on their way
		n := p.count(count) / batch
		start := time.Now()
		for k := range n + len(windows) {
			w := &windows[k%len(windows)]
			for _, t := range *w {
				if _, err := t.Wait(background); err != nil {
					return s, err
				}
			}
			*w = (*w)[:0]
			if k < n {
				if *w, err = q.SubmitBatch(background, ops, *w); err != nil {
					return s, err
				}
			}
		}
		s.value = float64(n*batch) / time.Since(start).Seconds() / 1e6
		p.word(arenaOver).Store(1)
		p.meet()
		return s, nil
	}
}

// arenaOver is 1 when the child need not serve any more.
const arenaOver = 2176

// both processes ask count times each; the parent says how many a second that
// were together, in millions.
func bothAsk(count int, ask func(p *party) (func() error, error)) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		f, err := ask(p)
		if err != nil {
			return s, err
		}
		n := p.count(count)
		p.meet()
		start := time.Now()
		for range n {
			if err := f(); err != nil {
				return s, err
			}
		}
		p.meet()
		if p.parent {
			s.value = float64(2*n) / time.Since(start).Seconds() / 1e6
		}
		return s, nil
	}
}

func askQueue(p *party) (func() error, error) {
	q, err := p.queue("both", ioqueue.Options{MaxData: 64, Wait: ringbus.Wait{Pinned: true}})
	dev := slow(0)
	return func() error {
		_, err := q.Do(background, ioqueue.Op{}, dev)
		return err
	}, err
}

// arenaLock is where the mutex of askFutex is: 0 free, 1 taken, 2 taken and
// somebody sleeps.
const arenaLock = 2048

// askFutex is a device under a mutex of two processes, as the C library's.
func askFutex(p *party) (func() error, error) {
	w := mem.U32(p.arena, arenaLock)
	return func() error {
		if !w.CompareAndSwap(0, 1) {
			for n := 0; n < 100 && w.Load() != 0; n++ {
				continue
			}
			for !w.CompareAndSwap(0, 2) {
				if w.Load() == 2 || w.CompareAndSwap(1, 2) {
					sys.FutexWait(mem.Addr(w), 2)
				}
			}
		}
		if w.Swap(0) == 2 {
			sys.FutexWake(mem.Addr(w))
		}
		return nil
	}, nil
}

// askFile is a device under the lock of a file.
func askFile(p *party) (func() error, error) {
	f, ok := p.kept["lock"].(*os.File)
	if !ok {
		var err error
		if f, err = os.OpenFile(filepath.Join(p.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return nil, err
		}
		p.kept["lock"] = f
	}
	return func() error {
		for {
			got, err := sys.TryLock(f, 0)
			if err != nil {
				return err
			}
			if got {
				return sys.Unlock(f, 0)
			}
			sys.Yield()
		}
	}, nil
}
