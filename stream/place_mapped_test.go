//go:build !race

package stream_test

import (
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// place is where the tests' bus is: here in a file, which each node maps for
// itself.
type place struct{ dir string }

func newPlace(t testing.TB) place {
	t.Helper()
	p := place{shmtest.Dir(t)}
	keep, err := p.open("keeper") // keeps the bus until the end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = keep.Close()
		if err := segment.Remove("bus", &segment.Options{Dir: p.dir}); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p place) open(name string) (*ringbus.Node, error) {
	return ringbus.Open("bus", options(p.dir, name))
}

func options(dir, name string) *ringbus.Options {
	return &ringbus.Options{Name: name, Dir: dir, Size: busSize}
}
