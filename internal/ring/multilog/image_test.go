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

// Writers that died over all of a log leave nothing to be read, and the words of
// old records in the middle of their claims: that is no damage.
func TestImageWithoutARecordIsWhole(t *testing.T) {
	r := newRig(t, small(Overwrite))
	a, b := r.tx(0x101), r.tx(0x202)
	r.fill(a, 200, 1)
	image := func(want Skipped) {
		t.Helper()
		r.sound()
		rx, rec := r.log.NewImageRx(), Record{}
		if found, err := rx.Next(&rec, true); found != End || err != nil || rx.Skipped != want {
			t.Errorf("%v, %v at %d; %+v", found, err, rx.Pos, rx.Skipped)
		}
	}
	var claims [2]Claim
	for i := range claims {
		c, err := b.Reserve(128*CellSize-headerSize, 128*CellSize-headerSize)
		must(t, err)
		claims[i] = c
	}
	image(Skipped{Tombs: 2})
	for _, c := range claims {
		must(t, b.Abort(c))
	}
	image(Skipped{})
	// All was given up, and who did it died before its claim.
	r.log.room.Store(uint64(packRoom(claims[1].Pos+128, 0)))
	image(Skipped{})
	r.log.room.Store(uint64(packRoom(claims[1].Pos+127, 0)))
	if rx := r.log.NewImageRx(); rx.Corrupt != 1 || rx.Pos == claims[1].Pos+127 {
		t.Errorf("a room word that cannot be passes for one: %d, %+v", rx.Pos, rx.Skipped)
	}
}
