package journal

import (
	"fmt"
	"log/slog"
	"math/bits"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/multilog"
	"github.com/ringbus/ringbus/internal/wake"
)

// Mode says what happens when a journal is full.
type Mode int

// The modes of a journal.
const (
	// DefaultMode is Overwrite for a new journal, else what it has.
	DefaultMode Mode = iota
	// Overwrite: the oldest records go. No writer ever waits.
	Overwrite
	// Reject: no record goes that a reader which holds did not read; a writer
	// waits, or is told that the journal is full. While no reader holds, the
	// oldest records go.
	Reject
)

func (m Mode) String() string { return multilog.Mode(m).String() }

// DefaultSize is the size of a new journal in bytes.
const DefaultSize = 4 << 20

// Options says what a journal is like, where it does not exist yet, and how a
// writer behaves. The zero value of every field is useful; where a journal
// exists, zero takes what it has, and another value is a [MismatchError].
type Options struct {
	// Size is how many bytes of records the journal keeps, rounded up to a power
	// of two; 0: 4 MiB; at least 32 KiB. A record takes a multiple of 128 bytes,
	// 32 of which, the key and the name of its writer's node are not data; the
	// largest one is half of Size, and at most 1 MiB less those.
	Size int
	// Mode: what happens when the journal is full.
	Mode Mode
	// NoChecksum: records carry no CRC-32C, which costs some ns for 100 bytes.
	NoChecksum bool

	// Level is the level of records that have none of their own: those of
	// Write, for instance.
	Level slog.Level
	// Key is the key of records that have none of their own.
	Key string
	// NoTime: records do not carry the times at which they were written.
	NoTime bool
	// NoWait: in reject mode, ErrFull where Append would have to wait.
	NoWait bool
	// Wait says how Append and Reserve wait for room in reject mode.
	Wait ringbus.Wait
}

// cells is Size in cells.
func (o *Options) cells(name string) (int, error) {
	size := o.Size
	if size == 0 {
		size = DefaultSize
	}
	const least, most = multilog.MinCells * multilog.CellSize, multilog.MaxCells * multilog.CellSize
	if size < 0 || size > most {
		return 0, fmt.Errorf("journal %q: size %d: must be %d to %d bytes", name, size, least, most)
	}
	return 1 << bits.Len(uint(max(size, least)-1)/multilog.CellSize), nil
}

func (o *Options) check(name string) error {
	switch {
	case o.Mode < DefaultMode || o.Mode > Reject:
		return fmt.Errorf("journal %q: no such mode: %d", name, int(o.Mode))
	case len(o.Key) > multilog.MaxKey:
		return keyError(name, o.Key)
	}
	return nil
}

func keyError(name, key string) error {
	return fmt.Errorf("journal %q: key of %d bytes: at most %d", name, len(key), multilog.MaxKey)
}

func policy(w ringbus.Wait) wake.Policy {
	return wake.Policy{Spin: w.Spin, BusyPoll: w.BusyPoll, Pinned: w.Pinned}
}

// RecordOptions says what a record has besides its data. In its place, nil
// takes level and key from the writer's Options.
type RecordOptions struct {
	// Level is the record's severity.
	Level slog.Level
	// Key is what readers can choose records by, at most 255 bytes.
	Key string
}

// narrow is l as records and the filter keep it.
func narrow(l slog.Level) int16 { return int16(max(-1<<15+1, min(l, 1<<15-1))) }
