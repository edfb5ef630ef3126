package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
)

var _ = invariant.Declare("segment.open.found", "segment.open.held", "segment.remove.removing", "segment.remove.freeing",
	"segment.free.punched", "segment.free.block", "segment.free.blocks")

// An Area is an extent of the segment that a node has open. It lasts until
// Close; while it is open nobody can remove it. Its bytes stay mapped as long
// as the Area can be reached.
type Area struct {
	n         *Node
	i         int
	gen       uint32
	key       Key
	off, size int64
	closed    atomic.Bool
}

// Bytes returns the area's memory.
func (a *Area) Bytes() []byte { return a.n.s.b[a.off : a.off+a.size : a.off+a.size] }

// Index returns the index of the area's directory entry.
func (a *Area) Index() int { return a.i }

// Gen returns the generation of the area's directory entry.
func (a *Area) Gen() uint32 { return a.gen }

// Offset returns where the area begins in the segment, in bytes.
func (a *Area) Offset() int64 { return a.off }

// Size returns the size of the area in bytes, as its creator asked for it.
func (a *Area) Size() int64 { return a.size }

// Key returns the key of the area.
func (a *Area) Key() Key { return a.key }

// Node returns the node that has the area open.
func (a *Area) Node() *Node { return a.n }

// Close ends this use of the area. When a node has closed an area as often as
// it opened it, others may remove it. Whatever the node had in the area must be
// gone before. Close may be called again.
func (a *Area) Close() error {
	if !a.closed.Swap(true) {
		a.n.drop(a.i)
	}
	return nil
}

// Drop is Close of an area whose key is [Ephemeral]: it is removed, unless
// somebody else has it open, who then will.
func (a *Area) Drop() error {
	if a.closed.Swap(true) {
		return nil
	}
	a.n.drop(a.i)
	if a.n.s.used(a.i) { // of two who drop it at once, one at least sees no other
		return nil
	}
	err := a.n.removeEntry(a.i, a.gen)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInUse) {
		return nil
	}
	return err
}

// errRetry says that an entry changed while it was being opened.
var errRetry = errors.New("entry changed")

// open opens entry i if it is READY in the given generation, else it returns
// errRetry.
func (n *Node) open(i int, gen uint32) (*Area, error) {
	invariant.Point("segment.open.found")
	if err := n.hold(i); err != nil {
		return nil, err
	}
	invariant.Point("segment.open.held")
	e := n.s.entry(i) // edge: use
	if e.state() != EntryReady || e.gen() != gen {
		n.drop(i)
		return nil, errRetry
	}
	key := n.s.key(i)
	off, size, err := n.s.extent(i, e)
	if err != nil {
		n.drop(i)
		return nil, err
	}
	return &Area{n: n, i: i, gen: gen, key: key, off: off, size: size}, nil
}

// Lookup opens the area with the given key. The error wraps fs.ErrNotExist if
// it is not there or not ready yet.
func (n *Node) Lookup(key Key) (*Area, error) {
	if err := n.begin(); err != nil {
		return nil, fmt.Errorf("open %v: %w", key, err)
	}
	defer n.end()
	for range lookupTries {
		i, e, ok := n.s.find(key)
		if !ok || e.state() == EntryClaimed {
			return nil, fmt.Errorf("open %v: %w", key, fs.ErrNotExist)
		}
		a, err := n.openFound(i, e)
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, errRetry) {
			return nil, fmt.Errorf("open %v: %w", key, err)
		}
	}
	return nil, fmt.Errorf("open %v: %w (somebody keeps removing it)", key, fs.ErrNotExist)
}

// lookupTries bounds how often Lookup goes after an area that is being removed.
const lookupTries = 100

// openFound opens an entry that was found READY or REMOVING.
func (n *Node) openFound(i int, e entry) (*Area, error) {
	if e.state() != EntryRemoving {
		return n.open(i, e.gen())
	}
	n.unstick(i, e)
	pause(0)
	return nil, errRetry
}

// OpenEntry opens the area in directory entry i if it is of the given
// generation. The error wraps fs.ErrNotExist if it is gone.
func (n *Node) OpenEntry(i int, gen uint32) (*Area, error) {
	if i < 0 || i >= entryCount {
		return nil, fmt.Errorf("open entry %d: %w", i, &FormatError{n.s.path, "index of a directory entry", fmt.Sprint(i), "0 to 1023"})
	}
	if err := n.begin(); err != nil {
		return nil, fmt.Errorf("open entry %d: %w", i, err)
	}
	defer n.end()
	for range lookupTries {
		e := n.s.entry(i)
		if e.gen() != gen || e.state() != EntryReady && e.state() != EntryRemoving {
			break
		}
		a, err := n.openFound(i, e)
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, errRetry) {
			return nil, fmt.Errorf("open entry %d: %w", i, err)
		}
	}
	return nil, fmt.Errorf("open entry %d of generation %d: %w", i, gen, fs.ErrNotExist)
}

