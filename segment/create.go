package segment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

var _ = invariant.Declare("segment.create.pending", "segment.create.written", "segment.create.turn",
	"segment.create.claimed", "segment.create.block", "segment.create.blocks", "segment.create.reserved",
	"segment.create.extent", "segment.create.init", "segment.create.ready")

// Create opens the area with the given key, or creates it with size bytes of
// zeros, on which init is called before anybody else can open it. Of many who
// create one key at once, one does and the others wait for it, until ctx ends.
// An area that is there must have the size that is asked for, else the error
// is a [MismatchError]. init must not use this node's areas by the same key.
func (n *Node) Create(ctx context.Context, key Key, size int64, init func(area []byte) error) (a *Area, created bool, err error) {
	a, created, err = n.create(ctx, key, size, init)
	if err != nil {
		return nil, false, fmt.Errorf("create %v: %w", key, err)
	}
	return a, created, nil
}

func (n *Node) create(ctx context.Context, key Key, size int64, init func([]byte) error) (*Area, bool, error) {
	if err := key.check(); err != nil {
		return nil, false, err
	}
	if size <= 0 {
		return nil, false, fmt.Errorf("size of an area is %d, want at least 1 byte", size)
	}
	if err := n.begin(); err != nil {
		return nil, false, err
	}
	defer n.end()
	for try := 0; ; try++ {
		turn := n.s.turn().Load()
		n.s.helpTurn(turn)
		if i, e, ok := n.s.find(key); ok {
			a, err := n.join(ctx, i, e, size, try)
			if errors.Is(err, errRetry) {
				continue
			}
			return a, false, err
		}
		i, e, err := n.pick(key)
		if err != nil {
			return nil, false, err
		}
		won, err := n.commit(turn, i, e)
		if err != nil {
			return nil, false, err
		}
		if won {
			a, err := n.build(key, i, e.with(EntryClaimed, n.owner), size, init)
			return a, err == nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
	}
}

// join opens an entry that has the key already, or waits a moment for whoever
// is creating or removing it and returns errRetry.
func (n *Node) join(ctx context.Context, i int, e entry, size int64, try int) (*Area, error) {
	if e.state() == EntryReady {
		a, err := n.open(i, e.gen())
		if err != nil {
			return nil, err
		}
		if a.size != size {
			err := &MismatchError{"size", fmt.Sprintf("%d bytes", a.size), fmt.Sprintf("%d bytes", size)}
			_ = a.Close()
			return nil, err
		}
		return a, nil
	}
	if !n.unstick(i, e) {
		return nil, errRetry
	}
	if err := n.wait(ctx, pauseFor(try)); err != nil {
		verb := "created"
		if e.state() == EntryRemoving {
			verb = "removed"
		}
		o := e.owner()
		return nil, fmt.Errorf("it is being %s by %v %q: %w", verb, o, n.s.nodeName(o.Slot()), err)
	}
	return nil, errRetry
}

// wait sleeps for d, or until ctx ends or the node leaves.
func (n *Node) wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ctx.Done():
		return os.ErrClosed
	}
}

// helpTurn makes the entry that the turn admits CLAIMED, if its creator has
// not come to that yet. Whoever looks for a key after this sees it.
func (s *Segment) helpTurn(t uint64) {
	i, gen := int(t&0xffff), uint32(t>>16)&entryGenMask
	if i >= entryCount {
		return // garbage by a peer
	}
	for range stubborn {
		e := s.entry(i)
		if e.state() != EntryPending || e.gen() != gen || s.turnEntry(i, e, e.with(EntryClaimed, e.owner())) {
			return
		}
	}
}

// pick makes a free entry PENDING in our hands and writes the key into it.
func (n *Node) pick(key Key) (int, entry, error) {
	for range 2 {
		for i := range entryCount {
			e := n.s.entry(i)
			if e.state() != EntryFree {
				continue
			}
			to := newEntry(EntryPending, nextGen(e.gen()), n.owner)
			if !n.s.turnEntry(i, e, to) {
				continue
			}
			invariant.Point("segment.create.pending")
			if err := n.Err(); err != nil { // we were recovered before we took it
				n.s.turnEntry(i, to, to.with(EntryFree, Nobody))
				return 0, 0, err
			}
			n.s.writeKey(i, key, time.Now().UnixNano())
			invariant.Point("segment.create.written")
			return i, to, nil
		}
		n.recoverAll() // dead nodes may hold some
	}
	return 0, 0, &SpaceError{Path: n.s.path, In: "directory", Need: 1, Free: 0}
}

