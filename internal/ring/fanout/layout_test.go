package fanout

import (
	"encoding/binary"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

// The layout of docs/format.md, sections 2 and 3, in figures: whoever changes a
// number here changes the format, and its version.

func TestOffsetsAndSizes(t *testing.T) {
	for _, c := range []struct {
		name       string
		have, want uint64
	}{
		{"topic tag", topicTag, 0x000}, {"topic config", topicConfig, 0x008}, {"topic type", topicType, 0x010},
		{"topic lanes", topicLanes, 0x040}, {"topic slots", topicSlots, 0x080}, {"topic table", topicTable, 0x100},
		{"topic slot 0", topicSlot0, 0x400}, {"topic slot size", slotSize, 192}, {"topic size", TopicSize, 0x3400},
		{"slot claim", slotClaim, 0x00}, {"slot lost", slotLost, 0x08}, {"slot bell", slotBell, 0x40}, {"slot bell reference", slotRef, 0x44},

		{"lane tag", laneTag, 0x000}, {"lane depth", laneDepth, 0x008}, {"lane descriptors", laneCount, 0x00C},
		{"lane descriptor size", laneSlotSize, 0x010}, {"lane max message", laneMax, 0x018}, {"lane ring offset", laneRingOff, 0x020},
		{"lane pool offset", lanePoolOff, 0x028}, {"lane number", laneNumber, 0x030}, {"lane owner", laneOwner, 0x040},
		{"lane since", laneSince, 0x048}, {"lane limit", laneLimit, 0x080}, {"lane waiters", laneWaiters, 0x0C0},
		{"lane park", lanePark, 0x0C8}, {"lane bell", laneBell, 0x100}, {"lane bell reference", laneRef, 0x104},
		{"lane bytes", laneBytes, 0x140}, {"lane blocked", laneBlocked, 0x148}, {"lane name", laneName, 0x180},
		{"lane cursors", laneCursors, 0x200}, {"cursor size", laneCurSize, 192}, {"index ring", laneRing, 0x4000},
		{"fence word", curFence, 0x08}, {"hold words", curHolds, 0x40}, {"name size", nameSize, 128},
		{"entry size", entrySize, 128}, {"entry's second line, words", secondLine, 8}, {"inline in the first line", firstLine, 40},
		{"inline payload", InlineSize, 104}, {"no descriptor", noDescriptor, 0xFFFFFF},

		{"lanes", MaxLanes, 16}, {"slots", MaxSlots, 64}, {"records", MaxRecords, 16}, {"most depth", MaxDepth, 1 << 20},
		{"most message", MaxMessage, 1 << 30}, {"most holds", MaxHolds, 511}, {"most loans", MaxLoans, 255},
		{"line", mem.Line, 64}, {"page", mem.Page, 4096},

		{"claim FREE", claimFree, 0}, {"claim HELD", claimHeld, 1}, {"claim LEAVING", claimLeaving, 2},
		{"cursor OUT", curOut, 0}, {"cursor ACTIVE", curActive, 1}, {"cursor FENCED", curFenced, 2}, {"cursor LATEST", curLatest, 3},
		{"lane NEW", LaneNew, 0}, {"lane OPENING", LaneOpening, 1}, {"lane OPEN", LaneOpen, 2},
		{"lane CLOSED", LaneClosed, 3}, {"lane DEAD", LaneDead, 4}, {"lane RETIRED", LaneRetired, 5},
		{"mode of the topic", uint64(ModeDefault), 0}, {"mode reliable", uint64(ModeReliable), 1}, {"mode latest", uint64(ModeLatest), 2},
		{"flag time", flagTime, 1},
	} {
		if c.have != c.want {
			t.Errorf("%s: %#x, the format says %#x", c.name, c.have, c.want)
		}
	}
}

func TestBitFieldsOfWords(t *testing.T) {
	full := Config{Depth: 1 << 20, MaxMessage: 1 << 30, Holds: 511, Loans: 255, LatestOnly: true}
	for _, c := range []struct {
		name       string
		have, want uint64
	}{
		{"config", Config{Depth: 256, MaxMessage: 16384, Holds: 128, Loans: 4}.pack(), 0x00004000_0004_4048},
		{"config, least", Config{Depth: 1, Holds: 1, Loans: 1}.pack(), 0x00000000_0001_00C0},
		{"config, most", full.pack(), 0x40000000_00FF_FFF4},
		{"config, latest-only", Config{Depth: 1, LatestOnly: true}.pack(), 0x60},

		{"claim, state", uint64(packClaim(7, 0, 0, 0, 0)), 7},
		{"claim, mode", uint64(packClaim(0, 3, 0, 0, 0)), 3 << 3},
		{"claim, records", uint64(packClaim(0, 0, 31, 0, 0)), 31 << 5},
		{"claim, generation", uint64(packClaim(0, 0, 0, 1<<21-1, 0)), 0x1FFFFF << 10},
		{"claim, generation wraps", uint64(packClaim(0, 0, 0, 1<<21, 0)), 0},
		{"claim, owner", uint64(packClaim(0, 0, 0, 0, 1<<20-1)), 0xFFFFF << 31},
		{"claim", uint64(packClaim(claimHeld, ModeLatest, 16, 5, 0xABCDE)), 0x00055E6F_0000_1611},

		{"cursor, state", uint64(packCursor(7, 0, 0)), 7},
		{"cursor, generation", uint64(packCursor(0, 1<<21-1, 0)), 0x1FFFFF << 3},
		{"cursor, position", uint64(packCursor(0, 0, 1<<40-1)), 0xFFFFFFFFFF << 24},
		{"cursor, position wraps", uint64(packCursor(0, 0, 1<<40+3)), 3 << 24},
		{"cursor", uint64(packCursor(curFenced, 9, 0x123456789A)), 0x123456789A_00004A},

		{"owner, state", uint64(packOwned(7, 0, 0)), 7},
		{"owner, generation", uint64(packOwned(0, 1<<21-1, 0)), 0x1FFFFF << 3},
		{"owner, owner", uint64(packOwned(0, 0, 1<<20-1)), 0xFFFFF << 24},
		{"owner", uint64(packOwned(LaneOpen, 3, 0xABCDE)), 0xABCDE_00001A},

		{"hold word", holdWord(0x1FFFFF, 41), 0x001FFFFF_0000002A},
		{"hold word of descriptor 0", holdWord(1, 0), 0x1_00000001},

		{"info", packInfo(1<<30, 0xFFFFFE, 1), 0x40000000_FFFFFE_01},
		{"info, inline", packInfo(104, noDescriptor, 0), 0x00000068_FFFFFF_00},

		{"READY(0)", ready(0), 2}, {"BUSY(0)", busy(0), 3}, {"READY(7)", ready(7), 16}, {"BUSY(7)", busy(7), 17},
	} {
		if c.have != c.want {
			t.Errorf("%s: %#x, the format says %#x", c.name, c.have, c.want)
		}
	}
}

// What is packed comes out again, whatever the other fields are.
func TestFieldsOfWordsReadBack(t *testing.T) {
	for _, gen := range []uint64{0, 1, 1<<21 - 1} {
		for _, owner := range []uint32{0, 1, 1<<20 - 1} {
			for s := range 8 {
				o := packOwned(s, gen, owner)
				if o.state() != s || o.gen() != gen || o.owner() != owner {
					t.Errorf("owner %d %d %d: %#x", s, gen, owner, uint64(o))
				}
				c := packClaim(s, Mode(s%4), s+9, gen, owner)
				if c.state() != s || c.mode() != Mode(s%4) || c.records() != s+9 || c.gen() != gen || c.owner() != owner {
					t.Errorf("claim %d %d %d: %#x", s, gen, owner, uint64(c))
				}
				if w := c.with(claimLeaving); w.state() != claimLeaving || w.with(s) != c {
					t.Errorf("claim %#x in another state: %#x", uint64(c), uint64(w))
				}
			}
		}
		for _, pos := range []uint64{0, 1, 1<<40 - 1, 1 << 40, 1<<40 + 5, 1 << 60} {
			for _, off := range []int64{-1 << 20, -1, 0, 1, 1 << 20} {
				near := pos + uint64(off)
				if c := packCursor(curActive, gen, pos); c.pos(near) != pos || c.gen() != gen || c.state() != curActive {
					t.Errorf("cursor %d near %d: %d", pos, near, c.pos(near))
				}
			}
		}
	}
	if claim(31<<5).records() != MaxRecords {
		t.Error("a claim names more records than there are hold words")
	}
	for _, pos := range []uint64{0, 1, 1 << 40, 1<<62 - 1} {
		if stampPos(ready(pos)) != pos || stampPos(busy(pos)) != pos {
			t.Errorf("stamps of %d name %d and %d", pos, stampPos(ready(pos)), stampPos(busy(pos)))
		}
	}
	w := packInfo(1<<30, 0xABCDEF, flagTime)
	if infoLength(w) != 1<<30 || infoDesc(w) != 0xABCDEF {
		t.Errorf("info %#x", w)
	}
	for depth := 1; depth <= MaxDepth; depth *= 2 {
		c := Config{Depth: depth, MaxMessage: depth * 7, Holds: 511, Loans: 255, LatestOnly: depth%3 == 1}
		if got, ok := unpackConfig(c.pack()); !ok || got != c {
			t.Errorf("config %+v became %+v, %v", c, got, ok)
		}
	}
	if _, ok := unpackConfig(0); ok {
		t.Error("zero is a config")
	}
}

func TestShapeOfALane(t *testing.T) {
	for _, c := range []struct {
		config                       Config
		chunk, descriptors           int
		descriptorSize, pool, length uint64
	}{
		{Config{Depth: 1, MaxMessage: 104, Holds: 1, Loans: 1}, 1, 0, 128, 0x5000, 0x5000},
		{Config{Depth: 1, MaxMessage: 105, Holds: 1, Loans: 1}, 1, 4, 128, 0x5000, 0x5000 + 4*128},
		{Config{Depth: 8, MaxMessage: 512, Holds: 8, Loans: 2}, 2, 20, 512, 0x5000, 0x5000 + 20*512},
		{Config{Depth: 32, MaxMessage: 4095, Holds: 1, Loans: 1}, 8, 42, 4096, 0x5000, 0x5000 + 42*4096},
		{Config{Depth: 256, MaxMessage: 4097, Holds: 128, Loans: 4}, 64, 404, 8192, 0xC000, 0xC000 + 404*8192},
		{Config{Depth: 1 << 20, MaxMessage: 1 << 30, Holds: 511, Loans: 255}, 1 << 18, 1<<20 + 511 + 255 + 16, 1 << 30, 0x8004000, 0x8004000 + (1<<20+511+255+16)<<30},
	} {
		size, pool, total := laneShape(c.config)
		if c.config.Chunk() != c.chunk || c.config.descriptors() != c.descriptors || size != c.descriptorSize || pool != mem.Align(c.pool, mem.Page) || total != mem.Align(c.pool, mem.Page)+uint64(c.descriptors)*size {
			t.Errorf("%+v: chunk %d, %d descriptors of %d, pool at %#x, %#x bytes", c.config, c.config.Chunk(), c.config.descriptors(), size, pool, total)
		}
		if LaneSize(c.config) != int64(total) {
			t.Errorf("%+v: LaneSize %d", c.config, LaneSize(c.config))
		}
	}
}

// The bytes that a publisher and a subscriber leave, at literal offsets: a
// client in another language finds them there.
func TestBytesOfATopicAndALane(t *testing.T) {
	area := mem.Alloc(TopicSize)
	must0(t, FormatTopic(area))
	topic, err := OpenTopic(area)
	must0(t, err)
	c, err := topic.Agree(Config{Depth: 8, MaxMessage: 512, Holds: 8, Loans: 2})
	must0(t, err)
	lane := mem.Alloc(int(LaneSize(c)))
	must0(t, FormatLane(lane, 5, c))
	l, err := OpenLane(lane, 5, c)
	must0(t, err)
	r := &rig{t: t, topic: topic, lane: l}
	x, ok := OpenTx(topic, l, 0xABCDE, "cam", 6, 7, r.ring)
	if !ok {
		t.Fatal("taken")
	}
	sub := r.rxAs(0x12345, ModeLatest, 2, 0)
	big := numbered(1, 512)
	x.Send([]byte("0123456789012345678901234567890123456789012345678901234567890123456789"), 77)
	x.Send(big, 0)
	for range 2 {
		if st := sub.Poll(&sub.recs[1]); st != Got {
			t.Fatal(st)
		}
	}
	sub.Announce()
	x.Park()

	u64 := func(b []byte, off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }
	u32 := func(b []byte, off int) uint64 { return uint64(binary.LittleEndian.Uint32(b[off:])) }
	desc := u64(lane, 0x4000+0x80+8) >> 8 & 0xFFFFFF
	for _, c := range []struct {
		name       string
		have, want uint64
	}{
		{"topic tag", u64(area, 0), binary.LittleEndian.Uint64([]byte("RTOPIC\x00\x01"))},
		{"topic config", u64(area, 8), 512<<32 | 2<<16 | 8<<7 | 1<<6 | 3},
		{"topic lanes", u64(area, 0x40), 1 << 5},
		{"topic slots", u64(area, 0x80), 1},
		{"topic table", u64(area, 0x100+5*8), 7<<20 | 7},
		{"claim", u64(area, 0x400), 1 | 2<<3 | 2<<5 | 1<<10 | 0x12345<<31},

		{"lane tag", u64(lane, 0), binary.LittleEndian.Uint64([]byte("RRLANE\x00\x01"))},
		{"depth", u32(lane, 8), 8}, {"descriptors", u32(lane, 0xC), 20}, {"descriptor size", u64(lane, 0x10), 512},
		{"max message", u64(lane, 0x18), 512}, {"ring offset", u64(lane, 0x20), 0x4000}, {"pool offset", u64(lane, 0x28), 0x5000},
		{"number", u32(lane, 0x30), 5}, {"owner", u64(lane, 0x40), 2 | 1<<3 | 0xABCDE<<24}, {"since", u64(lane, 0x48), 0},
		{"limit, raised when the chunk is full", u64(lane, 0x80), 4}, {"waiters", u64(lane, 0xC0), 1}, {"park", u32(lane, 0xC8), 1},
		{"name", u64(lane, 0x180), binary.LittleEndian.Uint64([]byte("cam\x00\x00\x00\x00\x00"))},
		{"cursor, a chunk at a time", u64(lane, 0x200), 3 | 1<<3},
		{"hold word 1", u64(lane, 0x200+0x48), 1<<32 | desc + 1},
		{"stamp 0", u64(lane, 0x4000), 2}, {"info 0", u64(lane, 0x4008), 70<<32 | 0xFFFFFF<<8 | 1}, {"time 0", u64(lane, 0x4010), 77},
		{"inline 0", u64(lane, 0x4018), binary.LittleEndian.Uint64([]byte("01234567"))},
		{"inline 0, second line", u64(lane, 0x4040), binary.LittleEndian.Uint64([]byte("01234567"))},
		{"inline 0, its end", u64(lane, 0x4018+64), binary.LittleEndian.Uint64([]byte("456789\x00\x00"))},
		{"stamp 1", u64(lane, 0x4080), 4}, {"info 1", u64(lane, 0x4088), 512<<32 | desc<<8},
		{"payload 1", u64(lane, 0x5000+int(desc)*512), 1},
	} {
		if c.have != c.want {
			t.Errorf("%s: %#x, the format says %#x", c.name, c.have, c.want)
		}
	}
}

func must0(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// OpenLane and OpenTopic name the word that is not as agreed.
func TestWordsThatDisagreeAreNamed(t *testing.T) {
	c := smallConfig()
	for off, name := range map[int]string{
		0x000: "lane tag", 0x008: "lane depth", 0x00C: "lane descriptor count", 0x010: "lane descriptor size",
		0x018: "lane max message", 0x020: "lane ring offset", 0x028: "lane pool offset", 0x030: "lane number",
	} {
		lane := mem.Alloc(int(LaneSize(c)))
		must0(t, FormatLane(lane, 3, c))
		if _, err := OpenLane(lane, 3, c); err != nil {
			t.Fatal(err)
		}
		lane[off]++
		_, err := OpenLane(lane, 3, c)
		if e, ok := err.(*CorruptError); !ok || e.What != name {
			t.Errorf("byte %#x changed: %v, want %q", off, err, name)
		}
	}
	if _, err := OpenLane(mem.Alloc(int(LaneSize(c))-1), 3, c); err == nil {
		t.Error("a lane in too few bytes is opened")
	}
	if err := FormatLane(mem.Alloc(int(LaneSize(c))-1), 3, c); err == nil {
		t.Error("a lane is made in too few bytes")
	}
	area := mem.Alloc(TopicSize)
	if _, err := OpenTopic(area); err == nil {
		t.Error("a topic without a tag is opened")
	}
	if _, err := OpenTopic(area[:TopicSize-1]); err == nil {
		t.Error("a short topic is opened")
	}
	if err := FormatTopic(area[:TopicSize-1]); err == nil {
		t.Error("a topic is made in too few bytes")
	}
}

func TestConfigsOutsideOfTheFormatAreRefused(t *testing.T) {
	for i, c := range []Config{
		{Depth: 0, MaxMessage: 1, Holds: 1, Loans: 1}, {Depth: 3, MaxMessage: 1, Holds: 1, Loans: 1},
		{Depth: -8, MaxMessage: 1, Holds: 1, Loans: 1}, {Depth: 1 << 21, MaxMessage: 1, Holds: 1, Loans: 1},
		{Depth: 8, MaxMessage: -1, Holds: 1, Loans: 1}, {Depth: 8, MaxMessage: 1<<30 + 1, Holds: 1, Loans: 1},
		{Depth: 8, MaxMessage: 1, Holds: 0, Loans: 1}, {Depth: 8, MaxMessage: 1, Holds: 512, Loans: 1},
		{Depth: 8, MaxMessage: 1, Holds: 1, Loans: 0}, {Depth: 8, MaxMessage: 1, Holds: 1, Loans: 256},
	} {
		err := c.Check()
		if _, ok := err.(*LimitError); !ok {
			t.Errorf("config %d, %+v: %v", i, c, err)
		}
		if _, err := OpenLane(mem.Alloc(1<<16), 0, c); err == nil {
			t.Errorf("a lane of config %d is opened", i)
		}
	}
	topic := newRig(t, smallConfig()).topic
	for _, records := range []int{-1, 0, 17} {
		if _, err := topic.Join(1, ModeLatest, records); err == nil {
			t.Errorf("joined with %d records", records)
		}
	}
}
