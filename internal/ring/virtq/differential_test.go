package virtq

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// ourDriver and ourDevice are this package as a side of a test.
type ourDriver struct{ r *rig }

func (o ourDriver) add(readable, writable []Buffer, token uint64) { o.r.add(readable, writable, token) }
func (o ourDriver) kick() bool                                    { return o.r.kick() }
func (o ourDriver) enable() bool                                  { return o.r.drv.EnableCall() }
func (o ourDriver) disable()                                      { o.r.drv.DisableCall() }
func (o ourDriver) reap() (Used, bool) {
	u, ok, err := o.r.drv.Reap()
	if err != nil {
		o.r.t.Fatal(err)
	}
	return u, ok
}

type ourDevice struct{ r *rig }

func (o ourDevice) call() bool   { return o.r.call() }
func (o ourDevice) enable() bool { return o.r.dev.EnableKick() }
func (o ourDevice) disable()     { o.r.dev.DisableKick() }
func (o ourDevice) pop() (*served, bool) {
	c := new(Chain)
	ok, err := o.r.dev.Pop(c)
	if err != nil {
		o.r.t.Fatal(err)
	}
	return &served{readable: c.Readable, writable: c.Writable, chain: c}, ok
}

func (o ourDevice) push(s *served, written uint64) {
	if err := o.r.dev.Push(s.chain, written); err != nil {
		o.r.t.Fatal(err)
	}
}

// history drives two sides through what a seed says and returns what happened
// to each chain, in the order of completion within each round. It checks that
// each notification is asked for, and that each one asked for comes.
type history struct {
	rng    *rand.Rand
	v      variant
	r      *rig
	drv    driverSide
	dev    deviceSide
	sorted bool // the device returns chains in the order in which it got them

	armed  [2]bool // has the device, the driver asked to be notified?
	once   [2]bool // of one entry, not of all
	since  [2]int  // entries published since it asked for one, at most; negative: it asks for none
	name   string
	next   uint64
	queued []*served
	busy   int // chains at the driver
	data   uint64
	log    []string
	round  []string
}

func (h *history) buffers(n int) (out []Buffer) {
	for range n {
		b := Buffer{h.r.data + h.data%(dataSize-256), uint32(1 + h.rng.IntN(64))}
		h.data += 256
		for i := range b.Len {
			h.r.at(b.Addr, int(b.Len))[i] = byte(h.rng.Uint32())
		}
		out = append(out, b)
	}
	return out
}

func digest(bs [][]byte) (sum uint32) {
	for _, b := range bs {
		for _, c := range b {
			sum = sum*31 + uint32(c)
		}
	}
	return sum
}

func (h *history) notified(side int, notify, published bool) {
	if notify && published && h.again(side) {
		return
	}
	if notify != (published && h.armed[side]) {
		h.r.t.Fatalf("%s: %s: notification %v, published %v, asked for %v", h.name, []string{"kick", "call"}[side], notify, published, h.armed[side])
	}
	if published && h.once[side] {
		h.armed[side] = false
	}
}

// again says whether the entry that was asked for may have come by once more: in
// a packed ring the wish is an index and the parity of the lap, so the same entry
// two laps later is asked for as well, unless the wish was changed.
func (h *history) again(side int) bool {
	const twoLaps = 2 * historySize
	if h.armed[side] || !h.once[side] || !h.v.features.Has(RingPacked) || h.since[side] <= twoLaps {
		return false
	}
	h.since[side] -= twoLaps
	return true
}

func (h *history) disabled(side int) {
	if !h.v.features.Has(EventIdx) || h.v.features.Has(RingPacked) {
		h.armed[side], h.since[side] = false, -1<<31
	}
}

func (h *history) enabled(side int) {
	h.armed[side], h.once[side], h.since[side] = true, h.v.features.Has(EventIdx), 0
}

func (h *history) add(readable, writable []Buffer) {
	h.drv.add(readable, writable, h.next)
	h.next++
	h.busy++
	h.since[0] += len(readable) + len(writable)
}

func (h *history) popped(s *served) {
	h.log = append(h.log, fmt.Sprintf("popped %s/ %s%08x", lengths(s.readable), lengths(s.writable), digest(s.readable)))
	h.queued = append(h.queued, s)
}

func (h *history) reap() {
	for {
		u, ok := h.drv.reap()
		if !ok {
			return
		}
		h.busy--
		h.round = append(h.round, fmt.Sprintf("chain %d used, %d written", u.Token, u.Len))
	}
}

