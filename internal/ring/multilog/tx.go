package multilog

import (
	"errors"
	"fmt"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/wake"
)

// Tx appends records. Reserve and Append are for one goroutine at a time; what
// was reserved may be finished by any.
type Tx struct {
	log   *Log
	peers Peers
	hint  uint64 // the end of the last claim
	head  uint64 // an old value of head

	// Retries is how many claims of Reserve failed so far, because another
	// party made one at the same place: the scheme's bound is one for each
	// writer that claims meanwhile.
	Retries uint64
}

// Claim is a place in the log that is being written.
type Claim struct {
	Pos   uint64
	cells uint64
}

// Size is how many bytes a record in the claim may have: name, key and data,
// each padded as [Prefix] says.
func (c Claim) Size() int { return int(c.cells)*CellSize - headerSize }

// NewTx makes a writer's end of the log.
func (l *Log) NewTx(p Peers) *Tx { return &Tx{log: l, peers: p} }

// errAgain: what was looked at moved; look again.
var errAgain = errors.New("again")

// Reserve claims room for a record of at least least bytes, name, key and data
// together, and of up to most if that is there. It does not wait: where least
// is not there it returns [ErrFull].
func (t *Tx) Reserve(least, most int) (Claim, error) {
	l := t.log
	mn, mx := cellsFor(least), cellsFor(most)
	if least < 0 || most < least || mn > l.max {
		return Claim{}, &LimitError{"record size in bytes", least, "0 to the journal's limit"}
	}
	pos, k := t.hint, min(mx, l.max)
	if !t.straight(pos, k) {
		var err error
		if pos, k, err = t.claim(mn, k); err != nil {
			return Claim{}, err
		}
	}
	c := Claim{pos, k}
	t.claimed(c)
	// edge: claim (W7, then what is stored from here on | Rx: bytes, then room).
	// The CAS is the barrier; this load holds back the stores on arm64 without LSE.
	if t.peers.Fenced() {
		return Claim{}, t.fenced(c)
	}
	return c, nil
}

// claimed notes that c was claimed, and is W8: a help for others, and left out
// most of the time.
func (t *Tx) claimed(c Claim) {
	t.hint = c.Pos + c.cells
	if l := t.log; t.hint >= l.tail.Load()+l.lag {
		l.moveTail(t.hint)
	}
}

// fenced ends the claim of a node that was taken for dead.
func (t *Tx) fenced(c Claim) error {
	_ = t.Abort(c)
	return ErrFenced
}

func cellsFor(size int) uint64 { return (uint64(size) + headerSize + CellSize - 1) / CellSize }

// straight is W2 to W7 for k cells at pos, where the claim before ended, if no
// other claim, eviction or hole is in the way: the same steps as in claim,
// without its cases. It reports whether the claim was made.
func (t *Tx) straight(pos, k uint64) bool {
	l := t.log
	i, lap := pos&l.mask, pos>>l.shift
	w := state(l.states[i].Load()) // W2
	age := w.age(lap)
	if l.tail.Load() > pos || age <= 0 || carried(w, age) || k > l.n-i ||
		pos < t.head || pos+k > t.head+l.n || // W4: head is this at least
		k > 1 && t.run(pos, k) < k {
		return false
	}
	invariant.Point("multilog.W6")
	if !l.states[i].CompareAndSwap(uint64(w), uint64(packState(lap, stBusy, t.peers.Me, k))) { // W7
		t.failed(pos)
		return false
	}
	invariant.Point("multilog.W7")
	return true
}

// failed counts a claim at pos that failed because a rival made one. Else the
// word was sealed, by ourselves perhaps, or made younger. After a rival's it
// rests: two that are at it all the time would take the line of the state words
// from each other for every record, and so each makes some before it moves.
func (t *Tx) failed(pos uint64) {
	if _, age := t.log.load(pos); age <= 0 {
		t.Retries++
		for range rest {
			wake.Pause()
		}
	}
}

// rest is about a microsecond: as long as some records and the way of the line
// from the far end of a machine.
const rest = 64

