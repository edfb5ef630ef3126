// Package mpsc is the ring of an IO queue: many submitters, one device, no
// lock. Whoever submits to a queue that nobody has control of becomes its
// executor in the very same step, carries out what is queued, and gives control
// back by CAS when the queue is empty. It exists twice: [Queue] across
// processes, where any of them may die at any step, and [Local] within one, by
// the published algorithm. The protocol in numbered steps, its crash table and
// what was model-checked: docs/models/mpsc.md. Every step that another party
// can observe carries its number here, and is a crash point (package invariant).
//
// # Layout
//
// A queue area has the parameters, the tail, the executor's words, masks of
// those who wait for a free node or for control, a line for each node slot of
// the bus, and then Depth nodes of one line each and their buffers.
// docs/format.md says where.
//
//	tail:  sequence 28 | executor 20 | node 16
//	node:  {turn 20, executor 20, owner 20, status 4} 8 | {code, position, node before} 8 |
//	       offset 8 | counts 8 | wait 8 | bell 8 | result 8 | time 8
//
// A node goes from Free to Submitted to Issued to Done to Free, and the word
// that says so is the pool: there is no free list. It is Cancelled if its owner
// was faster than the executor, Interrupted if the executor died over it, and
// Lost if an evicted party may still write into it.
//
// # Invariants
//
//	I1  At most one live executor, and the tail names it. If the queue is not empty and the tail
//	    names nobody, or one that is dead, whoever waits and can execute takes control.
//	I2  The nodes that tail.sequence-head steps back from the tail reach are what is queued, in order.
//	    None of them is Free, Done or Interrupted.
//	I3  An op comes to the device at most once, unless it is repeatable and its executor died.
//	    Done: it was carried out. Interrupted: it is not known.
//	I4  Ops are taken in the order of S5, so those of one submitter in its order.
//	I5  head moves only after X3, and the temporary node comes (X5) only after head has moved (X4).
//	I6  The executor that a dead one's op names, and the owner of a dead one's node, are replaced by
//	    names that are no node's before the dead one's slot can be used again (R1, R2).
//	I7  Nobody sleeps while what it waits for is there, or its waker's death is not yet recovered.
//
// # Edges
//
//	submit     op and link, then S5 (Member.Submit)      tail (Exec.Take), then the walk
//	complete   result, then X7 (Exec.finish)             state (Member.Look), then the result
//	reuse      S7 (Member.Free), or the end of a void    S1 of the next owner (Member.Alloc)
//	park       X7, then wait; S5, then park or control   wait, then state and tail; park, then tail
//	hand over  X9 (Exec.Offer), then the heir's state    it is cancelled (Member.Cancel), then tail
//	bury       X9, then the heir's state (Exec.Offer)    R1 (Queue.Recover), then a ring for all
//	space      S7, then the mask (ringSpace)             mask (WantSpace), then the nodes
//	reclaim    evidence of death, states, then the tail  S5; a dead owner submits no more
//	sweep      R3, then a ring for all                   X8 (Exec.Release), then left
//
// The first three are release and acquire. The others need both sides
// sequentially consistent: a store, then a load of another word. Each of their
// stores is a CAS or a swap. On arm64 without LSE a CAS does not hold back later
// plain stores; what follows each here is an atomic load or another CAS.
//
// In a Local queue submit is the swap and the store of the link, and the walk
// goes forward; between the two the executor waits.
//
// # Progress
//
// Submitting is lock-free: a CAS fails only if another submission succeeded. In
// a Local queue it is wait-free. Executing is obstructed by nobody. A submitter
// that has control hands it on after a quota of ops, if somebody else waits who
// can take it. Nobody waits for a participant that died: [Queue.Recover], which
// any number of survivors may run at once, takes its name away, and the next
// that needs control inherits it and takes over ([Exec.Takeover]). An executor
// that is only stopped is waited for: it may be at the device.
package mpsc
