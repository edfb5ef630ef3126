package ioqueue

import (
	"fmt"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/mpsc"
	"github.com/ringbus/ringbus/internal/wake"
)

// Options says what a queue is like, where it does not exist yet, and how this
// end of it behaves. The zero value of every field is useful; nil means all
// zero.
type Options struct {
	// Depth is how many ops may be there at once, from submission until their
	// result was asked for: 1 to 16384. 0: 64, or what the queue has.
	Depth int
	// MaxData is how many bytes an op may have, those for the device and those
	// wanted back together, up to 16 MiB. 0: 64 KiB, or what the queue has. A
	// queue within one process does not copy, and has no limit.
	MaxData int
	// Quota is how many ops a call of Do carries out before it hands on to
	// another one that waits in Do. 0: 32.
	Quota int
	// Batch is how many ops a device is handed at once, at most. 0: 32.
	Batch int
	// Reject: Submit and Do return ErrFull where they would have to wait for one
	// of Depth ops to end.
	Reject bool
	// Wait says how to wait for others.
	Wait ringbus.Wait
}

const (
	defaultDepth = 64
	defaultData  = 64 << 10
	defaultQuota = 32
)

// resolve fills in the defaults, and says which fields are out of range.
func (o *Options) resolve(name string) (Options, error) {
	r := Options{}
	if o != nil {
		r = *o
	}
	for _, f := range []struct {
		name  string
		value *int
		def   int
		most  int
	}{
		{"depth", &r.Depth, defaultDepth, mpsc.MaxDepth}, {"max-data", &r.MaxData, defaultData, mpsc.MaxSize},
		{"quota", &r.Quota, defaultQuota, 1 << 30}, {"batch", &r.Batch, defaultQuota, mpsc.MaxDepth},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < 0 || *f.value > f.most {
			return r, fmt.Errorf("ioqueue %q: %s %d: must be 1 to %d", name, f.name, *f.value, f.most)
		}
	}
	return r, nil
}

func policy(w ringbus.Wait) wake.Policy {
	return wake.Policy{Spin: w.Spin, BusyPoll: w.BusyPoll, Pinned: w.Pinned}
}
