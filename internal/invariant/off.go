//go:build !invariants && !race

package invariant

// Enabled says whether this build checks itself.
const Enabled = false

// Point marks a step of a protocol at which a process may be killed.
func Point(string) {}

// Check panics with the message if ok is false.
func Check(bool, string, ...any) {}

// Poison overwrites b, whose loan has ended, with a pattern that no one takes
// for data.
func Poison([]byte) {}

// SetHook makes every Point call f; nil removes it.
func SetHook(func(name string)) {}
