package main

import (
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// batch is how many round trips one reading of the clock is shared by: it
// costs some tens of ns, and must not be seen in a time of a hundred.
const batch = 16

// settle is how long the parent waits before each round trip where the other
// must be asleep: bare futexes on two CPUs are now and then so quick that
// nobody ever sleeps, and then they measure no wake-up.
const settle = 10 * time.Microsecond

// wait is what volley does before each round trip, not counted.
func wait(gap time.Duration) time.Duration {
	if gap == 0 {
		return 0
	}
	for start := time.Now(); ; {
		if d := time.Since(start); d >= gap {
			return d
		}
	}
}

// volley plays count round trips, of which the parent takes the time, with a
// gap before each. there and back return an error to stop.
func volley(p *party, count int, gap time.Duration, there, back func() error) (s sample, err error) {
	s.hist, s.scale = newHistogram(), 1.0/(2*batch)
	p.meet()
	for range count / batch {
		start := time.Now()
		for range batch {
			if p.parent {
				start = start.Add(wait(gap))
				if err := there(); err != nil {
					return s, err
				}
				if err := back(); err != nil {
					return s, err
				}
				continue
			}
			if err := back(); err != nil {
				return s, err
			}
			if err := there(); err != nil {
				return s, err
			}
		}
		if err := s.hist.RecordValue(time.Since(start).Nanoseconds()); err != nil {
			return s, err
		}
	}
	if !p.parent {
		return sample{}, nil
	}
	s.value = at(s.hist, 50) * s.scale
	return s, nil
}

// at reads a percentile of h.
func at(h *hdr.Histogram, q float64) float64 { return float64(h.ValueAtQuantile(q)) }

// runFloor measures the ping-pong of two lines, a full swap both ways. Each
// batch takes another pair of lines: how far a line's home in the machine is
// from both CPUs differs from line to line, and a ring uses many.
func runFloor(p *party) (sample, error) {
	tx, rx := arenaPing, arenaPong
	if !p.parent {
		tx, rx = rx, tx
	}
	// Not by way of volley: nothing but the two words.
	h := newHistogram()
	p.meet()
	n := p.floors
	for i := range max(p.count(20_000), 4_000) / batch {
		pair := i % floorPairs * floorStride
		tx, rx := p.word(arenaFloor+pair+tx), p.word(arenaFloor+pair+rx)
		start := time.Now()
		for range batch {
			n++
			if p.parent {
				tx.Store(n)
				for rx.Load() != n {
				}
			} else {
				for rx.Load() != n {
				}
				tx.Store(n)
			}
		}
		if err := h.RecordValue(time.Since(start).Nanoseconds()); err != nil {
			return sample{}, err
		}
	}
	p.floors = n
	if !p.parent {
		return sample{}, nil
	}
	return sample{value: at(h, 50) / (2 * batch)}, nil
}

// futexes measures count round trips of two words and nothing but the kernel
// between them.
func futexes(count int, gap time.Duration) func(*party) (sample, error) {
	return func(p *party) (sample, error) {
		mine, yours := mem.U32(p.arena, arenaPing), mem.U32(p.arena, arenaPong)
		if !p.parent {
			mine, yours = yours, mine
		}
		p.meet()
		mine.Store(0)
		p.meet()
		n := uint32(0)
		there := func() error {
			yours.Add(1)
			sys.FutexWake(mem.Addr(yours))
			return nil
		}
		back := func() error {
			for n++; mine.Load() != n; {
				sys.FutexWait(mem.Addr(mine), n-1)
			}
			return nil
		}
		s, err := volley(p, p.count(count), gap, there, back)
		s.value /= 1e3
		s.scale /= 1e3
		return s, err
	}
}
