package mem

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// U64 returns the 64-bit word at b[off:off+8]. It panics if the word is outside
// b or not aligned to 8 bytes.
func U64(b []byte, off int) *atomic.Uint64 {
	span(b, off, 8)
	p := unsafe.Pointer(&b[off])
	aligned(p, 8)
	return (*atomic.Uint64)(p)
}

// U32 returns the 32-bit word at b[off:off+4]. It panics if the word is outside
// b or not aligned to 4 bytes.
func U32(b []byte, off int) *atomic.Uint32 {
	span(b, off, 4)
	p := unsafe.Pointer(&b[off])
	aligned(p, 4)
	return (*atomic.Uint32)(p)
}

// U64s returns the n 64-bit words that start at b[off]. It panics if they are
// not all inside b or not aligned to 8 bytes.
func U64s(b []byte, off, n int) []atomic.Uint64 {
	if n < 0 || n > len(b)/8 {
		panic(fmt.Sprintf("mem: %d words are more than %d bytes hold", n, len(b)))
	}
	span(b, off, n*8)
	if n == 0 {
		return nil
	}
	p := unsafe.Pointer(&b[off])
	aligned(p, 8)
	return unsafe.Slice((*atomic.Uint64)(p), n)
}

// Alloc returns size zeroed bytes of heap memory aligned to a page: a segment
// for tests, where the race detector sees every access.
func Alloc(size int) []byte {
	b := make([]byte, size+Page)
	skip := -uintptr(unsafe.Pointer(&b[0])) & (Page - 1)
	return b[skip : int(skip)+size : int(skip)+size]
}

// Value returns the T that starts at b[0]. T must be free of pointers, which
// the caller (package typed) has checked. It panics if b is too short or not
// aligned for T.
func Value[T any](b []byte) *T {
	var zero T
	span(b, 0, int(unsafe.Sizeof(zero)))
	if unsafe.Sizeof(zero) == 0 {
		return &zero
	}
	p := unsafe.Pointer(&b[0])
	aligned(p, unsafe.Alignof(zero))
	return (*T)(p)
}

// Bytes returns the memory of *v as bytes. T must be free of pointers.
func Bytes[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

func aligned(p unsafe.Pointer, to uintptr) {
	if uintptr(p)&(to-1) != 0 {
		panic(fmt.Sprintf("mem: %p is not aligned to %d bytes", p, to))
	}
}

// Addr returns the address of p for a system call. p must be in a mapping or
// on the heap, and stay reachable until the call has returned.
func Addr(p *atomic.Uint32) uintptr { return uintptr(unsafe.Pointer(p)) }

// Addr64 is Addr for a word of 64 bits.
func Addr64(p *atomic.Uint64) uintptr { return uintptr(unsafe.Pointer(p)) }