// unstick recovers the owner of an entry that is claimed or being removed if
// the owner is dead, and says whether it is alive.
func (n *Node) unstick(i int, e entry) (alive bool) {
	if n.Status(e.owner()) != Dead {
		return true
	}
	if n.recoverOwner(e.owner()) && n.s.entry(i) == e {
		n.adopt(i, new(Report))
	}
	return false
}

// Remove removes the area with the given key, whose memory is given back. The
// error wraps fs.ErrNotExist if it is not there, [ErrInUse] if a node that is
// not proved dead has it open, this one included.
func (n *Node) Remove(key Key) error {
	if err := n.begin(); err != nil {
		return fmt.Errorf("remove %v: %w", key, err)
	}
	defer n.end()
	for range lookupTries {
		i, e, ok := n.s.find(key)
		if !ok {
			return fmt.Errorf("remove %v: %w", key, fs.ErrNotExist)
		}
		if e.state() != EntryReady {
			n.unstick(i, e)
			pause(0)
			continue
		}
		if err := n.remove(i, e); !errors.Is(err, errRetry) {
			if err != nil {
				return fmt.Errorf("remove %v: %w", key, err)
			}
			return nil
		}
	}
	return fmt.Errorf("remove %v: %w: others are creating or removing it", key, ErrInUse)
}

// remove removes entry i, which was found READY as e; errRetry if it was not
// any more.
func (n *Node) remove(i int, e entry) error {
	mine := e.with(EntryRemoving, n.owner)
	if !n.s.turnEntry(i, e, mine) { // edge: use (a full barrier)
		return errRetry
	}
	invariant.Point("segment.remove.removing")
	if err := n.unused(i); err != nil {
		n.s.turnEntry(i, mine, e.with(EntryReady, Nobody))
		if !n.s.used(i) { // who had it may have seen us removing it, and left that to us
			return errRetry
		}
		return err
	}
	if !n.s.turnEntry(i, mine, e.with(EntryFreeing, n.owner)) {
		return ErrFenced
	}
	invariant.Point("segment.remove.freeing")
	n.s.freeEntry(i, e.with(EntryFreeing, n.owner), n.f)
	return nil
}

// removeEntry removes the area in entry i if it is still of the given generation.
func (n *Node) removeEntry(i int, gen uint32) error {
	if err := n.begin(); err != nil {
		return err
	}
	defer n.end()
	return n.removeGen(i, gen)
}

// removeGen is removeEntry for a call that has begun.
func (n *Node) removeGen(i int, gen uint32) error {
	for range lookupTries {
		e := n.s.entry(i)
		switch {
		case e.gen() != gen || e.state() != EntryReady && e.state() != EntryRemoving:
			return fs.ErrNotExist
		case e.state() == EntryRemoving:
			n.unstick(i, e)
			pause(0)
		default:
			if err := n.remove(i, e); !errors.Is(err, errRetry) {
				return err
			}
		}
	}
	return ErrInUse
}

// dropEphemeral closes the ephemeral areas that we still have open, and removes
// those that nobody else has.
func (n *Node) dropEphemeral() {
	n.uses.Lock()
	open := make(map[int]uint32) // entry to generation, which may be another's as soon as we let go
	for i, count := range n.uses.count {
		if count > 0 && n.s.key(i).ephemeral() {
			open[i] = n.s.entry(i).gen()
			n.setUse(i, false)
		}
	}
	n.uses.Unlock()
	for i, gen := range open {
		_ = n.removeGen(i, gen)
	}
}

// reap removes the ephemeral areas that nobody has open: the dead have left them.
func (n *Node) reap() {
	for i := range entryCount {
		e := n.s.entry(i)
		if e.state() != EntryReady || !n.s.key(i).ephemeral() || n.s.used(i) {
			continue
		}
		_ = n.removeGen(i, e.gen()) // who opens it meanwhile keeps it
	}
}

// unused returns an error that names a node that uses entry i, unless there is
// none. Dead ones are recovered on the way.
func (n *Node) unused(i int) error {
	for slot := range nodeCount {
		w := n.s.load(slot)
		o := w.owner(slot)
		if w.state() == NodeFree || !n.s.uses(o, i) {
			continue
		}
		if o != n.owner && n.Status(o) == Dead && n.recoverOwner(o) {
			continue
		}
		return fmt.Errorf("%w by %v %q", ErrInUse, o, n.s.nodeName(slot))
	}
	return nil
}
