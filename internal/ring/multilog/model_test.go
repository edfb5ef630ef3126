package multilog

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// machine is a log beside its model: the list of all records that were
// finished, and the claims that are open. All in one goroutine, so that what
// must happen is known exactly.
type machine struct {
	*rig
	mode    Mode
	next    uint32 // owner that is given out next
	writers []*modelWriter
	readers []*modelReader
	open    []*modelClaim // in no order
	lost    []*modelClaim // their owners were evicted, or nobody swept their holes: their cells stay theirs
	ready   []modelRecord // in the order of positions
	wall    int64
}

type modelWriter struct {
	owner uint32
	tx    *Tx
}

type modelClaim struct {
	w      *modelWriter
	claim  Claim
	fill   []byte
	sealed bool // a reader has passed it
}

type modelRecord struct {
	pos  uint64
	hdr  Header
	key  string
	by   string
	data []byte
}

type modelReader struct {
	owner uint32
	rx    *Rx
	holds bool
	safe  bool // it has held ever since: it loses nothing
	base  uint64
	got   uint64
}

func newMachine(t *rapid.T, outer *testing.T) *machine {
	m := &machine{next: 0x101, mode: rapid.SampledFrom([]Mode{Overwrite, Reject}).Draw(t, "mode")}
	m.rig = newRig(outer, Config{Cells: MinCells, Mode: m.mode, Checksum: rapid.Bool().Draw(t, "checksum")})
	for range rapid.IntRange(1, 3).Draw(t, "writers") {
		m.writer()
	}
	return m
}

func (m *machine) owner() uint32 {
	m.next++
	return m.next
}

func (m *machine) writer() {
	w := &modelWriter{owner: m.owner()}
	w.tx = m.tx(w.owner)
	m.writers = append(m.writers, w)
}

func (m *machine) head() uint64 { return m.log.loadRoom().head() }

// before counts the records before pos, and their bytes.
func (m *machine) before(pos uint64) (n, size uint64) {
	for _, r := range m.ready {
		if r.pos < pos {
			n, size = n+1, size+uint64(len(r.data))
		}
	}
	return n, size
}

// size draws how large a record is: most are small.
func size(t *rapid.T, l *Log) int {
	most := rapid.SampledFrom([]int{0, 96, 97, 300, 1000, 5000, l.config.Limit()}).Draw(t, "up to")
	return rapid.IntRange(0, most).Draw(t, "size")
}

// fits says whether so many cells must be there, and whether that is known:
// claims that are taken away may cut any run.
func (m *machine) fits(tail uint64, cells uint64) (fits, known bool) {
	for _, c := range slices.Concat(m.open, m.lost) {
		if c.sealed || c.claim.Pos+m.log.n < tail+2*m.log.max+m.log.slack {
			return true, false
		}
	}
	if m.mode == Overwrite {
		return true, true
	}
	held := uint64(maxHead)
	for _, r := range m.readers {
		if r.holds && m.status[r.owner] == Alive {
			held = min(held, max(r.rx.Pos, m.head()))
		}
	}
	if end := m.log.n - m.log.index(tail); cells > end {
		tail += end
	}
	return held == maxHead || tail+cells <= held+m.log.n, true
}

func (m *machine) append(t *rapid.T) {
	w := rapid.SampledFrom(m.writers).Draw(t, "writer")
	n := size(t, m.log)
	key := rapid.SampledFrom([]string{"", "k", "stderr"}).Draw(t, "key")
	p := prefix(fmt.Sprint("w", w.owner), key)
	data := bytes.Repeat([]byte{byte(len(m.ready))}, max(0, min(n, m.log.config.Limit()-p.Size())))
	m.wall++
	r := modelRecord{hdr: Header{Level: int16(n % 5), Mono: m.wall, Wall: m.wall}, key: key, by: fmt.Sprint("w", w.owner), data: data}
	tail := m.log.end()
	fits, known := m.fits(tail, cellsFor(len(data)+p.Size()))
	pos, err := w.tx.Append(data, r.hdr.Level, func() (int64, int64) { return m.wall, m.wall }, p)
	if err != nil {
		if !errors.Is(err, ErrFull) || known && fits {
			t.Fatalf("append of %d bytes at %d: %v; fits %v, %v", len(data), tail, err, fits, known)
		}
		return
	}
	if known && !fits || pos < tail {
		t.Fatalf("append of %d bytes at %d is at %d", len(data), tail, pos)
	}
	r.pos = pos
	m.ready = append(m.ready, r)
	m.order()
}

