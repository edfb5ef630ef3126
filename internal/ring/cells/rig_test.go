package cells

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// rig is a ring on the heap, with bells that only count.
type rig struct {
	t    testing.TB
	ring *Ring
	area []byte
	next uint32
}

func newRig(t testing.TB, cells, groups int) *rig {
	t.Helper()
	c := Config{Cells: cells, Groups: groups}
	area := mem.Alloc(int(Size(c)))
	if err := Format(area, c); err != nil {
		t.Fatal(err)
	}
	r, err := Open(area)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, ring: r, area: area, next: 0x101}
}

func bell(b wake.Bell) { b.Word.Add(1) }

// owner returns another owner each time.
func (r *rig) owner() uint32 {
	r.next++
	return r.next
}

func (r *rig) slot(m Mode) *Slot {
	r.t.Helper()
	s, err := r.ring.Join(r.owner(), m, bell)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// tx is a writer with the token.
func (r *rig) tx() *Tx {
	r.t.Helper()
	x := OpenTx(r.slot(ModeWriter))
	if g := x.Take(); g != Taken {
		r.t.Fatal("the token is not free:", g)
	}
	return x
}

func (r *rig) rx(m Mode, oldest bool) *Rx {
	r.t.Helper()
	x, err := OpenRx(r.slot(m), oldest)
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

func (r *rig) shared(name string, oldest bool) *Shared {
	r.t.Helper()
	x, err := r.ring.JoinGroup(r.owner(), name, oldest, bell)
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

// sound fails the test if an invariant does not hold.
func (r *rig) sound() {
	r.t.Helper()
	for _, w := range r.ring.Verify() {
		r.t.Error(w)
	}
}

// numbered returns size bytes (at least 8) that say n all over.
func numbered(n uint64, size int) []byte {
	b := make([]byte, size)
	for i := 0; i < size; i += 8 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], n)
		copy(b[i:], w[:])
	}
	return b
}

// intact reads what numbered wrote, and says if the bytes disagree.
func intact(b []byte) (uint64, error) {
	n := binary.LittleEndian.Uint64(b)
	for i := 8; i+8 <= len(b); i += 8 {
		if m := binary.LittleEndian.Uint64(b[i:]); m != n {
			return 0, fmt.Errorf("torn payload: %d at 0, %d at %d", n, m, i)
		}
	}
	return n, nil
}

// sizeOf is the size of message n where sizes are mixed.
func sizeOf(n uint64, most int) int {
	sizes := []int{8, 64, 65, 200, most, 127, 9, most / 2}
	return min(sizes[n%uint64(len(sizes))], most)
}

// get polls for message n of size bytes and passes it.
func (x *Rx) get(n uint64) (got uint64, lost uint64, st Status, err error) {
	var rec Record
	if st = x.Poll(&rec); st != Got {
		return 0, 0, st, x.Err()
	}
	if got, err = intact(rec.Bytes()); err == nil && got != rec.Number {
		err = fmt.Errorf("message %d carries number %d", rec.Number, got)
	}
	if !x.Release(&rec) {
		err = fmt.Errorf("fenced while it was read")
	}
	return got, rec.Lost, st, err
}
