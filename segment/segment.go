// Package segment is the shared region that holds a bus: its format, the table
// of the nodes that joined it, its directory of areas, and the recovery of
// what dead nodes left.
//
// # Layout
//
// docs/format.md, section 1; layout.go.
//
// # Invariants
//
//	S1  the superblock's state is READY only over a complete, checked format.
//	N1  a node slot that is LIVE with our kernel's tag is locked by its owner:
//	    the lock is taken before the word says LIVE and dropped after it says
//	    FREE. LIVE and unlocked is therefore evidence of death.
//	N2  only the holder of a slot's lock byte recovers it, after the word says
//	    BURYING with its kernel's tag; the slot becomes FREE last of all.
//	E1  among the entries that are CLAIMED, READY or REMOVING, no key occurs
//	    twice.
//	E2  the blocks that carry {entry, generation} of a READY entry are exactly
//	    the run that its offset and size say.
//	E3  an entry whose use bit is set by a node that is not FREE is not freed.
//
// # Edges
//
//	publish   format stores READY last           open loads it first
//	claim     CAS FREE->LIVE after the lock      a probe loads the word, then the lock
//	use       set own use bit, then load entry   remover: CAS REMOVING, then load bits
//	join      take own lock byte, then load the  bus remover: store REMOVING, then
//	          superblock's state                 look at the locks
//	create    CAS of the directory's turn        the next creator helps it first, then scans
//
// # Progress
//
// Create, lookup and remove are lock-free against each other, except that who
// asks for a key that is being created or removed waits for that. A dead
// node's unfinished step is finished or undone by whoever meets it.
package segment

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/internal/wake"
)

// A Segment is the mapping of one bus in this process. It stays mapped, after
// Close too, as long as it, a Node or an Area of it can be reached; who keeps
// a slice of its bytes keeps one of these. All methods may be called at the
// same time.
type Segment struct {
	b     []byte
	path  string // for messages; of a memfd a made-up one
	file  bool   // path is a file of its own that can be removed
	fixed bool   // f is of a device, or has huge pages: its memory is all there
	image bool   // a copy of a file whose processes are dead
	opts  Options
	super

	kernel uint64
	tag    uint64 // kernel in 28 bits, as node words carry it
	f      *os.File
	own    locks
	closed atomic.Bool

	noFutex  bool // nobody can sleep on words of b: it has no pages of its own
	doorbell atomic.Pointer[wake.Doorbell]
	hearers  struct { // who wants to know of news, by key
		sync.Mutex
		of map[any]func(alarm bool)
	}
	seen struct { // heartbeats of other kernels' nodes
		sync.Mutex
		slot [nodeCount]seenBeat
	}
}

// seenBeat is how long one heartbeat has stood still, by our looks at it.
type seenBeat struct {
	word, beat uint64
	last       time.Time
	still      time.Duration
}

// newSegment maps the file f, which ends up owned by the segment, or takes
// over the memory b.
func newSegment(b []byte, sb super, path string, o Options) *Segment {
	s := &Segment{b: b[:sb.size:sb.size], path: path, opts: o, super: sb, kernel: o.Kernel}
	s.tag = tagOf(s.kernel)
	return s
}

// unmapLater unmaps whole when s cannot be reached any more.
func (s *Segment) unmapLater(whole []byte) {
	runtime.AddCleanup(s, func(b []byte) { _ = sys.Unmap(b) }, whole)
}

// Bytes returns the whole segment.
func (s *Segment) Bytes() []byte { return s.b }

// Size returns the segment's size in bytes.
func (s *Segment) Size() int64 { return int64(s.super.size) }

// ID returns the random id that the bus got when it was created.
func (s *Segment) ID() [16]byte { return s.super.id }

// Path returns the path of the bus file. For a memfd or given memory it is a
// name in brackets.
func (s *Segment) Path() string { return s.path }

// File returns the file that is mapped, to be handed to another process, or
// nil over given memory. It belongs to the segment.
func (s *Segment) File() *os.File { return s.f }

// Kernel returns the id of the kernel that the segment takes itself to be on.
func (s *Segment) Kernel() uint64 { return s.kernel }

// ReadOnly says whether the segment is mapped without the right to write.
func (s *Segment) ReadOnly() bool { return s.opts.ReadOnly }

// Close gives the file back and forbids new work. Nodes should have left
// before. The memory stays mapped until nothing of the segment can be reached.
func (s *Segment) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.own.close()
	if s.f != nil {
		if cerr := s.f.Close(); err == nil {
			err = cerr
		}
	}
	return err
}

// newLocks returns a new holder of lock bytes, and its file if pages of that may
// be reserved and given back.
func (s *Segment) newLocks() (locks, *os.File, error) {
	if s.f == nil {
		return newTableLocks(s.b, s.kernel), nil, nil
	}
	f, err := sys.Reopen(s.f, !s.opts.ReadOnly)
	if err != nil {
		return nil, nil, err
	}
	if s.fixed {
		return fileLocks{f}, nil, nil
	}
	return fileLocks{f}, f, nil
}

func (s *Segment) state() *atomic.Uint64 { return mem.U64(s.b, sbState) }
func (s *Segment) turn() *atomic.Uint64  { return mem.U64(s.b, sbTurn) }

// BellOf returns the doorbell word of a node slot, of which there are 256; nil
// if there is no such slot: who asks has the number from a peer.
func (s *Segment) BellOf(slot int) *atomic.Uint32 {
	if slot < 0 || slot >= nodeCount {
		return nil
	}
	return mem.U32(s.b, slotOff(slot)+nodeBell)
}
