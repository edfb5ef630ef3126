package stream

import (
	"errors"
	"fmt"
	"io"

	"github.com/ringbus/ringbus"
)

// Errors that callers branch on. All are matched with [errors.Is].
var (
	// ErrClosed: the node, writer, reader or claim was closed.
	ErrClosed = ringbus.ErrClosed
	// ErrFenced: this node was taken for dead, or evicted. Open the bus again.
	ErrFenced = ringbus.ErrFenced
	// ErrFull: there is no room for the message, and the writer was told not to wait.
	ErrFull = errors.New("stream is full")
	// ErrBusy: another writer has the stream, and this one was told not to wait.
	ErrBusy = errors.New("stream has a writer already")
	// ErrRetired: the stream's writer was evicted and may still write into it.
	// Remove the stream, and make it anew.
	ErrRetired = errors.New("the stream's writer was evicted: nobody may write to it again")
	// ErrTooMany: the stream has 64 writers and readers, or all of its groups.
	ErrTooMany = errors.New("the stream has no place left")
	// ErrRedelivered: the claim was given to another reader, because this node
	// was taken for dead.
	ErrRedelivered = errors.New("the message was given to another reader")
	// ErrRefused: nobody listens at that name.
	ErrRefused = errors.New("connection refused: nobody listens")
	// ErrPeerClosed: the other end of the connection does not read any more.
	ErrPeerClosed = errors.New("connection closed by the other end")
	// ErrReset: the process at the other end of the connection died, or aborted it.
	ErrReset = errors.New("connection reset: the other end died, or gave it up")
)

// ErrWriterDied is what a reader gets, after all that was written, at the end of
// a stream whose last writer died instead of closing it. It matches
// io.ErrUnexpectedEOF.
var ErrWriterDied = fmt.Errorf("the stream's writer died: %w", io.ErrUnexpectedEOF)

// A LostError says that a reader of bytes was lapped, and how many messages are
// missing between what it has read and what it will read next.
type LostError struct {
	Stream   string
	Messages uint64
}

func (e *LostError) Error() string {
	return fmt.Sprintf("stream %q: %d messages were lost here", e.Stream, e.Messages)
}

// A SizeError says that a message is larger than the stream's messages may be.
type SizeError struct {
	Stream string
	Size   int // bytes asked for
	Max    int // bytes allowed
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("message of %d bytes on stream %q, whose limit is %d: create the stream with a larger Size", e.Size, e.Stream, e.Max)
}
