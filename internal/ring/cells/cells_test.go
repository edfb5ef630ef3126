package cells

import (
	"bytes"
	"errors"
	"testing"
)

func TestMessagesOfAnyLengthPassWhole(t *testing.T) {
	r := newRig(t, 16, 0)
	x, hold, late := r.tx(), r.rx(ModeHold, false), r.rx(ModeLapped, false)
	most := r.ring.Config().MaxMessage()
	for n := range uint64(500) {
		size := max(8, (int(n)*7)%(most+1))
		if !x.Send(numbered(n, size), false) {
			t.Fatalf("no room for message %d of %d bytes", n, size)
		}
		for _, rd := range []*Rx{hold, late} {
			var rec Record
			if st := rd.Poll(&rec); st != Got || rec.Len() != size || rec.Number != n || rec.Lost != 0 {
				t.Fatalf("message %d of %d bytes: status %d, %d bytes, number %d, lost %d: %v", n, size, st, rec.Len(), rec.Number, rec.Lost, rd.Err())
			}
			if got, err := intact(rec.Bytes()); err != nil || got != n {
				t.Fatal(got, err)
			}
			if !rd.Release(&rec) {
				t.Fatal("fenced")
			}
			if st := rd.Poll(&rec); st != Empty {
				t.Fatalf("there is more: %d", st)
			}
		}
		r.sound()
	}
	if x.Send(nil, false); !hold.Pending() {
		t.Error("an empty message is not seen")
	}
}

func TestHoldReaderHoldsTheWriterBackAndALappedOneIsToldItsLoss(t *testing.T) {
	r := newRig(t, 16, 0)
	x, hold, late := r.tx(), r.rx(ModeHold, false), r.rx(ModeLapped, false)
	sent := uint64(0)
	for x.Send(numbered(sent, 64), false) {
		sent++
	}
	if sent != 16 {
		t.Errorf("%d messages of one cell fit into 16", sent)
	}
	if b := x.Blockers(64); len(b) != 1 || b[0].Owner != hold.slot.word.owner() {
		t.Errorf("blockers %+v", b)
	}
	for n := range uint64(3) {
		if got, _, st, err := hold.get(n); st != Got || err != nil || got != n {
			t.Fatal(got, st, err)
		}
	}
	x.Announce(64, false)
	if _, _, st, err := hold.get(3); st != Got || err != nil {
		t.Fatal(st, err)
	}
	if hold.Bell().Word.Load() != 0 || x.slot.Bell().Word.Load() == 0 {
		t.Error("the writer that waits for room was not rung")
	}
	for x.Send(numbered(sent, 64), false) {
		sent++
	}
	hold.Leave()
	for range 100 {
		if !x.Send(numbered(sent, 64), false) {
			t.Fatal("held back by nobody")
		}
		sent++
	}
	next, lost := uint64(0), uint64(0)
	for {
		got, l, st, err := late.get(next)
		if err != nil {
			t.Fatal(err)
		}
		if st == Empty {
			break
		}
		if got != next+l {
			t.Fatalf("message %d after %d, and %d lost", got, next, l)
		}
		lost, next = lost+l, got+1
	}
	if next != sent || lost == 0 {
		t.Errorf("ended at %d of %d, lost %d", next, sent, lost)
	}
	r.sound()
}

// Bell returns the reader's bell.
func (x *Rx) Bell() (b struct{ Word interface{ Load() uint32 } }) {
	b.Word = x.slot.Bell().Word
	return b
}

func TestTokenIsOneWritersAndTakenFromTheDead(t *testing.T) {
	r := newRig(t, 16, 1)
	first := r.tx()
	rd := r.rx(ModeHold, false)
	second := OpenTx(r.slot(ModeWriter))
	if g := second.Take(); g != Busy {
		t.Fatalf("took the token of a live writer: %d", g)
	}
	second.AnnounceToken()
	first.Send(numbered(0, 100), false)
	if b, ok := first.Reserve(500); !ok || len(b) != 500 {
		t.Fatal("no reservation")
	} else {
		copy(b, bytes.Repeat([]byte{1}, 500))
	}
	r.ring.Recover(first.owner, false, bell)
	if second.slot.Bell().Word.Load() == 0 {
		t.Error("the writer that waits for the token was not rung")
	}
	if rd.get(0); rd.Ended() != endNone {
		t.Errorf("ended with %d though another writer is there", rd.Ended())
	}
	if g := second.Take(); g != Taken || second.Head() != 1 {
		t.Fatalf("grant %d, message %d", g, second.Head())
	}
	if first.Commit(500, false) {
		t.Error("a fenced writer has published")
	}
	second.Send(numbered(1, 300), true)
	if got, _, st, err := rd.get(1); got != 1 || st != Got || err != nil {
		t.Fatal(got, st, err)
	}
	third := OpenTx(r.slot(ModeWriter))
	if third.Take() != Taken { // given back with the message
		t.Error("the token is not free")
	}
	third.End()
	if rd.Ended() != endNone {
		t.Error("ended though a writer is there")
	}
	r.ring.Recover(second.owner, false, bell)
	if rd.Ended() != EndDead {
		t.Errorf("ended with %d", rd.Ended())
	}
	fourth := OpenTx(r.slot(ModeWriter))
	fourth.Take()
	if fourth.Send(numbered(2, 8), false); rd.Ended() != endNone {
		t.Error("ended though a writer goes on")
	}
	rd.get(2)
	if fourth.End(); rd.Ended() != EndClosed {
		t.Errorf("ended with %d", rd.Ended())
	}
}

