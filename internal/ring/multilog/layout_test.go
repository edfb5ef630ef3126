package multilog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

// The layout of a journal's area (docs/format.md), in figures: whoever changes
// a number here changes the format, and its version.

func TestOffsetsAndSizes(t *testing.T) {
	for _, c := range []struct {
		name       string
		have, want uint64
	}{
		{"tag", offTag, 0x000}, {"config", offConfig, 0x008}, {"tail", offTail, 0x040}, {"room", offRoom, 0x080},
		{"level", offLevel, 0x0C0}, {"alert", offAlert, 0x0C8}, {"waiters", offWaiters, 0x0D0}, {"used", offUsed, 0x0D8},
		{"tombs", offTombs, 0x100}, {"holes", offHoles, 0x108}, {"refused", offRefused, 0x110},
		{"readers", offReaders, 0x200}, {"reader size", readerSize, 128}, {"waiting writers", offWaiter, 0x2200},
		{"waiter size", waiterSize, 64}, {"state words", offState, 0x4000},
		{"entry who", entryWho, 0x00}, {"entry cursor", entryCursor, 0x08}, {"entry park", entryPark, 0x10},
		{"entry bell", entryBell, 0x18}, {"entry bell reference", entryRef, 0x1C},
		{"entry lost", entryLost, 0x20}, {"entry lost bytes", entryLostBytes, 0x28},
		{"magic", magic, binary.LittleEndian.Uint64([]byte("RJOURN\x00\x01"))},

		{"cell size", CellSize, 128}, {"words of a cell", cellWords, 16}, {"record header", headerSize, 32},
		{"least cells", MinCells, 256}, {"most cells", MaxCells, 1 << 28}, {"most cells of a record", MaxRecord, 8191},
		{"reader entries", MaxReaders, 64}, {"waiter entries", MaxWaiters, 64},
		{"longest key", MaxKey, 255}, {"longest name", MaxName, 128}, {"greatest position", maxHead, 1<<54 - 1},
		{"line", mem.Line, 64}, {"page", mem.Page, 4096},

		{"status none", uint64(stNone), 0}, {"status BUSY", uint64(stBusy), 1}, {"status READY", uint64(stReady), 2},
		{"status TOMB", uint64(stTomb), 3}, {"status PAD", uint64(stPad), 4}, {"status HOLE", uint64(stHole), 5}, {"status GONE", uint64(stGone), 6},
		{"entry FREE", whoFree, 0}, {"entry JOINING", whoJoining, 1}, {"entry ACTIVE", whoActive, 2}, {"entry RETIRED", whoRetired, 3},
		{"entry holds", whoHolds, 1 << 4}, {"overwrite", uint64(Overwrite), 1}, {"reject", uint64(Reject), 2},
		{"version", configVersion, 1}, {"ancient", ancient, 1 << 26},
	} {
		if c.have != c.want {
			t.Errorf("%s: %#x, the format says %#x", c.name, c.have, c.want)
		}
	}
}

func TestBitFieldsOfWords(t *testing.T) {
	for _, c := range []struct {
		name       string
		have, want uint64
	}{
		{"state, status", uint64(packState(0, 7, 0, 0)), 7},
		{"state, owner", uint64(packState(0, 0, 1<<20-1, 0)), 0xFFFFF << 3},
		{"state, cells", uint64(packState(0, 0, 0, 1<<13-1)), 0x1FFF << 23},
		{"state, lap", uint64(packState(1<<28-1, 0, 0, 0)), 0xFFFFFFF << 36},
		{"state, lap wraps", uint64(packState(1<<28+5, 0, 0, 0)), 5 << 36},
		{"state", uint64(packState(0x1234567, stReady, 0xABCDE, 3)), 0x1234567<<36 | 3<<23 | 0xABCDE<<3 | 2},
		{"room, joins", uint64(packRoom(0, 1023)), 1023},
		{"room, joins wrap", uint64(packRoom(0, 1024)), 0},
		{"room, head", uint64(packRoom(1<<54-1, 0)), (1<<54 - 1) << 10},
		{"room", uint64(packRoom(0x123456789A, 5)), 0x123456789A<<10 | 5},
		{"who, state and flags", uint64(packWho(whoActive, whoHolds, 0, 0)), 0x12},
		{"who, owner", uint64(packWho(0, 0, 1<<20-1, 0)), 0xFFFFF << 8},
		{"who, generation", uint64(packWho(0, 0, 0, 1<<32-1)), 0xFFFFFFFF << 32},
		{"who, generation wraps", uint64(packWho(0, 0, 0, 1<<32)), 0},
		{"who", uint64(packWho(whoRetired, whoHolds, 0xABCDE, 7)), 7<<32 | 0xABCDE<<8 | 0x13},
		{"config", Config{Cells: 256, Mode: Overwrite}.pack(), 0x08_00_01_01},
		{"config, most", Config{Cells: 1 << 28, Mode: Reject, Checksum: true}.pack(), 0x1C_01_02_01},
	} {
		if c.have != c.want {
			t.Errorf("%s: %#x, the format says %#x", c.name, c.have, c.want)
		}
	}
}