// claim is W1 to W7.
func (t *Tx) claim(mn, mx uint64) (pos, k uint64, err error) {
	l := t.log
	lost := uint64(0) // cells passed because of claims that stay out of use
	pos = t.hint      // W1
	for range 2*l.n + stubborn {
		w, age := l.load(pos) // W2
		// tail is loaded after the word: a hint that is half the laps old does not
		// take a newer word for an older one.
		if tail := l.tail.Load(); tail > pos {
			pos = tail
			continue
		}
		switch {
		case age < 0: // tail is that old as well; head is not
			head := l.loadRoom().head()
			if head <= pos {
				return 0, 0, &CorruptError{fmt.Sprintf("state word of position %d", pos), uint64(w)}
			}
			pos = head
			continue
		case age == 0: // W3: claimed; the next one
			k, err := l.span(pos, w)
			if err != nil {
				return 0, 0, err
			}
			pos += k
			continue
		}
		var st status
		st, k, err = t.offer(pos, w, age, mn, mx)
		if errors.Is(err, errAgain) {
			pos = l.loadRoom().head()
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		// A pad at the log's end costs a rival's claim each time; what holes cost
		// is looked at before anything is claimed for it.
		if st == stHole || st == stGone || st == stPad && l.index(pos+k) != 0 {
			if lost == 0 && !l.fits(pos, mn) || lost > 2*l.n {
				return 0, 0, ErrNoRun
			}
			lost += k
		}
		next := packState(l.lap(pos), st, t.peers.Me, k)
		if st == stHole || st == stGone {
			next = packState(l.lap(pos), st, w.owner(), k)
		}
		invariant.Point("multilog.W6")
		// W7: the claim exists, with its owner.
		if !l.state(pos).CompareAndSwap(uint64(w), uint64(next)) {
			t.failed(pos)
			continue
		}
		invariant.Point("multilog.W7")
		if st == stBusy {
			return pos, k, nil
		}
		l.wakeReaders(t.peers.Ring) // who sleeps at pos has nothing to wait for
		pos += k
	}
	return 0, 0, &CorruptError{"state words, which do not stand still", pos}
}

// stubborn is how many more steps than the log has cells a claim may take: with
// so many, somebody garbles words on purpose.
const stubborn = 1 << 22

// carried reports whether w, the word of a position in the lap before, is a
// claim of somebody who may still write: it stays out of use. Nobody is asked:
// who wrote HOLE says when it ends, or its recovery does, word by word.
func carried(w state, age int64) bool {
	return age == 1 && (w.status() == stGone || w.status() == stHole)
}

// offer is W2 to W6: what to claim at the true tail pos, whose word is w.
func (t *Tx) offer(pos uint64, w state, age int64, mn, mx uint64) (status, uint64, error) {
	l := t.log
	if carried(w, age) {
		k, err := l.span(pos, w)
		if err != nil {
			return 0, 0, err
		}
		_, err = t.makeRoom(pos, k, k)
		t.run(pos, k) // its middle words age as well
		return w.status(), k, err
	}
	end := l.n - l.index(pos)
	if end < mn { // a pad, and only if the record fits behind it
		_, err := t.makeRoom(pos, end+mn, end+mn)
		return stPad, t.run(pos, end), err
	}
	k, err := t.makeRoom(pos, mn, min(mx, end))
	if err != nil {
		return 0, 0, err
	}
	if k = t.run(pos, k); k < mn {
		return stPad, k, nil
	}
	return stBusy, k, nil
}

// run is W6: how many of the k cells at pos nobody holds.
func (t *Tx) run(pos, k uint64) uint64 {
	l := t.log
	lap := l.lap(pos)
	i := l.index(pos)
	for j := uint64(1); j < k; j++ {
		x := state(l.states[i+j].Load())
		age := x.age(lap)
		if carried(x, age) {
			return j
		}
		if age > ancient && l.tail.Load() <= pos { // else x is newer, by half of all laps
			l.states[i+j].CompareAndSwap(uint64(x), uint64(packState(lap-1, stPad, 0, 1)))
		}
	}
	return k
}

// fits reports whether the claims that stay out of use leave a run of k cells
// somewhere, so that none is claimed in vain. pos is the true tail.
func (l *Log) fits(pos, k uint64) bool {
	run := uint64(0)
	for i := uint64(0); i < l.n; i++ {
		w := state(l.states[i].Load())
		if age := w.age(l.lap(pos)); (w.status() == stHole || w.status() == stGone) && age >= 0 && age <= 1 {
			run = 0
			i += max(w.cells(), 1) - 1
		} else if run++; run >= k {
			return true
		}
	}
	return false
}

func (l *Log) moveTail(end uint64) {
	for range stubborn {
		tail := l.tail.Load()
		if end < tail+l.lag {
			return
		}
		if l.tail.CompareAndSwap(tail, end) {
			invariant.Point("multilog.W8")
			return
		}
	}
}

// Commit is W10: the record at c becomes visible, and its length is how many
// bytes of data it has.
func (t *Tx) Commit(c Claim) error {
	l := t.log
	busy := packState(l.lap(c.Pos), stBusy, t.peers.Me, c.cells)
	invariant.Point("multilog.W9")
	// edge: publish (this CAS | Rx.Next's load of the word)
	if l.state(c.Pos).CompareAndSwap(uint64(busy), uint64(busy.with(stReady))) {
		invariant.Point("multilog.W10")
		l.wakeReaders(t.peers.Ring) // edge: wake reader (W10 | alert)
		return nil
	}
	return t.yield(c)
}

// Abort gives the claim up: readers step over it.
func (t *Tx) Abort(c Claim) error {
	l := t.log
	busy := packState(l.lap(c.Pos), stBusy, t.peers.Me, c.cells)
	if l.state(c.Pos).CompareAndSwap(uint64(busy), uint64(busy.with(stPad))) {
		invariant.Point("multilog.W10p")
		l.wakeReaders(t.peers.Ring)
		return nil
	}
	return t.yield(c)
}

// has reports whether nobody took the claim away.
func (t *Tx) has(c Claim) bool {
	return state(t.log.state(c.Pos).Load()) == packState(t.log.lap(c.Pos), stBusy, t.peers.Me, c.cells)
}

// yield is W11: the claim was taken away; its owner says that it stores no
// more, in whatever lap the hole is now.
func (t *Tx) yield(c Claim) error {
	l := t.log
	for range stubborn {
		w := state(l.state(c.Pos).Load())
		if w.status() != stHole || w.owner() != t.peers.Me {
			return ErrFenced // sealed by somebody who took us for dead
		}
		if l.state(c.Pos).CompareAndSwap(uint64(w), uint64(w.with(stPad))) {
			invariant.Point("multilog.W11")
			if t.peers.Fenced() {
				return ErrFenced
			}
			return ErrLapped
		}
	}
	return &CorruptError{fmt.Sprintf("state word of position %d", c.Pos), l.state(c.Pos).Load()}
}
