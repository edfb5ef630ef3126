package fanout

import (
	"bytes"
	"flag"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// machine is one lane beside its model: the log of all messages, and for each
// subscriber where it is and what it holds. All in one goroutine, so that what
// must happen is known exactly.
type machine struct {
	*rig
	c     Config
	x     *Tx    // nil: the lane has no publisher
	owner uint32 // the last that was given out
	pub   uint32 // the publisher
	log   [][]byte
	loans []loaned
	subs  []*modelSub
}

type loaned struct {
	desc uint32
	data []byte
}

type modelSub struct {
	owner   uint32
	slot    *Slot
	rx      *Rx // nil: it has not found the lane yet
	late    bool
	placed  bool // it has a cursor
	mode    Mode
	next    uint64
	since   uint64 // what lies before is history, and no loss
	fenced  bool
	lost    uint64 // by a fence, to be told
	records []Record
	open    []modelLoan
}

type modelLoan struct {
	rec  *Record
	kept bool
}

func newMachine(t *rapid.T, outer *testing.T) *machine {
	m := &machine{owner: 0x1000}
	m.c = Config{
		Depth:      1 << rapid.IntRange(0, 5).Draw(t, "depth"),
		MaxMessage: rapid.SampledFrom([]int{8, 104, 112, 300}).Draw(t, "max"),
		Holds:      rapid.IntRange(1, 8).Draw(t, "holds"), Loans: rapid.IntRange(1, 3).Draw(t, "loans"),
		LatestOnly: rapid.IntRange(0, 9).Draw(t, "latest-only") == 0,
	}
	m.rig = newRig(outer, m.c)
	return m
}

func (m *machine) head() uint64 { return uint64(len(m.log)) }

// payload is a message that no other is equal to, of the given length at most.
func (m *machine) payload(t *rapid.T, of uint64) []byte {
	b := make([]byte, rapid.IntRange(0, max(m.c.MaxMessage, InlineSize)).Draw(t, "length"))
	for i := range b {
		b[i] = byte(of>>(i%3*4)) ^ byte(i)
	}
	return b
}

// needs is the first position that a reliable subscriber has not passed, and
// whether there is one.
func (m *machine) needs() (least uint64, some bool) {
	least = m.head()
	for _, s := range m.subs {
		if s.mode == ModeLatest || s.fenced || s.rx == nil && !m.opened() {
			continue
		}
		some = true
		least = min(least, s.next)
		for _, l := range s.open {
			if l.rec.Lent && !l.kept {
				least = min(least, l.rec.Pos)
			}
		}
	}
	return least, some
}

func (m *machine) opened() bool { return m.topic.Lanes() != 0 }

// sent checks whether n messages of those asked for could be published.
func (m *machine) sent(t *rapid.T, n, asked int) {
	least, some := m.needs()
	room := uint64(m.c.Depth) - (m.head() - least)
	switch {
	case uint64(n) > room:
		t.Fatalf("sent %d messages at %d, though %d is needed", n, m.head(), least)
	case n == 0 && asked > 0 && (!some || room > uint64(m.c.Chunk())):
		t.Fatalf("no room for a message at %d; the least needed is %d", m.head(), least)
	}
}

func (m *machine) open(t *rapid.T) {
	if m.x != nil {
		return
	}
	m.owner++
	m.pub = m.owner
	x, ok := OpenTx(m.topic, m.lane, m.pub, fmt.Sprint("pub", m.pub), 1, 1, m.ring)
	if !ok {
		t.Fatal("the lane is taken")
	}
	if x.Head() != m.head() {
		t.Fatalf("head %d after the restart, %d were sent", x.Head(), m.head())
	}
	m.x = x
	for _, s := range m.subs { // it got a place
		if !s.placed {
			s.placed, s.next, s.since = true, m.head(), m.head()
		}
	}
}

func (m *machine) send(t *rapid.T) {
	if m.x == nil {
		return
	}
	b := m.payload(t, m.head())
	ok := m.x.Send(b, int64(m.head()))
	n := 0
	if ok {
		n = 1
	}
	m.sent(t, n, 1)
	if ok {
		m.log = append(m.log, b)
	}
}

func (m *machine) batch(t *rapid.T) {
	if m.x == nil {
		return
	}
	var msgs [][]byte
	for i := range rapid.IntRange(0, 10).Draw(t, "messages") {
		msgs = append(msgs, m.payload(t, m.head()+uint64(i)))
	}
	n := m.x.SendBatch(msgs, 5)
	if n > m.c.Chunk() {
		t.Fatalf("a batch of %d, more than a chunk", n)
	}
	m.sent(t, n, len(msgs))
	m.log = append(m.log, msgs[:n]...)
}

func (m *machine) loan(t *rapid.T) {
	if m.x == nil || m.c.MaxMessage <= InlineSize {
		return
	}
	d, buf, ok := m.x.Loan()
	if ok != (len(m.loans) < m.c.Loans) {
		t.Fatalf("loan %v with %d of %d open", ok, len(m.loans), m.c.Loans)
	}
	if ok {
		b := m.payload(t, uint64(d)+77)
		copy(buf, b)
		m.loans = append(m.loans, loaned{d, b})
	}
}

// endLoan sends the oldest loan, or takes it back.
func (m *machine) endLoan(t *rapid.T) {
	if m.x == nil || len(m.loans) == 0 {
		return
	}
	l := m.loans[0]
	if rapid.Bool().Draw(t, "return") {
		m.x.Return(l.desc)
		m.loans = m.loans[1:]
		return
	}
	if m.x.SendLoan(l.desc, len(l.data), 0) {
		m.sent(t, 1, 1)
		m.log = append(m.log, l.data)
		m.loans = m.loans[1:]
	} else {
		m.sent(t, 0, 1)
	}
}

// stop ends the publisher, by its will or not.
func (m *machine) stop(t *rapid.T) {
	if m.x == nil {
		return
	}
	if rapid.Bool().Draw(t, "dies") {
		if _, pubs := m.topic.Recover(m.pub, false, m.only, m.ring); pubs != 1 {
			t.Fatalf("buried %d publishers", pubs)
		}
	} else {
		m.x.Close()
	}
	m.x, m.loans = nil, nil
	for _, s := range m.subs {
		if s.rx != nil && !s.fenced && s.rx.Ended() != (s.next == m.head()) {
			t.Fatalf("ended %v at %d of %d", s.rx.Ended(), s.next, m.head())
		}
	}
}

func (m *machine) join(t *rapid.T) {
	used := 0
	for _, s := range m.subs {
		used += s.slot.word.credit()
	}
	m.owner++
	s := &modelSub{owner: m.owner, mode: rapid.SampledFrom([]Mode{ModeDefault, ModeReliable, ModeLatest}).Draw(t, "mode")}
	if m.c.LatestOnly {
		s.mode = ModeDefault
	}
	room := m.c.Holds - used - packClaim(claimHeld, s.mode, 0, 1, 1).credit()
	if room < 1 {
		return
	}
	s.records = make([]Record, rapid.IntRange(1, min(3, room)).Draw(t, "records"))
	for i := range s.records {
		s.records[i].Init(i)
	}
	var err error
	if s.slot, err = m.topic.Join(s.owner, s.mode, len(s.records)); err != nil {
		t.Fatal(err)
	}
	if m.c.LatestOnly {
		s.mode = ModeLatest
	}
	s.late = !m.opened()
	m.subs = append(m.subs, s)
	if !s.late {
		m.openRx(t, s)
	}
}

// openRx gives s its place in the lane.
func (m *machine) openRx(t *rapid.T, s *modelSub) {
	history := rapid.IntRange(0, m.c.Depth-m.c.Chunk()).Draw(t, "history")
	rx, err := OpenRx(s.slot, m.lane, history, s.late, m.ring)
	if err != nil {
		t.Fatal(err)
	}
	s.rx = rx
	if !s.placed {
		s.placed, s.next, s.since = true, m.head()-min(m.head(), uint64(history)), m.head()
	}
	if rx.Next() != s.next {
		t.Fatalf("begins at %d, want %d", rx.Next(), s.next)
	}
}

// some draws a subscriber that has the lane open, or nil.
func (m *machine) some(t *rapid.T) *modelSub {
	if len(m.subs) == 0 {
		return nil
	}
	s := m.subs[rapid.IntRange(0, len(m.subs)-1).Draw(t, "subscriber")]
	if s.rx == nil {
		if !m.opened() {
			return nil
		}
		m.openRx(t, s)
	}
	return s
}

func (m *machine) poll(t *rapid.T) {
	s := m.some(t)
	if s == nil {
		return
	}
	if n := len(s.open); n > 0 && !s.open[n-1].kept {
		if n == len(s.records) {
			return
		}
		if st := s.rx.Keep(s.open[n-1].rec); st != Got {
			t.Fatalf("keep: %v", st)
		}
		s.open[n-1].kept = true
	}
	rec := s.free()
	if rec == nil {
		return
	}
	st := s.rx.Poll(rec)
	if s.fenced {
		if st != Fenced && (st != Empty || s.next != m.head()) {
			t.Fatalf("fenced, and poll says %v", st)
		}
		return
	}
	at, lost := s.next, s.lost
	if s.mode == ModeLatest && m.head() > at+uint64(m.c.Depth) {
		at = m.head() - uint64(m.c.Depth)
		lost += at - min(at, max(s.next, s.since))
	}
	if at == m.head() {
		if st != Empty || !s.rx.Waiting() {
			t.Fatalf("nothing at %d, and poll says %v", at, st)
		}
		return
	}
	if st != Got || rec.Pos != at || rec.Lost != lost {
		t.Fatalf("poll: %v, position %d, lost %d; want %d, lost %d; %v", st, rec.Pos, rec.Lost, at, lost, s.rx.Err())
	}
	s.next, s.lost, s.since = at+1, 0, 0 // after the first message every gap is a loss
	s.open = append(s.open, modelLoan{rec: rec})
}

func (s *modelSub) free() *Record {
	for i := range s.records {
		rec := &s.records[i]
		used := false
		for _, l := range s.open {
			used = used || l.rec == rec
		}
		if !used {
			return rec
		}
	}
	return nil
}

func (m *machine) release(t *rapid.T) {
	s := m.some(t)
	if s == nil || len(s.open) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.open)-1).Draw(t, "loan")
	l := s.open[i]
	s.open = append(s.open[:i], s.open[i+1:]...)
	s.rx.Released(l.rec.Pos)
}

