//go:build invariants || race

package invariant

import "sync/atomic"

// Owner finds out two goroutines in what is for one at a time.
type Owner struct{ inside atomic.Bool }

// Enter panics if another goroutine is inside.
func (o *Owner) Enter(what string) {
	if o.inside.Swap(true) {
		panic("ringbus: " + what + " used by two goroutines at once")
	}
}

// Leave ends Enter.
func (o *Owner) Leave() { o.inside.Store(false) }
