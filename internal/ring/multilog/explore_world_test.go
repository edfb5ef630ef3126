//go:build invariants || race

package multilog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest/explore"
	"github.com/ringbus/ringbus/internal/wake"
)

// world is what the parties of one schedule share: a log of a few cells, and
// what the checker knows about it.
type world struct {
	x    *explore.Explorer
	rng  *rand.Rand
	area []byte
	l    *Log

	status  map[uint32]Status // of owners; none: alive
	fenced  map[uint32]bool   // what the owner knows of it
	open    map[string]*draft // what a writer is at, by its party's name
	ledger  []entered         // READY records, in the order of their positions
	begun   map[uint64]bool   // numbers of records, whether finished or not
	readers []*reading
	finals  []uint64       // by index: a state word that may not change in its lap
	claims  int            // W7
	own     map[string]int // the same, by party
	sealed  int            // claims that were taken away
	seeks   int            // one of so many steps of a reader is a search; 0: none
	late    int            // a reader begins after so many points, at most
	stopped bool           // somebody may stand still: a claim may become a hole
}

// draft is a record that is being written.
type draft struct {
	owner  uint32
	claim  Claim
	number uint64
	length int
	done   bool // W10 was done
}

// entered is a READY record.
type entered struct {
	pos, number uint64
	length      int
}

// reading is what one reader received.
type reading struct {
	owner    uint32
	rx       *Rx
	base     uint64 // Seq when it began
	got      uint64
	last     map[uint32]uint64 // by writer: its last number
	holds    bool              // it has a place, and J3 behind it
	finished bool
}

var scratch = mem.Alloc(int(Size(Config{Cells: MinCells, Mode: Overwrite})))

// newWorld makes a log of so few cells that it wraps soon. The format has no
// such log; nothing in the protocol depends on the number.
func newWorld(x *explore.Explorer, mode Mode) *world {
	w := &world{
		x: x, rng: rand.New(rand.NewPCG(x.Rand.Uint64(), 7)), status: map[uint32]Status{}, fenced: map[uint32]bool{},
		open: map[string]*draft{}, own: map[string]int{}, begun: map[uint64]bool{},
	}
	x.Look(func() {
		clear(scratch)
		w.area = scratch
		// A checksum is over plain bytes, to which simulated stores come late.
		c := Config{Cells: MinCells, Mode: mode, Checksum: w.rng.IntN(2) == 0 && explore.Memory.Scale == 1}
		must1(Format(w.area, c))
		w.l = w.view()
		w.finals = make([]uint64, w.l.n)
		// Positions begin anywhere, also where laps wrap.
		lap := []uint64{1, 1, 2, 1<<28 - 1, 1 << 28, 1<<27 - 1, 1 << 40}[w.rng.IntN(7)]
		for i := range w.l.states {
			if old := []uint64{1, 2, ancient, ancient + 1}[w.rng.IntN(4)]; lap > 1 {
				w.l.states[i].Store(uint64(packState(lap-old, stPad, 0, 1)))
			}
		}
		w.l.tail.Store(lap * w.l.n)
		w.l.room.Store(uint64(packRoom(lap*w.l.n, uint64(w.rng.IntN(1024)))))
	})
	x.Watch, x.Passed = w.verify, w.passed
	return w
}

// view opens the log as another process would, and makes it small.
func (w *world) view() *Log {
	l, err := Open(w.area)
	must1(err)
	l.n = uint64(8)
	l.mask, l.shift, l.max = l.n-1, 3, l.n/2
	l.states, l.ranks, l.words, l.bytes = l.states[:l.n], l.ranks[:2*l.n], l.words[:l.n*cellWords], l.bytes[:l.n*CellSize]
	l.slack, l.lag = uint64(w.rng.IntN(3)), uint64(w.rng.IntN(4))
	return l
}

func must1(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *world) peers(me uint32) Peers {
	return Peers{
		Me: me, Status: func(o uint32) Status { return w.status[o] }, Fenced: func() bool { return w.fenced[me] },
		Ring: func(b wake.Bell) { b.Word.Add(1) },
	}
}

// passed is told of every point: at W10 a record is in the log for ever.
func (w *world) passed(p *explore.Party, point string) {
	switch point {
	case "multilog.W7":
		w.claims++
		w.own[p.Name]++
		w.trace()
	case "multilog.V1", "multilog.E2s":
		w.sealed++
	case "multilog.E6":
		w.trace()
	case "multilog.W10":
		if d := w.open[p.Name]; d != nil {
			w.enter(d)
		}
	}
}

// trace tells the log, in the steps of a failure.
func (w *world) trace() {
	if !w.x.Tracing() {
		return
	}
	s := fmt.Sprintf("head %d tail %d:", w.l.loadRoom().head(), w.l.tail.Load())
	for i := range w.l.states {
		x := state(w.l.states[i].Load())
		s += fmt.Sprintf(" %d/%v/%d/%x", x.lap(), x.status(), x.cells(), x.owner())
	}
	w.x.Note("%s", s)
}

