//go:build race

package stream_test

import (
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/segment"
)

// place is where the tests' bus is: here on the heap, where the race detector
// sees every access.
type place struct{ seg *segment.Segment }

func newPlace(t testing.TB) place {
	t.Helper()
	seg, err := segment.FromBytes(mem.Alloc(busSize), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = seg.Close() })
	return place{seg}
}

func (p place) open(name string) (*ringbus.Node, error) {
	return ringbus.Attach(p.seg, &ringbus.Options{Name: name})
}
