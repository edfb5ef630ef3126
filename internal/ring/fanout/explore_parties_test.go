//go:build invariants || race

package fanout

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest/explore"
	"github.com/ringbus/ringbus/internal/wake"
)

// world is what the parties of one schedule share: a topic with one lane, and
// what the checker knows about them.
type world struct {
	x     *explore.Explorer
	rng   *rand.Rand
	c     Config
	area  []byte
	topic *Topic
	lane  *Lane
	sizes []int // of the messages, at random
	batch bool

	dead    map[uint32]bool // owners, by evidence
	suspect map[uint32]bool
	evicted map[uint32]bool // the operator said so: they may be alive
	pubs    []*publication  // one for each publisher, in the order of their opening
	subs    []*subscription
	never   bool   // the publisher never waits
	stops   uint64 // there the publisher falls silent, and subscribers leave; 0: it closes
	follows bool   // a publisher that dies is followed by another
	slow    int    // a loan ends at one look of so many
	dawdle  int    // steps that a subscriber spends with a message, at most
	closed  bool   // the last publisher closes the lane
}

// publication is what one publisher published.
type publication struct {
	tx    *Tx
	epoch uint64
	from  uint64 // head when it opened the lane
	acked uint64 // what its sends returned for
}

// subscription is what one subscriber received.
type subscription struct {
	name      string
	owner     uint32
	mode      Mode
	start     uint64
	told      uint64 // head when it began: from here on it is told what it loses
	next      uint64
	lost      uint64
	untold    uint64 // history that was gone before it was received
	end       uint64 // head when it saw the end
	fenced    bool
	finished  bool
	toEnd     bool // it stayed until the lane ended
	positions []uint64
	epochs    []uint64
}

var (
	scratchTopic = mem.Alloc(TopicSize)
	scratchLane  = mem.Alloc(256 << 10)
)

