package mem

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// U16 returns the 16-bit word at b[off:off+2]. It panics if the aligned 32-bit
// word around it is not inside b, or if it is not aligned to 2 bytes.
func U16(b []byte, off int) Half { return Half{U16s(b, off, 1)} }

// U16s returns the n 16-bit words that start at b[off]. It panics if the
// aligned 32-bit words around them are not all inside b, or if they are not
// aligned to 2 bytes.
func U16s(b []byte, off, n int) Halves {
	if n < 1 || n > len(b)/2 {
		panic(fmt.Sprintf("mem: %d half words of %d bytes", n, len(b)))
	}
	span(b, off, 2*n)
	p := unsafe.Pointer(&b[off])
	aligned(p, 2)
	first := uint32(uintptr(p)>>1) & 1
	off -= int(first) * 2
	count := (n + int(first) + 1) / 2
	span(b, off, count*4)
	return Halves{unsafe.Slice((*atomic.Uint32)(unsafe.Pointer(&b[off])), count), first}
}

// U32s returns the n 32-bit words that start at b[off]. It panics if they are
// not all inside b or not aligned to 4 bytes.
func U32s(b []byte, off, n int) []atomic.Uint32 {
	if n < 1 || n > len(b)/4 {
		panic(fmt.Sprintf("mem: %d words of %d bytes", n, len(b)))
	}
	span(b, off, n*4)
	p := unsafe.Pointer(&b[off])
	aligned(p, 4)
	return unsafe.Slice((*atomic.Uint32)(p), n)
}

// Misaligned says whether b begins where no word of to bytes, a power of two,
// can be.
func Misaligned(b []byte, to uintptr) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))&(to-1) != 0
}
