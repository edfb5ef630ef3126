package multilog

import (
	"errors"
	"fmt"
)

// Errors that callers branch on.
var (
	// ErrFull: readers hold the space (reject mode), or see ErrNoRun.
	ErrFull = errors.New("the journal is full")
	// ErrNoRun is an ErrFull that no reader can end.
	ErrNoRun = fmt.Errorf("%w: records of writers that stand still leave no run that is long enough", ErrFull)
	// ErrLapped: the writer took so long that its space was needed, and the
	// record is lost; readers count it.
	ErrLapped = errors.New("the journal went once around while the record was written")
	// ErrFenced: this node was taken for dead, or evicted.
	ErrFenced = errors.New("fenced: this node was taken for dead or evicted")
	// ErrNoEntry: all places to register a reader, or to sleep, are taken.
	ErrNoEntry = errors.New("the journal has no free entry")
)

// CorruptError says which shared word holds what no correct peer writes.
type CorruptError struct {
	What string
	Have uint64
}

func (e *CorruptError) Error() string { return fmt.Sprintf("corrupt %s: %#x", e.What, e.Have) }

// VersionError says that the log was made by another version of the format.
type VersionError struct{ Have, Want int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("journal of version %d, this program knows %d", e.Have, e.Want)
}

// LimitError says that a parameter is outside of the format's limits.
type LimitError struct {
	Field string
	Have  int
	Want  string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s %d: must be %s", e.Field, e.Have, e.Want)
}

// GoneError says that what was asked for is not in the log any more.
type GoneError struct{ Position, Oldest uint64 }

func (e *GoneError) Error() string {
	return fmt.Sprintf("position %d is gone: the oldest record is at %d", e.Position, e.Oldest)
}

// NoRecordError says that no record starts at a position.
type NoRecordError struct{ Position, End uint64 }

func (e *NoRecordError) Error() string {
	return fmt.Sprintf("no record starts at position %d: take a position that a record told, or %d, the end", e.Position, e.End)
}
