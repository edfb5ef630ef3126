package segment

import (
	"errors"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
)

// A virtual machine that touches a page that is not there dies: what it was given
// must stay, whatever the nodes of the host do.
func TestPagesOfAResidentBusStay(t *testing.T) {
	s := bus(t, shmtest.Dir(t))
	n := join(t, s, "host")
	pages := func() int64 {
		st, err := sys.StatFile(s.f)
		if err != nil {
			t.Fatal(err)
		}
		return st.Pages
	}
	if have := pages(); have >= s.Size() {
		t.Fatalf("%d bytes of %d are there before", have, s.Size())
	}
	for range 2 {
		if err := s.Reside(); err != nil {
			t.Fatal(err)
		}
		if have := pages(); have < s.Size() {
			t.Fatalf("%d bytes of %d are there", have, s.Size())
		}
	}
	for range 3 {
		a := create(t, n, lane, 50_000)
		for i, c := range a.Bytes() {
			if c != 0 {
				t.Fatalf("byte %d of a new area is %d", i, c)
			}
			a.Bytes()[i] = 0xff
		}
		if err := errors.Join(a.Close(), n.Remove(lane)); err != nil {
			t.Fatal(err)
		}
	}
	if have := pages(); have < s.Size() {
		t.Errorf("%d bytes of %d are left", have, s.Size())
	}
	sound(t, n, 0)
}

func TestResideWhereThereIsNothingToReserve(t *testing.T) {
	s := memory(t, nil)
	if err := s.Reside(); err != nil {
		t.Error(err)
	}
}
