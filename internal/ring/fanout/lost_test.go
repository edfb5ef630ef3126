package fanout

import "testing"

// Counterexamples that the explorer found, the short ones.

// A subscriber that came before the lane, and leaves without having opened it,
// may be what the publisher sleeps on.
func TestLeavingALaneThatWasNeverOpenedWakesItsPublisher(t *testing.T) {
	r := newRig(t, smallConfig())
	s, err := r.topic.Join(subOwner, ModeReliable, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := r.tx()
	for x.Send(numbered(x.Head(), 16), 0) {
	}
	bell := x.Park()
	if x.Room() {
		t.Fatal("room beyond a subscriber that read nothing")
	}
	s.Leave(r.only, r.ring)
	if x.Bell().Word.Load() == bell {
		t.Fatal("the publisher sleeps on")
	}
	if !x.Room() {
		t.Fatal("no room after everybody left")
	}
}

// The same where it leaves between the publisher's look at its claim and Park.
func TestRoomAfterParkLooksAtTheClaims(t *testing.T) {
	r := newRig(t, smallConfig())
	s, err := r.topic.Join(subOwner, ModeReliable, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := r.tx()
	for x.Send(numbered(x.Head(), 16), 0) {
	}
	if len(x.Blockers()) != 1 {
		t.Fatal(x.Blockers())
	}
	s.Leave(r.only, r.ring) // nobody sleeps yet
	x.Park()
	if !x.Room() {
		t.Fatal("the publisher would sleep for ever")
	}
}

// Who dies between taking the park word and ringing must be rung for.
func TestRecoverRingsAPublisherWhoseParkWordIsTaken(t *testing.T) {
	r := newRig(t, smallConfig())
	sub := r.rx(ModeReliable, 1, 0)
	x := r.tx()
	for x.Send(numbered(x.Head(), 16), 0) {
	}
	bell := x.Park()
	sub.lane.park.Store(0) // the subscriber dies at S6
	r.topic.Recover(subOwner, false, r.only, r.ring)
	if x.Bell().Word.Load() == bell || !x.Room() {
		t.Fatal("the publisher sleeps on")
	}
}

// A subscriber that was fenced before it opened the lane comes back like one
// that was fenced later.
func TestFencedBeforeItOpenedTheLane(t *testing.T) {
	r := newRig(t, smallConfig())
	s, err := r.topic.Join(subOwner, ModeReliable, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := r.tx()
	for range 3 * 8 {
		if !x.Send(numbered(x.Head(), 512), 0) {
			x.Fence(x.Blockers()[0])
			if !x.Send(numbered(x.Head(), 512), 0) {
				t.Fatal("no room after the fence")
			}
		}
	}
	rx, err := OpenRx(s, r.lane, 0, false, r.ring)
	if err != nil {
		t.Fatal(err)
	}
	sub := &reader{Rx: rx, recs: make([]Record, 1)}
	if st := sub.Poll(&sub.recs[0]); st != Fenced {
		t.Fatal(st)
	}
	if st := sub.Rejoin(nil); st != Got {
		t.Fatal(st)
	}
	n, st, err := sub.next()
	if st != Got || err != nil || sub.recs[0].Lost != n || n < 16 {
		t.Fatal(n, st, err, sub.recs[0].Lost)
	}
}

// An evicted subscriber that is alive may open the lane late: its slot's next
// owner keeps its cursor.
func TestEvictedSubscriberCannotTakeItsSuccessorsCursor(t *testing.T) {
	r := newRig(t, smallConfig())
	x := r.tx()
	late, err := r.topic.Join(subOwner, ModeReliable, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.topic.Recover(subOwner, true, r.only, r.ring)
	next := r.rxAs(0x300, ModeReliable, 1, 0)
	if next.slot.Index != late.Index {
		t.Fatal("another slot")
	}
	if _, err := OpenRx(late, r.lane, 0, false, r.ring); err != ErrFenced {
		t.Fatal(err)
	}
	x.Send(numbered(0, 16), 0)
	if _, st, err := next.next(); st != Got || err != nil {
		t.Fatal(st, err)
	}
}

// A former owner's hold words name descriptors that nobody holds.
func TestFormerOwnersHoldWordsCountForNobody(t *testing.T) {
	r := newRig(t, smallConfig())
	x := r.tx()
	dead := r.rx(ModeLatest, 2, 0)
	for i := range dead.recs {
		x.Send(numbered(x.Head(), 512), 0)
		if st := dead.Poll(&dead.recs[i]); st != Got {
			t.Fatal(st)
		}
	}
	r.topic.Recover(subOwner, false, r.only, r.ring)
	next := r.rxAs(0x300, ModeLatest, 2, 0)
	if next.slot.Index != dead.slot.Index {
		t.Fatal("another slot")
	}
	for range 3 * 8 {
		x.Send(numbered(x.Head(), 512), 0)
	}
	x.reclaim()
	if len(x.retired) != 0 {
		t.Fatalf("descriptors %v are held by nobody and not free", x.retired)
	}
}

// A publisher that is held up between its look at a claim and the cursor that
// it gives it (prejoin) may give it to one who has left.
func TestCursorWithoutAClaimHoldsNobodyBack(t *testing.T) {
	r := newRig(t, smallConfig())
	x := r.tx()
	s, err := r.topic.Join(subOwner, ModeReliable, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Leave(r.only, r.ring)
	r.lane.cursors[s.Index].Store(uint64(packCursor(curActive, s.gen, 0)))
	for range 3 * 8 {
		x.Park()
		if !x.Room() {
			t.Fatalf("the publisher would sleep at %d", x.Head())
		}
		x.Send(numbered(x.Head(), 512), 0)
	}
	if b := x.Blockers(); len(b) != 0 {
		t.Fatal(b)
	}
}

// A stamp that belongs to another entry is garbage: taken for one that laps the
// reader, it would lead it back, or out of the lane's positions for ever.
func TestStampOfAnotherEntryIsCorrupt(t *testing.T) {
	for _, p := range []uint64{1, 2, 9, 1<<50 + 1} {
		r := newRig(t, smallConfig())
		sub := r.rx(ModeLatest, 1, 0)
		r.lane.entry(0)[0].Store(ready(p))
		if _, st, _ := sub.next(); st != Corrupt {
			t.Errorf("stamp of position %d in entry 0: status %v, next %d, lost %d", p, st, sub.Next(), sub.TakeLost())
		}
	}
}
