package multilog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func small(m Mode) Config { return Config{Cells: MinCells, Mode: m, Checksum: true} }

func TestRecordsAreReadInTheirOrder(t *testing.T) {
	r := newRig(t, small(Overwrite))
	a, b := r.tx(0x101), r.tx(0x202)
	rx := r.rx(0x303)
	for i := range 10000 {
		tx, name := a, "a"
		if i%3 == 0 {
			tx, name = b, "b"
		}
		data := strings.Repeat("x", i%300)
		pos, err := tx.Append([]byte(data), int16(i), func() (int64, int64) { return int64(i), int64(2 * i) }, prefix(name, "key"))
		if err != nil {
			t.Fatal(i, err)
		}
		var rec Record
		f, err := rx.Next(&rec, true)
		if f != Got || err != nil {
			t.Fatal(i, f, err)
		}
		if rec.Position != pos || rec.Sequence != uint64(i) || rec.Level != int16(i) || rec.Mono != int64(i) || rec.Wall != int64(2*i) ||
			string(rec.Writer) != name || string(rec.Key) != "key" || string(rec.Data) != data {
			t.Fatalf("record %d: %+v", i, rec)
		}
	}
	if rx.Skipped != (Skipped{}) {
		t.Errorf("%+v", rx.Skipped)
	}
	r.sound()
}

func TestALappedReaderIsToldExactlyWhatItLost(t *testing.T) {
	r := newRig(t, small(Overwrite))
	tx := r.tx(0x101)
	rx := r.rx(0x303)
	size, got := uint64(0), uint64(0)
	for i := range 5000 {
		data := strings.Repeat("y", i%500)
		size += uint64(len(data))
		if _, err := tx.Append([]byte(data), 0, nil, prefix("n", "")); err != nil {
			t.Fatal(err)
		}
		if i%997 == 996 {
			var rec Record
			for f, err := rx.Next(&rec, true); f == Got; f, err = rx.Next(&rec, true) {
				if err != nil {
					t.Fatal(err)
				}
				got++
				size -= uint64(len(rec.Data))
				if rec.Sequence != got+rx.Lost-1 {
					t.Fatalf("sequence %d after %d and %d lost", rec.Sequence, got, rx.Lost)
				}
			}
			if got+rx.Lost != uint64(i+1) || rx.LostBytes != size {
				t.Fatalf("after %d: %d, lost %d, %d bytes, not %d", i+1, got, rx.Lost, rx.LostBytes, size)
			}
		}
	}
	r.sound()
}

func TestRejectModeHoldsWhatAReaderDidNotPass(t *testing.T) {
	r := newRig(t, small(Reject))
	tx := r.tx(0x101)
	rx := r.rx(0x303)
	if err := rx.Register(true); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		_, err := tx.Append(fmt.Append(nil, "record ", n), 0, nil, prefix("n", ""))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != MinCells {
		t.Errorf("full after %d", n)
	}
	if got := r.all(rx); !slices.Equal(got, numbers(0, n)) {
		t.Fatalf("read %d: %q...", len(got), got[0])
	}
	if _, err := tx.Append([]byte("more"), 0, nil, prefix("n", "")); err != nil {
		t.Error(err)
	}
	r.sound()
}

func TestTheLastWriterOutOpensTheOthersData(t *testing.T) {
	r := newRig(t, small(Overwrite))
	rx := r.rx(0x303)
	first, err := r.tx(0x101).Reserve(10, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := r.tx(uint32(0x200+i)).Append(fmt.Append(nil, "record ", i), 0, nil, prefix("n", "")); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.all(rx); got != nil {
		t.Fatalf("read %q before the oldest was finished", got)
	}
	tx := r.tx(0x101)
	copy(r.log.Data(first, 0), "oldest")
	if err := tx.Finish(first, Header{}, new(Prefix), 6); err != nil {
		t.Fatal(err)
	}
	if got := r.all(rx); !slices.Equal(got, append([]string{"oldest"}, numbers(0, 5)...)) {
		t.Errorf("%q", got)
	}
}

func TestAStoppedWriterIsLappedAndItsCellsStayOutOfUse(t *testing.T) {
	r := newRig(t, small(Overwrite))
	slow, fast := r.tx(0x101), r.tx(0x202)
	c, err := slow.Reserve(1000, 1000)
	if err != nil {
		t.Fatal(err)
	}
	held := r.log.Data(c, 0)
	for i := range held {
		held[i] = 0xAA
	}
	for i := range 3000 {
		if _, err := fast.Append([]byte(strings.Repeat("z", i%700)), 0, nil, prefix("fast", "")); err != nil {
			t.Fatal(i, err)
		}
	}
	for i := range held {
		if held[i] != 0xAA {
			t.Fatal("somebody wrote into an open reservation")
		}
	}
	in, err := r.log.Info()
	if err != nil || in.OutOfUse != c.cells || in.Holes != 1 {
		t.Errorf("%+v, %v", in, err)
	}
	if err := slow.Commit(c); !errors.Is(err, ErrLapped) {
		t.Errorf("late commit: %v", err)
	}
	for range 300 {
		if _, err := fast.Append([]byte("z"), 0, nil, prefix("fast", "")); err != nil {
			t.Fatal(err)
		}
	}
	if in, _ := r.log.Info(); in.OutOfUse != 0 {
		t.Errorf("%d cells are still out of use", in.OutOfUse)
	}
	r.sound()
}

func TestADeadWritersRecordIsSealed(t *testing.T) {
	r := newRig(t, small(Overwrite))
	if _, err := r.tx(0x101).Reserve(100, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := r.tx(0x202).Append([]byte("after"), 0, nil, prefix("n", "")); err != nil {
		t.Fatal(err)
	}
	rx := r.rx(0x303)
	var rec Record
	if f, _ := rx.Next(&rec, true); f != Unfinished || rx.Owner != 0x101 {
		t.Fatalf("found %v of %#x", f, rx.Owner)
	}
	r.status[0x101] = Dead
	if got := r.all(rx); !slices.Equal(got, []string{"after"}) || rx.Tombs != 1 {
		t.Errorf("%q, %+v", got, rx.Skipped)
	}
	r.sound()
}
