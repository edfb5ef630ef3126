package main

import (
	"encoding/binary"
	"errors"
	"runtime"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/virtq"
)

// chains are requests of one descriptor over a bare virtqueue in the arena: the
// parent drives, the child is the device, both poll, nobody is notified.
type chains struct {
	features virtq.Features
	count    int
	batch    int // chains offered, and returned, at once
}

const (
	virtqSize   = 256
	virtqAt     = arenaSlots // it shares memory with the slots of the plain copy
	virtqPieces = 64         // bytes of a request
)

// errBroken ends a measurement whose queue broke.
var errBroken = errors.New("virtqueue is broken")

// queue makes p's side of the queue. The driver's comes first: it clears the
// memory.
func (o *chains) queue(p *party) (drv *virtq.Driver, dev *virtq.Device, buffers uint64, err error) {
	area := p.arena[virtqAt : virtqAt+copySize]
	m, err := virtq.NewMemory(virtq.Region{Addr: 0, Bytes: area})
	if err != nil {
		return nil, nil, 0, err
	}
	c, end := virtq.Layout(0, virtqSize, o.features, 0)
	buffers = mem.Align(end, mem.Page)
	if p.parent {
		drv, err = virtq.NewDriver(m, c)
		if err == nil {
			drv.DisableCall()
		}
		p.meet()
		return drv, nil, buffers, err
	}
	p.meet()
	if dev, err = virtq.NewDevice(m, c, virtq.State{}); err == nil {
		dev.DisableKick()
	}
	return nil, dev, buffers, err
}

func chainPings(o chains) func(*party) (sample, error) {
	return func(p *party) (sample, error) {
		drv, dev, at, err := o.queue(p)
		if err != nil {
			return sample{}, err
		}
		if !p.parent {
			var c virtq.Chain
			total := uint64(0)
			return volley(p, p.count(o.count), 0,
				func() error {
					if err := dev.Push(&c, 0); err != nil {
						return err
					}
					_, err := dev.Call()
					return err
				},
				func() error {
					for {
						if ok, err := dev.Pop(&c); ok || err != nil {
							if ok {
								total += sum(c.Readable[0])
							}
							return err
						}
					}
				})
		}
		request := []virtq.Buffer{{Addr: at, Len: virtqPieces}}
		b := p.arena[virtqAt+at : virtqAt+at+virtqPieces]
		n := uint64(0)
		return volley(p, p.count(o.count), 0,
			func() error {
				n++
				binary.LittleEndian.PutUint64(b, n)
				if err := drv.Add(request, nil, n); err != nil {
					return err
				}
				_, err := drv.Kick()
				return err
			},
			func() error {
				for {
					if u, ok, err := drv.Reap(); ok || err != nil {
						if ok && u.Token != n {
							return errBroken
						}
						return err
					}
				}
			})
	}
}

func chainStream(o chains) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		drv, dev, at, err := o.queue(p)
		if err != nil {
			return s, err
		}
		n := max(p.count(o.count)/chunks/o.batch, 1) * o.batch
		p.meet()
		if !p.parent {
			return s, o.serve(dev, n*chunks)
		}
		times := make([]float64, 0, chunks)
		us := make([]virtq.Used, o.batch)
		request := make([]virtq.Buffer, 1)
		added, done := 0, 0
		start := time.Now()
		for done < n*chunks {
			for range o.batch {
				if added == n*chunks {
					break
				}
				request[0] = virtq.Buffer{Addr: at + uint64(added%virtqSize)*virtqPieces, Len: virtqPieces}
				if err := drv.Add(request, nil, 0); err != nil {
					if errors.Is(err, virtq.ErrFull) {
						break
					}
					return s, err
				}
				mem.U64(p.arena, int(virtqAt+request[0].Addr)).Store(uint64(added))
				added++
			}
			if _, err := drv.Kick(); err != nil {
				return s, err
			}
			k, err := drv.ReapMany(us)
			if err != nil {
				return s, err
			}
			for done += k; done >= (len(times)+1)*n && len(times) < chunks; {
				now := time.Now()
				times = append(times, now.Sub(start).Seconds())
				start = now
			}
		}
		s.value = float64(n) / median(times) / 1e6
		return s, nil
	}
}

func (o *chains) serve(dev *virtq.Device, n int) error {
	cs := make([]virtq.Chain, o.batch)
	total := uint64(0)
	for n > 0 {
		k, err := dev.PopMany(cs)
		if err != nil {
			return err
		}
		for i := range k {
			total += sum(cs[i].Readable[0])
			if err := dev.Push(&cs[i], 0); err != nil {
				return err
			}
		}
		if _, err := dev.Call(); err != nil {
			return err
		}
		n -= k
	}
	runtime.KeepAlive(total)
	return nil
}
