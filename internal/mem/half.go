package mem

import "sync/atomic"

// Half is a 16-bit word of shared memory, for formats that have such words:
// sync/atomic has none. It is loaded as half of the aligned 32-bit word around
// it, which no access can tear; it is stored as 16 bits, because the other half
// belongs to somebody else, who may store it at the same time.
type Half struct{ Halves }

// Load is a sequentially consistent load.
func (h Half) Load() uint16 { return h.Halves.Load(0) }

// Store is a sequentially consistent store: a later load of another word sees
// what is there after it.
func (h Half) Store(v uint16) { h.Halves.Store(0, v) }

// StoreRelease is a store in the sense of [StoreRelease].
func (h Half) StoreRelease(v uint16) { h.Halves.StoreRelease(0, v) }

// Halves are 16-bit words that follow each other. An index outside of their
// 32-bit words is a panic.
type Halves struct {
	words []atomic.Uint32
	first uint32 // 1 if the first of them is the upper half of its word
}

// Load is a sequentially consistent load of the i-th.
func (h Halves) Load(i uint32) uint16 {
	i += h.first
	return uint16(h.words[i>>1].Load() >> (i & 1 << 4))
}
