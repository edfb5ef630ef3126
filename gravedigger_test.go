//go:build invariants && !race

package ringbus_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
)

func init() {
	roles["corpse-to-be"] = func(args []string) error {
		n, err := ringbus.Open("bus", options(args[0], "corpse"))
		if err != nil {
			return err
		}
		if _, err := n.Subscriber("t", nil); err != nil {
			return err
		}
		fmt.Println("joined")
		select {}
	}
	roles["gravedigger"] = func(args []string) error {
		_, err := ringbus.Open("bus", options(args[0], "gravedigger"))
		return errors.Join(err, errors.New("went on"))
	}
}

// Whoever holds the lock of a dead subscriber's slot, to recover it, is stopped
// there. The publisher that the dead one holds back goes on all the same.
func TestARecovererThatIsStoppedHoldsNobodyBack(t *testing.T) {
	for _, point := range []string{"segment.join.locked", "segment.bury.burying"} {
		dir := shmtest.Dir(t)
		corpse := shmtest.Start(t, "corpse-to-be", nil, dir)
		if line := corpse.Line(); line != "joined" {
			t.Fatal(line)
		}
		corpse.Kill()
		digger := shmtest.Start(t, "gravedigger", []string{"RINGBUS_STOP=" + point + ":1"}, dir)
		until(t, "the recoverer stops", func() bool { return shmtest.Stopped(t, digger.Pid()) })
		n, err := ringbus.Open("bus", options(dir, "pub"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := n.Publisher("t", &ringbus.PublisherOptions{Depth: 4})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if err := p.SendContext(soon(t), []byte("on")); err != nil {
				t.Fatalf("recoverer stopped at %s: %v", point, err)
			}
		}
		digger.Kill()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