func newWorld(x *explore.Explorer, c Config) *world {
	w := &world{x: x, rng: rand.New(rand.NewPCG(x.Rand.Uint64(), 7)), dead: map[uint32]bool{}, suspect: map[uint32]bool{}, evicted: map[uint32]bool{}}
	x.Look(func() {
		w.area = scratchLane[:LaneSize(c)]
		clear(scratchTopic)
		clear(w.area)
		must(FormatTopic(scratchTopic))
		w.topic = try(OpenTopic(scratchTopic))
		w.c = try(w.topic.Agree(c))
		must(FormatLane(w.area, 0, w.c))
		w.lane = try(OpenLane(w.area, 0, w.c))
	})
	w.sizes = [][]int{{8}, {56}, {112}, {112}, {8, 56, 112}}[w.rng.IntN(5)]
	w.slow, w.dawdle = 1+w.rng.IntN(6), 1+w.rng.IntN(8)
	x.Watch = w.verify
	return w
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func try[T any](v T, err error) T {
	must(err)
	return v
}

// verify is what must hold at any moment. A joiner's first cursor (J2) may be
// overtaken before it looks again (J3); at the end nobody joins.
func (w *world) verify() error {
	for _, s := range append(w.topic.Verify(), w.lane.Verify(w.topic)...) {
		if w.x.Over() || !strings.Contains(s, "is not within the lane") {
			return errors.New(s)
		}
	}
	return nil
}

// ring rings a bell.
func (w *world) ring(b wake.Bell) { b.Word.Add(1) }

// sleepOn sleeps until the bell changes from seen.
func sleepOn(p *explore.Party, b wake.Bell, seen uint32, why string) {
	p.Sleep(why, func() bool { return b.Word.Load() != seen })
}

// known returns lane 0 if the topic's table has it, as a subscriber finds it.
func (w *world) known(k int) *Lane {
	if k == 0 && w.topic.Lanes()&1 != 0 {
		return w.lane
	}
	return nil
}

// swept returns lane 0 if the topic's table has it, as a recoverer finds it.
func (w *world) swept(k int) *Lane {
	if _, _, ok := w.topic.LaneRef(k); ok && k == 0 {
		return w.lane
	}
	return nil
}

// message returns payload for position pos of the given epoch.
func (w *world) message(pos, epoch uint64, size int) []byte {
	return numbered(pos|epoch<<48, size)
}

// kill lets p die at a step of its that the schedule chooses, out of about
// span; owner is then dead by evidence.
func (w *world) kill(p *explore.Party, owner uint32, span int) {
	p.KillAt = 1 + w.rng.IntN(span)
	p.AtDeath = func() { w.dead[owner] = true }
}

// publish is a publisher that sends until position total, and closes.
func (w *world) publish(p *explore.Party, owner uint32, total uint64) {
	w.closed = false
	x, ok := OpenTx(w.topic, w.lane, owner, "pub", 1, 1, w.ring)
	for !ok {
		// What ringbus does where somebody has the lane: the dead make room.
		if _, o := w.lane.State(); w.dead[o] {
			w.topic.Recover(o, false, w.swept, w.ring)
			w.lane.Bury(o, false)
		} else {
			p.X.Fail("the lane is taken by %#x, who lives", o)
		}
		x, ok = OpenTx(w.topic, w.lane, owner, "pub", 1, 1, w.ring)
	}
	pub := &publication{tx: x, epoch: uint64(len(w.pubs) + 1), from: x.Head(), acked: x.Head()}
	if len(w.pubs) > 0 {
		last := w.pubs[len(w.pubs)-1]
		if h := x.Head(); h != last.acked && h != last.tx.head {
			p.X.Fail("head %d after the restart; %d were acknowledged, %d begun", h, last.acked, last.tx.head)
		}
	}
	w.pubs = append(w.pubs, pub)
	for x.Head() < total {
		w.send(p, x, pub, total)
		pub.acked = x.Head()
	}
	if w.stops == 0 {
		w.closed = true
		x.Close()
	}
}

// goesOn says whether another publisher will open the lane.
func (w *world) goesOn() bool { return w.follows && !w.closed }

// send sends one message, or a batch.
func (w *world) send(p *explore.Party, x *Tx, pub *publication, total uint64) {
	pos, size := x.Head(), w.sizes[p.Rand.IntN(len(w.sizes))]
	switch p.Rand.IntN(4) {
	case 0:
		if size > InlineSize {
			d, buf, ok := x.Loan()
			if !ok {
				p.X.Fail("no descriptor for a loan")
			}
			if p.Rand.IntN(8) == 0 {
				copy(buf, w.message(1<<40, pub.epoch, size))
				x.Return(d)
				return
			}
			copy(buf, w.message(pos, pub.epoch, size))
			for !x.SendLoan(d, size, 0) {
				w.waitRoom(p, x)
			}
			return
		}
	case 1:
		if w.batch {
			var msgs [][]byte
			for i := range min(total-pos, 1+p.Rand.Uint64N(4)) {
				msgs = append(msgs, w.message(pos+i, pub.epoch, w.sizes[p.Rand.IntN(len(w.sizes))]))
			}
			for x.SendBatch(msgs, 1) == 0 {
				w.waitRoom(p, x)
			}
			return
		}
	}
	for !x.Send(w.message(pos, pub.epoch, size), int64(pos)) {
		w.waitRoom(p, x)
	}
}

// waitRoom waits as a ringbus.Publisher does.
func (w *world) waitRoom(p *explore.Party, x *Tx) {
	for !x.Room() {
		if w.never {
			p.X.Fail("a publisher that never waits waits at %d", x.Head())
		}
		for _, b := range x.Blockers() {
			switch {
			case w.dead[b.Owner]:
				w.topic.Recover(b.Owner, false, w.swept, w.ring)
			case w.suspect[b.Owner]:
				x.Fence(b)
			}
		}
		if x.Room() {
			return
		}
		seen := x.Park()
		if x.Room() {
			x.Unpark()
			return
		}
		sleepOn(p, x.Bell(), seen, "for room")
		x.Unpark()
	}
}

// held is a message that a subscriber has not released.
type held struct {
	rec  *Record
	want []byte
	kept bool
}

// subscribe is a subscriber; it ends when the lane does, or after most messages.
func (w *world) subscribe(p *explore.Party, owner uint32, mode Mode, records, history, most int) {
	sub := &subscription{name: p.Name, owner: owner, mode: mode}
	w.subs = append(w.subs, sub)
	s, err := w.topic.Join(owner, mode, records)
	if err != nil {
		p.X.Fail("join: %v", err)
	}
	r := &receiver{w: w, p: p, sub: sub, slot: s, records: make([]Record, records), history: history}
	r.openLane()
	r.early = r.rx == nil
	for i := range r.records {
		r.records[i].Init(i)
	}
	r.idle()
	for len(sub.positions) < most && !sub.toEnd {
		sub.toEnd = !r.receive()
	}
	r.leave()
	sub.finished = true
}

// receiver is what a ringbus.Subscriber is, in short.
type receiver struct {
	w       *world
	p       *explore.Party
	sub     *subscription
	slot    *Slot
	rx      *Rx
	records []Record
	history int
	early   bool // it was there before the lane, and misses nothing
	cur     int
	open    []held // loans; the last may be the current one
}

var errEvicted = errors.New("evicted")

// openLane opens the lane if there is one and it is not open.
func (r *receiver) openLane() {
	w := r.w
	if r.rx != nil || w.known(0) == nil {
		return
	}
	low := w.acked()
	rx, err := OpenRx(r.slot, w.lane, r.history, r.early, w.ring)
	if err != nil {
		if w.evicted[r.sub.owner] {
			panic(errEvicted)
		}
		r.p.X.Fail("open: %v", err)
	}
	r.rx = rx
	history := uint64(r.history)
	if rx.state == curLatest {
		low -= min(low, w.lane.chunk) // it may be overtaken while it looks for head
	}
	if w.suspect[r.sub.owner] {
		low = 0 // fenced while it joined; Poll will say so
	}
	low -= min(low, history)
	begun := w.begun()
	high := begun - min(begun, history, w.lane.depth-w.lane.chunk)
	if at := rx.Next(); !rx.Given() && (at < low || at > high) {
		r.p.X.Fail("begins at %d, not in [%d, %d]", at, low, high)
	}
	if r.early && rx.Next() != 0 {
		r.p.X.Fail("begins at %d, though it was there before the lane", rx.Next())
	}
	r.sub.start, r.sub.next = rx.Next(), rx.Next()
	if !rx.Given() {
		r.sub.told = begun
	}
}

// acked is how much is certainly published; begun is how much may be.
func (w *world) acked() uint64 {
	if len(w.pubs) == 0 {
		return 0
	}
	return w.pubs[len(w.pubs)-1].acked
}

func (w *world) begun() uint64 {
	if len(w.pubs) == 0 {
		return 0
	}
	return w.pubs[len(w.pubs)-1].tx.head
}

// receive gets one message, and ends loans at random. It returns false at the
// end of the lane.
func (r *receiver) receive() bool {
	w := r.w
	for {
		r.openLane()
		r.release(false)
		if r.rx != nil {
			switch st := r.poll(); st {
			case Got:
				return true
			case Empty:
			case Fenced:
				r.rejoin()
				continue
			case Evicted:
				if !r.w.evicted[r.sub.owner] {
					r.p.X.Fail("evicted for no reason")
				}
				panic(errEvicted)
			default:
				r.p.X.Fail("poll at %d: %v, %v", r.rx.Next(), st, r.rx.Err())
			}
			if r.ended() {
				w.x.Look(func() { r.sub.end = w.lane.head() })
				if gap := r.rx.next - r.sub.next; gap > 0 { // a loss that no message tells of
					r.sub.next += gap
					r.sub.lost += r.rx.lost
					r.sub.untold += gap - r.rx.lost
				}
				return false
			}
		}
		bell := r.slot.Bell()
		seen := bell.Word.Load()
		if r.rx != nil {
			r.rx.Announce()
		}
		if r.ready() {
			continue
		}
		sleepOn(r.p, bell, seen, "for a message")
	}
}

func (r *receiver) ready() bool {
	if r.rx == nil {
		return r.w.known(0) != nil
	}
	return !r.rx.Waiting() || r.ended()
}

// ended says whether no message will follow.
func (r *receiver) ended() bool {
	if r.w.stops != 0 {
		return r.rx.next == r.w.stops
	}
	// In this order: whoever follows may come and go while Ended looks.
	return !r.w.goesOn() && r.rx.Ended()
}

// poll keeps the current message if its loan goes on, then polls.
func (r *receiver) poll() Status {
	if n := len(r.open); n > 0 && !r.open[n-1].kept {
		if n == len(r.records) {
			r.release(true)
			return r.poll()
		}
		last := &r.open[n-1]
		if st := r.rx.Keep(last.rec); st != Got {
			return st
		}
		last.kept = true
		for i := range r.records {
			if !r.lent(&r.records[i]) {
				r.cur = i
			}
		}
	}
	rec := &r.records[r.cur]
	st := r.rx.Poll(rec)
	if st == Got {
		r.got(rec)
		r.idle()
	}
	return st
}

// idle is what a user does with a message.
func (r *receiver) idle() {
	for range r.p.Rand.IntN(r.w.dawdle) {
		r.p.X.Point("idle")
	}
}

func (r *receiver) lent(rec *Record) bool {
	for _, h := range r.open {
		if h.rec == rec {
			return true
		}
	}
	return false
}

// got checks the message in rec.
func (r *receiver) got(rec *Record) {
	sub, x := r.sub, r.p.X
	r.open = append(r.open, held{rec: rec, want: append([]byte(nil), rec.Data...)})
	if r.w.evicted[sub.owner] {
		return
	}
	n, err := number(rec.Data)
	if err != nil {
		x.Fail("position %d: %v", rec.Pos, err)
	}
	if n&(1<<48-1) != rec.Pos {
		x.Fail("position %d carries the payload of %d", rec.Pos, n&(1<<48-1))
	}
	if sub.mode != ModeLatest && !sub.fenced && rec.Lost != 0 {
		x.Fail("reliable, and lost %d", rec.Lost)
	}
	switch gap := rec.Pos - sub.next; {
	case sub.mode == ModeLatest && sub.next < sub.told:
		// What was gone of the history is no loss, what came later is.
		if told := max(rec.Pos, sub.told) - sub.told; rec.Lost > gap || rec.Lost < told {
			x.Fail("position %d after %d, lost %d; head was %d when it began", rec.Pos, sub.next, rec.Lost, sub.told)
		}
		sub.untold += gap - rec.Lost
	case gap != rec.Lost:
		x.Fail("position %d after %d, lost %d", rec.Pos, sub.next, rec.Lost)
	}
	if rec.Pos >= r.w.begun() {
		x.Fail("received %d, which nobody published: head %d", rec.Pos, r.w.begun())
	}
	sub.next = rec.Pos + 1
	sub.lost += rec.Lost
	sub.positions = append(sub.positions, rec.Pos)
	sub.epochs = append(sub.epochs, n>>48)
}

// release checks all loans, and ends some, or at least one.
func (r *receiver) release(one bool) {
	for i := 0; i < len(r.open); i++ {
		h := r.open[i]
		if !r.w.evicted[r.sub.owner] && string(h.rec.Data) != string(h.want) {
			r.p.X.Fail("the loan of position %d became %d", binary.LittleEndian.Uint64(h.want), binary.LittleEndian.Uint64(h.rec.Data))
		}
		if one || r.p.Rand.IntN(r.w.slow) == 0 {
			r.open = append(r.open[:i], r.open[i+1:]...)
			i--
			one = false
			h.rec.Rx.Released(h.rec.Pos)
		}
	}
}

// rejoin comes back from a fence.
func (r *receiver) rejoin() {
	var current *Record
	if n := len(r.open); n > 0 && !r.open[n-1].kept {
		current = r.open[n-1].rec
	}
	r.sub.fenced = true
	if st := r.rx.Rejoin(current); st != Got {
		if r.w.evicted[r.sub.owner] {
			panic(errEvicted)
		}
		r.p.X.Fail("rejoin: %v", st)
	}
}

func (r *receiver) leave() {
	for len(r.open) > 0 {
		r.release(true)
	}
	r.slot.Leave(r.w.swept, r.w.ring)
}
