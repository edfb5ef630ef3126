package ioqueue_test

import (
	"context"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

func TestMain(m *testing.M) { shmtest.Main(m, roles) }

// roles are what other processes of these tests do.
var roles = make(map[string]func(args []string) error)

// soon is a context that ends long after any test.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	t.Cleanup(cancel)
	return ctx
}

// asleep waits without looking first, so that each wait is a sleep.
var asleep = ringbus.Wait{Spin: -1}

// heapBus is a bus on the heap, where the race detector sees all of it.
func heapBus(t testing.TB, name string) (*segment.Segment, *ringbus.Node) {
	t.Helper()
	seg, err := segment.FromBytes(alloc(8<<20), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := seg.Close(); err != nil {
			t.Error(err)
		}
	})
	return seg, join(t, seg, name)
}

func join(t testing.TB, seg *segment.Segment, name string) *ringbus.Node {
	t.Helper()
	n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}
