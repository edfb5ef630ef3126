// Package journal is a log that many processes append to at once, without
// locks, in one order, and that can be read while they write and after they
// died.
//
// A [Writer] is an io.Writer: one Write is one record, so that package log,
// slog and any other logger can write to it; Append and Reserve say more of a
// record, or copy nothing. A [Reader] reads records in their order, from the
// oldest one, a position or a time on, and can wait for more. [OpenFile] reads
// the journal of a bus without joining it, [OpenImage] one whose processes are
// all dead.
//
// A record is visible once it is finished, whole. What a writer left unfinished
// when it died is stepped over and counted; a writer that merely stands still
// delays what comes after its record, until the journal has gone once around.
//
// A journal has a fixed size. When it is full, the oldest records go
// ([Overwrite], the default: a flight recorder), and a reader that is too slow
// is told exactly how many records and bytes it lost; or nothing goes that a
// reader which holds did not read ([Reject]), and writers wait or get
// [ErrFull].
//
// It is scheme 1, the multi-context event log without locks; package
// internal/ring/multilog has the protocol.
package journal
