//go:build amd64 || arm64

package mem

import "sync/atomic"

// PrefetchW asks for the line of p in order to write it soon. It changes nothing
// and waits for nothing.
func PrefetchW(p *atomic.Uint64) { prefetchW(p) }

// Prefetch asks for the line of p in order to read it soon.
func Prefetch(p *atomic.Uint64) { prefetch(p) }

//go:noescape
func prefetch(p *atomic.Uint64)

//go:noescape
func prefetchW(p *atomic.Uint64)
