package journal

import (
	"errors"
	"fmt"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/multilog"
)

// Errors that callers branch on. All are matched with [errors.Is].
var (
	// ErrClosed: the writer, reader, reservation or node was closed.
	ErrClosed = ringbus.ErrClosed
	// ErrFenced: this node was taken for dead, or evicted. Open the bus again.
	ErrFenced = ringbus.ErrFenced
	// ErrFull: there is no room for the record, and the writer does not wait.
	// In reject mode the error is a [FullError] and names who holds it back.
	ErrFull = errors.New("journal is full")
	// ErrLapped: the writer took so long over a reservation that its space was
	// needed: there is no record, and readers count it as a hole.
	ErrLapped = multilog.ErrLapped
	// ErrTooManyReaders: the journal has 64 registered readers.
	ErrTooManyReaders = errors.New("journal has 64 registered readers already")
)

// MismatchError says that a journal exists with another value of a parameter
// that all its parties must agree on. Leave the field zero to take what is
// there, or remove the journal.
type MismatchError struct {
	Journal string
	Field   string
	Have    any // what the journal has
	Want    any // what the caller asked for
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("journal %q has %s %v, not %v", e.Journal, e.Field, e.Have, e.Want)
}

// SizeError says that a record is larger than the journal's records may be.
type SizeError struct {
	Journal string
	Size    int // bytes of data asked for
	Max     int // bytes allowed, with this key
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("record of %d bytes in journal %q, whose limit is %d: create the journal with a larger Size", e.Size, e.Journal, e.Max)
}

// FullError is the error behind [ErrFull].
type FullError struct {
	Journal  string
	Blockers []string // the nodes whose readers hold the oldest record
}

func (e *FullError) Error() string {
	if len(e.Blockers) == 0 {
		return fmt.Sprintf("journal %q is full: records that are being written leave no room", e.Journal)
	}
	return fmt.Sprintf("journal %q is full: %v did not yet read its oldest record", e.Journal, e.Blockers)
}

// Is makes a FullError match [ErrFull].
func (e *FullError) Is(target error) bool { return target == ErrFull }

// GoneError says that a position is not in the journal any more: the reader
// goes on with the oldest record.
type GoneError = multilog.GoneError

// NoRecordError says that no record starts at a position.
type NoRecordError = multilog.NoRecordError

// CorruptError says which shared word holds what no correct peer writes.
type CorruptError = multilog.CorruptError

// VersionError says that a journal is of another version than this program
// knows.
type VersionError = multilog.VersionError
