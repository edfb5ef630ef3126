// Package cells is the ring of a stream: one writer at a time, many readers at
// once. It implements the co-resident-VM ring (a fixed buffer divided into
// cells, one of which describes it, written by one and read by many) without its
// lock in all but name, its head-of-line retirement and its single hot line. The
// protocol in numbered steps, its crash table and what was model-checked:
// docs/models/cells.md. Every step that another party can observe carries its
// number here, and is a crash point (package invariant).
//
// # Layout
//
// A ring area has the description (tag, configuration), the identification
// variables (each on a line by who writes it), a table of groups, 64 slots of
// participants, two header words for each cell, a claim word for each cell and
// group, and the cells: 64 bytes of payload each, nothing else, so that a
// message lies in one piece unless it passes the ring's end. docs/format.md says
// where.
//
//	pub     position 44 | writer 20          the writer's token and what is published, in one word
//	echo    position 44 | length 8, number, payload   the last message, if it was small; on pub's line and the next
//	header  length 40, flags 8 | number      at a message's first cell; the number at its last one too
//	claim   position 42 | status 2 | owner 20   at a message's first cell, one for each group
//
// # Invariants
//
//	I1  low <= pub <= low+N, and pub <= c+N for every hold cursor and every group's rdone c that counts.
//	I2  One writer, named by pub. Payload and headers at or beyond pub are its alone; nothing there is visible.
//	I3  A group's rdone <= rclaim <= pub. Its messages in [rdone, rclaim) have claim words of their position.
//	I4  Each message becomes FIN once for each group; rdone passes FIN only, in order, whoever finished them.
//	I5  A message of k <= N-1 cells leaves the number of the message before it in place (at its last cell).
//	I6  Nobody sleeps while what it waits for is there, or its waker's death is not yet recovered.
//
// # Edges
//
//	publish     payload and headers, then pub (Tx.publish)    pub, then headers and payload (Rx.Poll, Shared.Poll)
//	echo        stamp, words, pub (Tx.repeat)                 pub, stamp, words, stamp (Rx.listen)
//	free        payload reads, then cursor or FIN             cursors and rdone (Tx.least), then payload
//	join        low, then cursors (Tx.refresh)                cursor, then low (Rx.join, makeGroup)
//	lap         low, then payload (Tx.refresh)                payload, own cursor, then low (Rx.pollLapped)
//	sweep       FIN, then the claim word at rdone             two finishers: one sees the other (Shared.sweep)
//	wake reader pub, then readWait (Tx.publish)               readWait, then pub (Announce, Waiting)
//	wake writer cursor or rdone, then roomWait and roomAt     roomAt, roomWait, then cursors and rdone (Tx.Announce, Tx.Room)
//	wake next   pub, then tokenWait (Tx.Give)                 tokenWait, then pub (Tx.AnnounceToken, Tx.Take)
//
// publish, echo and free are release and acquire. All others are a store, then a load
// of another word, on both sides, and need sequential consistency: each store is
// a CAS, swap or OR. On arm64 a plain store may overtake a store-release before
// it, so the payload of a message comes after an atomic load that follows low.
//
// # Progress
//
// Publishing and reading are wait-free but for the waits that the user asked
// for; a shared reader's claim is lock-free. A live writer keeps others from
// writing: that is the scheme. Making a group (not joining one) is done by one
// node at a time. Nobody waits for a participant that died: the token, the
// claims and the cursors carry its name, and any number of survivors may take
// them back at once ([Ring.Recover]).
package cells
