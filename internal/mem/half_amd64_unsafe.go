//go:build amd64 && !race

package mem

import (
	"sync/atomic"
	"unsafe"
)

// Store is a sequentially consistent store to the i-th.
func (h Halves) Store(i uint32, v uint16) { swap16(h.at(i), v) }

// StoreRelease is a store to the i-th in the sense of [StoreRelease]: a plain
// MOV, as there.
func (h Halves) StoreRelease(i uint32, v uint16) { *h.at(i) = v }

func (h Halves) at(i uint32) *uint16 {
	i += h.first
	return (*uint16)(unsafe.Add(unsafe.Pointer(&h.words[i>>1]), i&1<<1))
}

// StoreRelease32 is [StoreRelease] of a 32-bit word.
func StoreRelease32(p *atomic.Uint32, v uint32) { *(*uint32)(unsafe.Pointer(p)) = v }

// swap16 stores v with a full barrier (XCHG).
//
//go:noescape
func swap16(p *uint16, v uint16)
