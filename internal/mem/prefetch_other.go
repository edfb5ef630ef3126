//go:build !amd64 && !arm64

package mem

import "sync/atomic"

// PrefetchW asks for the line of p in order to write it soon, where the
// machine has a word for it.
func PrefetchW(*atomic.Uint64) {}

// Prefetch asks for the line of p in order to read it soon, where the machine
// has a word for it.
func Prefetch(*atomic.Uint64) {}
