// Package mem turns bytes into typed atomic views.
//
// It is the only package of the module that converts memory: a ring or a
// segment takes a []byte, asks here once for the words that it will use, and
// from then on is plain Go. Every conversion checks bounds and alignment, so a
// wrong offset is a panic in the process that computed it and never an access
// outside the slice. An offset that comes from shared memory must be checked
// by the caller before it is passed here: what a peer wrote is an error, what
// we computed wrongly is a panic.
//
// Memory order. The methods of sync/atomic are sequentially consistent. Two
// functions are weaker and cheaper: [StoreRelease], [CopyIn]. They say in their
// comments what each architecture does for them.
package mem

import (
	"fmt"
	"sync/atomic"
)

// Line is the size of a cache line, the unit of the shared layout, in bytes.
const Line = 64

// Page is the unit in which large parts of an area are aligned, in bytes.
const Page = 4096

// Align rounds n up to a multiple of to, which is a power of two.
func Align(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }

// span panics unless b[off:off+n] is inside b.
func span(b []byte, off, n int) {
	if off < 0 || n < 0 || off > len(b) || n > len(b)-off {
		panic(fmt.Sprintf("mem: [%d, +%d) is outside of %d bytes", off, n, len(b)))
	}
}

// CopyIn stores src into dst as little-endian words, the last one padded with
// zeros. The stores are release stores in the sense of [StoreRelease]: a reader
// that validates with a sequence word sees torn words but never a late one.
// It panics if dst is too short.
func CopyIn(dst []atomic.Uint64, src []byte) { copyIn(dst, src) }

// CopyOut loads len(dst) bytes from src, word by word, each atomically, in
// order, so that a validating load after CopyOut comes after all of them.
// It panics if src is too short.
func CopyOut(dst []byte, src []atomic.Uint64) { copyOut(dst, src) }
