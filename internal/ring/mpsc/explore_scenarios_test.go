//go:build invariants || race

package mpsc

import "testing"

func TestExploreDo(t *testing.T) {
	explore(t, 3000, func(x *explorer) func() error {
		w := newWorld(x, 1+x.rng.IntN(4), false)
		for k := range 2 + x.rng.IntN(2) {
			w.submitter(plan{owner: owner(k + 1), ops: 1 + x.rng.IntN(4), able: true, batches: x.rng.IntN(2) == 0})
		}
		w.last(owner(9))
		return w.check
	})
}

func TestExploreCancel(t *testing.T) {
	explore(t, 3000, func(x *explorer) func() error {
		w := newWorld(x, 1+x.rng.IntN(6), false)
		for k := range 3 + x.rng.IntN(2) {
			w.submitter(plan{
				owner: owner(k + 1), ops: 1 + x.rng.IntN(4), able: x.rng.IntN(6) > 0,
				cancels: x.rng.IntN(2) == 0, forgets: x.rng.IntN(2) == 0,
			})
		}
		w.last(owner(9))
		return w.check
	})
}

func TestExploreDedicated(t *testing.T) {
	explore(t, 3000, func(x *explorer) func() error {
		w := newWorld(x, 1+x.rng.IntN(4), false)
		for k := range 1 + x.rng.IntN(2) {
			w.executor(owner(k + 5))
		}
		for k := range 1 + x.rng.IntN(3) {
			w.submitter(plan{owner: owner(k + 1), ops: 1 + x.rng.IntN(4), able: x.rng.IntN(3) == 0, cancels: x.rng.IntN(3) == 0, batches: x.rng.IntN(2) == 0})
		}
		w.last(owner(9))
		return w.check
	})
}

func TestExploreDeath(t *testing.T) {
	explore(t, 6000, func(x *explorer) func() error {
		w := newWorld(x, 1+x.rng.IntN(4), false)
		for k := range 2 + x.rng.IntN(2) {
			p := w.submitter(plan{
				owner: owner(k + 1), ops: 1 + x.rng.IntN(4), able: x.rng.IntN(3) > 0,
				cancels: x.rng.IntN(4) == 0, repeats: x.rng.IntN(2) == 0, batches: x.rng.IntN(2) == 0,
			})
			if k < 2 {
				p.killAt = 1 + x.rng.IntN(40)
				w.undertakers(owner(k + 1))
			}
		}
		w.last(owner(9))
		return w.check
	})
}

func TestExploreExecutorDies(t *testing.T) {
	explore(t, 6000, func(x *explorer) func() error {
		w := newWorld(x, 1+x.rng.IntN(4), false)
		for k := range 2 {
			p := w.executor(owner(k + 5))
			p.killAt = 1 + x.rng.IntN(60)
			w.undertakers(owner(k + 5))
		}
		for k := range 1 + x.rng.IntN(2) {
			w.submitter(plan{owner: owner(k + 1), ops: 1 + x.rng.IntN(4), able: x.rng.IntN(3) == 0, repeats: x.rng.IntN(2) == 0, batches: x.rng.IntN(2) == 0})
		}
		w.last(owner(9))
		return w.check
	})
}

func TestExploreLocal(t *testing.T) {
	explore(t, 6000, func(x *explorer) func() error {
		w := newWorld(x, 1+x.rng.IntN(4), true)
		for k := range 2 + x.rng.IntN(2) {
			w.submitter(plan{
				owner: owner(k + 1), ops: 1 + x.rng.IntN(4), able: x.rng.IntN(4) > 0,
				cancels: x.rng.IntN(2) == 0, forgets: x.rng.IntN(3) == 0, batches: x.rng.IntN(2) == 0,
			})
		}
		if x.rng.IntN(3) == 0 {
			w.executor(owner(5))
		}
		w.last(owner(9))
		return w.check
	})
}
