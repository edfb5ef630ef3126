package multilog

import (
	"encoding/binary"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Found is what Next found.
type Found uint8

// What Next can find.
const (
	// Got: a record.
	Got Found = iota
	// End: nothing is claimed beyond.
	End
	// Unfinished: the next claim is being written by an owner who may live:
	// see Rx.Owner.
	Unfinished
	// Busy: Next has made many steps and found nothing for its filter; call it
	// again.
	Busy
)

// Skipped counts what a reader passed without seeing it.
type Skipped struct {
	Lost      uint64 // records that were given up before they were read
	LostBytes uint64 // of data in them
	Tombs     uint64 // records whose writers died over them
	Holes     uint64 // records that were taken away from writers that stood still
	Corrupt   uint64 // records that do not hold together, or runs of cells that make no sense
}

// Filter chooses records by their headers. The zero value takes all.
type Filter struct {
	Level       int16 // at least
	HasLevel    bool
	Key, Writer string // "": any
}

// Rx reads a log. It is for one goroutine at a time.
type Rx struct {
	log   *Log
	peers Peers
	entry *Entry // nil: not registered
	image bool   // nobody writes the log any more: see NewImageRx

	Pos    uint64 // of the next record
	Seq    uint64 // READY records before Pos
	bytes  uint64 // of data in them
	Owner  uint32 // of the claim that Next found unfinished
	Filter Filter
	Skipped

	budget  int    // bytes that the checksums of an image may still cover
	steps   uint64 // cells that the reader of an image may still look for records in
	reading bool   // the last that Next found was a record
	buf     []byte
	hdr     [headerSize + MaxName + MaxKey + 8]byte
}

// NewRx makes a reader that disturbs nobody, at the oldest record.
func (l *Log) NewRx(p Peers) *Rx {
	r := &Rx{log: l, peers: p}
	_ = r.rewind() // if it fails, so will Next
	return r
}

// NewImageRx makes a reader of a log whose parties are all dead, for instance
// of a copy of its segment. It changes nothing in the log, counts unfinished
// records as tombstones, and steps over what makes no sense.
func (l *Log) NewImageRx() *Rx {
	r := &Rx{log: l, image: true, peers: Peers{Status: func(uint32) Status { return Dead }}, budget: 8 * len(l.bytes)}
	_ = r.rewind()
	return r
}

// origin is where to look for the oldest record of an image whose room word
// makes no sense: the beginning of the lap before the one that, with its
// predecessor, most records tell.
func (l *Log) origin() uint64 {
	laps := make(map[uint64]int)
	for i := range l.n {
		w := state(l.states[i].Load())
		if l.record(w.lap()*l.n + i) {
			laps[w.lap()]++
		}
	}
	lap, most := uint64(2), 0
	for at, n := range laps {
		if n += laps[at-1]; n > most || n == most && at < lap {
			lap, most = at, n
		}
	}
	return max(lap-1, 1) * l.n
}

// record reports whether p is the position of what can be a record.
func (l *Log) record(p uint64) bool {
	w, age := l.load(p)
	if age != 0 || w.status() != stReady { // most words of an image, often: no error is made of them
		return false
	}
	k, err := l.span(p, w)
	return err == nil && l.plausible(p, k)
}

// Log returns the log that r reads.
func (r *Rx) Log() *Log { return r.log }

// burst is how many records Next passes before it returns Busy.
const burst = 1 << 12

// Next looks for the next record that the filter takes. look says to ask after
// the owner of an unfinished one: it costs a system call, so a reader that
// spins does not. An error says that the log is garbled at Pos.
func (r *Rx) Next(rec *Record, look bool) (Found, error) {
	l := r.log
	for range burst {
		w, age := l.load(r.Pos) // R1, edge: publish
		if age > 0 && !r.image {
			// Half of all laps later a newer word looks older.
			if look && l.loadRoom().head() > r.Pos {
				if err := r.jump(); err != nil {
					return End, err
				}
				continue
			}
			if r.rest() {
				continue
			}
			r.idle()
			return End, nil
		}
		k, err := l.span(r.Pos, w)
		switch {
		case age < 0 && !r.image:
			err = r.jump()
		case age != 0 || err != nil:
			if age != 0 {
				err = nil // never claimed, or a lap ago: no reason to call it garbage
			}
			var moved bool
			if moved, err = r.broken(err); moved {
				continue
			}
			if err == nil {
				return End, nil
			}
		}
		if err != nil {
			return End, err
		}
		if age != 0 {
			continue
		}
		switch w.status() {
		case stReady:
			found, err := r.read(rec, k)
			if err != nil || found {
				r.reading = true
				return Got, err
			}
		case stBusy:
			if r.rest() {
				continue
			}
			if !r.pass(w, look) {
				r.Owner = w.owner()
				r.idle()
				return Unfinished, nil
			}
		default:
			r.skip(w.status(), k)
		}
	}
	return Busy, nil
}

func (r *Rx) idle() {
	if r.entry != nil {
		r.entry.idle(r)
	}
}

// Waits returns the claim at Pos, if it is being written.
func (r *Rx) Waits() (OpenClaim, bool) {
	w, age := r.log.load(r.Pos)
	k, err := r.log.span(r.Pos, w)
	if age != 0 || err != nil || w.status() != stBusy {
		return OpenClaim{}, false
	}
	return OpenClaim{r.Pos, w.owner(), int(k) * CellSize}, true
}

// rest lets a reader that has just read a record, and finds no other, wait for a
// moment, once: behind a writer that is at it all the time it would take the
// line of the state words from it twice for each record, and so it reads some
// records at a time, in lines that the writer has left.
func (r *Rx) rest() bool {
	if !r.reading {
		return false
	}
	r.reading = false
	for range rest {
		wake.Pause()
	}
	return true
}

// pass is R2 for a BUSY word: it reports whether Next may look again, because
// the owner is dead or suspect.
func (r *Rx) pass(w state, look bool) bool {
	if !look && !r.image {
		return false
	}
	st := r.peers.Status(w.owner())
	switch {
	case st == Alive:
		return false
	case r.image:
		r.skip(stTomb, w.cells())
	case r.peers.Ring == nil && st == Dead: // we may only read
		r.skip(stTomb, w.cells())
	case r.peers.Ring == nil:
		r.skip(stHole, w.cells())
	default:
		r.log.seal(r.peers, r.Pos, w)
	}
	return true
}

// skip passes k cells that hold no record.
func (r *Rx) skip(st status, k uint64) {
	switch st {
	case stTomb:
		r.Tombs++
	case stHole, stGone:
		r.Holes++
	}
	r.advance(k)
}

// advance is R4: the reader has passed k cells.
func (r *Rx) advance(k uint64) {
	r.Pos += k
	if r.entry != nil {
		r.entry.passed(r)
	}
}

// read is R3 to R5: it copies the READY record of k cells at Pos, and reports
// whether it is one for the filter. If not, the reader has passed it, or was
// lapped over it.
func (r *Rx) read(rec *Record, k uint64) (bool, error) {
	l := r.log
	prefix, length, sound, wanted := r.header(k) // R3
	size := headerSize + prefix + length
	if wanted {
		if cap(r.buf) < size {
			r.buf = make([]byte, size+size/2)
		}
		mem.CopyOut(r.buf[:size], l.cell(r.Pos, k))
	}
	invariant.Point("multilog.R3")
	// R5, edge: claim. If head has passed Pos, somebody may have written over
	// what was copied. The state word would not tell.
	if !r.image && l.loadRoom().head() > r.Pos {
		return false, r.jump()
	}
	counted := uint64(min(length, int(k)*CellSize-headerSize)) // as givers-up count it
	if sound && wanted && l.config.Checksum &&
		checksum(r.Pos, r.buf[4:size]) != binary.LittleEndian.Uint32(r.buf) {
		sound = false
	}
	if !sound {
		r.Corrupt++
	} else if wanted {
		rec.Position, rec.Sequence = r.Pos, r.Seq
		rec.Level = int16(binary.LittleEndian.Uint16(r.hdr[8:]))
		rec.Mono = int64(binary.LittleEndian.Uint64(r.hdr[16:]))
		rec.Wall = int64(binary.LittleEndian.Uint64(r.hdr[24:]))
		rec.decode(r.buf[:size], int(r.hdr[11]), int(r.hdr[10]), prefix)
	}
	r.Seq++
	r.bytes += counted
	r.advance(k)
	return sound && wanted, nil
}

// header copies the header of the record of k cells at Pos, with name and key,
// and says whether it can be one, and is one for the filter.
func (r *Rx) header(k uint64) (prefix, length int, sound, wanted bool) {
	w := r.log.cell(r.Pos, k)
	mem.CopyOut(r.hdr[:headerSize], w)
	length = int(binary.LittleEndian.Uint32(r.hdr[4:]))
	key, name := int(r.hdr[10]), int(r.hdr[11])
	prefix = int(mem.Align(uint64(key+name), 8))
	if name > MaxName || prefix+length > int(k)*CellSize-headerSize {
		return prefix, length, false, false
	}
	mem.CopyOut(r.hdr[headerSize:headerSize+prefix], w[4:])
	return prefix, length, true, r.wants(name, key)
}

// wants applies the filter to the header in hdr.
func (r *Rx) wants(name, key int) bool {
	f := &r.Filter
	if f.HasLevel && int16(binary.LittleEndian.Uint16(r.hdr[8:])) < f.Level {
		return false
	}
	p := r.hdr[headerSize:]
	return (f.Writer == "" || string(p[:name]) == f.Writer) && (f.Key == "" || string(p[name:name+key]) == f.Key)
}

// jump is R7: the reader was lapped; it continues with the oldest record and
// counts what it lost.
func (r *Rx) jump() error {
	l := r.log
	for range stubborn {
		w := l.loadRoom()
		rank := l.rank(w.head())
		invariant.Point("multilog.R7")
		records, size := rank[0].Load(), rank[1].Load()
		if l.loadRoom() != w { // edge: rank
			continue
		}
		if w.head() <= r.Pos || w.head() > maxHead-l.n || records < r.Seq {
			break
		}
		r.Lost += records - r.Seq
		r.LostBytes += max(size, r.bytes) - r.bytes
		r.Seq, r.bytes = records, size
		r.advance(w.head() - r.Pos)
		return nil
	}
	return &CorruptError{"room word", l.room.Load()}
}

// broken is told that the word at Pos makes no sense, or, with no error, that
// it is of another lap. In a log that is in use the error stands; in an image
// the reader goes on at the next record that holds together, if there is one.
// An image can be made so that each one is a lap behind the one before: the
// steps are counted.
func (r *Rx) broken(err error) (moved bool, _ error) {
	if !r.image {
		return false, err
	}
	l := r.log
	for p := r.Pos + 1; p <= r.Pos+2*l.n && r.steps > 0; p++ {
		r.steps--
		w, age := l.load(p)
		if age != 0 || w.status() != stReady {
			continue
		}
		if k, err := l.span(p, w); err == nil && r.sound(p, k) {
			r.Corrupt++
			r.Pos = p
			return true, nil
		}
	}
	if err != nil {
		r.Corrupt++
		r.Pos += 2 * l.n // nothing is left
	}
	return false, nil
}

// sound reports whether the record of k cells at p holds together. An image can
// be made so that its records overlap: past the budget, the headers must do.
func (r *Rx) sound(p, k uint64) bool {
	l := r.log
	b := l.bytes[l.index(p)*CellSize:][:k*CellSize]
	size := headerSize + mem.Align(uint64(b[10])+uint64(b[11]), 8) + uint64(binary.LittleEndian.Uint32(b[4:]))
	if !l.plausible(p, k) || size > k*CellSize {
		return false
	}
	if !l.config.Checksum || r.budget < int(size) {
		return true
	}
	r.budget -= int(size)
	return checksum(p, b[4:size]) == binary.LittleEndian.Uint32(b)
}
