package cells

import (
	"bytes"
	"testing"
)

// A reader that has read all takes small messages from the echo: there it is
// given other bytes than in the cells, so that one sees which it read.
func TestWhoWaitsReadsTheEcho(t *testing.T) {
	r := newRig(t, 64, 0)
	x, hold := r.tx(), r.rx(ModeHold, false)
	x.Echo = true
	var rec Record
	for size := range 130 {
		b := bytes.Repeat([]byte{byte(size + 1)}, size)
		at := x.head
		if !x.Send(b, false) {
			t.Fatal("no room")
		}
		in, _ := r.ring.span(at, uint64(size))
		clear(in)
		st := hold.Poll(&rec)
		if st != Got || rec.Number != uint64(size) || rec.Len() != size {
			t.Fatal(size, st, rec.Number, rec.Len())
		}
		if echoed := bytes.Equal(rec.Bytes(), b); echoed != (size <= EchoSize) {
			t.Errorf("%d bytes: echoed %v", size, echoed)
		}
		hold.Release(&rec)
		r.sound()
	}
	// Who is behind reads what lies in the cells.
	for n := range uint64(3) {
		x.Send(numbered(130+n, 64), false)
	}
	for n := range uint64(3) {
		if got, _, st, err := hold.get(130 + n); st != Got || err != nil || got != 130+n {
			t.Fatal(got, st, err)
		}
	}
}

// What a writer echoed that died before it published is not taken for what the
// next one publishes there.
func TestNobodyHearsTheDead(t *testing.T) {
	r := newRig(t, 64, 0)
	dead, hold := r.tx(), r.rx(ModeHold, false)
	dead.repeat(numbered(99, 64))
	r.ring.Recover(dead.owner, false, bell)
	heir := r.tx()
	heir.Send(numbered(0, 64), false)
	if got, _, st, err := hold.get(0); st != Got || err != nil || got != 0 {
		t.Fatal(got, st, err)
	}
}

func TestAnEchoOfGarbage(t *testing.T) {
	r := newRig(t, 64, 0)
	x, hold := r.tx(), r.rx(ModeHold, false)
	x.Echo = true
	for n, c := range []struct{ word, value uint64 }{
		{echoStamp, packEcho(x.head, 105)}, {echoStamp, packEcho(x.head+1, 255)}, {echoStamp, ^uint64(0)},
		{echoStamp, packEcho(x.head+3, 104)}, {echoNumber, 1 << 62}, {echoNumber, 0},
	} {
		if !x.Send(numbered(uint64(n), 64), false) {
			t.Fatal("no room")
		}
		r.ring.echo[c.word].Store(c.value)
		got, _, st, err := hold.get(uint64(n))
		if st != Got || err != nil || got != uint64(n) {
			t.Fatal(n, got, st, err)
		}
	}
}

// A writer that is content with nothing less than a quarter of the ring is not
// rung before that is free.
func TestWhoWantsMuchRoomIsNotRungForLittle(t *testing.T) {
	r := newRig(t, 64, 1)
	x, hold, g := r.tx(), r.rx(ModeHold, false), r.shared("g", false)
	for n := uint64(0); x.Send(numbered(n, 64), false); n++ {
	}
	rung := x.Bell().Word
	x.Announce(64, true)
	var rec Record
	read := func(n uint64) {
		if got, _, st, err := hold.get(n); st != Got || err != nil || got != n {
			t.Fatal(got, st, err)
		}
		if st := g.Poll(&rec); st != Got || !g.Done(&rec) {
			t.Fatal(st)
		}
	}
	for n := range uint64(15) {
		read(n)
	}
	if rung.Load() != 0 {
		t.Error("rung for 15 cells of 64")
	}
	if read(15); rung.Load() == 0 {
		t.Error("not rung for 16")
	}
}
