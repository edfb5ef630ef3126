// Package multilog is the ring of a journal: any number of writers append
// records to one totally ordered log without locks, any number of readers read
// it at once, and what was finished can be read after everybody died. It
// implements the multi-context event log (scheme 1) without its counts of
// active writers and readers: each claim carries a name, each record is opened
// by itself, and what a dead writer left is closed by whoever meets it. The
// protocol in numbered steps, its crash table and what was model-checked:
// docs/models/multilog.md. Every step that another party can observe carries
// its number here, and is a crash point (package invariant).
//
// # Layout
//
// An area has a page of shared words, 64 reader entries, 64 waiter entries,
// and for each of its N cells of 128 bytes a state word and two rank words,
// apart from the cells. docs/format.md says where. N is a power of two, 256 or
// more. Positions count cells, never wrap, and start at N, so that a zeroed
// state word is stale; index(p) = p mod N, lap(p) = p / N. A record has one to
// min(N/2, 8191) cells, without a gap, and never wraps.
//
//	state word S[i]:  lap 28 | cells 13 | generation and slot of the owner 20 | status 3
//	record:           crc 4 | length 4 | level 2, key length 1, name length 1 | 4 | mono 8 | wall 8
//	                  name, key, zeros up to a multiple of 8 | data
//
// S[i] is changed by compare-and-swap only. It speaks of position p if its lap
// is lap(p); an older lap means that p is not claimed yet.
//
//	stale -> BUSY               a writer claims p, at the true tail only (W7)
//	stale -> PAD                the same, to fill what is too small
//	HOLE, GONE -> itself        the same, a lap on: its cells stay out of use
//	BUSY -> READY               its owner finished it (W10)
//	BUSY -> PAD                 its owner gave it up
//	BUSY -> TOMB                anyone, with evidence that the owner is dead
//	BUSY -> HOLE                a writer that laps it; a reader that meets it, if the owner is suspect
//	BUSY -> GONE                the same, and recovery, if the owner was evicted: it may still store
//	HOLE -> GONE                recovery, if the owner was evicted
//	HOLE -> PAD                 its owner, when it stores no more; recovery, when it is dead
//
// # Invariants
//
//	I1  tail <= true tail, head <= true tail <= head+N; claims tile [N, true tail) without gap or overlap.
//	I2  A cell's bytes are written only by the owner of the last claim over it that is not PAD; a claim whose
//	    owner may still write is never claimed over: it is carried from lap to lap as HOLE or GONE.
//	I3  READY, TOMB, PAD do not change until their lap is over; a READY record's bytes do not either.
//	I4  K[index(head)] and B[index(head)] are the READY records before head and the bytes of data in them.
//	I5  Reject mode: the cursor of no ACTIVE reader that holds and is neither dead nor suspect is behind head.
//	I6  Nobody sleeps while what it waits for is there, or its waker's death is not yet recovered.
//
// # Edges
//
//	publish       bytes, then W10                        R1, then bytes: visible whole
//	claim         E6, W7, then the first byte (W9)       bytes (R3), then room (R5): void if head passed it
//	join          cursor, then joins (J3)                room (W4), then cursors (E1), then E6
//	rank          K and B, then room (E5, E6)            room, K and B, room (R7)
//	wake reader   W10 or a seal, then alert              alert (K2), then the state word (K3)
//	wake writer   cursor (R6), then waiters              waiters (K2), then the cursors (K3)
//
// The last two and join need both sides sequentially consistent. The writer's
// CAS is its barrier; a reader that holds swaps its cursor.
//
// # Progress
//
// Appending is lock-free: a failed claim means that another one was made. In
// overwrite mode a writer never waits for anybody; in reject mode it waits, if
// its user wants that, for readers that hold. A reader waits for the owner of
// the first unfinished record, by name; if that is dead or suspect it goes on.
// The readable frontier, the scheme's permission pointer, is the first
// unfinished record: the writer that finishes the oldest one opens all
// finished ones behind it, so the last writer out opens everybody's data.
package multilog