// What is packed comes out again, whatever the other fields are.
func TestFieldsOfWordsReadBack(t *testing.T) {
	for _, owner := range []uint32{0, 1, 0x101, 1<<20 - 1} {
		for _, cells := range []uint64{1, 2, 128, MaxRecord} {
			for _, lap := range []uint64{0, 1, 1 << 27, 1<<28 - 1} {
				for st := stNone; st <= stGone; st++ {
					w := packState(lap, st, owner, cells)
					if w.lap() != lap || w.status() != st || w.owner() != owner || w.cells() != cells {
						t.Errorf("state %d %v %#x %d: %#x", lap, st, owner, cells, uint64(w))
					}
					if v := w.with(stPad); v.status() != stPad || v.with(st) != w {
						t.Errorf("state %#x as PAD: %#x", uint64(w), uint64(v))
					}
				}
			}
		}
		for _, gen := range []uint64{0, 1, 1<<32 - 1} {
			for st := whoFree; st <= whoRetired; st++ {
				for _, flags := range []uint64{0, whoHolds} {
					w := packWho(st, flags, owner, gen)
					if w.state() != st || w.owner() != owner || w.gen() != gen || w.holds() != (flags != 0) {
						t.Errorf("who %d %d %#x %d: %#x", st, flags, owner, gen, uint64(w))
					}
					if f := w.free(); f.state() != whoFree || f.holds() || f.owner() != 0 || f.gen() != gen {
						t.Errorf("who %#x freed: %#x", uint64(w), uint64(f))
					}
				}
			}
		}
	}
	for _, head := range []uint64{0, 256, 1<<54 - 1} {
		for _, joins := range []uint64{0, 1, 1023} {
			if r := packRoom(head, joins); r.head() != head || r.joins() != joins {
				t.Errorf("room %d %d: %#x", head, joins, uint64(r))
			}
		}
	}
	for cells := MinCells; cells <= MaxCells; cells *= 2 {
		for _, m := range []Mode{Overwrite, Reject} {
			c := Config{Cells: cells, Mode: m, Checksum: cells%3 == 1}
			if got, err := unpackConfig(c.pack()); err != nil || got != c {
				t.Errorf("config %+v became %+v, %v", c, got, err)
			}
		}
	}
}

// Laps have 28 bits; what is older and what is newer is a matter of half of them.
func TestAgesOfLapsAtTheWrap(t *testing.T) {
	const all = 1 << 28
	for _, lap := range []uint64{1, 5, 1 << 27, all - 1, all, all + 1, 1<<46 - 1} {
		for _, age := range []int64{0, 1, 2, 1 << 26, 1<<27 - 1, -1, -2, -(1 << 27)} {
			w := packState(lap-uint64(age), stReady, 1, 1)
			if got := w.age(lap); got != age {
				t.Errorf("lap %#x beside %#x: age %d, want %d", w.lap(), lap, got, age)
			}
		}
		if got := packState(lap-all, stReady, 1, 1).age(lap); got != 0 {
			t.Errorf("lap %#x, all laps ago: %d", lap, got)
		}
	}
}

