package fanout

import (
	"encoding/binary"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// A peer may write anything anywhere. Whatever it writes, we return: no panic,
// no endless loop, no access outside of the areas. Inputs are lists of writes.

// garbled is a topic and a lane that a hostile peer writes to.
type garbled struct {
	*rig
	areas  [2][]byte
	writes []byte
	turn   int
}

const writeSize = 11

func newGarbled(t testing.TB, data []byte) (*garbled, Config) {
	g := &garbled{writes: data}
	c := Config{Depth: 4, MaxMessage: 112, Holds: 12, Loans: 1}
	if len(data) > 0 {
		c.Depth = 1 << (data[0] & 3)
		c.LatestOnly = data[0]&4 != 0
		if data[0]&8 != 0 {
			c.MaxMessage = 8
		}
		g.writes = data[1:]
	}
	g.areas = [2][]byte{mem.Alloc(TopicSize), mem.Alloc(int(LaneSize(c)))}
	if err := FormatTopic(g.areas[0]); err != nil {
		t.Fatal(err)
	}
	topic, err := OpenTopic(g.areas[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topic.Agree(c); err != nil {
		t.Fatal(err)
	}
	if err := FormatLane(g.areas[1], 0, c); err != nil {
		t.Fatal(err)
	}
	lane, err := OpenLane(g.areas[1], 0, c)
	if err != nil {
		t.Fatal(err)
	}
	g.rig = &rig{t: t, topic: topic, lane: lane}
	return g, c
}

// scribble makes the next n writes: {area and word size, offset / 8, value}.
func (g *garbled) scribble(n int) (more bool) {
	for ; n > 0 && len(g.writes) >= writeSize; n-- {
		w := g.writes[:writeSize]
		g.writes = g.writes[writeSize:]
		area := g.areas[w[0]&1]
		off := int(binary.LittleEndian.Uint16(w[1:])) * 8 % len(area)
		value := binary.LittleEndian.Uint64(w[3:])
		if w[0]&2 != 0 { // near what is there
			value = mem.U64(area, off).Load() + uint64(int8(w[3]))<<(w[4]&63)
		}
		mem.U64(area, off).Store(value)
	}
	return len(g.writes) >= writeSize
}

// use does all that parties do in a topic and a lane that may hold anything.
func (g *garbled) use(area []byte, c Config) {
	topic, err := OpenTopic(area)
	if err != nil {
		return
	}
	_, _ = topic.Agree(c)
	_, _, _ = topic.Config()
	topic.AgreeType(7)
	for k := range MaxLanes {
		topic.LaneRef(k)
	}
	lane, err := OpenLane(g.areas[1], 0, c)
	if err != nil {
		return
	}
	only := func(k int) *Lane {
		if k == 0 {
			return lane
		}
		return nil
	}
	look := func() {
		topic.Verify()
		topic.Subscribers()
		lane.Verify(topic)
		lane.Inspect(topic)
		lane.Name()
	}
	look()
	g.receive(topic, lane, only)
	g.publish(topic, lane)
	g.receive(topic, lane, only)
	for _, owner := range []uint32{0, pubOwner, subOwner, 1<<20 - 1} {
		topic.Recover(owner, owner == subOwner, only, g.ring)
	}
	look()
}

func (g *garbled) receive(topic *Topic, lane *Lane, only func(int) *Lane) {
	for i, mode := range []Mode{ModeDefault, ModeReliable, ModeLatest} {
		slot, err := topic.Join(subOwner, mode, 2)
		if err != nil {
			continue
		}
		_ = slot.CheckCredit()
		if rx, err := OpenRx(slot, lane, i*2, i == 1, g.ring); err == nil {
			g.poll(rx, 12)
		}
		slot.Leave(only, g.ring)
	}
}

// poll receives at most n times.
func (g *garbled) poll(rx *Rx, n int) {
	var recs [2]Record
	recs[1].Init(1)
	for i := range n {
		rec := &recs[i%2]
		switch rx.Poll(rec) {
		case Got:
			if rec.Lent && uint64(len(rec.Data)) > rx.lane.size || len(rec.Data) != cap(rec.Data) {
				g.t.Errorf("%d bytes, with room for %d", len(rec.Data), cap(rec.Data))
			}
			if rec.Lent && len(rec.Data) > 0 && &rec.Data[0] != &rx.lane.pool[uint64(rec.desc)*rx.lane.size] {
				g.t.Error("data outside of the descriptor")
			}
			for _, b := range rec.Data {
				g.turn += int(b)
			}
			if i%3 == 0 {
				rx.Keep(rec)
			}
			rx.Released(rec.Pos)
		case Fenced:
			rx.Rejoin(rec)
		case Evicted:
			return
		case Empty:
			rx.Announce()
			rx.Waiting()
			rx.Ended()
		}
	}
}

func (g *garbled) publish(topic *Topic, lane *Lane) {
	x, ok := OpenTx(topic, lane, pubOwner, "name", 1, 1, g.ring)
	if !ok {
		return
	}
	big := make([]byte, min(112, lane.config.MaxMessage))
	for i := range 12 {
		x.Send(big[:min(i*8, len(big))], int64(i))
		x.SendBatch([][]byte{big, nil, big}, 0)
		if d, _, ok := x.Loan(); ok && !x.SendLoan(d, 9, 0) {
			x.Return(d)
		}
		if !x.Room() {
			for _, b := range x.Blockers() {
				if i%2 == 0 {
					x.Fence(b)
				}
			}
		}
		x.Park()
		x.Unpark()
	}
	x.Ready(func(owner uint32) bool { return owner%2 == 0 })
	x.Close()
}

// word is one write of an input.
func word(area byte, off int, value uint64) []byte {
	b := []byte{area, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.LittleEndian.PutUint16(b[1:], uint16(off/8))
	binary.LittleEndian.PutUint64(b[3:], value)
	return b
}

func seed(config byte, words ...[]byte) []byte {
	b := []byte{config}
	for _, w := range words {
		b = append(b, w...)
	}
	return b
}

func addSeeds(f *testing.F) {
	f.Add([]byte{})
	f.Add(seed(2))
	const top = ^uint64(0)
	for _, config := range []byte{0, 2, 6, 10} {
		f.Add(seed(config, word(1, laneLimit, top), word(1, laneLimit, 1<<62)))
		f.Add(seed(config, word(1, laneLimit, 1<<39), word(1, laneOwner, top)))
		for i := range 2 {
			e := laneRing + i*entrySize
			f.Add(seed(config, word(1, e, ready(uint64(i))), word(1, e+8, packInfo(1<<31, 3, 1))))
			f.Add(seed(config, word(1, e, ready(uint64(i))), word(1, e+8, packInfo(113, noDescriptor, 0))))
			f.Add(seed(config, word(1, e, ready(uint64(i))), word(1, e+8, packInfo(100, 1<<24-2, 0))))
			f.Add(seed(config, word(1, e, ready(uint64(i+4096))), word(1, laneLimit, 4097)))
			f.Add(seed(config, word(1, e, top), word(1, e, top-1), word(1, e, 1)))
		}
		f.Add(seed(config, word(0, topicSlots, top), word(0, topicLanes, top), word(0, topicTable, top)))
		f.Add(seed(config, word(0, topicConfig, top), word(0, topicSlot0, top), word(0, topicSlot0+slotSize, 1|31<<5)))
		f.Add(seed(config, word(1, laneCursors, uint64(packCursor(curActive, 1, 7))), word(0, topicSlots, 1), word(0, topicSlot0, uint64(packClaim(claimHeld, 0, 16, 1, 5)))))
		f.Add(seed(config, word(1, laneCursors, uint64(packCursor(curFenced, 1, 1<<39))), word(1, laneCursors+curFence, top), word(1, laneCursors+curHolds, 1<<32|0xFFFFFFFF)))
	}
}

// FuzzLaneBytes writes before anybody looks.
func FuzzLaneBytes(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			data = data[:4096]
		}
		g, c := newGarbled(t, data)
		for g.scribble(1 << 20) {
		}
		g.use(g.areas[0], c)
	})
}

// FuzzLiveLane writes while a publisher and two subscribers are at work: one
// write at each of their steps where there are crash points, else between
// their calls.
func FuzzLiveLane(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			data = data[:4096]
		}
		g, _ := newGarbled(t, data)
		x := g.tx()
		var readers []*Rx
		for _, mode := range []Mode{ModeDefault, ModeLatest} {
			slot, err := g.topic.Join(subOwner, mode, 2)
			if err != nil {
				t.Fatal(err)
			}
			rx, err := OpenRx(slot, g.lane, 0, false, g.ring)
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, rx)
		}
		invariant.SetHook(func(string) { g.scribble(1) })
		defer invariant.SetHook(nil)
		big := make([]byte, min(112, g.lane.config.MaxMessage))
		for i := range 40 {
			x.SendBatch([][]byte{big, nil}, 1)
			for _, rx := range readers {
				g.poll(rx, 2)
			}
			if !x.Room() {
				for _, b := range x.Blockers() {
					x.Fence(b)
				}
			}
			if i%10 == 9 {
				g.topic.Recover(subOwner, false, g.only, g.ring)
			}
			if !g.scribble(1) && i > 10 {
				break
			}
		}
		x.Close()
	})
}
