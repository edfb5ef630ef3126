package multilog

import "fmt"

// Info is the state of a log at one moment, for inspection.
type Info struct {
	Config
	Head, Tail uint64      // positions: of the oldest record; of the next claim
	Records    uint64      // finished ones between the two
	Bytes      uint64      // of data in them
	Oldest     int64       // wall time of the first of them that has one, else 0
	Newest     int64       // of the last of them that has one
	Given      uint64      // finished ones before Head, ever
	GivenBytes uint64      // of data in them
	Tombs      uint64      // records whose writers died over them, ever
	Holes      uint64      // records taken away from writers that stood still, ever
	Refused    uint64      // appends that found the log full, ever
	Level      int         // the shared filter
	OutOfUse   uint64      // cells kept for writers that stand still, or were evicted
	Open       []OpenClaim // records that are being written
	Readers    []ReaderInfo
	Waiting    []uint32 // owners of writers that sleep until there is room
}

// OpenClaim is a record that is being written.
type OpenClaim struct {
	Position uint64
	Owner    uint32
	Size     int // bytes of its cells
}

// ReaderInfo describes a registered reader.
type ReaderInfo struct {
	Owner           uint32
	Holds           bool
	Asleep          bool
	Position        uint64 // of a reader that does not hold: where it last slept
	Lag             uint64 // finished records from there on
	Lost, LostBytes uint64
}

// Info looks at the log. Of a log in use it is a sketch: what is counted moves.
func (l *Log) Info() (Info, error) {
	in := Info{
		Config: l.config, Tombs: l.tombs.Load(), Holes: l.holes.Load(), Refused: l.refused.Load(), Level: l.Level(),
	}
	for i := range l.readers {
		e := &l.readers[i]
		if w := who(e.who.Load()); w.state() == whoActive {
			in.Readers = append(in.Readers, ReaderInfo{
				Owner: w.owner(), Holds: w.holds(), Asleep: e.park.Load() != 0, Position: e.cursor.Load(),
				Lost: e.lost.Load(), LostBytes: e.lostBytes.Load(),
			})
		}
	}
	for i := range l.waiting {
		e := &l.waiting[i]
		if w := who(e.who.Load()); w.state() == whoActive && e.park.Load() != 0 {
			in.Waiting = append(in.Waiting, w.owner())
		}
	}
	for i := range l.states {
		if w := state(l.states[i].Load()); w.status() == stHole || w.status() == stGone {
			in.OutOfUse += min(w.cells(), l.max)
		}
	}
	return in, l.survey(&in)
}

// survey walks the claims for Info.
func (l *Log) survey(in *Info) error {
	in.Head = l.loadRoom().head()
	rank := l.rank(in.Head)
	in.Given, in.GivenBytes = rank[0].Load(), rank[1].Load()
	in.Tail = in.Head
	for end := in.Head + l.n; in.Tail < end; {
		w, age := l.load(in.Tail)
		if age != 0 {
			return nil // the true tail, or lapped while we looked
		}
		k, err := l.span(in.Tail, w)
		if err != nil {
			return err
		}
		switch w.status() {
		case stReady:
			in.count(in.Tail, l.length(in.Tail, k), int64(l.cell(in.Tail, k)[3].Load()))
		case stBusy:
			in.Open = append(in.Open, OpenClaim{in.Tail, w.owner(), int(k) * CellSize})
		}
		in.Tail += k
	}
	return nil
}

// count counts the finished record at p.
func (in *Info) count(p, length uint64, wall int64) {
	in.Records++
	in.Bytes += length
	for i := range in.Readers {
		if in.Readers[i].Position <= p {
			in.Readers[i].Lag++
		}
	}
	if wall != 0 {
		in.Newest = wall
		if in.Oldest == 0 {
			in.Oldest = wall
		}
	}
}

// End is the position of the next claim, or one a little before it.
func (l *Log) End() uint64 { return l.end() }

// CountRefused counts an append that found the log full.
func (l *Log) CountRefused() { l.refused.Add(1) }

// Blockers lists the owners of the readers that hold the oldest record.
func (l *Log) Blockers() []uint32 {
	head := l.loadRoom().head()
	var out []uint32
	for i := range l.readers {
		e := &l.readers[i]
		if w := who(e.who.Load()); w.state() == whoActive && w.holds() && e.cursor.Load() <= head {
			out = append(out, w.owner())
		}
	}
	return out
}

// Held tells what every owner has in the log: what recovery ends when the owner
// is dead.
func (l *Log) Held(tell func(what string, owner uint32)) {
	for i := range l.states {
		if w := state(l.states[i].Load()); w.status() == stBusy || w.status() == stHole {
			tell(fmt.Sprintf("the %v record in cell %d", w.status(), i), w.owner())
		}
	}
	entries := func(kind string, all []entry) {
		for i := range all {
			if w := who(all[i].who.Load()); w.state() == whoJoining || w.state() == whoActive {
				tell(fmt.Sprintf("%s entry %d", kind, i), w.owner())
			}
		}
	}
	entries("reader", l.readers[:])
	entries("waiter", l.waiting[:])
}

// Verify checks the log's invariants (see the package comment) and returns what
// is wrong, in words. While the log is in use, what moved between two looks is
// not reported.
func (l *Log) Verify() []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	tail := l.tail.Load() // before the claims: it is never beyond the last one
	r := l.loadRoom()
	head := r.head()
	if head < l.n || head > maxHead-l.n {
		wrong("head %d is not a position", head)
		return out
	}
	rank := l.rank(head)
	records := rank[0].Load()
	if records > head-l.n {
		wrong("%d records before position %d", records, head)
	}
	p := head
	for p < head+l.n {
		w, age := l.load(p)
		if age != 0 {
			break
		}
		k, err := l.span(p, w)
		if err != nil {
			if l.loadRoom() == r {
				wrong("%v", err)
			}
			return out
		}
		if w.status() == stReady && !l.plausible(p, k) && l.loadRoom() == r {
			wrong("record at position %d does not hold together", p)
		}
		p += k
	}
	if l.loadRoom() == r && p > head+l.n {
		wrong("the claims from %d end at %d, beyond the log", head, p)
	}
	if l.loadRoom() == r && tail > p {
		wrong("tail %d is beyond the last claim, which ends at %d", tail, p)
	}
	for i := range l.readers {
		if w := who(l.readers[i].who.Load()); w.state() > whoRetired || w.state() != whoFree && w.owner() == 0 {
			wrong("reader entry %d: %#x is no owner", i, uint64(w))
		}
	}
	for i := range l.waiting {
		if w := who(l.waiting[i].who.Load()); w.state() > whoRetired || w.state() != whoFree && w.owner() == 0 {
			wrong("waiter entry %d: %#x is no owner", i, uint64(w))
		}
	}
	return out
}

// plausible is sound by atomic loads, without the checksum.
func (l *Log) plausible(p, k uint64) bool {
	w := l.cell(p, k)
	prefix := w[1].Load()
	key, name := prefix>>16&255, prefix>>24&255
	return name <= MaxName && headerSize+(key+name+7)&^7+w[0].Load()>>32 <= k*CellSize
}
