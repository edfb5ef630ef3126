package segment

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

var _ = invariant.Declare("segment.join.locked", "segment.join.live", "segment.join.fields",
	"segment.leave.started", "segment.leave.freed")

// A Node is one participant that has joined a bus, until Leave. All methods
// may be called at the same time.
type Node struct {
	s     *Segment
	name  string
	slot  int
	word  word // LIVE with our generation, as long as we are not fenced
	own   *atomic.Uint64
	owner Owner
	locks locks
	f     *os.File // the locks' file, nil over memory whose pages are nobody's to reserve

	ctx    context.Context // done once the node leaves
	cancel context.CancelFunc
	loop   sync.WaitGroup // the node's goroutine

	ops struct { // calls in progress, which Leave waits for
		sync.Mutex
		sync.WaitGroup
		closed bool
	}
	uses struct { // how often each entry is open in this process
		sync.Mutex
		count [entryCount]int
	}
	burial sync.Mutex // one recovery at a time
	watch  watch

	away    atomic.Bool // nodes of other kernels are about, or nobody has a futex
	covered atomic.Bool // all of those ring our doorbell
	door    atomic.Bool // we have told them which one
}

// Join claims a node slot. What a dead node left in the slot is recovered
// first. The error wraps [ErrNoSlot] if 256 nodes live.
func (s *Segment) Join(name string) (*Node, error) {
	n, err := s.join(name)
	if err != nil {
		return nil, fmt.Errorf("join bus %s as %q: %w", s.path, name, err)
	}
	return n, nil
}

func (s *Segment) join(name string) (*Node, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if s.closed.Load() {
		return nil, os.ErrClosed
	}
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	lk, f, err := s.newLocks()
	if err != nil {
		return nil, err
	}
	n := &Node{s: s, name: name, locks: lk, f: f}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	err = n.claim()
	if err == nil {
		err = n.admitted()
	}
	if err != nil {
		n.cancel()
		_ = lk.close()
		return nil, err
	}
	n.survey()
	n.loop.Add(1)
	go n.run()
	n.recoverAll() // what the dead have left, so that we find a clean bus
	return n, nil
}

// claim takes the first slot that is free, or whose owner is dead.
func (n *Node) claim() error {
	for range 3 {
		for slot := range nodeCount {
			got, err := n.locks.try(slot)
			if err != nil {
				return err
			}
			if !got {
				continue
			}
			invariant.Point("segment.join.locked")
			if n.take(slot) {
				return nil
			}
			if err := n.locks.unlock(slot); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond) // a slot may be locked for recovery only
	}
	return fmt.Errorf("%w: all %d are used by live nodes or by nodes of other kernels that nobody evicted", ErrNoSlot, nodeCount)
}

// take claims the slot, whose lock we hold, unless it belongs to another
// kernel.
func (n *Node) take(slot int) bool {
	s := n.s
	if w := s.load(slot); w.state() != NodeFree {
		if !s.bury(slot, w, n.f, new(Report)) {
			return false
		}
	}
	w := s.load(slot)
	live := newWord(NodeLive, next(w.gen()), s.tag)
	if w.state() != NodeFree || !s.swap(slot, w, live) { // edge: claim
		return false
	}
	invariant.Point("segment.join.live")
	n.slot, n.word, n.owner, n.own = slot, live, live.owner(slot), s.word(slot)
	n.introduce()
	return true
}

// introduce writes what others may know of us. The heartbeat with our
// generation comes last: with it the rest is known to be ours.
func (n *Node) introduce() {
	at, b, gen := slotOff(n.slot), n.s.b, n.word.gen()
	start, err := sys.StartTime(os.Getpid())
	if err != nil {
		start = 0 // no /proc: information only
	}
	var name [maxName]byte
	copy(name[:], n.name)
	mem.U64(b, at+nodeKernel).Store(n.s.kernel)
	mem.U32(b, at+nodePid).Store(uint32(os.Getpid()))
	mem.U32(b, at+nodeUID).Store(uint32(os.Geteuid()))
	mem.U64(b, at+nodeJoined).Store(uint64(time.Now().UnixNano()))
	mem.U64(b, at+nodeStart).Store(start)
	mem.U64(b, at+nodePidNS).Store(sys.PidNamespace())
	mem.U64(b, at+nodeDoor).Store(tagged(gen, 0))
	mem.CopyIn(mem.U64s(b, at+nodeName, maxName/8), name[:])
	uses := mem.U64s(b, at+nodeUses, useWords)
	for i := range uses {
		uses[i].Store(tagged(gen, 0))
	}
	invariant.Point("segment.join.fields")
	n.s.beat(n.slot).Store(tagged(gen, 1))
}

