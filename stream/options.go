package stream

import (
	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/wake"
)

// Options says what a stream is like, where it does not exist yet, and how a
// writer behaves. The zero value of every field is useful; where a stream
// exists, zero takes what it has, and another value is a
// [ringbus.MismatchError].
type Options struct {
	// Size is the largest message in bytes, and about what the stream keeps for
	// its readers; 0: 1 MiB. It is rounded up to a power of two less 64 bytes.
	Size int
	// Groups is how many groups of shared readers there may be, 1 to 8; 0: 4.
	// -1: none.
	Groups int
	// Turns: give the stream to another writer after each message. Otherwise a
	// writer has it from its first message until Close.
	Turns bool
	// Reject: a Send that would have to wait for room returns ErrFull, or
	// ErrBusy for another writer.
	Reject bool
	// Wait says how to wait.
	Wait ringbus.Wait
}

// ReaderOptions says how a reader reads. The zero value of every field is useful.
type ReaderOptions struct {
	// Group: share the messages with all readers of this group. It is made by
	// its first reader and lasts until its last one closes; if that one dies
	// instead, the group stays, and holds the writer back, for the next reader
	// of that name. Empty: see every message.
	Group string
	// Lapped: never hold the writer back. Where it was too fast, go on with the
	// oldest message that is left, and be told how many were lost.
	Lapped bool
	// Oldest: begin with the oldest message that is still there, and not with
	// the next that is written. For a group it counts for the one who makes it.
	Oldest bool
	// Follow: the stream's end is no end; wait for the next writer.
	Follow bool
	// Size and Groups are as in Options, where the stream does not exist yet.
	Size, Groups int
	// Wait says how to wait.
	Wait ringbus.Wait
}

func policy(w ringbus.Wait) wake.Policy {
	return wake.Policy{Spin: w.Spin, BusyPoll: w.BusyPoll, Pinned: w.Pinned}
}
