package fanout

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// rig is a topic and one lane on the heap, with bells that only count.
type rig struct {
	t     testing.TB
	topic *Topic
	lane  *Lane
}

// owners of the rig's parties; any non-zero 20-bit number does.
const (
	pubOwner = 0x101
	subOwner = 0x102
)

func smallConfig() Config {
	return Config{Depth: 8, MaxMessage: 512, Holds: 9, Loans: 2}
}

func newRig(t testing.TB, c Config) *rig {
	t.Helper()
	area := mem.Alloc(TopicSize)
	if err := FormatTopic(area); err != nil {
		t.Fatal(err)
	}
	topic, err := OpenTopic(area)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = topic.Agree(c); err != nil {
		t.Fatal(err)
	}
	lane := mem.Alloc(int(LaneSize(c)))
	if err := FormatLane(lane, 0, c); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLane(lane, 0, c)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, topic: topic, lane: l}
}

func (r *rig) ring(b wake.Bell) { b.Word.Add(1) }

func (r *rig) tx() *Tx {
	r.t.Helper()
	x, ok := OpenTx(r.topic, r.lane, pubOwner, "cam", 1, 1, r.ring)
	if !ok {
		r.t.Fatal("the lane is taken")
	}
	return x
}

// rx joins with mode and one lane; records sets what it may hold.
func (r *rig) rx(mode Mode, records, history int) *reader {
	r.t.Helper()
	return r.rxAs(subOwner, mode, records, history)
}

func (r *rig) rxAs(owner uint32, mode Mode, records, history int) *reader {
	r.t.Helper()
	s, err := r.topic.Join(owner, mode, records)
	if err != nil {
		r.t.Fatal(err)
	}
	rx, err := OpenRx(s, r.lane, history, false, r.ring)
	if err != nil {
		r.t.Fatal(err)
	}
	rd := &reader{Rx: rx, slot: s, recs: make([]Record, records)}
	for i := range rd.recs {
		rd.recs[i].Init(i)
	}
	return rd
}

// reader is an Rx with its records.
type reader struct {
	*Rx
	slot *Slot
	recs []Record
}

// next polls into record 0 and releases it at once; it returns the number in
// the payload, which it checks.
func (r *reader) next() (n uint64, st Status, err error) {
	rec := &r.recs[0]
	st = r.Poll(rec)
	if st != Got {
		return 0, st, nil
	}
	n, err = number(rec.Data)
	if err == nil && n != rec.Pos {
		err = fmt.Errorf("position %d carries number %d", rec.Pos, n)
	}
	r.Released(rec.Pos)
	return n, st, err
}

// numbered returns size bytes (at least 8) that say n all over.
func numbered(n uint64, size int) []byte {
	b := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], n)
	}
	return b
}

// number reads what numbered wrote, and says if the bytes disagree.
func number(b []byte) (uint64, error) {
	n := binary.LittleEndian.Uint64(b)
	for i := 8; i+8 <= len(b); i += 8 {
		if m := binary.LittleEndian.Uint64(b[i:]); m != n {
			return 0, fmt.Errorf("torn payload: %d at 0, %d at %d", n, m, i)
		}
	}
	return n, nil
}
