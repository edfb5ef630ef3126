package cells

import (
	"testing"
)

func TestGroupDividesMessagesAndRetiresThemOutOfOrder(t *testing.T) {
	r := newRig(t, 16, 1)
	x, a, b := r.tx(), r.shared("g", false), r.shared("g", false)
	for n := range uint64(16) {
		if !x.Send(numbered(n, 10), false) {
			t.Fatal("no room")
		}
	}
	recs := make([]Record, 16)
	for n := range recs {
		rd := []*Shared{a, b}[n%2]
		if st := rd.Poll(&recs[n]); st != Got || recs[n].Number != uint64(n) || recs[n].Redelivered {
			t.Fatalf("claim %d: status %d, %+v", n, st, recs[n])
		}
	}
	if st := a.Poll(new(Record)); st != Empty {
		t.Fatalf("claimed twice: %d", st)
	}
	for n := 15; n > 0; n-- { // the oldest is the slowest
		if ![]*Shared{a, b}[n%2].Done(&recs[n]) {
			t.Fatal("not done")
		}
		if x.Send(numbered(16, 10), false) {
			t.Fatal("overwrote what is not finished")
		}
	}
	x.Announce(10, false)
	if a.Done(&recs[0]); x.slot.Bell().Word.Load() == 0 {
		t.Error("the writer was not rung")
	}
	for n := range uint64(16) {
		if !x.Send(numbered(16+n, 10), false) {
			t.Fatalf("no room for message %d though all are finished", n)
		}
	}
	r.sound()
}

func TestClaimOfTheDeadIsHandedOutAgainAndMarked(t *testing.T) {
	r := newRig(t, 16, 1)
	x, a, b := r.tx(), r.shared("g", false), r.shared("g", false)
	for n := range uint64(4) {
		x.Send(numbered(n, 10), false)
	}
	var dead, alive, returned Record
	a.Poll(&dead)
	b.Poll(&alive)
	b.Poll(&returned)
	if b.Announce(); b.Waiting() {
		t.Error("waits although message 3 is there")
	}
	r.ring.Recover(a.owner, false, bell)
	if b.slot.Bell().Word.Load() == 0 {
		t.Error("nobody was rung")
	}
	if a.Done(&dead) {
		t.Error("the dead reader has finished what was handed back")
	}
	b.Return(&returned)
	var got []uint64
	for {
		var rec Record
		if st := b.Poll(&rec); st != Got {
			break
		}
		if want := rec.Number != 3; rec.Redelivered != want {
			t.Errorf("message %d: redelivered %v", rec.Number, rec.Redelivered)
		}
		got = append(got, rec.Number)
		if n, err := intact(rec.Bytes()); err != nil || n != rec.Number {
			t.Error(n, err)
		}
		if !b.Done(&rec) {
			t.Error("not done")
		}
	}
	if len(got) != 3 || got[0] != 3 || got[1] != 0 || got[2] != 2 {
		t.Errorf("got %v, want 3, and then 0 and 2 again", got)
	}
	if b.Done(&alive); b.Ended() != endNone {
		t.Error("ended")
	}
	x.End()
	if b.Ended() != EndClosed {
		t.Error("not ended")
	}
	r.sound()
}

func TestGroupOutlivesItsDeadReadersButNotTheOneThatLeaves(t *testing.T) {
	r := newRig(t, 16, 1)
	x, a := r.tx(), r.shared("g", false)
	for n := range uint64(3) {
		x.Send(numbered(n, 10), false)
	}
	a.Poll(new(Record))
	r.ring.Recover(a.owner, false, bell)
	for range 20 {
		x.Send(numbered(9, 10), false)
	}
	if s := r.ring.Inspect(); len(s.Groups) != 1 || s.Groups[0].Readers != 0 || s.Groups[0].Name != "g" || s.Messages != 16 {
		t.Errorf("the group of the dead: %+v", s)
	}
	b := r.shared("g", false)
	var recs [16]Record
	for n := range recs {
		if st := b.Poll(&recs[n]); st != Got || recs[n].Redelivered != (n == 15) {
			t.Fatalf("claim %d: %d, %+v", n, st, recs[n])
		}
	}
	if recs[15].Number != 0 {
		t.Errorf("handed out again: %d", recs[15].Number)
	}
	b.Leave()
	if s := r.ring.Inspect(); len(s.Groups) != 0 {
		t.Errorf("the group is still there: %+v", s.Groups)
	}
	if !x.Send(numbered(16, 900), false) {
		t.Error("a group that is gone holds the writer back")
	}
}

func TestMakerThatDiedHoldsNobodyUp(t *testing.T) {
	r := newRig(t, 16, 2)
	dead := r.owner()
	r.ring.maker.Store(7<<20 | uint64(dead))
	r.ring.groups[0].self.Store(uint64(packGroup(groupMaking, 3, 0, dead)))
	if _, err := r.ring.JoinGroup(r.owner(), "g", false, bell); err != ErrBusy {
		t.Fatal(err)
	}
	r.ring.Recover(dead, false, bell)
	r.shared("g", false)
	r.ring.Recover(dead, false, bell)
	if s := r.ring.Inspect(); len(s.Groups) != 1 {
		t.Errorf("%+v", s.Groups)
	}
}
