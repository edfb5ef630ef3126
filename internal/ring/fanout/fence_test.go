//go:build invariants || race

package fanout

import (
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
)

// A fenced subscriber comes back with a loan that only the fence pins. From
// each step of that to the next the publisher may use every free descriptor.
func TestLoanIsPinnedAllTheWayBack(t *testing.T) {
	r := newRig(t, smallConfig())
	x := r.tx()
	sub := r.rx(ModeReliable, 2, 0)
	x.Send(numbered(0, 512), 0)
	rec := &sub.recs[0]
	if st := sub.Poll(rec); st != Got {
		t.Fatal(st)
	}
	sendMany := func() {
		for range 60 {
			if !x.Send(numbered(x.Head(), 512), 0) {
				for _, b := range x.Blockers() {
					x.Fence(b)
				}
			}
			if n, err := number(rec.Data); n != 0 || err != nil {
				t.Fatalf("the loan became %d, %v", n, err)
			}
		}
	}
	sendMany()
	steps := 0
	inside := false
	t.Cleanup(func() { invariant.SetHook(nil) })
	invariant.SetHook(func(string) {
		if !inside {
			inside = true
			steps++
			if steps < 20 {
				sendMany()
			}
			inside = false
		}
	})
	st := sub.Rejoin(rec)
	invariant.SetHook(nil)
	if st != Got || steps < 2 {
		t.Fatal(st, steps)
	}
	sendMany()
}