func TestShapeOfAnArea(t *testing.T) {
	for _, c := range []struct {
		cells, max, limit int
		first, size       int64
	}{
		{256, 128, 128*128 - 32, 0x6000, 0x6000 + 256*128},
		{512, 256, 256*128 - 32, 0x7000, 0x7000 + 512*128},
		{1024, 512, 512*128 - 32, 0xA000, 0xA000 + 1024*128},
		{16384, 8191, 8191*128 - 32, 0x64000, 0x64000 + 16384*128},
		{1 << 28, 8191, 8191*128 - 32, 0x4000 + 24<<28, 0x4000 + 152<<28},
	} {
		cfg := Config{Cells: c.cells, Mode: Reject}
		if int(cfg.maxCells()) != c.max || cfg.Limit() != c.limit || cellsOff(c.cells) != c.first || Size(cfg) != c.size {
			t.Errorf("%d cells: records of %d cells, %d bytes; cells at %#x of %#x", c.cells, cfg.maxCells(), cfg.Limit(), cellsOff(c.cells), Size(cfg))
		}
	}
	for size, cells := range map[int]uint64{0: 1, 96: 1, 97: 2, 224: 2, 225: 3, 8191*128 - 32: 8191} {
		if cellsFor(size) != cells {
			t.Errorf("%d bytes take %d cells, want %d", size, cellsFor(size), cells)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The bytes that parties leave, at literal offsets: a client in another
// language finds them there.
func TestBytesOfALog(t *testing.T) {
	r := newRig(t, Config{Cells: 256, Mode: Reject, Checksum: true})
	tx, rx := r.tx(0xABCDE), r.rx(0x12345)
	must(t, rx.Register(true))
	data := make([]byte, 100)
	for i := range data {
		data[i] = byte(i)
	}
	at := func() (int64, int64) { return 77, 88 }
	if pos, err := tx.Append(data, -5, at, prefix("writer", "key")); pos != 256 || err != nil {
		t.Fatal(pos, err)
	}
	if _, err := tx.Reserve(1, 300); err != nil {
		t.Fatal(err)
	}
	var rec Record
	if f, err := rx.Next(&rec, true); f != Got || err != nil {
		t.Fatal(f, err)
	}
	rx.Entry().Asleep(rx)
	rx.Entry().Report(Skipped{Lost: 5, LostBytes: 6})
	w, err := r.log.NewWaiter(r.peers(0x54321))
	must(t, err)
	w.Asleep(1000)
	r.log.SetLevel(-1)
	r.log.CountRefused()

	u64 := func(off int) uint64 { return binary.LittleEndian.Uint64(r.area[off:]) }
	record := append([]byte{100, 0, 0, 0, 0xFB, 0xFF, 3, 6, 0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 88, 0, 0, 0, 0, 0, 0, 0},
		"writerkey\x00\x00\x00\x00\x00\x00\x00"...)
	record = append(record, data...)
	sum := crc32.Update(256, crc32.MakeTable(crc32.Castagnoli), record)
	for _, c := range []struct {
		name       string
		have, want uint64
	}{
		{"tag", u64(0), binary.LittleEndian.Uint64([]byte("RJOURN\x00\x01"))},
		{"config", u64(8), 0x08_01_02_01},
		{"tail, which may lag", u64(0x40), 256},
		{"room, one join", u64(0x80), 256<<10 | 1},
		{"level", u64(0xC0), 0x7FFF},
		{"alert", u64(0xC8), 1}, {"waiters", u64(0xD0), 1}, {"used", u64(0xD8), 1},
		{"tombs", u64(0x100), 0}, {"holes", u64(0x108), 0}, {"refused", u64(0x110), 1},
		{"reader", u64(0x200), 1<<32 | 0x12345<<8 | 0x12}, {"cursor", u64(0x208), 258}, {"park, timed", u64(0x210), 1<<32 | 1<<1 | 1},
		{"lost", u64(0x220), 5}, {"lost bytes", u64(0x228), 6},
		{"waiter", u64(0x2200), 1<<32 | 0x54321<<8 | 2}, {"waiter's park", u64(0x2210), 1<<32 | 1},
		{"state word of the record", u64(0x4000), 1<<36 | 2<<23 | 0xABCDE<<3 | 2},
		{"state word in its middle", u64(0x4008), 0},
		{"state word of the claim", u64(0x4010), 1<<36 | 3<<23 | 0xABCDE<<3 | 1},
		{"records before the head", u64(0x4000 + 256*8), 0}, {"bytes before the head", u64(0x4000 + 256*8 + 8), 0},
		{"checksum and length", u64(0x6000), uint64(sum) | 100<<32},
	} {
		if c.have != c.want {
			t.Errorf("%s: %#x, the format says %#x", c.name, c.have, c.want)
		}
	}
	if got := string(r.area[0x6004 : 0x6004+len(record)]); got != string(record) {
		t.Errorf("record %q, want %q", got, record)
	}
	// The head moves over the first record: its rank words lie behind the states.
	rx.Unregister()
	for range 256 {
		if _, err := tx.Append(nil, 0, nil, new(Prefix)); err != nil {
			t.Fatal(err)
		}
	}
	head := room(u64(0x80)).head()
	i := int(head%256)*16 + 0x4000 + 256*8
	if head < 261 || u64(i) != head-260 || u64(i+8) != 100 { // one of two cells, a hole of three, then of one
		t.Errorf("head %d: %d records, %d bytes before it", head, u64(i), u64(i+8))
	}
}

// A record's padding is zeros, whatever was there.
func TestPrefixIsPaddedWithZeros(t *testing.T) {
	p := new(Prefix)
	p.Set("a long name of a writer", "and a key")
	p.Set("n", "")
	if p.Size() != 8 || string(p.bytes) != "n\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q", p.bytes)
	}
	long := string(make([]byte, 1000))
	p.Set(long, long)
	if p.name != MaxName || p.key != MaxKey || p.Size() != 384 {
		t.Errorf("%d and %d bytes in %d", p.name, p.key, p.Size())
	}
}

func TestAreasOfOtherFormatsAreRefused(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(b []byte) []byte
		want   error
	}{
		{"no bytes", func([]byte) []byte { return nil }, &CorruptError{"journal area's size", 0}},
		{"a header cut short", func(b []byte) []byte { return b[:0x3FF8] }, &CorruptError{"journal area's size", 0x3FF8}},
		{"the last byte missing", func(b []byte) []byte { return b[:len(b)-1] }, &CorruptError{"journal area's size", 0x6000 + 256*128 - 1}},
		{"zeros", func(b []byte) []byte { clear(b); return b }, &CorruptError{"journal tag", 0}},
		{"another kind of area", func(b []byte) []byte { b[0]++; return b }, &CorruptError{"journal tag", magic + 1}},
		{"another version of the layout", func(b []byte) []byte { b[7] = 9; return b }, &VersionError{Have: 9, Want: 1}},
		{"another version of the config", func(b []byte) []byte { b[8] = 3; return b }, &VersionError{Have: 3, Want: 1}},
		{"no config", func(b []byte) []byte { b[8] = 0; return b }, &VersionError{Have: 0, Want: 1}},
		{"mode 0", func(b []byte) []byte { b[9] = 0; return b }, &CorruptError{"journal config", 0x08_01_00_01}},
		{"mode 3", func(b []byte) []byte { b[9] = 3; return b }, &CorruptError{"journal config", 0x08_01_03_01}},
		{"a flag nobody knows", func(b []byte) []byte { b[10] = 3; return b }, &CorruptError{"journal config", 0x08_03_01_01}},
		{"128 cells", func(b []byte) []byte { b[11] = 7; return b }, &CorruptError{"journal config", 0x07_01_01_01}},
		{"2^29 cells", func(b []byte) []byte { b[11] = 29; return b }, &CorruptError{"journal config", 0x1D_01_01_01}},
		{"2^255 cells", func(b []byte) []byte { b[11] = 255; return b }, &CorruptError{"journal config", 0xFF_01_01_01}},
		{"more cells than bytes", func(b []byte) []byte { b[11] = 9; return b }, &CorruptError{"journal area's size", 0x6000 + 256*128}},
		{"a bit beyond the config", func(b []byte) []byte { b[12] = 1; return b }, &CorruptError{"journal config", 0x1_08_01_01_01}},
	} {
		r := newRig(t, small(Overwrite))
		_, err := Open(c.change(r.area))
		if err == nil || err.Error() != c.want.Error() {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
}

func TestConfigsOutsideOfTheFormatAreRefused(t *testing.T) {
	for _, c := range []Config{
		{Cells: 0, Mode: Reject}, {Cells: -256, Mode: Reject}, {Cells: 128, Mode: Reject}, {Cells: 257, Mode: Reject},
		{Cells: 1 << 29, Mode: Reject}, {Cells: 256}, {Cells: 256, Mode: 3},
	} {
		var limit *LimitError
		if err := c.Check(); !errors.As(err, &limit) {
			t.Errorf("%+v: %v", c, err)
		}
		if err := Format(make([]byte, 1<<16), c); !errors.As(err, &limit) {
			t.Errorf("format %+v: %v", c, err)
		}
	}
	c := small(Reject)
	if err := Format(mem.Alloc(int(Size(c))-1), c); err == nil {
		t.Error("a log is made in too few bytes")
	}
	r := newRig(t, c)
	tx := r.tx(1)
	for _, sizes := range [][2]int{{-1, 5}, {6, 5}, {c.Limit() + 1, c.Limit() + 1}, {1 << 40, 1 << 40}} {
		var limit *LimitError
		if _, err := tx.Reserve(sizes[0], sizes[1]); !errors.As(err, &limit) {
			t.Errorf("reserve %v: %v", sizes, err)
		}
	}
	if c, err := tx.Reserve(c.Limit(), 1<<40); err != nil || c.Size() != r.log.config.Limit() {
		t.Errorf("the largest record: %+v, %v", c, err)
	}
}

// The level filter takes all int16, and a zeroed word silences nobody.
func TestLevels(t *testing.T) {
	l := newRig(t, small(Overwrite)).log
	if l.Level() != NoLevel {
		t.Errorf("a new log has level %d", l.Level())
	}
	for have, want := range map[int]int{0: 0, -4: -4, 8: 8, 1<<15 - 1: 1<<15 - 1, 1 << 20: 1<<15 - 1, -1 << 15: NoLevel, -1 << 40: NoLevel} {
		if l.SetLevel(have); l.Level() != want {
			t.Errorf("level %d became %d", have, l.Level())
		}
	}
}
