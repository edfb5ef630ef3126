package mem

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

func TestHalvesStoreTheirSixteenBitsOnly(t *testing.T) {
	for off := 0; off < 8; off += 2 {
		for n := 1; n <= 5; n++ {
			for i := range uint32(n) {
				for _, store := range []func(Halves, uint32, uint16){Halves.Store, Halves.StoreRelease} {
					b := Alloc(24)
					for j := range b {
						b[j] = 0xEE
					}
					want := bytes.Clone(b)
					h := U16s(b, off+2, n)
					store(h, i, 0x1234)
					want[off+2+2*int(i)], want[off+3+2*int(i)] = 0x34, 0x12
					if !bytes.Equal(b, want) || h.Load(i) != 0x1234 {
						t.Fatalf("half %d of %d at %d: %x, want %x; loads %#x", i, n, off+2, b, want, h.Load(i))
					}
				}
			}
		}
	}
	b := Alloc(8)
	U16(b, 2).Store(7)
	U16(b, 6).StoreRelease(9)
	if !bytes.Equal(b, []byte{0, 0, 7, 0, 0, 0, 9, 0}) || U16(b, 2).Load() != 7 || U16(b, 6).Load() != 9 {
		t.Errorf("%v", b)
	}
}

func TestHalvesOutsideOfTheBytesPanic(t *testing.T) {
	b := Alloc(64)
	for _, c := range [][2]int{{-2, 1}, {63, 1}, {64, 1}, {62, 2}, {0, 33}, {0, 0}, {0, -1}, {1, 1}, {3, 2}} {
		mustPanic(t, fmt.Sprintf("%d halves at %d of 64", c[1], c[0]), func() { U16s(b, c[0], c[1]) })
	}
	mustPanic(t, "half whose word is cut off", func() { U16(b[:62], 60) })
	mustPanic(t, "half whose word begins before", func() { U16(b[2:], 0) })
	mustPanic(t, "load after the last", func() { U16s(b, 0, 2).Load(2) })
	mustPanic(t, "store after the last", func() { U16s(b, 0, 2).Store(2, 1) })
	mustPanic(t, "release after the last", func() { U16s(b, 0, 2).StoreRelease(2, 1) })
	for _, c := range [][2]int{{-4, 1}, {62, 1}, {0, 17}, {0, 0}, {2, 1}} {
		mustPanic(t, fmt.Sprintf("%d words at %d of 64", c[1], c[0]), func() { U32s(b, c[0], c[1]) })
	}
	StoreRelease32(&U32s(b, 0, 16)[15], 5)
	if b[60] != 5 {
		t.Error(b)
	}
}

// Two goroutines that each store one half of a word never lose one.
func TestNeighboursDoNotLoseStores(t *testing.T) {
	b := Alloc(8)
	var wg sync.WaitGroup
	for k := range 2 {
		h := U16(b, 2*k)
		wg.Go(func() {
			for n := range 200_000 {
				v := uint16(n)
				if n&1 == 0 {
					h.Store(v)
				} else {
					h.StoreRelease(v)
				}
				if got := h.Load(); got != v {
					t.Errorf("half %d is %d after a store of %d", k, got, v)
					return
				}
			}
		})
	}
	wg.Wait()
}
