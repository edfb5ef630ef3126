package segment

import (
	"errors"
	"fmt"
)

var (
	// ErrInUse is wrapped by the refusal to remove what a live node uses.
	ErrInUse = errors.New("in use")
	// ErrFenced is returned by a node that others have given up: an operator
	// evicted it, or its slot was taken from it. It must join again.
	ErrFenced = errors.New("node was evicted from the bus; join it again")
	// ErrRemoved is returned when the bus was removed after it was opened.
	ErrRemoved = errors.New("bus was removed; open it again")
	// ErrNoSlot is wrapped when 256 live nodes have joined the bus.
	ErrNoSlot = errors.New("no node slot is free")
	// ErrNotBus is wrapped when a device, or given memory, has no bus in it.
	ErrNotBus = errors.New("no bus")
	// ErrReadOnly is returned by what writes through a read-only segment.
	ErrReadOnly = errors.New("segment is open read-only")
)

// A FormatError says that bytes are not what the format (docs/format.md) asks
// for: a file that is truncated, of another version or byte order, damaged,
// or no bus at all; or a part of a bus that some peer has garbled.
type FormatError struct {
	Path  string // the file; may be empty
	Field string // which field, in words
	Have  string
	Want  string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s%s is %s, want %s", prefix(e.Path), e.Field, e.Have, e.Want)
}

// A MismatchError says that what exists was created with another value than
// the caller asks for.
type MismatchError struct {
	Field string
	Have  string // what it was created with
	Want  string // what was asked for
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is %s, but %s was asked for", e.Field, e.Have, e.Want)
}

// A SpaceError says that there is not enough room.
type SpaceError struct {
	Path string
	In   string // what is full: "file system" or "segment"
	Need int64  // bytes asked for
	Free int64  // bytes left
	Run  int64  // in a segment: the longest run of free bytes
}

func (e *SpaceError) Error() string {
	s := fmt.Sprintf("%snot enough room in the %s: %d bytes needed, %d free", prefix(e.Path), e.In, e.Need, e.Free)
	if e.In == inSegment {
		s += fmt.Sprintf(" (%d of them in one piece); remove areas or create the bus with a larger size", e.Run)
	}
	return s
}

const (
	inSegment    = "segment"
	inFileSystem = "file system"
)

// A FileError says why the file at Path is not trusted as a bus, and what to
// do about it.
type FileError struct {
	Path string
	What string
	Do   string
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%s%s; %s", prefix(e.Path), e.What, e.Do)
}

func prefix(path string) string {
	if path == "" {
		return ""
	}
	return fmt.Sprintf("%q: ", path)
}

func hex(v uint64) string { return fmt.Sprintf("%#x", v) }
