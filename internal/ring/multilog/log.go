package multilog

import (
	"fmt"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Offsets in an area. docs/format.md is the contract.
const (
	offTag     = 0x000
	offConfig  = 0x008
	offTail    = 0x040
	offRoom    = 0x080
	offLevel   = 0x0C0
	offAlert   = 0x0C8
	offWaiters = 0x0D0
	offUsed    = 0x0D8
	offTombs   = 0x100
	offHoles   = 0x108
	offRefused = 0x110
	offReaders = 0x200
	offWaiter  = 0x2200
	offState   = 0x4000 // N words; then N pairs of rank words; then, at a page, the cells

	readerSize = 0x80
	waiterSize = 0x40

	entryWho       = 0x00
	entryCursor    = 0x08 // of a reader; of a waiter: the head it waits for
	entryPark      = 0x10
	entryBell      = 0x18
	entryRef       = 0x1C
	entryLost      = 0x20
	entryLostBytes = 0x28

	magic = 0x01_00_4E_52_55_4F_4A_52 // "RJOURN", version 1

	cellWords = CellSize / 8

	maxSlack = 64 // cells
)

// Status is what is known of a node's life.
type Status uint8

// The statuses of a node.
const (
	Alive   Status = iota
	Suspect        // of another kernel, and silent; it may come back
	Dead           // by a lock that the kernel dropped: it writes no more
	Gone           // evicted, or not in its slot any more: it may still write
)

// Peers is what a party asks others about, and how it wakes them. The zero
// value of a func is not allowed.
type Peers struct {
	Me     uint32                    // the owner that claims are made for
	Status func(owner uint32) Status // of any node
	Fenced func() bool               // this node is taken for dead
	Ring   func(wake.Bell)
}

// entry is one reader's or waiter's words.
type entry struct {
	who, cursor, park *atomic.Uint64
	bell              wake.Bell
	lost, lostBytes   *atomic.Uint64 // of a reader
}

// Log is a view of a journal's area. Its methods may be called concurrently.
type Log struct {
	config Config
	n      uint64 // cells
	mask   uint64
	shift  uint   // log2 of n
	max    uint64 // cells of the largest record
	slack  uint64 // so many cells more are given up at a time
	lag    uint64 // so far may tail be behind

	tail, room, level, alert, waiters, used *atomic.Uint64
	tombs, holes, refused                   *atomic.Uint64

	states  []atomic.Uint64
	ranks   []atomic.Uint64 // records, bytes; for each cell
	words   []atomic.Uint64 // the cells
	bytes   []byte          // the cells
	readers [MaxReaders]entry
	waiting [MaxWaiters]entry
}

// Size returns the size in bytes of the area of a log.
func Size(c Config) int64 { return cellsOff(c.Cells) + int64(c.Cells)*CellSize }

func cellsOff(cells int) int64 {
	return int64(mem.Align(uint64(offState)+uint64(cells)*24, mem.Page))
}

// Format makes a log of zeroed bytes.
func Format(area []byte, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	if int64(len(area)) < Size(c) {
		return fmt.Errorf("a journal of %d cells needs %d bytes, not %d", c.Cells, Size(c), len(area))
	}
	n := uint64(c.Cells)
	mem.U64(area, offTail).Store(n)
	mem.U64(area, offRoom).Store(uint64(packRoom(n, 0)))
	mem.U64(area, offConfig).Store(c.pack())
	mem.U64(area, offTag).Store(magic)
	return nil
}

// Open views area, which must outlive the Log.
func Open(area []byte) (*Log, error) {
	if len(area) < offState {
		return nil, &CorruptError{"journal area's size", uint64(len(area))}
	}
	if tag := mem.U64(area, offTag).Load(); tag != magic {
		if tag&(1<<56-1) == magic&(1<<56-1) {
			return nil, &VersionError{Have: int(tag >> 56), Want: magic >> 56}
		}
		return nil, &CorruptError{"journal tag", tag}
	}
	c, err := unpackConfig(mem.U64(area, offConfig).Load())
	if err != nil {
		return nil, err
	}
	if int64(len(area)) < Size(c) {
		return nil, &CorruptError{"journal area's size", uint64(len(area))}
	}
	n := uint64(c.Cells)
	l := &Log{
		config: c, n: n, mask: n - 1, max: c.maxCells(),
		slack: min(n/16, maxSlack), lag: min(n/16, 256),
		tail: mem.U64(area, offTail), room: mem.U64(area, offRoom),
		level: mem.U64(area, offLevel), alert: mem.U64(area, offAlert),
		waiters: mem.U64(area, offWaiters), used: mem.U64(area, offUsed),
		tombs: mem.U64(area, offTombs), holes: mem.U64(area, offHoles), refused: mem.U64(area, offRefused),
		states: mem.U64s(area, offState, c.Cells),
		ranks:  mem.U64s(area, offState+8*c.Cells, 2*c.Cells),
		words:  mem.U64s(area, int(cellsOff(c.Cells)), cellWords*c.Cells),
		bytes:  area[cellsOff(c.Cells):Size(c):Size(c)],
	}
	for l.shift = 0; 1<<l.shift < n; l.shift++ {
	}
	for i := range MaxReaders {
		l.readers[i] = newEntry(area, offReaders+i*readerSize)
		l.readers[i].lost = mem.U64(area, offReaders+i*readerSize+entryLost)
		l.readers[i].lostBytes = mem.U64(area, offReaders+i*readerSize+entryLostBytes)
	}
	for i := range MaxWaiters {
		l.waiting[i] = newEntry(area, offWaiter+i*waiterSize)
	}
	return l, nil
}

func newEntry(area []byte, off int) entry {
	return entry{
		who: mem.U64(area, off+entryWho), cursor: mem.U64(area, off+entryCursor), park: mem.U64(area, off+entryPark),
		bell: wake.Bell{Word: mem.U32(area, off+entryBell), Ref: mem.U32(area, off+entryRef)},
	}
}

// Config returns what the log's parties agreed on.
func (l *Log) Config() Config { return l.config }

func (l *Log) index(p uint64) uint64         { return p & l.mask }
func (l *Log) lap(p uint64) uint64           { return p >> l.shift }
func (l *Log) state(p uint64) *atomic.Uint64 { return &l.states[p&l.mask] }
func (l *Log) loadRoom() room                { return room(l.room.Load()) }
func (l *Log) load(p uint64) (state, int64) {
	w := state(l.states[p&l.mask].Load())
	return w, w.age(l.lap(p))
}

// span checks the length of the claim that w, the state word of position p,
// tells: a peer wrote it.
func (l *Log) span(p uint64, w state) (cells uint64, err error) {
	k := w.cells()
	if k < 1 || k > min(l.max, l.n-l.index(p)) || w.status() == stNone || w.status() > stGone {
		return 0, &CorruptError{fmt.Sprintf("state word of position %d", p), uint64(w)}
	}
	return k, nil
}

// cell returns the words of the k cells at p.
func (l *Log) cell(p, k uint64) []atomic.Uint64 {
	i := l.index(p) * cellWords
	return l.words[i : i+k*cellWords]
}

// length returns the length of the data of the READY record of k cells at p,
// clamped: a peer wrote it.
func (l *Log) length(p, k uint64) uint64 {
	return min(l.words[l.index(p)*cellWords].Load()>>32, k*CellSize-headerSize)
}

// NoLevel silences nobody.
const NoLevel = -1 << 15

// Level returns the shared filter: writers leave out what is below it.
func (l *Log) Level() int { return int(uint16(l.level.Load())) + NoLevel }

// SetLevel sets the shared filter, for all writers at once.
func (l *Log) SetLevel(level int) {
	l.level.Store(uint64(uint16(max(NoLevel, min(level, 1<<15-1)) - NoLevel)))
}