func (m *machine) order() {
	slices.SortFunc(m.ready, func(a, b modelRecord) int { return int(int64(a.pos - b.pos)) })
}

// reserve leaves a claim open.
func (m *machine) reserve(t *rapid.T) {
	if len(m.open) > 4 {
		return
	}
	w := rapid.SampledFrom(m.writers).Draw(t, "writer")
	most := size(t, m.log)
	least := rapid.IntRange(0, most).Draw(t, "least")
	tail := m.log.end()
	full, known := m.fits(tail, cellsFor(most))
	c, err := w.tx.Reserve(least, most)
	if errors.Is(err, ErrFull) {
		if fits, known := m.fits(tail, cellsFor(least)); fits && known {
			t.Fatalf("reserve %d to %d at %d: %v", least, most, tail, err)
		}
		return
	}
	if err != nil || c.Size() < least || c.cells > cellsFor(most) {
		t.Fatalf("reserve %d to %d: %+v, %v", least, most, c, err)
	}
	if end := m.log.n - m.log.index(tail); known && full && c.Pos == tail && c.cells != min(cellsFor(most), end) {
		t.Fatalf("reserve %d to %d at %d, where %d cells are left: %d", least, most, tail, end, c.cells)
	}
	o := &modelClaim{w: w, claim: c, fill: bytes.Repeat([]byte{byte(c.Pos)}, c.Size())}
	copy(m.log.Data(c, 0), o.fill)
	m.open = append(m.open, o)
}

// finish ends an open claim, by Finish or Abort.
func (m *machine) finish(t *rapid.T) {
	if len(m.open) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.open)-1).Draw(t, "claim")
	o := m.open[i]
	m.open = slices.Delete(m.open, i, i+1)
	want := error(nil)
	if o.sealed || o.claim.Pos < m.head() {
		want = ErrLapped
	}
	if rapid.IntRange(0, 4).Draw(t, "abort") == 0 {
		if err := o.w.tx.Abort(o.claim); !errors.Is(err, want) {
			t.Fatalf("abort of %d: %v, want %v", o.claim.Pos, err, want)
		}
		return
	}
	length := rapid.IntRange(0, len(o.fill)).Draw(t, "length")
	m.wall++
	h := Header{Level: 3, Mono: m.wall, Wall: m.wall}
	if err := o.w.tx.Finish(o.claim, h, new(Prefix), length); !errors.Is(err, want) {
		t.Fatalf("finish of %d: %v, want %v", o.claim.Pos, err, want)
	}
	if want == nil {
		m.ready = append(m.ready, modelRecord{pos: o.claim.Pos, hdr: h, data: o.fill[:length]})
		m.order()
	}
}

// die ends a writer: by death, which is swept now or found later, or by an
// operator's word.
func (m *machine) die(t *rapid.T) {
	i := rapid.IntRange(0, len(m.writers)-1).Draw(t, "writer")
	w := m.writers[i]
	m.writers = slices.Delete(m.writers, i, i+1)
	evicted := rapid.Bool().Draw(t, "evicted")
	m.status[w.owner] = Dead
	if evicted {
		m.status[w.owner], m.fenced[w.owner] = Gone, true
	}
	swept := evicted || rapid.Bool().Draw(t, "swept")
	want := 0
	m.open = slices.DeleteFunc(m.open, func(o *modelClaim) bool {
		if o.w != w {
			return false
		}
		hole := o.sealed || o.claim.Pos < m.head()
		if !hole {
			want++
		}
		if evicted || hole && !swept {
			m.lost = append(m.lost, o)
		}
		return true
	})
	if swept {
		if n, _ := m.log.Recover(w.owner, evicted, m.peers(1).Ring); n != want {
			t.Fatalf("%d records of %#x were ended, %d were open", n, w.owner, want)
		}
	}
	if evicted {
		if _, err := w.tx.Reserve(1, 1); !errors.Is(err, ErrFenced) && !errors.Is(err, ErrFull) {
			t.Fatalf("the evicted reserves: %v", err)
		}
	}
	m.writer()
}

