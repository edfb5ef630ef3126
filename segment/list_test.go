package segment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestBusInUseIsNotRemoved(t *testing.T) {
	dir := shmtest.Dir(t)
	o := options(dir)
	s := bus(t, dir)
	n := join(t, s, "worker-7")
	if err := Remove("bus", o); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "worker-7") {
		t.Fatalf("got %v", err)
	}
	if m := join(t, s, "another"); m.Err() != nil { // the refusal has put everything back
		t.Error(m.Err())
	} else if err := m.Leave(); err != nil {
		t.Error(err)
	}
	n.Abandon()
	if err := Remove("bus", o); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Join("late"); !errors.Is(err, ErrRemoved) {
		t.Errorf("got %v", err)
	}
	if err := Remove("bus", o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if id := bus(t, dir).ID(); id == s.ID() {
		t.Error("the removed bus is back")
	}
}

func TestForceRemoves(t *testing.T) {
	dir := shmtest.Dir(t)
	n := join(t, bus(t, dir), "a")
	o := options(dir)
	o.Force = true
	if err := Remove("bus", o); err != nil {
		t.Fatal(err)
	}
	create(t, n, lane, 1000) // who has it keeps it
	path := write(t, filepath.Join(dir, "bus"), []byte("garbage"))
	o.Force = false
	var f *FormatError
	if err := Remove("bus", o); !errors.As(err, &f) {
		t.Errorf("got %v", err)
	}
	o.Force = true
	if err := Remove("bus", o); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestListNamesBuses(t *testing.T) {
	dir := shmtest.Dir(t)
	if have, err := List(&Options{Dir: filepath.Join(dir, "none")}); err != nil || have != nil {
		t.Errorf("got %v, %v", have, err)
	}
	s, err := Open("robot/7", options(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	create(t, join(t, s, "a"), lane, 1000)
	write(t, filepath.Join(dir, "broken"), []byte("garbage"))
	have, err := List(options(dir))
	if err != nil || len(have) != 2 {
		t.Fatalf("got %+v, %v", have, err)
	}
	if b := have[0]; b.Name != "broken" || b.Err == nil {
		t.Errorf("got %+v", b)
	}
	if b := have[1]; b.Name != "robot/7" || b.Err != nil || b.Nodes != 1 || b.Areas != 1 || b.Size != minSize {
		t.Errorf("got %+v", b)
	}
}