func (w *world) enter(d *draft) {
	if d.done {
		return
	}
	d.done = true
	i := sort.Search(len(w.ledger), func(i int) bool { return w.ledger[i].pos >= d.claim.Pos })
	w.ledger = append(w.ledger, entered{})
	copy(w.ledger[i+1:], w.ledger[i:])
	w.ledger[i] = entered{d.claim.Pos, d.number, d.length}
}

// before counts the records before pos.
func (w *world) before(pos uint64) (records, size uint64) {
	for _, e := range w.ledger {
		if e.pos >= pos {
			break
		}
		records, size = records+1, size+uint64(e.length)
	}
	return records, size
}

// verify is what must hold at any moment: I1, I3, I4, I5.
func (w *world) verify() error {
	l := w.l
	for _, s := range l.Verify() {
		return errors.New(s)
	}
	head := l.loadRoom().head()
	p := head
	for p < head+l.n {
		s, age := l.load(p)
		if age != 0 {
			break
		}
		i := l.index(p)
		if f := state(w.finals[i]); w.finals[i] != 0 && f.lap() == s.lap() && s != f && !(f.status() == stHole && s.status() != stBusy) {
			return fmt.Errorf("I3: the final word %#x of position %d became %#x", w.finals[i], p, uint64(s))
		}
		if w.finals[i] = uint64(s); s.status() == stBusy {
			w.finals[i] = 0
		}
		p += s.cells()
	}
	if p > head+l.n {
		return fmt.Errorf("I1: claims from %d end at %d", head, p)
	}
	if t := l.tail.Load(); t > p {
		return fmt.Errorf("I1: tail %d is beyond %d", t, p)
	}
	rank := l.rank(head)
	records, size := w.before(head)
	if rank[0].Load() != records || rank[1].Load() != size {
		return fmt.Errorf("I4: %d records, %d bytes before head %d; the rank words say %d, %d", records, size, head, rank[0].Load(), rank[1].Load())
	}
	for _, r := range w.readers {
		if r.holds && w.status[r.owner] == Alive && r.rx.entry != nil {
			if c := l.readers[r.rx.entry.i].cursor.Load(); c < head {
				return fmt.Errorf("I5: head %d, though %#x holds %d", head, r.owner, c)
			}
		}
	}
	return nil
}

// text is the payload of a record: its number, over and over.
func text(number uint64, length int) []byte {
	b := make([]byte, length)
	for i := 0; i < length; i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], number)
		copy(b[i:], word[:])
	}
	return b
}

func numberOf(b []byte) uint64 {
	var word [8]byte
	copy(word[:], b)
	return binary.LittleEndian.Uint64(word[:])
}

// check is what must hold when all is quiet.
func (w *world) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := w.verify(); err != nil {
		wrong("%w", err)
	}
	in, err := w.l.Info()
	if err != nil {
		wrong("%w", err)
	}
	records, size := w.before(in.Tail)
	if int(records) != len(w.ledger) || in.Given+in.Records != records || in.GivenBytes+in.Bytes != size {
		wrong("%d records were finished, %d before the tail; the log says %d and %d", len(w.ledger), records, in.Given, in.Records)
	}
	for i := range w.l.readers {
		if e := who(w.l.readers[i].who.Load()); e.state() != whoRetired && w.status[e.owner()] == Gone {
			wrong("%#x is gone, and has entry %d", e.owner(), i)
		}
	}
	for _, r := range w.readers {
		if err := r.check(w); err != nil && w.status[r.owner] == Alive {
			wrong("%w", err)
		}
	}
	return errors.Join(errs...)
}

// check says whether what the reader got and lost is all that was there.
func (r *reading) check(w *world) error {
	records, size := w.before(r.rx.Pos)
	switch {
	case r.rx.Seq != records || r.rx.bytes != size:
		return fmt.Errorf("reader %#x at %d counts %d records, %d bytes; there were %d, %d", r.owner, r.rx.Pos, r.rx.Seq, r.rx.bytes, records, size)
	case r.got+r.rx.Lost+r.base != records:
		return fmt.Errorf("reader %#x began at %d, got %d, lost %d, of %d", r.owner, r.base, r.got, r.rx.Lost, records)
	case r.holds && w.status[r.owner] == Alive && r.rx.Lost != 0:
		return fmt.Errorf("reader %#x holds the log, and lost %d", r.owner, r.rx.Lost)
	case r.rx.Corrupt != 0:
		return fmt.Errorf("reader %#x found %d corrupt", r.owner, r.rx.Corrupt)
	}
	return nil
}
