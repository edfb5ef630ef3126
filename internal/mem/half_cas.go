//go:build (!amd64 && !arm64) || race

package mem

import "sync/atomic"

// Store is a sequentially consistent store to the i-th.
func (h Halves) Store(i uint32, v uint16) {
	i += h.first
	storeHalf(&h.words[i>>1], i&1<<4, v)
}

// StoreRelease is a store to the i-th in the sense of [StoreRelease].
func (h Halves) StoreRelease(i uint32, v uint16) { h.Store(i, v) }

// StoreRelease32 is [StoreRelease] of a 32-bit word.
func StoreRelease32(p *atomic.Uint32, v uint32) { p.Store(v) }

// storeHalf is a 16-bit store to the half of *p that shift says, where the
// machine has none or the race detector must see it: nobody's store to the
// other half is lost.
func storeHalf(p *atomic.Uint32, shift uint32, v uint16) {
	for {
		old := p.Load()
		if p.CompareAndSwap(old, old&^(0xFFFF<<shift)|uint32(v)<<shift) {
			return
		}
	}
}
