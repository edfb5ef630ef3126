package multilog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// A peer, or what happened to a file, may write anything anywhere. Whatever it
// wrote, we return: no panic, no endless loop, no access outside of the area.
// Inputs are a kind of log and a list of writes over it.

const writeSize = 11

// put is one write of an input: offset, how, value.
func put(off int, value uint64) []byte {
	b := make([]byte, writeSize)
	binary.LittleEndian.PutUint16(b[1:], uint16(off/8))
	binary.LittleEndian.PutUint64(b[3:], value)
	return b
}

func input(kind byte, writes ...[]byte) []byte {
	return append([]byte{kind}, slices.Concat(writes...)...)
}

// scribble makes one of writes, and returns the rest and the offset.
func scribble(area, writes []byte) (rest []byte, off int) {
	w := writes[:writeSize]
	off = int(binary.LittleEndian.Uint16(w[1:])) * 8 % len(area)
	value := binary.LittleEndian.Uint64(w[3:])
	switch word := mem.U64(area, off); w[0] & 3 {
	case 1: // near what is there
		word.Add(uint64(int8(w[3])) << (w[4] & 63))
	case 2: // one bit
		word.Store(word.Load() ^ 1<<(w[3]&63))
	case 3: // what is elsewhere
		word.Store(mem.U64(area, int(value%uint64(len(area)/8))*8).Load())
	default:
		word.Store(value)
	}
	return writes[writeSize:], off
}

// sample is a log in which a lot has happened, and what is in it.
type sample struct {
	*rig
	tx    []*Tx
	ready []modelRecord
	open  []Claim
	head  uint64 // before anything was changed
	end   uint64
}

// newSample makes the log of a kind: mode, checksums, how many laps, whether
// claims are open.
func newSample(t testing.TB, kind byte) *sample {
	c := Config{Cells: MinCells, Mode: Overwrite, Checksum: kind&1 != 0}
	if kind&2 != 0 {
		c.Mode = Reject
	}
	s := &sample{rig: &rig{area: mem.Alloc(int(Size(c))), status: map[uint32]Status{}, fenced: map[uint32]bool{}}}
	must(t, Format(s.area, c))
	s.log = s.view()
	for i := range 3 {
		s.tx = append(s.tx, s.log.NewTx(s.quiet(uint32(0x101+i))))
	}
	for i := range 40 + 60*int(kind>>2&3) {
		tx := s.tx[i%3]
		if kind&16 != 0 && i%25 == 24 {
			if c, err := tx.Reserve(50, 500); err == nil {
				s.open = append(s.open, c)
			}
			continue
		}
		data := bytes.Repeat([]byte{byte(i)}, i*37%600)
		r := modelRecord{hdr: Header{Level: int16(i % 7), Mono: int64(i), Wall: int64(i)}, key: []string{"", "key"}[i%2], by: "n", data: data}
		pos, err := tx.Append(data, r.hdr.Level, func() (int64, int64) { return r.hdr.Mono, r.hdr.Wall }, prefix(r.by, r.key))
		must(t, err)
		r.pos = pos
		s.ready = append(s.ready, r)
	}
	s.head, s.end = s.log.loadRoom().head(), s.log.end()
	return s
}

func (s *sample) view() *Log {
	l, err := Open(s.area)
	if err != nil {
		panic(err)
	}
	return l
}

// touched says which cells and state words the writes changed.
type touched struct {
	states, cells map[uint64]bool
	room, other   bool
}

func (s *sample) write(writes []byte) touched {
	t := touched{states: map[uint64]bool{}, cells: map[uint64]bool{}}
	before := bytes.Clone(s.area)
	for len(writes) >= writeSize {
		writes, _ = scribble(s.area, writes)
	}
	for off := 0; off < len(s.area); off += 8 {
		if [8]byte(before[off:]) == [8]byte(s.area[off:]) {
			continue
		}
		switch first := int(cellsOff(MinCells)); {
		case off == offRoom:
			t.room = true
		case off < offState:
			t.other = t.other || off == offTag || off == offConfig
		case off < offState+8*MinCells:
			t.states[uint64(off-offState)/8] = true
		case off >= first:
			t.cells[uint64(off-first)/CellSize] = true
		}
	}
	return t
}