// step is one step. The random numbers that it draws are the same whatever the
// variant.
func (h *history) step() {
	n, k := 1+h.rng.IntN(4), h.rng.IntN(3)
	switch h.rng.IntN(8) {
	case 0, 1, 2:
		added := false
		for range n {
			// Twelve chains of four fit into any ring of 64.
			readable, writable := h.buffers(1+h.rng.IntN(2)), h.buffers(h.rng.IntN(3))
			if h.busy < 12 {
				h.add(readable, writable)
				added = true
			}
		}
		if k == 0 && added { // twice in one kick
			if readable := h.buffers(1); h.busy < 12 {
				h.add(readable, nil)
			}
		}
		h.notified(0, h.drv.kick(), added)
	case 3, 4:
		for range n {
			s, ok := h.dev.pop()
			if !ok {
				break
			}
			h.popped(s)
		}
	case 5:
		h.push(n)
	case 6:
		h.reap()
	case 7:
		switch k {
		case 0:
			for h.drv.enable() {
				u, ok := h.drv.reap()
				if !ok {
					h.r.t.Fatal("EnableCall says that there is one, Reap that there is not")
				}
				h.busy--
				h.round = append(h.round, fmt.Sprintf("chain %d used, %d written", u.Token, u.Len))
			}
			h.enabled(1)
		case 1:
			for h.dev.enable() {
				s, ok := h.dev.pop()
				if !ok {
					h.r.t.Fatal("EnableKick says that there is one, Pop that there is not")
				}
				h.popped(s)
			}
			h.enabled(0)
		case 2:
			h.drv.disable()
			h.disabled(1)
			h.dev.disable()
			h.disabled(0)
		}
	}
}

// push returns n of the chains that the device has.
func (h *history) push(n int) {
	pushed := false
	for range n {
		i := 0
		roll, full := h.rng.IntN(1<<20), h.rng.IntN(2) == 0
		if len(h.queued) == 0 {
			break
		}
		if !h.sorted {
			i = roll % len(h.queued)
		}
		s := h.queued[i]
		h.queued = slices.Delete(h.queued, i, i+1)
		written := uint64(0)
		for _, w := range s.writable {
			for j := range w {
				w[j] = byte(roll)
			}
			written += uint64(len(w))
		}
		if !full {
			written /= 2
		}
		h.dev.push(s, written)
		h.since[1] += len(s.readable) + len(s.writable)
		pushed = true
	}
	notify := h.dev.call()
	if h.v.features.Has(InOrder) && !h.sorted {
		// Whether something was published depends on the order; the wish must hold only if so.
		if notify && !h.armed[1] && !h.again(1) {
			h.r.t.Fatalf("%s: called unasked", h.name)
		}
		if notify && h.once[1] {
			h.armed[1] = false
		}
		return
	}
	h.notified(1, notify, pushed)
}

// drain ends a round: everything comes back.
func (h *history) drain() {
	for h.busy > 0 {
		for {
			s, ok := h.dev.pop()
			if !ok {
				break
			}
			h.popped(s)
		}
		h.push(len(h.queued))
		before := h.busy
		h.reap()
		if h.busy == before {
			h.r.t.Fatalf("%d chains do not come back", h.busy)
		}
	}
	if !h.sorted {
		slices.Sort(h.round)
	}
	h.log = append(h.log, h.round...)
	h.round = nil
}

func (h *history) run(rounds int) string {
	// Cleared memory asks for all notifications, but where there is an index: of the first.
	h.armed = [2]bool{true, true}
	if h.v.features.Has(EventIdx) && !h.v.features.Has(RingPacked) {
		h.once = [2]bool{true, true}
	}
	for range rounds {
		for range 30 {
			h.step()
		}
		h.drain()
	}
	return strings.Join(h.log, "\n")
}

// historySize is of the rings.
const historySize = 64

// sides are the pairs of implementations.
var sides = []struct {
	name string
	make func(r *rig) (driverSide, deviceSide)
}{
	{"ours with ours", func(r *rig) (driverSide, deviceSide) { return ourDriver{r}, ourDevice{r} }},
	{"our driver with the specification's device", func(r *rig) (driverSide, deviceSide) {
		return ourDriver{r}, &specDevice{specRing: newSpecRing(r)}
	}},
	{"the specification's driver with our device", func(r *rig) (driverSide, deviceSide) {
		return &specDriver{specRing: newSpecRing(r), tokens: map[uint16]specFlight{}}, ourDevice{r}
	}},
}

var historySeed = flag.Uint64("history.seed", 0, "of the first history; 0: any")

// The same history through every layout, feature and pair of implementations
// has the same results.
func TestSameHistoryEverywhere(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 5
	}
	base := shmtest.Seed()
	if *historySeed != 0 {
		base = *historySeed
	}
	for i := range uint64(seeds) {
		for _, sorted := range []bool{true, false} {
			// Where chains that come back in any order are held back until it is their
			// turn, the driver adds others later: another history.
			want, first := map[bool]string{}, map[bool]string{}
			for _, v := range variants() {
				for _, side := range sides {
					if v.features.Has(InOrder) && !sorted && side.name == sides[1].name {
						continue // that device returns chains as it is told
					}
					name := fmt.Sprintf("seed %d, sorted %v, %s, %s", base+i, sorted, v.name, side.name)
					r := newRig(t, historySize, v)
					h := &history{rng: rand.New(rand.NewPCG(base+i, 1)), v: v, r: r, sorted: sorted, name: name}
					h.drv, h.dev = side.make(r)
					got := h.run(6)
					held := v.features.Has(InOrder) && !sorted
					if want[held] == "" {
						want[held], first[held] = got, name
						if !strings.Contains(got, "used") || !strings.Contains(got, "popped") {
							t.Fatalf("%s: nothing happened:\n%s", name, got)
						}
					}
					if got != want[held] {
						t.Fatalf("%s:\n%s\n\n%s:\n%s", first[held], want[held], name, got)
					}
					if t.Failed() {
						t.Fatal(name)
					}
				}
			}
		}
	}
}
