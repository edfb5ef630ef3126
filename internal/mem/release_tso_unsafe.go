//go:build amd64 && !race

package mem

import (
	"sync/atomic"
	"unsafe"
)

// StoreRelease stores v so that every earlier load and store of this goroutine
// is visible before it. It does not hold back later loads: publish-then-look
// needs an atomic store.
//
// On amd64 a plain MOV is enough, because the machine keeps stores in order
// (TSO) and the compiler keeps the order of stores through its memory chain;
// the full XCHG of sync/atomic would cost five to thirty nanoseconds more.
// Elsewhere, and under the race detector, it is an atomic store.
func StoreRelease(p *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(p)) = v }

// StoreRegister is StoreRelease for the register of a device, which takes the
// store for a command. An XCHG would read the register too, and a hypervisor that
// emulates it would have to stop all CPUs.
func StoreRegister(p *atomic.Uint32, v uint32) { *(*uint32)(unsafe.Pointer(p)) = v }

func copyIn(dst []atomic.Uint64, src []byte) {
	n := len(src)
	if n == 0 {
		return
	}
	dst = dst[:(n+7)>>3]
	b := unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), len(dst)*8)
	copy(b, src)
}

func copyOut(dst []byte, src []atomic.Uint64) {
	n := len(dst)
	if n == 0 {
		return
	}
	src = src[:(n+7)>>3]
	// TSO: these loads come before the caller's validating load.
	copy(dst, unsafe.Slice((*byte)(unsafe.Pointer(&src[0])), len(src)*8))
}