// intact lists the records that must be found: neither they nor their words
// were changed, and no claim that was made up lies over them.
func (s *sample) intact(t touched) (out []modelRecord) {
	l := s.log
	head := l.loadRoom().head()
	switch {
	case head == 0 || head > s.end+l.n && head&(l.n<<lapBits-1) > s.end+l.n:
		head = s.head // nobody takes that for a place in this log
	case t.room:
		return nil
	}
	covered := map[uint64]bool{}
	for i := range t.states {
		w := state(l.states[i].Load())
		for j := range min(w.cells(), l.n-i) {
			covered[i+j] = true
		}
	}
	for _, r := range s.ready {
		ok := r.pos >= head
		for j := range cellsFor(len(r.data) + int(mem.Align(uint64(len(r.key)+len(r.by)), 8))) {
			i := l.index(r.pos + j)
			ok = ok && !t.cells[i] && !covered[i] && (j > 0 || !t.states[i])
		}
		if ok {
			out = append(out, r)
		}
	}
	return out
}

func (r modelRecord) String() string {
	return fmt.Sprintf("record of %d bytes at %d", len(r.data), r.pos)
}

func seeds(f *testing.F) {
	const top = ^uint64(0)
	f.Add([]byte{})
	for kind := range byte(32) {
		f.Add([]byte{kind})
	}
	for _, kind := range []byte{0, 1, 5, 13, 21, 23, 31} {
		for _, v := range []uint64{0, 1, top, top >> 10, 1 << 10, 300 << 10, 1 << 40, (1<<54 - 300) << 10} {
			f.Add(input(kind, put(offRoom, v)))
			f.Add(input(kind, put(offTail, v)))
		}
		for i := range 4 {
			for st := stNone; st <= stGone+1; st++ {
				f.Add(input(kind, put(offState+i*40, uint64(packState(1, st, 0x101, 8191)))))
				f.Add(input(kind, put(offState+i*40, uint64(packState(uint64(i), st, 0xFFFFF, uint64(i))))))
			}
			f.Add(input(kind, put(int(cellsOff(MinCells))+i*CellSize, top), put(int(cellsOff(MinCells))+i*CellSize+8, top)))
			f.Add(input(kind, put(int(cellsOff(MinCells))+i*CellSize+64, 7)))
		}
		f.Add(input(kind, put(offUsed, top), put(offAlert, top), put(offWaiters, top)))
		f.Add(input(kind, put(offUsed, 1), put(offReaders, uint64(packWho(whoActive, whoHolds, 0x101, 1))), put(offReaders+8, 1)))
		f.Add(input(kind, put(offState+8*MinCells, top), put(offState+8*MinCells+8, top)))
		f.Add(input(kind, put(offConfig, top)))
		f.Add(input(kind, put(offTag, 0)))
	}
}

// FuzzImage reads an image whose words were changed after everybody died.
func FuzzImage(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			data = []byte{0}
		}
		s := newSample(t, data[0])
		changed := s.write(data[1:min(len(data), 2048)])
		was := bytes.Clone(s.area)
		l, err := Open(s.area)
		if changed.other {
			return // another log, or none
		}
		must(t, err)
		rx := l.NewImageRx()
		found := map[uint64]bool{}
		for n := 0; ; n++ {
			var rec Record
			got, err := rx.Next(&rec, true)
			must(t, err)
			if got == End || got == Unfinished {
				break
			}
			if n > 2*MinCells {
				t.Fatal("an image of 256 cells does not end")
			}
			if got == Got {
				found[rec.Position] = true
				s.genuine(t, &rec)
			}
		}
		for _, r := range s.intact(changed) {
			if !found[r.pos] {
				t.Errorf("%v is intact, and is not found; %+v", r, rx.Skipped)
			}
		}
		look(l)
		for _, seek := range []func(*Rx) error{(*Rx).SeekFirst, func(r *Rx) error { return r.SeekLast(3) }, func(r *Rx) error { return r.SeekTime(20) }, func(r *Rx) error { return r.Seek(300) }} {
			if rx := l.NewImageRx(); seek(rx) == nil {
				_, _ = rx.Next(new(Record), true)
			}
		}
		if !bytes.Equal(was, s.area) {
			t.Error("who reads an image changes it")
		}
	})
}

