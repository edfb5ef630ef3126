package main

import (
	"slices"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// measurement is one figure.
type measurement struct {
	name  string
	about string
	unit  string // ns, us: time, less is better; M/s, GB/s: rate; allocs
	polls bool   // each process has a CPU to itself: nothing without two
	run   func(*party) (sample, error)

	against string // what the figure is divided by: another measurement; empty: the floor
	target  target
}

// target is what a figure should reach; the zero target asks for nothing.
type target struct {
	limit   float64
	atLeast bool
	value   bool    // of the figure itself, not of its ratio
	ask     bool    // there is a target
	below   float64 // only where the floor is below this many ns; 0: anywhere
}

// sample is one run's figure. The higher of both processes' values counts; one
// of them has none, but for allocations.
type sample struct {
	value float64
	hist  *hdr.Histogram // latencies in ns times scale, or nil
	scale float64
}

// result is a measurement with what its rounds gave.
type result struct {
	*measurement
	values, ratios, floors []float64
	hist                   *hdr.Histogram
	scale                  float64
}

func newHistogram() *hdr.Histogram { return hdr.New(1, 100_000_000_000, 3) }

// chosen lists what c asks for, and what that is compared with.
func chosen(c config) []*measurement {
	want := map[string]bool{}
	for i := range all {
		if c.only.MatchString(all[i].name) {
			want[all[i].name] = true
			want[all[i].against] = true
		}
	}
	var list []*measurement
	for i := range all {
		if want[all[i].name] && (!all[i].polls || len(c.cpus) == 2) {
			list = append(list, &all[i])
		}
	}
	return list
}

func byName(name string) *measurement {
	if name == floor.name {
		return &floor
	}
	i := slices.IndexFunc(all, func(m measurement) bool { return m.name == name })
	return &all[i]
}

// measure takes all in each round, the floor before and after every one. The
// first round is for warming up and not counted.
func measure(p *peer, list []*measurement, c config) ([]*result, error) {
	results := make([]*result, len(list))
	for i, m := range list {
		results[i] = &result{measurement: m, hist: newHistogram()}
	}
	floorNow := func() (float64, error) {
		if len(c.cpus) < 2 {
			return 0, nil
		}
		s, err := p.both(&floor)
		return s.value, err
	}
	for round := range c.rounds + 1 {
		last := map[string]float64{}
		before, err := floorNow()
		if err != nil {
			return nil, err
		}
		for _, r := range results {
			s, err := p.both(r.measurement)
			if err != nil {
				return nil, err
			}
			after, err := floorNow()
			if err != nil {
				return nil, err
			}
			last[r.name] = s.value
			if round > 0 {
				r.add(s, (before+after)/2, last[r.against])
			}
			before = after
		}
	}
	return results, nil
}

// add notes one round's sample, the floor beside it, and the figure of the same
// round that it is compared with.
func (r *result) add(s sample, floor, against float64) {
	r.values = append(r.values, s.value)
	r.floors = append(r.floors, floor)
	switch {
	case r.against != "":
		r.ratios = append(r.ratios, s.value/against)
	case floor == 0:
	case r.unit == "us":
		r.ratios = append(r.ratios, s.value*1e3/floor)
	case r.unit == "ns":
		r.ratios = append(r.ratios, s.value/floor)
	case r.unit == "M/s":
		r.ratios = append(r.ratios, 1e3/s.value/floor)
	}
	if s.hist != nil {
		r.hist.Merge(s.hist)
		r.scale = s.scale
	}
}

// median of a copy of v; 0 if it is empty.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
