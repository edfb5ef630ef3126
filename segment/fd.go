package segment

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// Memfd creates a bus in anonymous memory; name shows in /proc only. Other
// processes get at it through its [Segment.File], handed over a Unix socket or
// inherited, and [OpenFD]. Nobody can shrink it, so that no peer can make
// another fault.
func Memfd(name string, o *Options) (*Segment, error) {
	opts := o.resolve()
	s, err := func() (*Segment, error) {
		if err := CheckName(name); err != nil {
			return nil, err
		}
		size, err := opts.size()
		if err != nil {
			return nil, err
		}
		f, err := sys.Memfd("ringbus:"+name, size)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return openFD(f, "[memfd "+name+"]", opts)
	}()
	if err != nil {
		return nil, fmt.Errorf("create memfd bus %q: %w", name, err)
	}
	return s, nil
}

// OpenFD opens, or creates, the bus in the file f, which stays the caller's.
// Who may use the file was decided by whoever handed it over; nothing of its
// owner or mode is checked.
func OpenFD(f *os.File, o *Options) (*Segment, error) {
	s, err := openFD(f, "["+f.Name()+"]", o.resolve())
	if err != nil {
		return nil, fmt.Errorf("open segment in %s: %w", f.Name(), err)
	}
	return s, nil
}

func openFD(f *os.File, path string, o Options) (*Segment, error) {
	st, err := sys.StatFile(f)
	if err != nil {
		return nil, err
	}
	if !st.Regular && !st.Device {
		return nil, &FileError{path, "this is neither a regular file nor a device", "pass a bus file, a memfd or a device that can be mapped"}
	}
	own, err := sys.Reopen(f, !o.ReadOnly)
	if err != nil {
		return nil, err
	}
	s, err := openFile(own, path, false, o)
	if err != nil {
		_ = own.Close()
		return nil, err
	}
	return s, nil
}

// processID stands for a kernel id where the locks reach no further than this
// process.
var processID = sync.OnceValue(func() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:]) | 1
})

// FromBytes opens the bus in b, which it creates if the superblock is all
// zero: heap memory, or a mapping that the caller made, a PCI BAR for example.
// b must be aligned to 64 bytes. Nodes of this process that open the very same
// slice know of each other's death by evidence; to all others, those of other
// processes too, they are nodes of another kernel, told by heartbeat.
func FromBytes(b []byte, o *Options) (*Segment, error) {
	s, err := fromBytes(b, o.resolve())
	if err != nil {
		return nil, fmt.Errorf("open segment in memory: %w", err)
	}
	return s, nil
}

// formatting excludes those who look for a bus in given memory. A process is
// enough: who shares memory with another one must format it before.
var formatting sync.Mutex

func fromBytes(b []byte, o Options) (*Segment, error) {
	const path = "[memory]"
	if len(b) < minSize || len(b) > maxSize {
		return nil, &FormatError{path, "length", fmt.Sprintf("%d bytes", len(b)), fmt.Sprintf("%d to %d bytes", minSize, int64(maxSize))}
	}
	if o.Kernel == 0 {
		o.Kernel = processID()
	}
	formatting.Lock()
	defer formatting.Unlock()
	head := copySuper(b)
	c, err := examine(head, path)
	if err != nil {
		return nil, err
	}
	if c != ready {
		if o.ReadOnly || o.MustExist {
			return nil, &FormatError{path, "state", "not READY", "READY (somebody must create the bus first)"}
		}
		format(b[:controlSize], uint64(len(b)), false)
		head = copySuper(b)
	}
	sb, err := check(head, path, int64(len(b)))
	if err != nil {
		return nil, err
	}
	if err := sizeAsked(&o, sb.size); err != nil {
		return nil, err
	}
	s := newSegment(b, sb, path, o)
	s.own = newTableLocks(s.b, s.kernel)
	return s, nil
}

// copySuper copies the superblock, its state first.
func copySuper(b []byte) []byte {
	state := mem.U64(b, sbState).Load() // edge: publish the segment (acquire)
	head := make([]byte, superSize)
	mem.CopyOut(head, mem.U64s(b, 0, superSize/8))
	binary.LittleEndian.PutUint64(head[sbState:], state)
	return head
}