// admitted looks, after the claim, whether the bus is being removed. Either
// its remover sees our lock, or we see its mark.
func (n *Node) admitted() error {
	s := n.s
	deadline := time.Now().Add(patience)
	for wait := 100 * time.Microsecond; s.state().Load() != stateReady; wait = min(2*wait, 10*time.Millisecond) { // edge: join
		if s.f == nil {
			return n.reject(&FormatError{s.path, "state", fmt.Sprint(s.state().Load()), "READY"})
		}
		st, err := sys.StatFile(s.f)
		if err != nil {
			return n.reject(err)
		}
		if st.Nlink == 0 && s.file {
			return n.reject(ErrRemoved)
		}
		got, err := n.locks.try(creationLock)
		if err != nil {
			return n.reject(err)
		}
		if !got {
			if time.Now().After(deadline) {
				return n.reject(&FileError{s.path, "another process is removing it and does not come to an end", "see what that process does"})
			}
			time.Sleep(wait)
			continue
		}
		// Whoever was removing the bus died before it unlinked the file.
		if st, err = sys.StatFile(s.f); err == nil && st.Nlink > 0 {
			s.state().CompareAndSwap(stateRemoving, stateReady)
			if v := s.state().Load(); v != stateReady {
				err = &FormatError{s.path, "state", fmt.Sprint(v), "READY"}
			}
		}
		if uerr := n.locks.unlock(creationLock); err == nil {
			err = uerr
		}
		if err != nil {
			return n.reject(err)
		}
	}
	return nil
}

// reject gives the slot back that claim took.
func (n *Node) reject(err error) error {
	n.s.swap(n.slot, n.word, n.word.with(NodeFree, 0))
	return err
}

// Owner returns the name of the node in shared words.
func (n *Node) Owner() Owner { return n.owner }

// Name returns the name that the node joined with.
func (n *Node) Name() string { return n.name }

// Segment returns the segment that the node has joined.
func (n *Node) Segment() *Segment { return n.s }

// Bell returns the node's doorbell word: others add 1 to wake the node.
func (n *Node) Bell() *atomic.Uint32 { return n.s.BellOf(n.slot) }

// Err returns nil as long as the node may act: [ErrFenced] once it was given
// up by others, [os.ErrClosed] once it has left. It costs one load.
func (n *Node) Err() error {
	if word(n.own.Load()) == n.word {
		return nil
	}
	if n.ctx.Err() != nil {
		return os.ErrClosed
	}
	return ErrFenced
}

// begin starts a call that Leave must wait for.
func (n *Node) begin() error {
	n.ops.Lock()
	defer n.ops.Unlock()
	if n.ops.closed || n.s.closed.Load() {
		return os.ErrClosed
	}
	if err := n.Err(); err != nil {
		return err
	}
	n.ops.Add(1)
	return nil
}

func (n *Node) end() { n.ops.Done() }

// stop forbids new calls and ends the node's goroutines; it says whether it
// was the first to do so.
func (n *Node) stop() bool {
	n.ops.Lock()
	was := n.ops.closed
	n.ops.closed = true
	n.ops.Unlock()
	if was {
		return false
	}
	n.cancel()
	n.watch.close()
	n.loop.Wait()
	return true
}

// Leave ends the node: calls in progress are cancelled and waited for, what
// it still holds is cleaned up, its slot becomes free. Its areas must not be
// used any more.
func (n *Node) Leave() error {
	if !n.stop() {
		return nil
	}
	n.ops.Wait()
	invariant.Point("segment.leave.started")
	n.dropEphemeral()
	n.burial.Lock()
	defer n.burial.Unlock()
	mine := n.s.bury(n.slot, n.word, n.f, new(Report))
	invariant.Point("segment.leave.freed")
	err := n.locks.close()
	if !mine && err == nil {
		err = ErrFenced
	}
	return err
}

// Abandon ends the node as the death of its process would: nothing is cleaned
// up, only the locks, the heartbeat and the goroutines end. It is meant for
// tests of recovery.
func (n *Node) Abandon() {
	if n.stop() {
		_ = n.locks.close()
	}
}

// Fenced reports whether the node was taken for dead, or has left.
func (n *Node) Fenced() bool { return word(n.own.Load()) != n.word }
