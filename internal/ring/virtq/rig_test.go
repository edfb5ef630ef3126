package virtq

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

// Where the driver's address space begins in most tests: not at 0, so that an
// address that was not translated means nothing.
const base = 0x10_0000

// rig is a queue with buffers behind it, on heap memory.
type rig struct {
	t      testing.TB
	c      Config
	bytes  []byte // of the only region
	memory *Memory
	drv    *Driver
	dev    *Device
	data   uint64 // address behind the queue
}

// variant is one way to have a queue.
type variant struct {
	name     string
	features Features
	tableLen int
}

// variants are all layouts and ring features.
func variants() (vs []variant) {
	for _, layout := range []variant{{"split", Version1, 0}, {"packed", Version1 | RingPacked, 0}} {
		for _, table := range []variant{{"direct", 0, 0}, {"indirect", IndirectDesc, 8}} {
			for _, order := range []variant{{"any order", 0, 0}, {"in order", InOrder, 0}} {
				for _, event := range []variant{{"flags", 0, 0}, {"event index", EventIdx, 0}} {
					vs = append(vs, variant{
						layout.name + ", " + table.name + ", " + order.name + ", " + event.name,
						layout.features | table.features | order.features | event.features, table.tableLen,
					})
				}
			}
		}
	}
	return vs
}

const dataSize = 1 << 16

func newRig(t testing.TB, size int, v variant) *rig {
	t.Helper()
	r := &rig{t: t}
	var end uint64
	r.c, end = Layout(base, size, v.features, v.tableLen)
	r.data = mem.Align(end, mem.Page)
	r.bytes = mem.Alloc(int(r.data-base) + dataSize)
	var err error
	if r.memory, err = NewMemory(Region{base, r.bytes}); err != nil {
		t.Fatal(err)
	}
	if r.drv, err = NewDriver(r.memory, r.c); err != nil {
		t.Fatal(err)
	}
	if r.dev, err = NewDevice(r.memory, r.c, State{}); err != nil {
		t.Fatal(err)
	}
	return r
}

// at returns n bytes at address addr.
func (r *rig) at(addr uint64, n int) []byte { return r.bytes[addr-base : addr-base+uint64(n)] }

func (r *rig) u16(addr uint64) mem.Half { return mem.U16(r.bytes, int(addr-base)) }

func (r *rig) put16(addr uint64, v uint16) { binary.LittleEndian.PutUint16(r.at(addr, 2), v) }
func (r *rig) put32(addr uint64, v uint32) { binary.LittleEndian.PutUint32(r.at(addr, 4), v) }
func (r *rig) put64(addr uint64, v uint64) { binary.LittleEndian.PutUint64(r.at(addr, 8), v) }

func (r *rig) add(readable, writable []Buffer, token uint64) {
	r.t.Helper()
	if err := r.drv.Add(readable, writable, token); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) kick() bool {
	r.t.Helper()
	notify, err := r.drv.Kick()
	if err != nil {
		r.t.Fatal(err)
	}
	return notify
}

func (r *rig) call() bool {
	r.t.Helper()
	notify, err := r.dev.Call()
	if err != nil {
		r.t.Fatal(err)
	}
	return notify
}

// pop pops a chain that must be there.
func (r *rig) pop(c *Chain) {
	r.t.Helper()
	if ok, err := r.dev.Pop(c); !ok || err != nil {
		r.t.Fatalf("pop: %v, %v", ok, err)
	}
}

// reap takes a chain that must be there.
func (r *rig) reap() Used {
	r.t.Helper()
	u, ok, err := r.drv.Reap()
	if !ok || err != nil {
		r.t.Fatalf("reap: %v, %v", ok, err)
	}
	return u
}

func (r *rig) nothing() {
	r.t.Helper()
	if u, ok, err := r.drv.Reap(); ok || err != nil {
		r.t.Fatalf("reaped %v, %v", u, err)
	}
	if ok, err := r.dev.Pop(new(Chain)); ok || err != nil {
		r.t.Fatalf("popped: %v", err)
	}
}

// buffers are n buffers of the given length each, from the i-th on.
func (r *rig) buffers(i, n, length int) (out []Buffer) {
	for k := range n {
		out = append(out, Buffer{r.data + uint64((i+k)*length)%dataSize, uint32(length)})
	}
	return out
}

func lengths(bs [][]byte) string {
	s := ""
	for _, b := range bs {
		s += fmt.Sprintf("%d ", len(b))
	}
	return s
}

// each runs f for every variant.
func each(t *testing.T, f func(t *testing.T, v variant)) {
	t.Helper()
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) { f(t, v) })
	}
}
