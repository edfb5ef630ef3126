package fanout

import (
	"errors"
	"runtime"
	"sync"
	"testing"
)

func TestReliableGetsEachMessageOnce(t *testing.T) {
	for _, size := range []int{8, 104, 112, 512} {
		r := newRig(t, smallConfig())
		x := r.tx()
		sub := r.rx(ModeReliable, 1, 0)
		for i := range uint64(100) {
			if !x.Send(numbered(i, size), int64(i)) {
				t.Fatalf("size %d: no room for message %d", size, i)
			}
			n, st, err := sub.next()
			if st != Got || err != nil || n != i {
				t.Fatalf("size %d: got %d, %v, %v, want %d", size, n, st, err, i)
			}
			if sub.recs[0].Time != int64(i) {
				t.Fatalf("time %d, want %d", sub.recs[0].Time, i)
			}
		}
		if _, st, _ := sub.next(); st != Empty {
			t.Fatalf("after the last message: %v", st)
		}
	}
}

func TestReliableHoldsThePublisherBackByDepth(t *testing.T) {
	r := newRig(t, smallConfig())
	x := r.tx()
	sub := r.rx(ModeReliable, 1, 0)
	sent := 0
	for x.Send(numbered(uint64(sent), 512), 0) {
		sent++
	}
	if sent != 8 {
		t.Fatalf("sent %d messages ahead, want the depth, 8", sent)
	}
	b := x.Blockers()
	if len(b) != 1 || b[0].Owner != subOwner || b[0].Lag != 8 {
		t.Fatalf("blockers %+v", b)
	}
	for range sent {
		if _, st, err := sub.next(); st != Got || err != nil {
			t.Fatal(st, err)
		}
	}
	if _, st, _ := sub.next(); st != Empty {
		t.Fatal(st)
	}
	if !x.Room() {
		t.Fatal("no room after all was received")
	}
}

func TestLatestIsToldExactlyWhatItLost(t *testing.T) {
	for _, size := range []int{64, 512} {
		r := newRig(t, smallConfig())
		x := r.tx()
		sub := r.rx(ModeLatest, 1, 0)
		var got, lost, sent uint64
		for round := range 20 {
			for range round * 3 {
				if !x.Send(numbered(sent, size), 0) {
					t.Fatal("a latest subscriber holds the publisher back")
				}
				sent++
			}
			for {
				_, st, err := sub.next()
				if err != nil {
					t.Fatal(err)
				}
				if st != Got {
					break
				}
				got++
				lost += sub.recs[0].Lost
			}
		}
		if got+lost != sent || lost == 0 {
			t.Fatalf("size %d: got %d + lost %d != sent %d", size, got, lost, sent)
		}
	}
}

func TestKeptMessageSurvivesManyOverwrites(t *testing.T) {
	for _, mode := range []Mode{ModeReliable, ModeLatest} {
		r := newRig(t, smallConfig())
		x := r.tx()
		sub := r.rx(mode, 2, 0)
		x.Send(numbered(0, 512), 0)
		if st := sub.Poll(&sub.recs[1]); st != Got {
			t.Fatal(st)
		}
		if st := sub.Keep(&sub.recs[1]); st != Got {
			t.Fatal(st)
		}
		for i := uint64(1); i < 200; i++ {
			if !x.Send(numbered(i, 512), 0) {
				t.Fatalf("mode %d: no room for %d", mode, i)
			}
			if n, st, err := sub.next(); st != Got || err != nil || n != i {
				t.Fatal(n, st, err)
			}
			if n, err := number(sub.recs[1].Data); err != nil || n != 0 {
				t.Fatalf("mode %d: the kept message became %d, %v", mode, n, err)
			}
		}
	}
}

func TestBatchIsSeenWholeAndInOrder(t *testing.T) {
	c := smallConfig()
	c.Depth = 64
	r := newRig(t, c)
	x := r.tx()
	sub := r.rx(ModeReliable, 1, 0)
	var next uint64
	for round := range 50 {
		var msgs [][]byte
		for i := range uint64(round%20 + 1) {
			msgs = append(msgs, numbered(next+i, []int{16, 512, 104, 256}[i%4]))
		}
		for len(msgs) > 0 {
			n := x.SendBatch(msgs, 0)
			if n == 0 {
				t.Fatal("no room")
			}
			msgs = msgs[n:]
			for range n {
				got, st, err := sub.next()
				if st != Got || err != nil || got != next {
					t.Fatal(got, st, err, next)
				}
				next++
			}
		}
	}
}

