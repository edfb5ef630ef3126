// Package fanout is the ring of a topic: publishers that each own a lane,
// subscribers that each see every message, payloads that are lent and never
// copied. It implements the descriptor scheme of VDDS (a pool of descriptors,
// a ring that makes them available, readers that come and go) without its
// per-subscriber rings, its reference counts and its locks. The protocol in
// numbered steps, its crash table and what was model-checked:
// docs/models/fanout.md. Every step that another party can observe carries its
// number here, and is a crash point (package invariant).
//
// # Layout
//
// A topic area has the configuration, the mask and table of lanes, and 64
// subscriber slots. A lane area has the publisher's words, a cursor line and
// hold words for each slot, an index ring of Depth entries of 128 bytes, and a
// pool of descriptors. docs/format.md says where.
//
//	entry:  stamp 8 | length, descriptor, flags 8 | time 8 | inline payload 104
//
// # Invariants
//
//	I1  Position p is published once entry[p mod Depth].stamp == READY(p); positions are dense:
//	    limit-chunk <= head <= limit, everything below head was published.
//	I2  head <= cursor+Depth for every ACTIVE cursor that passed its join (J3).
//	I3  A descriptor is written only if it is unlinked (no READY entry below head names it) and no
//	    counting hold word, and no counting fence word, names it.
//	I4  A hold word counts while its generation is that of the slot's cursor and the cursor is not OUT.
//	I5  Descriptors = Depth linked + Loans + Holds + a spare batch: a publisher never waits for one.
//	I6  Nobody sleeps while what it waits for is there, or its waker's death is not yet recovered.
//
// # Edges
//
//	publish          Tx.publish swaps the stamp in          Rx.Poll loads it: the fields and payload are visible
//	pin              stamp, then hold words (Tx.reclaim)    hold word, then the stamp (Rx.Poll)
//	join             limit, then cursors (Tx.refresh)       cursor, then limit (Rx.join)
//	visible          lane bit, then claims (Tx.prejoin)     claim, then lane bits (OpenRx's caller)
//	wake subscriber  stamp, then waiters (Tx.publish)       waiters, then stamp (Rx.Announce, Rx.Waiting)
//	wake publisher   park, then cursors (Tx.Park, Tx.Room)  cursor, then park (Rx.advance)
//
// All but the first need both sides sequentially consistent: a store, then a
// load of another word. One swap per send or batch is the publisher's barrier
// for three of them.
//
// # Progress
//
// Publishing and receiving are wait-free but for the waits that the user asked
// for: a publisher waits for the slowest reliable subscriber, a subscriber for
// a message. Joining is lock-free. Nobody waits for a participant that died:
// its words carry its generation and stop counting when its slot is recovered
// ([Topic.Recover]), which any number of survivors may do at once.
package fanout
