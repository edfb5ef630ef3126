package cells

import (
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

// The offsets of docs/format.md, section 5: what these tests hold fixed is what
// other programs rely on.
func TestOffsetsAreThoseOfTheFormat(t *testing.T) {
	for _, c := range []struct {
		what       string
		have, want uint64
	}{
		{"config", ringConfig, 0x008}, {"low", ringLow, 0x040}, {"pub", ringPub, 0x080}, {"echo", ringEcho, 0x088}, {"echo's second line", ringEcho + 8*echoSecond, 0x0C0}, {"end", ringEnd, 0x1C0},
		{"readWait", ringRead, 0x100}, {"roomWait", ringRoom, 0x108}, {"tokenWait", ringToken, 0x110}, {"gone", ringGone, 0x118}, {"roomAt", ringRoomAt, 0x120},
		{"slots", ringSlots, 0x140}, {"maker", ringMaker, 0x148}, {"blocked", ringBlock, 0x180},
		{"groups", ringGroups, 0x200}, {"group size", groupSize, 0x100}, {"slot 0", ringSlot0, 0x1000}, {"slot size", slotSize, 0xC0},
		{"headers", ringHeads, 0x4000}, {"slot cursor", slotCursor, 0x40}, {"slot bell", slotBell, 0x80},
		{"group rclaim", groupRclaim, 0x40}, {"group rdone", groupRdone, 0x80}, {"group name", groupName, 0xC0},
		{"cell", CellSize, 64},
		{"size of 16 cells", uint64(Size(Config{Cells: 16})), 0x5000 + 16*64},
		{"size of 1024 cells, 4 groups", uint64(Size(Config{Cells: 1024, Groups: 4})), 0x4000 + 1024*16 + 4*1024*8 + 1024*64},
	} {
		if c.have != c.want {
			t.Errorf("%s is at %#x, want %#x", c.what, c.have, c.want)
		}
	}
	if ringSlot0+MaxSlots*slotSize > ringHeads || ringGroups+MaxGroups*groupSize > ringSlot0 {
		t.Error("parts of the area overlap")
	}
}

func TestWordsAreThoseOfTheFormat(t *testing.T) {
	for _, c := range []struct {
		what       string
		have, want uint64
	}{
		{"tag", ringMagic, uint64('R') | 'S'<<8 | 'T'<<16 | 'R'<<24 | 'E'<<32 | 'A'<<40 | 'M'<<48 | 1<<56},
		{"config", Config{Cells: 1024, Groups: 4}.pack(), 10 | 4<<8 | 1<<15},
		{"pub", packPub(5, 0x12345), 5<<20 | 0x12345},
		{"echo", packEcho(5, 104), 5<<20 | 1<<8 | 104},
		{"end", packEnd(5, EndDead), 5<<2 | 2},
		{"claim", uint64(packClaim(claimHeld, ModeShared, 3, 4, 5, 6)), 1 | 3<<2 | 3<<5 | 4<<9 | 5<<24 | 6<<44},
		{"cursor", uint64(packCursor(curHold, 3, 5)), 1 | 3<<2 | 5<<20},
		{"claim of a message", uint64(packClaimed(20, stAgain, 7)), 7 | 2<<20 | 5<<22},
		{"group", uint64(packGroup(groupOpen, 3, 4, 5)), 2 | 3<<2 | 4<<22 | 5<<42},
	} {
		if c.have != c.want {
			t.Errorf("%s is %#x, want %#x", c.what, c.have, c.want)
		}
	}
}

// Positions are compared by distance: a ring goes on where they wrap.
func TestPositionsWrap(t *testing.T) {
	r := newRig(t, 16, 1)
	start := uint64(1)<<posBits - 48
	r.ring.pub.Store(packPub(start, 0))
	r.ring.low.Store(start)
	mem.U64(r.area, ringHeads+15*16+8).Store(numberPad | 7)
	for i := range r.ring.groups[0].claims {
		r.ring.groups[0].claims[i].Store(uint64(packClaimed(start-16, stFin, 0)))
	}
	x, hold, late := r.tx(), r.rx(ModeHold, false), r.rx(ModeLapped, true)
	g := r.shared("g", false)
	for n := uint64(7); n < 107; n++ {
		if !x.Send(numbered(n, 8+int(n%9)*64), false) {
			t.Fatalf("no room for message %d", n)
		}
		for _, rd := range []*Rx{hold, late} {
			if got, lost, st, err := rd.get(n); got != n || lost != 0 || st != Got || err != nil {
				t.Fatal(n, got, lost, st, err)
			}
		}
		var rec Record
		if st := g.Poll(&rec); st != Got || rec.Number != n || !g.Done(&rec) {
			t.Fatal(n, st, rec.Number, g.Err())
		}
		r.sound()
	}
	if p := r.ring.Published(); p > 1<<20 {
		t.Errorf("published up to %#x: it did not wrap", p)
	}
}
