package cells

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

// A peer may write anything anywhere. Whatever it writes, we return: no panic,
// no endless loop, no access outside of the area. Inputs are lists of writes.

const writeSize = 11

// garbled is a ring that a hostile peer writes to.
type garbled struct {
	*rig
	writes []byte
	sum    byte
}

// scribble makes the next n writes: {kind, offset / 8, value}.
func (g *garbled) scribble(n int) bool {
	for ; n > 0 && len(g.writes) >= writeSize; n-- {
		w := g.writes[:writeSize]
		g.writes = g.writes[writeSize:]
		off := int(binary.LittleEndian.Uint16(w[1:])) * 8 % (ringHeads + 16*headWords*8 + 16*8)
		value := binary.LittleEndian.Uint64(w[3:])
		if w[0]&2 != 0 { // near what is there
			value = mem.U64(g.area, off).Load() + uint64(int8(w[3]))<<(w[4]&63)
		}
		if w[0]&4 != 0 && off >= ringSlot0 { // the words that matter are few
			off = ringPub + off%(ringHeads-ringSlot0)/8%64*8
		}
		mem.U64(g.area, off).Store(value)
	}
	return len(g.writes) >= writeSize
}

// use does all that parties do, a few times.
func (g *garbled) use(x *Tx, rds []*Rx, s *Shared) {
	b := numbered(1, 300)
	var rec Record
	for range 6 {
		if x.Take() != Taken {
			if o, _ := g.ring.Writer(); o != 0 {
				g.ring.Recover(o, false, bell)
			}
		}
		x.Send(b, false)
		x.Reserve(200)
		x.Commit(200, g.sum&1 != 0)
		x.Room(900)
		x.Sweep()
		for _, k := range x.Blockers(900) {
			x.Fence(k)
		}
		g.scribble(1)
		for _, rd := range rds {
			st := rd.Poll(&rec)
			if st == Got {
				for _, c := range rec.Bytes() {
					g.sum += c
				}
				rd.Release(&rec)
			}
			if st == Fenced {
				rd.Rejoin()
			}
			rd.Announce()
			rd.Waiting()
			rd.TakeLost()
		}
		if s.Poll(&rec) == Got {
			for _, c := range rec.Bytes() {
				g.sum += c
			}
			g.scribble(1)
			if g.sum&2 != 0 {
				s.Return(&rec)
			} else {
				s.Done(&rec)
			}
		}
		s.Waiting()
		s.Unfinished()
		s.HandBack(0x105)
	}
}

func hostile(t testing.TB, data []byte) {
	g := &garbled{rig: newRig(t, 16, 2), writes: data}
	x := OpenTx(g.slot(ModeWriter))
	x.Echo = true
	rds := []*Rx{g.rx(ModeHold, true), g.rx(ModeLapped, true), g.rx(ModeHold, false)}
	s := g.shared("g", true)
	g.use(x, rds, s)
	for more := true; more; {
		more = g.scribble(3)
		g.use(x, rds, s)
		if ring, err := Open(g.area); err == nil {
			ring.Verify()
			ring.Inspect()
			ring.Recover(0x104, g.sum&4 != 0, bell)
			if late, err := ring.JoinGroup(0x1ff, "late", true, bell); err == nil {
				late.Poll(new(Record))
				late.Leave()
			}
			if slot, err := ring.Join(0x1fe, ModeHold, bell); err == nil {
				if rd, err := OpenRx(slot, true); err == nil {
					rd.Poll(new(Record))
					rd.Leave()
				}
			}
		}
	}
	for _, rd := range rds {
		rd.Leave()
	}
	s.Leave()
	x.End()
}

func FuzzHostileRing(f *testing.F) {
	f.Add([]byte{})
	for i := range 40 {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		b := make([]byte, writeSize*(1+i))
		for k := range b {
			b[k] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { hostile(t, data) })
}

// The same, with far more inputs than the corpus has.
func TestHostileBytesHarmNobody(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, writeSize*20)
		for k := range b {
			b[k] = byte(r.Uint32())
		}
		hostile(t, b)
	}
}