func TestEvictedWritersStreamIsRetired(t *testing.T) {
	r := newRig(t, 16, 0)
	x, rd := r.tx(), r.rx(ModeHold, false)
	x.Send(numbered(0, 8), false)
	r.ring.Recover(x.owner, true, bell)
	if g := OpenTx(r.slot(ModeWriter)).Take(); g != Retired {
		t.Errorf("grant %d of a stream whose writer may still write", g)
	}
	if x.Send(numbered(1, 8), false) {
		t.Error("the evicted writer publishes")
	}
	if got, _, st, err := rd.get(0); got != 0 || st != Got || err != nil || rd.Ended() != EndDead {
		t.Error(got, st, err, rd.Ended())
	}
}

func TestReserveIsInOnePieceAndAPadIsNoMessage(t *testing.T) {
	r := newRig(t, 16, 1)
	x, rd, g := r.tx(), r.rx(ModeHold, false), r.shared("g", false)
	for n := range uint64(200) {
		size := 8 + int(n*31)%(15*64-8)
		b, ok := x.Reserve(size)
		if !ok { // there is a pad, and it is to be passed first
			rd.Poll(new(Record))
			g.Poll(new(Record))
			if b, ok = x.Reserve(size); !ok {
				t.Fatalf("no room for %d bytes", size)
			}
		}
		if size = max(8, size-int(n%3)); len(b) < size {
			t.Fatalf("%d bytes are lent, want %d", len(b), size)
		}
		copy(b, numbered(n, size))
		if !x.Commit(size, false) {
			t.Fatal("not committed")
		}
		if got, lost, st, err := rd.get(n); got != n || lost != 0 || st != Got || err != nil {
			t.Fatal(n, got, lost, st, err)
		}
		var rec Record
		if st := g.Poll(&rec); st != Got || rec.Number != n || rec.Len() != size || len(rec.B) != 0 {
			t.Fatalf("message %d: status %d, %+v: %v", n, st, rec, g.Err())
		}
		if !g.Done(&rec) {
			t.Fatal("not done")
		}
		r.sound()
	}
}

func TestOldestIsWhereALateReaderMayBegin(t *testing.T) {
	r := newRig(t, 16, 2)
	x := r.tx()
	for n := range uint64(100) {
		x.Send(numbered(n, 100), false)
	}
	rd, g, now := r.rx(ModeHold, true), r.shared("old", true), r.rx(ModeHold, false)
	first, _, st, err := rd.get(0)
	if st != Got || err != nil || first < 90 || first > 95 {
		t.Errorf("the oldest is %d: %d, %v", first, st, err)
	}
	var rec Record
	if st := g.Poll(&rec); st != Got || rec.Number != first {
		t.Errorf("the group's oldest is %d: %d", rec.Number, st)
	}
	g.Done(&rec)
	if _, _, st, _ := now.get(0); st != Empty {
		t.Errorf("a reader from now on finds %d", st)
	}
	r.sound()
}

func TestSlotsAndGroupsAreLimited(t *testing.T) {
	r := newRig(t, 16, 2)
	a := r.shared("a", false)
	r.shared("b", false)
	if _, err := r.ring.JoinGroup(r.owner(), "c", false, bell); !errors.Is(err, ErrNoGroup) {
		t.Error(err)
	}
	a.Leave()
	r.shared("c", false).Leave()
	var slots []*Slot
	for {
		s, err := r.ring.Join(r.owner(), ModeHold, bell)
		if err != nil {
			if !errors.Is(err, ErrNoSlot) {
				t.Error(err)
			}
			break
		}
		slots = append(slots, s)
	}
	if len(slots) != MaxSlots-1 {
		t.Errorf("%d slots", len(slots))
	}
	for _, s := range slots {
		s.leave()
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{Cells: 8}, {Cells: 48}, {Cells: 1 << 25}, {Cells: 16, Groups: 9}, {Cells: 16, Groups: -1}} {
		if c.Check() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	for _, size := range []int{0, 1, 960, 961, 1 << 20, 64 << 20} {
		c := ConfigFor(size, 1)
		if c.Check() != nil || c.MaxMessage() < size || c.Cells > MinCells && (c.Cells/2-1)*CellSize >= size {
			t.Errorf("%d bytes: %+v, %d", size, c, c.MaxMessage())
		}
		if back, ok := unpackConfig(c.pack()); !ok || back != c {
			t.Errorf("%+v came back as %+v", c, back)
		}
	}
}