// fence is the publisher's, if somebody holds it back; the fenced one may come
// back at once or later.
func (m *machine) fence(t *rapid.T) {
	if m.x == nil || m.x.Room() {
		return
	}
	for _, b := range m.x.Blockers() {
		m.x.Fence(b)
		for _, s := range m.subs {
			if s.owner == b.Owner {
				s.fenced = true
			}
		}
	}
}

func (m *machine) rejoin(t *rapid.T) {
	s := m.some(t)
	if s == nil || !s.fenced {
		return
	}
	var current *Record
	if n := len(s.open); n > 0 && !s.open[n-1].kept {
		current = s.open[n-1].rec
		s.open[n-1].kept = true
	}
	before := s.rx.Next()
	if st := s.rx.Rejoin(current); st != Got {
		t.Fatalf("rejoin: %v", st)
	}
	if s.rx.Next() < before || s.rx.Next() > m.head() || m.head()-s.rx.Next() > uint64(m.c.Depth) {
		t.Fatalf("back at %d; was at %d, head %d", s.rx.Next(), before, m.head())
	}
	s.lost += s.rx.Next() - s.next
	s.fenced, s.next = false, s.rx.Next()
}

func (m *machine) leave(t *rapid.T) {
	if len(m.subs) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.subs)-1).Draw(t, "subscriber")
	s := m.subs[i]
	if rapid.Bool().Draw(t, "dies") {
		if subs, _ := m.topic.Recover(s.owner, false, m.only, m.ring); subs != 1 {
			t.Fatalf("recovered %d subscribers", subs)
		}
	} else {
		s.slot.Leave(m.only, m.ring)
	}
	m.subs = append(m.subs[:i], m.subs[i+1:]...)
	if m.x != nil {
		m.x.Blockers() // heals what the leaver's absence left
	}
}

