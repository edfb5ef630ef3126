package segment

import (
	"fmt"
	"hash/fnv"
	"io/fs"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// Options say how to open a bus. Nil, and the zero value of every field, mean
// the default.
type Options struct {
	// Dir is the directory of the bus files. Default: $RINGBUS_DIR, else
	// /dev/shm/ringbus-<uid>, made on need for this user alone.
	Dir string
	// Size is the segment's size in bytes when it is created, rounded up to
	// whole pages; default 256 MiB, at least 1 MiB. Pages are taken only as
	// areas are made. If it is not zero, an existing bus must have that size.
	Size int64
	// Mode is the permission of the file when it is created: default 0600.
	// With 0660 a bus is shared with the file's group: buses of other users
	// are opened too if their group is one of ours. Sharing needs a Dir that
	// the others can reach; the default one is private.
	Mode fs.FileMode
	// Kernel identifies the kernel whose locks tell which nodes live. Default:
	// the id of this boot; over given memory: an id of this process. Only
	// tests that play several kernels need to set it.
	Kernel uint64
	// MustExist makes it an error (fs.ErrNotExist) if the bus is not there.
	MustExist bool
	// ReadOnly maps the bus without the right to write; Join is refused.
	ReadOnly bool
	// Force lets [Remove] remove a bus that live nodes use, or a file that is
	// not a valid bus.
	Force bool
	// SuspectAfter is how long the heartbeat of a node of another kernel may
	// stand still before it is Suspect; default 2 s.
	SuspectAfter time.Duration

	huge uint64 // the size of the file's pages, if they are huge
}

func (o *Options) resolve() Options {
	var r Options
	if o != nil {
		r = *o
	}
	if r.SuspectAfter <= 0 {
		r.SuspectAfter = 2 * time.Second
	}
	return r
}

// size returns the size to create a segment with.
func (o *Options) size() (int64, error) {
	if o.Size == 0 {
		return defaultSize, nil
	}
	if o.Size < minSize || o.Size > maxSize {
		return 0, fmt.Errorf("size %d is out of range: want %d to %d bytes", o.Size, minSize, maxSize)
	}
	return int64(mem.Align(uint64(o.Size), mem.Page)), nil
}

func (o *Options) perm() uint32 {
	if p := uint32(o.Mode.Perm()); p != 0 {
		return p | 0o600
	}
	return 0o600
}

// kernelID returns the id of the running kernel: a hash of its boot id.
func kernelID() (uint64, error) {
	id, err := sys.BootID()
	if err != nil {
		return 0, err
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return h.Sum64(), nil
}
