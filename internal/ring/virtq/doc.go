// Package virtq is the virtqueue of the virtio specification (version 1.2 and
// later, chapter 2), split and packed, driver side and device side, over
// memory that it is given: a guest's memory of several regions, or an area of a
// segment. Either side takes the other for hostile. When to notify and when
// not to, with what was model-checked: docs/models/virtq.md. Steps that the
// other side can observe carry their number there, and are crash points.
//
// # Layout
//
// Fixed by the specification; [Config] says where the parts are, [Layout] where
// they may be put. All is little-endian.
//
//	split    descriptor table  Size x {addr 8, len 4, flags 2, next 2}        by the driver
//	         available ring    flags 2, idx 2, Size x head 2, used_event 2    by the driver
//	         used ring         flags 2, idx 2, Size x {id 4, len 4}, avail_event 2    by the device
//	packed   ring              Size x {addr 8, len 4, id 2, flags 2}          by both
//	         driver event      off 15 bits, wrap 1, flags 2                   by the driver
//	         device event      the same                                       by the device
//
// # Invariants
//
//	I1  Each side goes on from private copies: indices, wrap counters, what is in flight with its
//	    length and token. It reads from memory only what the other side is there to write.
//	I2  Each word that the other side can write is loaded once for each use, in one access,
//	    checked, then used. Indices and event words are loaded again when looked at again.
//	I3  What is in flight fits into the ring: descriptors (packed, driver) or chains (split device)
//	    never exceed Size, whatever the other side offers twice or counts up.
//	I4  A walk takes at most Size descriptors in the ring and [MaxIndirect] in a table, whatever
//	    they say; no byte outside of [Memory] is named by a [Chain].
//	I5  Positions are private and dense; what the ring says differs from them by at most what is in
//	    flight, else the queue is broken, for good: [BrokenError].
//
// # Edges
//
//	available  Driver.Kick stores idx, or the first entry's word    Device.Pop loads it: descriptors are visible
//	used       Device.Call stores idx, or the first entry's word    Driver.Reap loads it: the reply is visible
//	kick       that store, then the device's event                  the event, then idx or the entry (Device.EnableKick)
//	call       that store, then the driver's event                  the event, then idx or the entry (Driver.EnableCall)
//
// The last two need both sides sequentially consistent: a store, then a load of
// another word. Everything else is a release store. ORDER_PLATFORM is accepted
// and changes nothing: these stores and loads are ordered for every observer
// that is coherent with the CPU.
//
// 16-bit words (split) are stored as 16 bits and loaded as half of a 32-bit
// word ([github.com/ringbus/ringbus/internal/mem.Half]). In a packed ring length,
// id and flags are one aligned 64-bit word, stored and loaded whole; a peer that
// stores the flags last, alone, is seen right too.
//
// # Progress
//
// Every call is wait-free: Add, Kick, Reap and Call are bounded by the length of
// one chain or batch, Pop by I4. Nobody waits here; a side that has nothing to
// do enables notifications and looks again ([Driver.EnableCall],
// [Device.EnableKick]), and sleeps on whatever its transport has.
//
// # Departures
//
// A used length greater than the chain's writable part breaks the queue. A
// packed used entry without the WRITE flag still gives its length, if that is
// possible at all: some devices never set the flag. Buffers of length 0 are
// taken and left out. A chain may be as long as its table ([MaxIndirect]), also
// where that is more than the ring's size: some drivers make such.
package virtq