func (m *machine) join(t *rapid.T) {
	if len(m.readers) > 3 {
		return
	}
	r := &modelReader{owner: m.owner()}
	r.rx = m.rx(r.owner)
	if kind := rapid.IntRange(0, 2).Draw(t, "place"); kind > 0 {
		if err := r.rx.Register(kind == 2); err != nil {
			t.Fatal(err)
		}
		r.holds = kind == 2 && m.mode == Reject
		r.safe = r.holds
	}
	r.base = r.rx.Seq
	m.readers = append(m.readers, r)
}

func (m *machine) leave(t *rapid.T) {
	if len(m.readers) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.readers)-1).Draw(t, "reader")
	r := m.readers[i]
	m.readers = slices.Delete(m.readers, i, i+1)
	if r.rx.Entry() == nil {
		return
	}
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		r.rx.Unregister()
	case 1:
		m.status[r.owner] = Dead
		if _, n := m.log.Recover(r.owner, false, m.peers(1).Ring); n != 1 {
			t.Fatalf("%d readers recovered", n)
		}
	default:
		m.status[r.owner] = Dead // nobody has noticed
	}
}

// suspect silences somebody for a while, or lets it speak again.
func (m *machine) suspect(t *rapid.T) {
	if len(m.readers) == 0 || rapid.Bool().Draw(t, "a writer") {
		w := rapid.SampledFrom(m.writers).Draw(t, "writer")
		m.status[w.owner] = Suspect - m.status[w.owner]
		return
	}
	r := rapid.SampledFrom(m.readers).Draw(t, "reader")
	if m.status[r.owner] = Suspect - m.status[r.owner]; m.status[r.owner] == Suspect {
		r.safe = false
	}
}

func (m *machine) read(t *rapid.T) {
	if len(m.readers) == 0 {
		return
	}
	r := rapid.SampledFrom(m.readers).Draw(t, "reader")
	for range rapid.IntRange(1, 100).Draw(t, "records") {
		if !m.one(t, r) {
			return
		}
	}
}