func TestHistoryIsThereAtOnce(t *testing.T) {
	for _, mode := range []Mode{ModeReliable, ModeLatest} {
		for _, sent := range []uint64{0, 1, 3, 6, 7, 8, 9, 50} {
			r := newRig(t, smallConfig())
			x := r.tx()
			for i := range sent {
				x.Send(numbered(i, 16), 0)
			}
			sub := r.rx(mode, 1, 4)
			for want := sent - min(sent, 4); want < sent; want++ {
				if n, st, err := sub.next(); st != Got || err != nil || n != want {
					t.Fatalf("mode %d, %d sent: got %d, %v, %v, want %d", mode, sent, n, st, err, want)
				}
			}
			if _, st, _ := sub.next(); st != Empty {
				t.Fatal(st)
			}
		}
	}
}

func TestSuccessorGoesOnWhereTheLaneStopped(t *testing.T) {
	r := newRig(t, smallConfig())
	x := r.tx()
	sub := r.rx(ModeReliable, 1, 0)
	for i := range uint64(5) {
		x.Send(numbered(i, 512), 0)
	}
	if _, ok := OpenTx(r.topic, r.lane, 0x200, "two", 1, 1, r.ring); ok {
		t.Fatal("an open lane was taken")
	}
	r.topic.Recover(pubOwner, false, r.only, r.ring)
	x2 := r.tx()
	if x2.Head() != 5 {
		t.Fatalf("head %d after the restart, want 5", x2.Head())
	}
	for i := uint64(5); i < 8; i++ {
		if !x2.Send(numbered(i, 512), 0) {
			t.Fatal("no room")
		}
	}
	for want := range uint64(8) {
		if n, st, err := sub.next(); st != Got || err != nil || n != want {
			t.Fatal(n, st, err, want)
		}
	}
}

func (r *rig) only(k int) *Lane {
	if k == 0 {
		return r.lane
	}
	return nil
}

func TestSubscriberThatCameFirstMissesNothing(t *testing.T) {
	for _, mode := range []Mode{ModeDefault, ModeReliable, ModeLatest} {
		r := newRig(t, smallConfig())
		s, err := r.topic.Join(subOwner, mode, 1)
		if err != nil {
			t.Fatal(err)
		}
		x := r.tx()
		for i := range uint64(8) {
			if !x.Send(numbered(i, 16), 0) {
				t.Fatal("no room")
			}
		}
		rx, err := OpenRx(s, r.lane, 0, false, r.ring)
		if err != nil {
			t.Fatal(err)
		}
		sub := &reader{Rx: rx, recs: make([]Record, 1)}
		for want := range uint64(8) {
			if n, st, err := sub.next(); st != Got || err != nil || n != want {
				t.Fatal(n, st, err, want)
			}
		}
	}
}

func TestRecoveredSlotHoldsNothing(t *testing.T) {
	r := newRig(t, smallConfig())
	x := r.tx()
	for owner := uint32(0x300); owner < 0x340; owner++ {
		mode := ModeReliable
		if owner%2 == 1 {
			mode = ModeLatest
		}
		sub := r.rxAs(owner, mode, 4, 0)
		for i := range sub.recs { // holds all it may, and dies
			if !x.Send(numbered(x.Head(), 512), 0) {
				t.Fatal("no room")
			}
			if st := sub.Poll(&sub.recs[i]); st != Got {
				t.Fatal(st)
			}
			sub.Keep(&sub.recs[i])
		}
		subs, pubs := r.topic.Recover(owner, false, r.only, r.ring)
		if subs != 1 || pubs != 0 {
			t.Fatalf("recovered %d subscribers, %d publishers", subs, pubs)
		}
		for range 20 {
			if !x.Send(numbered(x.Head(), 512), 0) {
				t.Fatal("a dead subscriber holds the publisher back")
			}
		}
	}
	if w := r.lane.Verify(r.topic); len(w) != 0 {
		t.Fatal(w)
	}
}

