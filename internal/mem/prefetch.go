//go:build amd64 || arm64

package mem

import "sync/atomic"

// PrefetchW asks for the line of p in order to write it soon. It changes nothing
// and waits for nothing.
func PrefetchW(p *atomic.Uint64) { prefetchW(p) }

//go:noescape
func prefetchW(p *atomic.Uint64)
