//go:build !amd64 || race

package mem

import (
	"encoding/binary"
	"sync/atomic"
)

// StoreRelease stores v so that every earlier load and store of this goroutine
// is visible before it. It does not hold back later loads: publish-then-look
// needs an atomic store.
//
// Here it is an atomic store (STLR on arm64): a plain store could overtake it,
// so every store that must stay behind it goes through StoreRelease as well.
func StoreRelease(p *atomic.Uint64, v uint64) { p.Store(v) }

// StoreRegister is StoreRelease for the register of a device, which takes the
// store for a command.
func StoreRegister(p *atomic.Uint32, v uint32) { p.Store(v) }

func copyIn(dst []atomic.Uint64, src []byte) {
	i := 0
	for ; len(src) >= 8; i++ {
		dst[i].Store(binary.LittleEndian.Uint64(src))
		src = src[8:]
	}
	if len(src) > 0 {
		var last [8]byte
		copy(last[:], src)
		dst[i].Store(binary.LittleEndian.Uint64(last[:]))
	}
}

func copyOut(dst []byte, src []atomic.Uint64) {
	i := 0
	for ; len(dst) >= 8; i++ {
		binary.LittleEndian.PutUint64(dst, src[i].Load())
		dst = dst[8:]
	}
	if len(dst) > 0 {
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], src[i].Load())
		copy(dst, last[:])
	}
}
