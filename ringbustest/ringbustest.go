// Package ringbustest gives users' tests a bus of their own: in the test's
// memory, so that nothing is left behind and the race detector sees every
// access; with as many nodes as the test wants, all in its process.
package ringbustest

import (
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/segment"
)

// Size is the size of a test's bus in bytes.
const Size = 32 << 20

// Bus is a bus in memory.
type Bus struct {
	t   testing.TB
	seg *segment.Segment
}

// New makes a bus that ends with the test.
func New(t testing.TB) *Bus {
	t.Helper()
	seg, err := segment.FromBytes(mem.Alloc(Size), nil)
	if err != nil {
		t.Fatalf("ringbustest: %v", err)
	}
	t.Cleanup(func() {
		if err := seg.Close(); err != nil {
			t.Errorf("ringbustest: %v", err)
		}
	})
	return &Bus{t, seg}
}

// Node joins the bus under a name. The node ends with the test.
func (b *Bus) Node(name string) *ringbus.Node {
	b.t.Helper()
	n, err := ringbus.Attach(b.seg, &ringbus.Options{Name: name})
	if err != nil {
		b.t.Fatalf("ringbustest: node %q: %v", name, err)
	}
	b.t.Cleanup(func() {
		if err := n.Close(); err != nil {
			b.t.Errorf("ringbustest: node %q: %v", name, err)
		}
	})
	return n
}