// check is what holds after every step.
func (m *machine) check(t *rapid.T) {
	if w := append(m.topic.Verify(), m.lane.Verify(m.topic)...); len(w) > 0 {
		t.Fatal(w)
	}
	for _, s := range m.subs {
		for _, l := range s.open {
			if !bytes.Equal(l.rec.Data, m.log[l.rec.Pos]) {
				t.Fatalf("the loan of position %d has changed", l.rec.Pos)
			}
		}
	}
	for _, l := range m.loans {
		if buf := m.lane.payload(l.desc, uint64(len(l.data))); !bytes.Equal(buf, l.data) {
			t.Fatalf("the publisher's loan of descriptor %d has changed", l.desc)
		}
	}
	if s := m.lane.Inspect(m.topic); s.Head != m.head() || len(s.Subscribers) > len(m.subs) {
		t.Fatalf("inspection says head %d, %d subscribers; %d were sent, %d are there", s.Head, len(s.Subscribers), m.head(), len(m.subs))
	}
}

func TestLaneDoesWhatItsModelDoes(t *testing.T) {
	for name, set := range map[string][2]string{"nofailfile": {"false", "true"}, "steps": {"30", "80"}, "checks": {"100", "1000"}} {
		if f := flag.Lookup("rapid." + name); f.Value.String() == set[0] { // not asked for otherwise
			must0(t, f.Value.Set(set[1]))
		}
	}
	shmtest.RapidSeed()
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(rt, t)
		rt.Repeat(map[string]func(*rapid.T){
			"":     m.check,
			"open": m.open, "send": m.send, "send more": m.send, "batch": m.batch, "loan": m.loan, "end loan": m.endLoan, "stop": m.stop,
			"join": m.join, "poll": m.poll, "poll more": m.poll, "poll yet more": m.poll, "release": m.release, "release more": m.release,
			"leave": m.leave, "fence": m.fence, "rejoin": m.rejoin,
		})
	})
}
