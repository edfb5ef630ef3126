package mem

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// The same tests run over the plain stores of amd64 and, under -race, over the
// atomic ones that other machines have.

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}

func TestWordsOutsideOfTheBytesPanic(t *testing.T) {
	b := Alloc(64)
	const most = int(^uint(0) >> 1)
	for _, off := range []int{-8, -1, 57, 64, 65, 1 << 40, most, most - 7, -most - 1} {
		mustPanic(t, fmt.Sprintf("U64 at %d of 64", off), func() { U64(b, off) })
	}
	for _, off := range []int{-4, -1, 61, 64, most, -most - 1} {
		mustPanic(t, fmt.Sprintf("U32 at %d of 64", off), func() { U32(b, off) })
	}
	for _, c := range []struct{ off, n int }{{0, 9}, {8, 8}, {64, 1}, {0, -1}, {-8, 1}, {0, most}, {8, most / 8}, {most, 1}} {
		mustPanic(t, fmt.Sprintf("U64s of %d at %d of 64", c.n, c.off), func() { U64s(b, c.off, c.n) })
	}
	U64(b, 56)
	U32(b, 60)
	if n := len(U64s(b, 0, 8)); n != 8 {
		t.Errorf("8 words are %d", n)
	}
	if w := U64s(b, 64, 0); w != nil {
		t.Errorf("no words at the end are %v", w)
	}
}

func TestWordsThatAreNotAlignedPanic(t *testing.T) {
	b := Alloc(64)
	for off := range 16 {
		if off%8 != 0 {
			mustPanic(t, fmt.Sprintf("U64 at %d", off), func() { U64(b, off) })
			mustPanic(t, fmt.Sprintf("U64s at %d", off), func() { U64s(b, off, 2) })
			mustPanic(t, fmt.Sprintf("U64 at 0 of bytes from %d", off), func() { U64(b[off:], 0) })
		}
		if off%4 != 0 {
			mustPanic(t, fmt.Sprintf("U32 at %d", off), func() { U32(b, off) })
		}
	}
}

// Words are little-endian where the machine is, and views of the same bytes.
func TestViewsShareTheirBytes(t *testing.T) {
	b := Alloc(32)
	U64(b, 8).Store(0x0807060504030201)
	U32(b, 20).Store(0x0c0b0a09)
	want := []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 9, 10, 11, 12, 0, 0, 0, 0, 0, 0, 0, 0}
	if !bytes.Equal(b, want) {
		t.Errorf("bytes %v", b)
	}
	StoreRelease(U64(b, 24), 1)
	if U64s(b, 0, 4)[3].Load() != 1 || b[24] != 1 {
		t.Errorf("bytes %v", b)
	}
}

func TestAllocIsAPagesMemory(t *testing.T) {
	for _, n := range []int{0, 1, 8, 4095, 4096, 100_000} {
		b := Alloc(n)
		if len(b) != n || cap(b) != n {
			t.Errorf("Alloc(%d): length %d, capacity %d", n, len(b), cap(b))
		}
		if n >= 4 && Addr(U32(b, 0))%Page != 0 {
			t.Errorf("Alloc(%d) is at %#x", n, Addr(U32(b, 0)))
		}
	}
}

func TestAlign(t *testing.T) {
	for _, c := range [][3]uint64{{0, 64, 0}, {1, 64, 64}, {64, 64, 64}, {65, 64, 128}, {4095, 4096, 4096}, {1<<40 + 1, 4096, 1<<40 + 4096}} {
		if got := Align(c[0], c[1]); got != c[2] {
			t.Errorf("Align(%d, %d) = %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

func TestCopyInAndOutAtEveryLength(t *testing.T) {
	for n := range 137 {
		words := U64s(Alloc(8*20), 0, 20)
		for i := range words {
			words[i].Store(^uint64(0))
		}
		in := make([]byte, n)
		for i := range in {
			in[i] = byte(i + 1)
		}
		CopyIn(words, in)
		out := make([]byte, n+3)
		CopyOut(out[:n], words)
		if !bytes.Equal(out[:n], in) || !bytes.Equal(out[n:], make([]byte, 3)) {
			t.Fatalf("%d bytes became %v", n, out)
		}
		for i := (n + 7) / 8; i < len(words); i++ {
			if words[i].Load() != ^uint64(0) {
				t.Fatalf("%d bytes reached word %d", n, i)
			}
		}
		if n >= 8 {
			if w := words[0].Load(); w != binary.LittleEndian.Uint64(in) {
				t.Fatalf("first word %#x", w)
			}
		}
	}
}

func TestCopyBeyondTheWordsPanics(t *testing.T) {
	words := U64s(Alloc(16), 0, 2)
	for _, n := range []int{17, 24, 1000} {
		mustPanic(t, fmt.Sprintf("CopyIn of %d into 16", n), func() { CopyIn(words, make([]byte, n)) })
		mustPanic(t, fmt.Sprintf("CopyOut of %d from 16", n), func() { CopyOut(make([]byte, n), words) })
	}
	mustPanic(t, "CopyIn of 1 into none", func() { CopyIn(nil, []byte{1}) })
	CopyIn(nil, nil)
	CopyOut(nil, nil)
}

// What StoreRelease and CopyIn wrote before a flag is there for who sees it:
// a reader that validates with a sequence word is never fooled.
func TestCopiesAreSeenWholeUnderASequenceWord(t *testing.T) {
	words := U64s(Alloc(64), 0, 8)
	seq, data := &words[0], words[1:]
	const rounds = 100_000
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 50)
		for n := uint64(1); n <= rounds; n++ {
			for i := range b {
				b[i] = byte(n)
			}
			StoreRelease(seq, 2*n+1)
			CopyIn(data, b)
			seq.Store(2 * n)
		}
	})
	seen := 0
	b := make([]byte, 50)
	for last := uint64(0); last < 2*rounds; runtime.Gosched() {
		s := seq.Load()
		if s&1 == 1 || s == last {
			continue
		}
		CopyOut(b, data)
		if seq.Load() != s {
			continue
		}
		last = s
		seen++
		for i, c := range b {
			if c != byte(s/2) {
				t.Fatalf("byte %d of round %d is %d", i, s/2, c)
			}
		}
	}
	wg.Wait()
	if seen == 0 {
		t.Error("saw nothing")
	}
}

func TestValueAndBytes(t *testing.T) {
	type pair struct {
		A uint32
		B uint64
	}
	b := Alloc(32)
	v := Value[pair](b[8:])
	v.A, v.B = 1, 2
	if b[8] != 1 || b[16] != 2 || len(Bytes(v)) != 16 || &Bytes(v)[0] != &b[8] {
		t.Errorf("bytes %v", b)
	}
	mustPanic(t, "Value in 15 bytes", func() { Value[pair](b[:15]) })
	mustPanic(t, "Value that is not aligned", func() { Value[pair](b[4:]) })
	Value[struct{}](nil)
}

func TestPrefetchChangesNothing(t *testing.T) {
	w := U64(Alloc(8), 0)
	w.Store(7)
	PrefetchW(w)
	if w.Load() != 7 {
		t.Error(w.Load())
	}
	PrefetchW(new(atomic.Uint64))
}