func TestFencedSubscriberKeepsItsLoanAndLearnsItsLoss(t *testing.T) {
	r := newRig(t, smallConfig())
	x := r.tx()
	sub := r.rx(ModeReliable, 2, 0)
	x.Send(numbered(0, 512), 0)
	x.Send(numbered(1, 512), 0)
	if _, st, _ := sub.next(); st != Got {
		t.Fatal(st)
	}
	if st := sub.Poll(&sub.recs[0]); st != Got { // holds message 1 by its cursor
		t.Fatal(st)
	}
	for x.Send(numbered(x.Head(), 512), 0) {
	}
	b := x.Blockers()
	if len(b) != 1 {
		t.Fatalf("blockers %+v", b)
	}
	x.Fence(b[0])
	for range 100 {
		if !x.Send(numbered(x.Head(), 512), 0) {
			t.Fatal("a fenced subscriber holds the publisher back")
		}
		if n, err := number(sub.recs[0].Data); n != 1 || err != nil {
			t.Fatalf("the loan of a fenced subscriber became %d, %v", n, err)
		}
	}
	rec := &sub.recs[1]
	if st := sub.Poll(rec); st != Fenced {
		t.Fatal(st)
	}
	if st := sub.Rejoin(&sub.recs[0]); st != Got {
		t.Fatal(st)
	}
	if st := sub.Poll(rec); st != Got {
		t.Fatal(st)
	}
	if rec.Lost != rec.Pos-2 || rec.Lost == 0 {
		t.Fatalf("position %d after position 1, lost %d", rec.Pos, rec.Lost)
	}
	for range 100 {
		if n, err := number(sub.recs[0].Data); n != 1 || err != nil {
			t.Fatalf("the loan became %d, %v after the return", n, err)
		}
		x.Send(numbered(x.Head(), 512), 0)
		for {
			if _, st, err := sub.Rx.pollInto(rec); st != Got || err != nil {
				break
			}
		}
	}
}

func (r *Rx) pollInto(rec *Record) (uint64, Status, error) {
	st := r.Poll(rec)
	if st != Got {
		return 0, st, nil
	}
	n, err := number(rec.Data)
	return n, st, err
}

func TestCreditsAreRefusedInWords(t *testing.T) {
	r := newRig(t, smallConfig())
	r.tx()
	r.rx(ModeReliable, 8, 0)
	s, err := r.topic.Join(subOwner, ModeReliable, 1)
	if err != nil {
		t.Fatal(err)
	}
	if s.CheckCredit() == nil {
		t.Fatal("joined beyond the topic's holds")
	}
	r.topic.Recover(subOwner, false, r.only, r.ring)
	if s, err = r.topic.Join(subOwner, ModeReliable, 1); err != nil || s.CheckCredit() != nil {
		t.Fatal(err)
	}
}

func TestSlotsRunOutInWords(t *testing.T) {
	c := smallConfig()
	c.Holds = MaxSlots
	r := newRig(t, c)
	for range MaxSlots {
		r.rx(ModeLatest, 1, 0)
	}
	if _, err := r.topic.Join(subOwner, ModeLatest, 1); !errors.Is(err, ErrNoSlot) {
		t.Fatal(err)
	}
}

// TestRaceOfManyReaders runs real goroutines; under -race the detector judges
// every access, because the memory is on the heap.
func TestRaceOfManyReaders(t *testing.T) {
	c := smallConfig()
	c.Holds = 16
	r := newRig(t, c)
	subs := []*reader{r.rx(ModeReliable, 2, 0), r.rx(ModeReliable, 1, 0), r.rx(ModeLatest, 2, 0), r.rx(ModeLatest, 1, 0)}
	const total = 20000
	var wg sync.WaitGroup
	for i, sub := range subs {
		wg.Go(func() {
			var got, lost uint64
			for got+lost < total {
				rec := &sub.recs[got%uint64(len(sub.recs))]
				st := sub.Poll(rec)
				if st == Empty {
					runtime.Gosched()
					continue
				}
				if st != Got {
					t.Errorf("subscriber %d: %v", i, st)
					return
				}
				if n, err := number(rec.Data); err != nil || n != rec.Pos {
					t.Errorf("subscriber %d: position %d: %d, %v", i, rec.Pos, n, err)
					return
				}
				if len(sub.recs) > 1 {
					sub.Keep(rec)
				}
				got++
				lost += rec.Lost
				if i < 2 && rec.Lost != 0 {
					t.Errorf("reliable subscriber %d lost %d", i, rec.Lost)
				}
			}
		})
	}
	x := r.tx()
	wait := func() { runtime.Gosched() }
	for x.Head() < total {
		h := x.Head()
		switch h % 5 {
		case 0:
			for !x.Send(numbered(h, 16), 0) {
				wait()
			}
		case 1:
			d, buf, ok := x.Loan()
			if !ok {
				t.Fatal("no loan")
			}
			copy(buf, numbered(h, 256))
			for !x.SendLoan(d, 256, 0) {
				wait()
			}
		default:
			msgs := [][]byte{numbered(h, 512), numbered(h+1, 16)}
			if h+2 > total {
				msgs = msgs[:1]
			}
			if x.SendBatch(msgs, 0) == 0 {
				wait()
			}
		}
	}
	wg.Wait()
	if w := r.lane.Verify(r.topic); len(w) != 0 {
		t.Fatal(w)
	}
}
