//go:build !race && !invariants

package cells

import "testing"

func TestMessagesCostNoAllocation(t *testing.T) {
	r := newRig(t, 64, 1)
	x, hold, late, g := r.tx(), r.rx(ModeHold, false), r.rx(ModeLapped, false), r.shared("g", false)
	x.Echo = true
	b := make([]byte, 100)
	var rec, copied, claim Record
	round := func() {
		if !x.Send(b, false) || hold.Poll(&rec) != Got || !hold.Release(&rec) || late.Poll(&copied) != Got || !late.Release(&copied) || g.Poll(&claim) != Got || !g.Done(&claim) {
			t.Fatal("no message")
		}
		if lent, ok := x.Reserve(64); ok {
			copy(lent, b)
			x.Commit(64, false)
		}
		for hold.Poll(&rec) == Got {
			hold.Release(&rec)
		}
		for late.Poll(&copied) == Got {
			late.Release(&copied)
		}
		for g.Poll(&claim) == Got {
			g.Done(&claim)
		}
	}
	round()
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}