// one reads one record.
func (m *machine) one(t *rapid.T, r *modelReader) bool {
	from := max(r.rx.Pos, m.head())
	var rec Record
	f, err := r.rx.Next(&rec, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range m.open {
		if o.sealed || o.claim.Pos < from || o.claim.Pos >= r.rx.Pos {
			continue
		}
		if o.sealed = m.status[o.w.owner] == Suspect; !o.sealed {
			t.Fatalf("the reader passed the open claim at %d of one who lives", o.claim.Pos)
		}
	}
	i := slices.IndexFunc(m.ready, func(e modelRecord) bool { return e.pos >= from && r.takes(e) })
	blocked := uint64(maxHead)
	for _, o := range m.open {
		if o.claim.Pos >= from && !o.sealed && m.status[o.w.owner] == Alive {
			blocked = min(blocked, o.claim.Pos)
		}
	}
	switch {
	case i >= 0 && m.ready[i].pos < blocked:
		if f != Got {
			t.Fatalf("found %v at %d, there is a record at %d", f, r.rx.Pos, m.ready[i].pos)
		}
		m.same(t, &rec, m.ready[i])
		r.got++
	case blocked < maxHead:
		if f != Unfinished || r.rx.Pos != blocked || m.status[r.rx.Owner] != Alive {
			t.Fatalf("found %v at %d of %#x, the record at %d is not finished", f, r.rx.Pos, r.rx.Owner, blocked)
		}
	case f != End:
		t.Fatalf("found %v at %d", f, r.rx.Pos)
	}
	m.counts(t, r)
	return f == Got
}

func (r *modelReader) takes(e modelRecord) bool {
	f := &r.rx.Filter
	return (!f.HasLevel || e.hdr.Level >= f.Level) && (f.Key == "" || f.Key == e.key) && (f.Writer == "" || f.Writer == e.by)
}

func (m *machine) same(t *rapid.T, rec *Record, want modelRecord) {
	n, _ := m.before(want.pos)
	if rec.Position != want.pos || rec.Sequence != n || rec.Header != want.hdr || string(rec.Key) != want.key ||
		string(rec.Writer) != want.by || !bytes.Equal(rec.Data, want.data) {
		t.Fatalf("record %d, %d, %+v, %q, %q, %d bytes; want %d, %d, %+v, %q, %q, %d bytes",
			rec.Position, rec.Sequence, rec.Header, rec.Writer, rec.Key, len(rec.Data), want.pos, n, want.hdr, want.by, want.key, len(want.data))
	}
}

// counts checks what the reader says that it lost.
func (m *machine) counts(t *rapid.T, r *modelReader) {
	n, size := m.before(r.rx.Pos)
	if r.rx.Seq != n || r.rx.bytes != size || r.rx.Corrupt != 0 {
		t.Fatalf("at %d the reader counts %d records, %d bytes, %d corrupt; there were %d, %d", r.rx.Pos, r.rx.Seq, r.rx.bytes, r.rx.Corrupt, n, size)
	}
	if f := r.rx.Filter; f == (Filter{}) && r.base+r.got+r.rx.Lost != n {
		t.Fatalf("at %d of %d: began at %d, got %d, lost %d", r.rx.Pos, n, r.base, r.got, r.rx.Lost)
	}
	if r.safe && r.rx.Lost > 0 {
		t.Fatalf("a reader that holds lost %d", r.rx.Lost)
	}
}

// filter changes what a reader takes.
func (m *machine) filter(t *rapid.T) {
	if len(m.readers) == 0 {
		return
	}
	r := rapid.SampledFrom(m.readers).Draw(t, "reader")
	r.rx.Filter = rapid.SampledFrom([]Filter{{}, {}, {HasLevel: true, Level: 2}, {Key: "k"}, {Writer: fmt.Sprint("w", m.writers[0].owner)}}).Draw(t, "filter")
	m.begin(r)
}

// begin counts anew.
func (m *machine) begin(r *modelReader) {
	r.rx.Skipped = Skipped{}
	r.base, r.got = r.rx.Seq, 0
}

// firstOpen is the first claim that one who lives has not finished.
func (m *machine) firstOpen() uint64 {
	first := uint64(maxHead)
	for _, o := range m.open {
		if !o.sealed && o.claim.Pos >= m.head() && m.status[o.w.owner] == Alive {
			first = min(first, o.claim.Pos)
		}
	}
	return first
}

func (m *machine) seek(t *rapid.T) {
	if len(m.readers) == 0 {
		return
	}
	r := rapid.SampledFrom(m.readers).Draw(t, "reader")
	was, head := r.rx.Pos, m.head()
	stop := m.firstOpen() // where searches end
	kept := slices.DeleteFunc(slices.Clone(m.ready), func(e modelRecord) bool { return e.pos < head || e.pos > stop })
	next := func() uint64 { // of the record that comes first now
		for _, e := range kept {
			if e.pos >= r.rx.Pos {
				return e.pos
			}
		}
		return maxHead
	}
	var err error
	want := uint64(maxHead)
	switch rapid.IntRange(0, 4).Draw(t, "how") {
	case 0:
		err = r.rx.SeekFirst()
		want = slices.MinFunc(append(kept, modelRecord{pos: maxHead}), func(a, b modelRecord) int { return int(int64(a.pos - b.pos)) }).pos
	case 1:
		n := rapid.IntRange(0, 5).Draw(t, "last")
		err = r.rx.SeekLast(uint64(n))
		takes := slices.DeleteFunc(slices.Clone(kept), func(e modelRecord) bool { return !r.takes(e) })
		if n = min(n, len(takes)); n > 0 {
			want = takes[len(takes)-n].pos
		}
	case 2:
		wall := int64(rapid.IntRange(0, int(m.wall)+1).Draw(t, "wall"))
		err = r.rx.SeekTime(wall)
		for _, e := range slices.Backward(kept) {
			if e.hdr.Wall >= wall {
				want = e.pos
			}
		}
	default:
		want = m.seekPosition(t, r, kept, was)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range m.open { // the search went over some of those who are silent
		if w := state(m.log.state(o.claim.Pos).Load()); m.status[o.w.owner] == Suspect && w.status() != stBusy {
			o.sealed = true
		}
	}
	if got := next(); got != want {
		t.Fatalf("the next record after the search is at %d, want %d", got, want)
	}
	m.begin(r)
	m.counts(t, r)
}

// seekPosition is Seek, and returns which record comes first then.
func (m *machine) seekPosition(t *rapid.T, r *modelReader, kept []modelRecord, was uint64) uint64 {
	pos := uint64(rapid.IntRange(int(m.head())-10, int(m.log.end())+10).Draw(t, "position"))
	if len(kept) > 0 && rapid.Bool().Draw(t, "of a record") {
		pos = rapid.SampledFrom(kept).Draw(t, "record").pos
	}
	err := r.rx.Seek(pos)
	want := uint64(maxHead)
	for _, e := range slices.Backward(kept) {
		if e.pos > pos {
			want = e.pos
		}
	}
	var gone *GoneError
	var none *NoRecordError
	switch {
	case errors.As(err, &gone):
		if pos >= m.head() || gone.Oldest != m.head() {
			t.Fatalf("%v; head %d", err, m.head())
		}
	case errors.As(err, &none):
		if slices.ContainsFunc(kept, func(e modelRecord) bool { return e.pos == pos }) {
			t.Fatalf("%v; there is one", err)
		}
		if r.rx.Pos != was {
			t.Fatalf("%v: the reader went from %d to %d", err, was, r.rx.Pos)
		}
		want = maxHead
		for _, e := range slices.Backward(kept) {
			if e.pos >= was {
				want = e.pos
			}
		}
	case err != nil:
		t.Fatal(err)
	}
	return want
}

// check is what holds after every step.
func (m *machine) check(t *rapid.T) {
	if w := m.log.Verify(); len(w) > 0 {
		t.Fatal(w)
	}
	head := m.head()
	in, err := m.log.Info()
	n, size := m.before(head)
	all, sum := m.before(maxHead)
	if err != nil || in.Given != n || in.GivenBytes != size || in.Given+in.Records != all || in.GivenBytes+in.Bytes != sum {
		t.Fatalf("%+v, %v; %d records, %d bytes were finished, %d and %d before the head", in, err, all, sum, n, size)
	}
	open := 0
	for _, o := range slices.Concat(m.open, m.lost) {
		if !bytes.Equal(m.log.Data(o.claim, 0), o.fill) {
			t.Fatalf("somebody wrote into the claim at %d", o.claim.Pos)
		}
		if o.claim.Pos >= head && !o.sealed && m.status[o.w.owner] == Alive {
			open++
		}
	}
	if len(in.Open) < open {
		t.Fatalf("%d records are open, the log says %+v", open, in.Open)
	}
	for _, r := range m.readers {
		if r.safe && r.rx.Pos < head {
			t.Fatalf("head %d is beyond a reader that holds %d", head, r.rx.Pos)
		}
	}
}

// image reads the log as if everybody had died now.
func (m *machine) image(t *rapid.T) {
	area := m.area
	before := bytes.Clone(area)
	l, err := Open(area)
	if err != nil {
		t.Fatal(err)
	}
	rx := l.NewImageRx()
	head := m.head()
	for _, want := range m.ready {
		if want.pos < head {
			continue
		}
		var rec Record
		if f, err := rx.Next(&rec, true); f != Got || err != nil {
			t.Fatalf("image: %v, %v at %d, want the record at %d", f, err, rx.Pos, want.pos)
		}
		m.same(t, &rec, want)
	}
	var rec Record
	if f, err := rx.Next(&rec, true); f != End || err != nil || rx.Lost+rx.Corrupt != 0 {
		t.Fatalf("image: %v, %v at the end; %+v", f, err, rx.Skipped)
	}
	if !bytes.Equal(area, before) {
		t.Fatal("reading an image changes it")
	}
}

func TestLogDoesWhatItsModelDoes(t *testing.T) {
	for name, set := range map[string][2]string{"nofailfile": {"false", "true"}, "steps": {"30", "120"}, "checks": {"100", "150"}} {
		if f := flag.Lookup("rapid." + name); f.Value.String() == set[0] { // not asked for otherwise
			must(t, f.Value.Set(set[1]))
		}
	}
	shmtest.RapidSeed()
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(rt, t)
		rt.Repeat(map[string]func(*rapid.T){
			"":       m.check,
			"append": m.append, "append more": m.append, "append yet more": m.append, "append most": m.append,
			"reserve": m.reserve, "finish": m.finish, "finish more": m.finish, "die": m.die,
			"join": m.join, "leave": m.leave, "suspect": m.suspect, "read": m.read, "read more": m.read,
			"filter": m.filter, "seek": m.seek, "image": m.image,
		})
	})
}