// recoverAll is Recover for a call that has begun.
func (n *Node) recoverAll() {
	var r Report
	for slot := range nodeCount {
		n.recoverSlot(slot, &r)
	}
	for i := range entryCount {
		n.adopt(i, &r)
	}
	n.reap()
}

// commit moves the turn from t to our pending entry e. If it could, no other
// entry was admitted since t was loaded, so that the key, which was not there
// then, is ours alone; the entry is CLAIMED from there on.
func (n *Node) commit(t uint64, i int, e entry) (bool, error) {
	if !n.s.turn().CompareAndSwap(t, nextTurn(t, i, e.gen())) {
		n.s.turnEntry(i, e, e.with(EntryFree, Nobody))
		return false, nil
	}
	invariant.Point("segment.create.turn")
	claimed := e.with(EntryClaimed, n.owner)
	if !n.s.turnEntry(i, e, claimed) && n.s.entry(i) != claimed { // a helper may have done it
		return false, ErrFenced
	}
	invariant.Point("segment.create.claimed")
	return true, nil
}

// build makes the area of entry i, which is CLAIMED by us as e, and opens it.
// If it cannot, it undoes everything.
func (n *Node) build(key Key, i int, e entry, size int64, init func([]byte) error) (*Area, error) {
	if err := n.hold(i); err != nil { // before READY: nobody may remove it in between
		n.unclaim(i, e)
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil { // init's
			n.abort(i, e)
			panic(p)
		}
	}()
	off, err := n.furnish(i, e, size, init)
	if err == nil {
		if n.s.turnEntry(i, e, e.with(EntryReady, Nobody)) {
			invariant.Point("segment.create.ready")
			return &Area{n: n, i: i, gen: e.gen(), key: key, off: off, size: size}, nil
		}
		err = ErrFenced
	}
	n.abort(i, e)
	return nil, err
}

// abort undoes what build did.
func (n *Node) abort(i int, e entry) {
	n.unclaim(i, e)
	n.drop(i)
}

// unclaim frees entry i, which is CLAIMED by us as e, and its blocks.
func (n *Node) unclaim(i int, e entry) {
	if freeing := e.with(EntryFreeing, n.owner); n.s.turnEntry(i, e, freeing) {
		n.s.freeEntry(i, freeing, n.f)
	}
}

// furnish finds blocks for entry i, makes their pages certain and zero, and
// has init fill them.
func (n *Node) furnish(i int, e entry, size int64, init func([]byte) error) (int64, error) {
	s := n.s
	first, err := n.allocate(i, e.gen(), size)
	if err != nil {
		return 0, err
	}
	invariant.Point("segment.create.blocks")
	if err := s.prepare(n.f, first, s.blocksFor(size)); err != nil {
		return 0, err
	}
	invariant.Point("segment.create.reserved")
	off := s.blockOff(first)
	mem.U64(s.b, entryOff(i)+entryOffset).Store(uint64(off))
	mem.U64(s.b, entryOff(i)+entryLength).Store(uint64(size))
	invariant.Point("segment.create.extent")
	if init != nil {
		if err := init(s.b[off : off+size : off+size]); err != nil {
			return 0, err
		}
	}
	invariant.Point("segment.create.init")
	return off, nil
}

// allocate claims blocks for size bytes. If there are none it recovers what
// dead nodes hold, then looks once more.
func (n *Node) allocate(i int, gen uint32, size int64) (int, error) {
	s := n.s
	count := s.blocksFor(min(size, s.Size())) // no overflow
	if size <= s.Size() && count <= int64(s.super.blocks) {
		for try := range allocTries {
			first, ok, met := s.take(i, gen, int(count))
			if ok {
				return first, nil
			}
			if try == 0 {
				n.recoverAll()
			} else if !met {
				break
			}
			pause(try)
		}
	}
	u := s.Usage()
	return 0, &SpaceError{Path: s.path, In: inSegment, Need: size, Free: int64(u.Free) * u.Block, Run: int64(u.Run) * u.Block}
}

// allocTries bounds how often an allocation looks again after it met others.
const allocTries = 20

// pauseFor is how long to wait for another node the try-th time.
func pauseFor(try int) time.Duration {
	return min(50*time.Microsecond<<min(try, 10), 5*time.Millisecond)
}

func pause(try int) { time.Sleep(pauseFor(try)) }
