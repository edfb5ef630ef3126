package segment

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func([]string) error{
		"creator": roleCreator,
		"node":    roleNode,
		"maker":   roleMaker,
		"remover": roleRemover,
		"churn":   roleChurn,
	})
}

// options are those of the tests with processes: a small bus in dir.
func options(dir string) *Options { return &Options{Dir: dir, Size: minSize} }

// roleCreator opens the bus in a directory and says its id.
func roleCreator(args []string) error {
	s, err := Open("bus", options(args[0]))
	if err != nil {
		return err
	}
	fmt.Printf("%x\n", s.ID())
	return s.Close()
}

// roleNode joins the bus, opens or creates the area called by its own name if
// it is told to, says its owner, and stays until its standard input ends.
func roleNode(args []string) error {
	s, err := Open("bus", options(args[0]))
	if err != nil {
		return err
	}
	n, err := s.Join("role/node")
	if err != nil {
		return err
	}
	if len(args) > 1 {
		_, _, err := n.Create(n.ctx, Key{KindTopic, 0, args[1]}, 1000, nil)
		if err != nil {
			return err
		}
	}
	fmt.Println(uint32(n.Owner()))
	shmtest.Listen(func(string) bool { return true })
	return errors.Join(n.Leave(), s.Close())
}

// roleMaker joins, makes an area of three blocks, removes it, and leaves.
func roleMaker(args []string) error {
	s, err := Open("bus", options(args[0]))
	if err != nil {
		return err
	}
	n, err := s.Join("role/maker")
	if err != nil {
		return err
	}
	fmt.Println("joined")
	a, _, err := n.Create(n.ctx, lane, 3*minBlock, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(a.Close(), n.Remove(lane)); err != nil {
		return err
	}
	return errors.Join(n.Leave(), s.Close())
}

// roleRemover removes the bus.
func roleRemover(args []string) error { return Remove("bus", options(args[0])) }

func ownerOf(t *testing.T, line string) Owner {
	t.Helper()
	v, err := strconv.ParseUint(line, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return Owner(v)
}

// bus opens the bus of the tests with processes.
func bus(t *testing.T, dir string) *Segment {
	t.Helper()
	s, err := Open("bus", options(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

// sound fails the test unless the bus is without fault and without leak once
// everything dead is recovered; areas < 0 leaves open how many there are.
func sound(t *testing.T, n *Node, areas int) {
	t.Helper()
	if _, err := n.Recover(); err != nil {
		t.Fatal(err)
	}
	for _, p := range n.s.Verify() {
		t.Error(p)
	}
	if have := n.s.Areas(); areas >= 0 && len(have) != areas {
		t.Errorf("there are %d areas, want %d: %+v", len(have), areas, have)
	}
	if u := n.s.Usage(); areas == 0 && u.Free != u.Blocks {
		t.Errorf("blocks leaked: %+v", u)
	}
}
