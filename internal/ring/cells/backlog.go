package cells

import (
	"fmt"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Offsets in a listener's area.
const (
	logTag     = 0x000
	logOwner   = 0x040
	logBell    = 0x080
	logRef     = 0x084
	logSerial  = 0x0C0
	logEntries = 0x100
	logEntry   = 0x40
	callWord   = 0x00
	callBell   = 0x08
	callRef    = 0x0C

	// BacklogEntries is how many may dial one listener at the same time.
	BacklogEntries = 128
	// BacklogSize is the size of a listener's area in bytes.
	BacklogSize = logEntries + BacklogEntries*logEntry

	logMagic = 0x01_4E_45_54_53_49_4C_52 // "RLISTEN", version 1
)

// Backlog is a view of a listener's area: who listens, and who dials.
type Backlog struct {
	owner   *atomic.Uint64 // generation 44, owner 20; 0 nobody
	bell    wake.Bell
	serial  *atomic.Uint64
	entries [BacklogEntries]*atomic.Uint64 // owner 20, area's generation 20, area's index + 1 above
	bells   [BacklogEntries]wake.Bell      // of those who dial
}

// FormatBacklog makes a listener's area of zeroed bytes.
func FormatBacklog(area []byte) error {
	if len(area) < BacklogSize {
		return fmt.Errorf("a listener needs %d bytes, not %d", BacklogSize, len(area))
	}
	mem.U64(area, logTag).Store(logMagic)
	return nil
}

// IsBacklog reports whether area looks like a listener's.
func IsBacklog(area []byte) bool {
	return len(area) >= BacklogSize && mem.U64(area, logTag).Load() == logMagic
}

// OpenBacklog views area, which must outlive the Backlog.
func OpenBacklog(area []byte) (*Backlog, error) {
	if !IsBacklog(area) {
		return nil, &CorruptError{"listener's tag or size", uint64(len(area))}
	}
	b := &Backlog{
		owner:  mem.U64(area, logOwner),
		bell:   wake.Bell{Word: mem.U32(area, logBell), Ref: mem.U32(area, logRef)},
		serial: mem.U64(area, logSerial),
	}
	for i := range b.entries {
		o := logEntries + i*logEntry
		b.entries[i] = mem.U64(area, o+callWord)
		b.bells[i] = wake.Bell{Word: mem.U32(area, o+callBell), Ref: mem.U32(area, o+callRef)}
	}
	return b, nil
}

// Listen makes owner the listener; false if somebody listens.
func (b *Backlog) Listen(owner uint32) bool {
	w := b.owner.Load()
	if w&ownerMask != 0 {
		return false
	}
	ok := b.owner.CompareAndSwap(w, (w>>20+1)<<20|uint64(owner)) // N1
	invariant.Point("cells.N1")
	return ok
}

// Listener returns who listens, 0 if nobody does.
func (b *Backlog) Listener() uint32 { return uint32(b.owner.Load()) & ownerMask }

// Unlisten ends the listening of owner, and wakes those who dial.
func (b *Backlog) Unlisten(owner uint32, ring func(wake.Bell)) {
	w := b.owner.Load()
	if uint32(w)&ownerMask != owner {
		return
	}
	b.owner.CompareAndSwap(w, w&^ownerMask) // N2
	invariant.Point("cells.N2")
	for i := range b.entries {
		if b.entries[i].Load() != 0 {
			ring(b.bells[i])
		}
	}
}

// Bell is what is rung when somebody dials; Caller, what is rung when the
// request in place i is answered, or the listener is gone.
func (b *Backlog) Bell() wake.Bell { return b.bell }

// Caller is the bell of the request in place i.
func (b *Backlog) Caller(i int) wake.Bell { return b.bells[i] }

// Serial returns another number each time, for the name of a connection's area.
func (b *Backlog) Serial() uint64 { return b.serial.Add(1) }

// Dial asks the listener for the connection in the directory entry of the given
// index and generation. It returns the place of the request; false if all are
// taken.
func (b *Backlog) Dial(owner uint32, index int, gen uint32, ring func(wake.Bell)) (int, bool) {
	for i := range b.entries {
		if b.entries[i].Load() == 0 && b.entries[i].CompareAndSwap(0, request(owner, index, gen)) { // N3
			invariant.Point("cells.N3")
			ring(b.bell)
			return i, true
		}
	}
	return 0, false
}

func request(owner uint32, index int, gen uint32) uint64 {
	return uint64(owner) | uint64(gen)<<20 | uint64(index+1)<<40
}

// Hang takes a request back, or answers it: the place is free.
func (b *Backlog) Hang(i int, owner uint32, index int, gen uint32) bool {
	ok := b.entries[i].CompareAndSwap(request(owner, index, gen), 0) // N4
	invariant.Point("cells.N4")
	return ok
}

// Waits reports whether the request in place i has no answer yet.
func (b *Backlog) Waits(i int, owner uint32, index int, gen uint32) bool {
	return b.entries[i].Load() == request(owner, index, gen)
}

// Requests calls f for each request, until it returns false.
func (b *Backlog) Requests(f func(i int, owner uint32, index int, gen uint32) bool) {
	for i := range b.entries {
		w := b.entries[i].Load()
		if w != 0 && !f(i, uint32(w)&ownerMask, int(w>>40)-1, uint32(w>>20)&(1<<20-1)) {
			return
		}
	}
}

// Recover ends what owner, who is dead, had in the backlog.
func (b *Backlog) Recover(owner uint32, ring func(wake.Bell)) {
	if w := b.owner.Load(); uint32(w)&ownerMask == owner {
		b.owner.CompareAndSwap(w, w&^ownerMask)
		invariant.Point("cells.N2")
	}
	for i, e := range b.entries {
		w := e.Load()
		if w == 0 {
			continue
		}
		if uint32(w)&ownerMask == owner {
			e.CompareAndSwap(w, 0) // N5
			invariant.Point("cells.N5")
		}
		ring(b.bells[i]) // whoever did N2: it may have died before it rang
	}
	ring(b.bell)
}
