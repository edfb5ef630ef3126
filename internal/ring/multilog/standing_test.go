package multilog

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// fill appends n records of so many cells each.
func (r *rig) fill(tx *Tx, n, cells int) {
	r.t.Helper()
	for range n {
		if _, err := tx.Append(make([]byte, cells*CellSize-headerSize), 0, nil, new(Prefix)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A batch of old records that is given up ends before the cell where it began:
// that cell's rank words are those of the head.
func TestRecordsOfHalfTheLogAreCounted(t *testing.T) {
	r := newRig(t, small(Overwrite))
	tx, rx := r.tx(0x101), r.rx(0x303)
	for range 50 {
		r.fill(tx, 1, 128)
		r.sound()
	}
	r.all(rx)
	if rx.Lost != 48 || rx.LostBytes != 48*(128*CellSize-headerSize) {
		t.Errorf("%+v", rx.Skipped)
	}
}

// What is not in the way of a record is not taken from its writer.
func TestAClaimThatIsNotInTheWayIsLeftAlone(t *testing.T) {
	r := newRig(t, small(Overwrite))
	a, b := r.tx(0x101), r.tx(0x202)
	r.fill(a, 4, 1)
	c, err := b.Reserve(10, 10)
	must(t, err)
	r.fill(a, 252, 1) // the claim is next
	r.fill(a, 3, 1)
	if err := b.Commit(c); err != nil {
		t.Errorf("%v: head %d, the claim is at %d", err, r.log.loadRoom().head(), c.Pos)
	}
}

// Words in the middle of claims are made younger before they look new, also in
// a claim that is carried from lap to lap.
func TestWordsInTheMiddleOfClaimsStayYoung(t *testing.T) {
	r := newRig(t, small(Overwrite))
	a, b := r.tx(0x101), r.tx(0x202)
	c, err := a.Reserve(300, 300)
	must(t, err)
	r.fill(b, 300, 1) // lapped
	lap := uint64(1<<28 + 3)
	// As it is many laps later: the log has a hole of three cells at its begin.
	for i := range r.log.states {
		w := packState(lap-1, stPad, 0, 1)
		switch uint64(i) {
		case c.Pos & 255:
			w = packState(lap-1, stHole, 0x101, 3)
		case c.Pos&255 + 1, c.Pos&255 + 2, 100, 101, 102:
			w = packState(lap-1-ancient, stReady, 0x101, 1)
		}
		r.log.states[i].Store(uint64(w))
	}
	r.log.tail.Store(lap << 8)
	r.log.room.Store(uint64(packRoom(lap<<8, 0)))
	tx := r.tx(0x303)
	r.fill(tx, 32, 8)
	r.sound()
	for i := range r.log.states {
		if age := state(r.log.states[i].Load()).age(lap); age < -1 || age > 1<<20 {
			t.Errorf("word %d is %d laps old", i, age)
		}
	}
	if err := a.Commit(c); !errors.Is(err, ErrLapped) {
		t.Error(err)
	}
	r.fill(tx, 300, 1)
	r.sound()
}

// Where no run is long enough, that is said before anything is given up.
func TestARecordThatFitsNowhereCostsNothing(t *testing.T) {
	for _, m := range []Mode{Overwrite, Reject} {
		r := newRig(t, small(m))
		tx := r.tx(0x101)
		var holes []Claim
		for range 4 {
			r.fill(tx, 5, 11)
			c, err := r.tx(0x202).Reserve(1, 1)
			must(t, err)
			holes = append(holes, c)
		}
		r.fill(tx, 40, 11) // all of them are lapped
		var before Info
		for i := range 10 {
			if i == 1 { // the first may give up as much as the record has cells
				before, _ = r.log.Info()
			}
			if _, err := tx.Reserve(100*CellSize, 100*CellSize); !errors.Is(err, ErrNoRun) || !errors.Is(err, ErrFull) {
				t.Fatalf("%v: %v", m, err)
			}
		}
		after, _ := r.log.Info()
		if before.Head != after.Head || before.Records != after.Records {
			t.Errorf("%v: before %+v, after %+v", m, before, after)
		}
		for _, c := range holes {
			if err := r.tx(0x202).Commit(c); !errors.Is(err, ErrLapped) {
				t.Error(err)
			}
		}
		if _, err := tx.Reserve(100*CellSize, 100*CellSize); err != nil {
			t.Errorf("%v: with all holes given back: %v", m, err)
		}
		r.sound()
	}
}

// Where claims that stay out of use are all there is, a writer finds out.
func TestALogOfHolesIsFull(t *testing.T) {
	r := newRig(t, small(Overwrite))
	for i := range 2 {
		_, err := r.tx(uint32(0x101*(i+1))).Reserve(127*CellSize, 127*CellSize)
		must(t, err)
	}
	tx := r.tx(0x303)
	for range 3 {
		if _, err := tx.Reserve(1, 1); !errors.Is(err, ErrNoRun) {
			t.Fatal(err)
		}
	}
	r.sound()
}

// A hole that ends laps later ends there.
func TestALateWriterGivesItsHoleBackInALaterLap(t *testing.T) {
	for _, end := range []func(*Tx, Claim) error{(*Tx).Commit, (*Tx).Abort} {
		r := newRig(t, small(Overwrite))
		slow, fast := r.tx(0x101), r.tx(0x202)
		c, err := slow.Reserve(200, 200)
		must(t, err)
		r.fill(fast, 1000, 1)
		if err := end(slow, c); !errors.Is(err, ErrLapped) {
			t.Error(err)
		}
		if err := end(slow, c); !errors.Is(err, ErrFenced) {
			t.Errorf("twice: %v", err)
		}
		r.fill(fast, 300, 1)
		if in, err := r.log.Info(); err != nil || in.OutOfUse != 0 || in.Holes != 1 || in.Given+in.Records != 1300 {
			t.Errorf("%+v, %v", in, err)
		}
		r.sound()
	}
}

// What an evicted owner may still write into is nobody's, for ever.
func TestTheEvictedKeepTheirCells(t *testing.T) {
	r := newRig(t, small(Overwrite))
	zombie, tx := r.tx(0x101), r.tx(0x202)
	swept, err := zombie.Reserve(200, 200)
	must(t, err)
	r.status[0x101], r.fenced[0x101] = Gone, true
	if n, _ := r.log.Recover(0x101, true, r.peers(1).Ring); n != 1 {
		t.Errorf("%d records", n)
	}
	if _, err := zombie.Reserve(1, 1); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	for range 5 {
		r.fill(tx, 250, 1)
		copy(r.log.Data(swept, 0), strings.Repeat("late", 30))
		r.sound()
		if in, _ := r.log.Info(); in.OutOfUse != 2 {
			t.Fatalf("%+v", in)
		}
	}
	if err := zombie.Commit(swept); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	rx := r.rx(0x303)
	for _, d := range r.all(rx) {
		if strings.Contains(d, "late") {
			t.Fatal("a late store is in another's record")
		}
	}
}

// A reader that holds looks for its place and loses nothing by that.
func TestAHolderThatSeeksHolds(t *testing.T) {
	r := newRig(t, small(Reject))
	tx, rx := r.tx(0x101), r.rx(0x303)
	must(t, rx.Register(true))
	r.fill(tx, 100, 1)
	for range 40 {
		if f, err := rx.Next(new(Record), true); f != Got || err != nil {
			t.Fatal(f, err)
		}
	}
	at := rx.Pos
	for name, seek := range map[string]func() error{
		"beyond the end": func() error { return rx.Seek(1 << 30) },
		"the last":       func() error { return rx.SeekLast(1) },
		"the end":        func() error { return rx.SeekLast(0) },
	} {
		_ = seek()
		if c := r.log.readers[rx.entry.i].cursor.Load(); c != rx.Pos {
			t.Errorf("%s: the reader is at %d, its cursor at %d", name, rx.Pos, c)
		}
	}
	must(t, rx.SeekFirst())
	if rx.Pos > at {
		t.Fatalf("the oldest record is at %d", rx.Pos)
	}
	for full := false; !full; {
		_, err := tx.Append(nil, 0, nil, new(Prefix))
		full = errors.Is(err, ErrFull)
	}
	r.all(rx)
	if rx.Lost != 0 {
		t.Errorf("%+v", rx.Skipped)
	}
}

// A reader that went back wakes who waits for it to come as far again.
func TestAReaderThatWentBackWakesWriters(t *testing.T) {
	r := newRig(t, small(Reject))
	tx, rx := r.tx(0x101), r.rx(0x303)
	must(t, rx.Register(true))
	r.fill(tx, 120, 1)
	r.all(rx) // idle at the end
	must(t, rx.SeekFirst())
	r.fill(tx, 136, 1)
	w, err := r.log.NewWaiter(r.peers(0x101))
	must(t, err)
	w.Asleep(10 * CellSize)
	if w.Ready() {
		t.Fatal("there is room in a log that is held")
	}
	c, err := r.tx(0x202).Reserve(1, 1) // nothing
	if !errors.Is(err, ErrFull) {
		t.Fatal(c, err)
	}
	was := w.Bell().Word.Load()
	for range 11 { // enough, by not much
		if f, err := rx.Next(new(Record), true); f != Got || err != nil {
			t.Fatal(f, err)
		}
	}
	rx.idle()
	if w.Bell().Word.Load() == was {
		t.Errorf("the writer sleeps: it needs %d, the reader is at %d", w.need, rx.Pos)
	}
}

// The sizes that are granted: what is there, up to what was asked.
func TestPartialGrants(t *testing.T) {
	r := newRig(t, small(Reject))
	tx, rx := r.tx(0x101), r.rx(0x303)
	must(t, rx.Register(true))
	r.fill(tx, 100, 1)
	r.fill(tx, 1, 128)
	var granted []uint64
	for _, ask := range [][2]int{{10, 20 * CellSize}, {10, 60 * CellSize}, {10, 20}} {
		c, err := tx.Reserve(ask[0], ask[1])
		if err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		granted = append(granted, c.cells)
		if err == nil {
			must(t, tx.Commit(c))
		}
	}
	if !slices.Equal(granted, []uint64{21, 7, 0}) {
		t.Errorf("of 28 cells: %d", granted)
	}
	r.sound()
}

// What the dead held is used again once they are swept.
func TestHolesOfTheDeadAreUsedAgain(t *testing.T) {
	r := newRig(t, small(Overwrite))
	tx := r.tx(0x202)
	_, err := r.tx(0x101).Reserve(200, 200)
	must(t, err)
	r.fill(tx, 300, 1)
	r.status[0x101] = Dead
	if n, _ := r.log.Recover(0x101, false, r.peers(1).Ring); n != 0 {
		t.Errorf("%d records ended, which had been taken away before", n)
	}
	r.fill(tx, 300, 1)
	if in, err := r.log.Info(); err != nil || in.OutOfUse != 0 || in.Holes != 1 || in.Tombs != 0 {
		t.Errorf("%+v, %v", in, err)
	}
	r.sound()
}

// Neither end allocates for a record.
func TestNoAllocationForARecord(t *testing.T) {
	r := newRig(t, small(Overwrite))
	tx, rx, p, data := r.tx(0x101), r.rx(0x303), prefix("writer", "key"), make([]byte, 300)
	now := func() (int64, int64) { return 1, 2 }
	var rec Record
	got, failed := 0, 0
	if n := testing.AllocsPerRun(2000, func() {
		if _, err := tx.Append(data, 0, now, p); err != nil {
			failed++
		}
		c, err := tx.Reserve(100, 2000)
		if err != nil || tx.Finish(c, Header{}, p, 60) != nil {
			failed++
		}
		for f, _ := rx.Next(&rec, true); f == Got; f, _ = rx.Next(&rec, true) {
			got++
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got != 4002 || failed != 0 {
		t.Errorf("%d received, %d failed", got, failed)
	}
}
