package multilog

import (
	"testing"
)

// Whoever made the image: the time that it takes is bounded by its size.
func TestImageWhoseRecordsAreALapApartEach(t *testing.T) {
	const cells = 1 << 12
	r := newRig(t, Config{Cells: cells, Mode: Overwrite})
	for i := range uint64(cells) {
		r.log.states[i].Store(uint64(packState(1+i, stReady, 1, 1)))
	}
	rx := r.log.NewImageRx()
	for range 2 { // a seek begins anew
		var rec Record
		found, records := Got, 0
		for ; found != End; records++ {
			var err error
			if found, err = rx.Next(&rec, true); err != nil {
				t.Fatal(err)
			}
		}
		if records < 2 || records > 16 || rx.Corrupt > 16 {
			t.Errorf("%d records, and %d times it went on after damage", records, rx.Corrupt)
		}
		if err := rx.SeekLast(3); err != nil {
			t.Fatal(err)
		}
		if rx.Pos/cells > 16 {
			t.Errorf("the seek ended in lap %d", rx.Pos/cells)
		}
		if err := rx.SeekFirst(); err != nil {
			t.Fatal(err)
		}
	}
}

// Most of what an image says it has may be zeros: looking for records in them
// makes no garbage.
func TestImageOfZerosIsReadWithoutGarbage(t *testing.T) {
	r := newRig(t, Config{Cells: 1 << 14, Mode: Overwrite})
	r.log.room.Store(0)
	if n := testing.AllocsPerRun(3, func() { r.log.NewImageRx() }); n > 100 {
		t.Errorf("%v allocations", n)
	}
}
