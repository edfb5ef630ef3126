//go:build arm64 && !race

package mem

import (
	"sync/atomic"
	"unsafe"
)

// Store is a sequentially consistent store to the i-th: STLRH, which no later
// LDAR, as of a sync/atomic load, overtakes.
func (h Halves) Store(i uint32, v uint16) {
	i += h.first
	release16((*uint16)(unsafe.Add(unsafe.Pointer(&h.words[i>>1]), i&1<<1)), v)
}

// StoreRelease is a store to the i-th in the sense of [StoreRelease].
func (h Halves) StoreRelease(i uint32, v uint16) { h.Store(i, v) }

// StoreRelease32 is [StoreRelease] of a 32-bit word.
func StoreRelease32(p *atomic.Uint32, v uint32) { p.Store(v) }

// release16 stores v after all earlier accesses (STLRH).
//
//go:noescape
func release16(p *uint16, v uint16)
