//go:build !race && !invariants

package ringbus_test

import (
	"testing"

	"github.com/ringbus/ringbus"
)

// In checked builds each message is copied, so that it can be poisoned.

func TestNoAllocationForAMessage(t *testing.T) {
	ctx := soon(t)
	for _, size := range []int{8, 104, 1000} {
		for _, mode := range []ringbus.Mode{ringbus.Reliable, ringbus.Latest} {
			n, pub, _ := pair(t, 1)
			stamped, err := n.Publisher("stamped", &ringbus.PublisherOptions{Timestamps: true})
			if err != nil {
				t.Fatal(err)
			}
			sub, err := n.Subscriber("stamped", &ringbus.SubscriberOptions{Mode: mode})
			if err != nil {
				t.Fatal(err)
			}
			if err := pub.Close(); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, size)
			batch := [][]byte{b, b, b}
			take := func() {
				m, err := sub.Receive(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if m.Time().IsZero() || len(m.Data()) != size || m.Publisher() != "node" {
					t.Fatal("not what was sent")
				}
				m.Release()
			}
			for what, f := range map[string]func() error{
				"Send": func() error { return stamped.Send(b) },
				"Loan": func() error {
					l, err := stamped.Loan(size)
					if err != nil {
						return err
					}
					return l.Send()
				},
				"SendBatch": func() error { return second(stamped.SendBatch(batch)) },
			} {
				per := testing.AllocsPerRun(300, func() {
					if err := f(); err != nil {
						t.Fatal(err)
					}
					if take(); what == "SendBatch" {
						take()
						take()
					}
				})
				if per != 0 {
					t.Errorf("%s of %d bytes to a subscriber of mode %d: %v allocations", what, size, mode, per)
				}
			}
		}
	}
}
