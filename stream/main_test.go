package stream_test

import (
	"context"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// roles are what this test binary can be as another process.
var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) { shmtest.Main(m, roles) }

const busSize = 64 << 20

// stage is a bus of a test's own.
type stage struct {
	testing.TB
	place place
	ctx   context.Context
}

func newStage(t testing.TB) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	t.Cleanup(cancel)
	return &stage{TB: t, place: newPlace(t), ctx: ctx}
}

func (s *stage) join(name string) *ringbus.Node {
	s.Helper()
	n, err := s.place.open(name)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = n.Close() })
	return n
}

func (s *stage) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}