// genuine: with checksums, what is found is what somebody wrote.
func (s *sample) genuine(t *testing.T, rec *Record) {
	if !s.log.config.Checksum {
		return
	}
	i := slices.IndexFunc(s.ready, func(r modelRecord) bool { return r.pos == rec.Position })
	if i < 0 || !bytes.Equal(s.ready[i].data, rec.Data) || s.ready[i].hdr != rec.Header || s.ready[i].key != string(rec.Key) {
		t.Errorf("found a record at %d that nobody wrote: %+v", rec.Position, rec.Header)
	}
}

func look(l *Log) {
	l.Verify()
	_, _ = l.Info()
	l.Blockers()
	l.Level()
	l.end()
}

// FuzzLiveLog changes words while writers and readers are at work: one at each
// of their steps where there are crash points, else between their calls.
func FuzzLiveLog(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			data = []byte{0}
		}
		s := newSample(t, data[0]|16)
		writes := data[1:min(len(data), 2048)]
		more := func() {
			if len(writes) >= writeSize {
				writes, _ = scribble(s.area, writes)
			}
		}
		readers := []*Rx{s.log.NewRx(s.quiet(0x301)), s.log.NewRx(s.quiet(0x302)), s.log.NewRx(s.quiet(0x303))}
		must(t, readers[1].Register(false))
		must(t, readers[2].Register(true))
		place, err := s.log.NewWaiter(s.quiet(0x102))
		must(t, err)
		invariant.SetHook(func(string) { more() })
		defer invariant.SetHook(nil)
		for round := 0; round < 12 && (round < 3 || len(writes) >= writeSize); round++ {
			more()
			s.append(round)
			for _, rx := range readers {
				s.read(rx, round)
			}
			place.Asleep(100 * round)
			place.Ready()
			place.Awake()
			s.status[0x102] = Status(round & 3)
			if round%4 == 3 {
				s.log.Recover(uint32(0x101+round%3), round&4 != 0, func(b wake.Bell) { b.Word.Add(1) })
			}
			look(s.log)
		}
		place.Close()
	})
}

func (s *sample) append(round int) {
	for i, tx := range s.tx {
		for _, size := range []int{0, 90 * i, 700, s.log.config.Limit()} {
			if c, err := tx.Reserve(size/2, size); err == nil {
				clear(s.log.Data(c, 0))
				_ = tx.Finish(c, Header{}, prefix("n", ""), min(size, c.Size()-8))
			}
		}
	}
	if round%3 == 2 && len(s.open) > 0 {
		_ = s.tx[0].Commit(s.open[0])
		_ = s.tx[1].Abort(s.open[0])
		s.open = s.open[1:]
	}
}

func (s *sample) read(rx *Rx, round int) {
	var rec Record
	for range 20 {
		f, err := rx.Next(&rec, round%2 == 0)
		if err != nil || f == End || f == Unfinished {
			break
		}
	}
	if e := rx.Entry(); e != nil {
		e.Asleep(rx)
		rx.Ready()
		e.Awake()
	}
	switch round % 4 {
	case 1:
		_ = rx.SeekLast(5)
	case 2:
		_ = rx.Seek(rx.Pos + 1)
	case 3:
		_ = rx.SeekTime(30)
	}
}
