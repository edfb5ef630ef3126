// Package invariant holds what checks the product from inside: assertions,
// poison for memory whose loan has ended, and named crash points.
//
// The same API exists twice. In builds with the tag "invariants", and under
// the race detector, it works; in release builds [Enabled] is false, every
// function is empty and is compiled away.
//
// A point is named "package.step", the step as the protocol names it
// (docs/models). RINGBUS_CRASH=point:n in the environment kills the process
// with SIGKILL when it passes that point for the n-th time; RINGBUS_STOP=point:n
// stops it with SIGSTOP there. [SetHook] lets a test in the same process
// decide at each point which goroutine goes on.
package invariant

import (
	"slices"
	"sync"
)

var points struct {
	sync.Mutex
	names []string
}

// Declare registers the names of a package's crash points, so that the kill
// harness can list them. It is called from package variables and keeps nothing
// in release builds.
func Declare(names ...string) bool {
	if Enabled {
		points.Lock()
		defer points.Unlock()
		points.names = append(points.names, names...)
	}
	return Enabled
}

// Points returns the names of all declared crash points, sorted.
func Points() []string {
	points.Lock()
	defer points.Unlock()
	out := slices.Clone(points.names)
	slices.Sort(out)
	return out
}
