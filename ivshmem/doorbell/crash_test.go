//go:build invariants

package doorbell

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// guestProcess starts a process that plays a guest, and waits until it is there, or
// has ended because its server has. end kills it.
func guestProcess(t *testing.T, dir string) (end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), "RINGBUS_TEST_ROLE=guest")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = bufio.NewReader(out).ReadString('\n') // its id, or its end
	return func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
	}
}

// Whoever serves may be killed at each step: the next server knows all who live,
// gives no id away twice, and buries all who died.
func TestServerKilledAtEachStep(t *testing.T) {
	points := slices.DeleteFunc(invariant.Points(), func(p string) bool {
		return !strings.HasPrefix(p, "doorbell.") && !strings.HasPrefix(p, "segment.gone.")
	})
	if len(points) < 6+2 {
		t.Fatalf("points are %q", points)
	}
	for _, point := range points {
		for nth := 1; nth <= 3; nth++ {
			t.Run(fmt.Sprint(point, ":", nth), func(t *testing.T) {
				dir := shmtest.Dir(t)
				bus := openBus(t, dir, 0)
				server := shmtest.Start(t, "bury", []string{fmt.Sprintf("RINGBUS_CRASH=%s:%d", point, nth)}, dir)
				server.Expect("serving")
				stays := guestProcess(t, dir)
				defer stays()
				for range 3 {
					guestProcess(t, dir)()
				}
				if !server.Killed() {
					t.Error("the server did not come there")
				}
				next := shmtest.Start(t, "bury", nil, dir)
				next.Expect("serving")
				until(t, "the dead are buried", func() bool { return len(guests(bus)) <= 1 })
				newcomer := shmtest.Start(t, "guest", nil, dir)
				id := newcomer.Expect("id ")
				doors := guests(bus)
				slices.Sort(doors)
				if len(doors) > 2 || len(slices.Compact(slices.Clone(doors))) != len(doors) {
					t.Errorf("the newcomer has id %s, the doors are %v", id, doors)
				}
			})
		}
	}
}

// guests returns the doors of the nodes that play guests.
func guests(s *segment.Segment) (doors []uint16) {
	for _, n := range s.Nodes() {
		if peer, _, ok := s.DoorOf(n.Slot); n.Foreign && ok {
			doors = append(doors, peer)
		}
	}
	return doors
}
