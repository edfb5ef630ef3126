package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// patience bounds how long Open waits for a creator that lives but does not
// come to an end.
const patience = 10 * time.Second

// errAgain says that the file was replaced meanwhile.
var errAgain = errors.New("the file was replaced")

// Open opens the bus with the given name, which it creates if it is not there.
// Many may do so at once: one creates it, the others wait for it.
//
// The name "ivshmem:" means the bus in the only ivshmem device of this virtual
// machine, "ivshmem:0000:00:05.0" in the one at that address; both must be there.
// A name that begins with '/' is the path of anything that can be mapped, as for
// [OpenFile].
func Open(name string, o *Options) (*Segment, error) {
	opts := o.resolve()
	s, err := func() (*Segment, error) {
		if s, ok, err := openNamed(name, opts); ok {
			return s, err
		}
		if err := CheckName(name); err != nil {
			return nil, err
		}
		dir, own := directory(&opts)
		if err := prepareDir(dir, own, &opts); err != nil {
			return nil, err
		}
		return openPath(fileOf(dir, name), opts)
	}()
	if err != nil {
		return nil, fmt.Errorf("open bus %q: %w", name, err)
	}
	return s, nil
}

// OpenFile is Open for a bus in the file at path, or in what can be mapped there
// and has a fixed size: a file of huge pages, /dev/dax0.0, resource2 of a PCI device
// in sysfs. Options.Dir means nothing.
func OpenFile(path string, o *Options) (*Segment, error) {
	s, err := openPath(path, o.resolve())
	if err != nil {
		return nil, fmt.Errorf("open segment %q: %w", path, err)
	}
	return s, nil
}

func openPath(path string, o Options) (*Segment, error) {
	for {
		f, err := openOrCreate(path, &o)
		if err != nil {
			return nil, err
		}
		s, err := openFile(f, path, true, o)
		if err == nil {
			return s, nil
		}
		_ = f.Close()
		if !errors.Is(err, errAgain) {
			return nil, err
		}
	}
}

// openFile opens the bus in f, which the segment owns if there is no error. named
// says that path must name f.
func openFile(f *os.File, path string, named bool, o Options) (*Segment, error) {
	size, fixed, err := fixedSize(f)
	if err != nil {
		return nil, err
	}
	if fixed {
		return openFixed(f, path, size, o)
	}
	if o.Kernel == 0 {
		if o.Kernel, err = kernelID(); err != nil {
			return nil, err
		}
	}
	if o.huge, err = sys.HugePages(f); err != nil {
		return nil, err
	}
	if o.huge > 0 && o.Size > 0 {
		o.Size = int64(mem.Align(uint64(o.Size), o.huge))
	}
	return attach(f, path, named, o)
}

// openOrCreate opens the file at path. It asks for creation only when nothing
// is there, so that it never trips over the kernel's protection of regular
// files in sticky directories.
func openOrCreate(path string, o *Options) (*os.File, error) {
	for {
		flags := os.O_RDWR
		if o.ReadOnly {
			flags = os.O_RDONLY
		}
		f, err := sys.OpenFile(path, flags, 0)
		switch {
		case err == nil:
			if err := trust(f, path, o); err != nil {
				_ = f.Close()
				return nil, err
			}
			return f, nil
		case sys.IsSymlink(err):
			return nil, &FileError{path, "this is a symbolic link", "name the bus file itself"}
		case errors.Is(err, fs.ErrPermission):
			return nil, denied(path, err)
		case !errors.Is(err, fs.ErrNotExist) || o.MustExist || o.ReadOnly:
			return nil, err
		}
		f, err = sys.CreateFile(path, o.perm())
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// attach waits until the bus in f is READY, formats it if that is up to us,
// and maps it. named says that path must name f.
func attach(f *os.File, path string, named bool, o Options) (*Segment, error) {
	lk := fileLocks{f}
	deadline := time.Now().Add(patience)
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		c, err := peek(f, path)
		if err != nil {
			return nil, err
		}
		if c == ready || c == removing && o.ReadOnly {
			return mapReady(f, path, named, o)
		}
		if o.ReadOnly {
			if held, err := lk.held(creationLock); !held {
				return nil, errors.Join(err, &FormatError{path, "state", "not READY", "READY (somebody must create the bus first)"})
			}
		} else if got, err := lk.try(creationLock); err != nil {
			return nil, err
		} else if got {
			err := settle(f, path, named, &o)
			if uerr := lk.unlock(creationLock); err == nil {
				err = uerr
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		if time.Now().After(deadline) {
			return nil, &FileError{path, "another process is creating or removing it and does not come to an end", "see what that process does"}
		}
		time.Sleep(wait)
	}
}

// peek reads the condition of the bus in f without mapping it: the state
// first, because a copy of many bytes has no order.
func peek(f *os.File, path string) (condition, error) {
	var b [superSize]byte
	if _, err := f.ReadAt(b[sbState:sbState+8], sbState); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	n, err := f.ReadAt(b[:], 0)
	switch {
	case errors.Is(err, io.EOF) && n == 0:
		return empty, nil
	case errors.Is(err, io.EOF):
		return 0, &FormatError{path, "length of the file", fmt.Sprintf("%d bytes (truncated)", n), "a whole superblock"}
	case err != nil:
		return 0, err
	}
	return examine(b[:], path)
}

// settle brings the bus in f to READY. Its caller holds the creation lock.
func settle(f *os.File, path string, named bool, o *Options) error {
	if named {
		if same, err := names(path, f); err != nil {
			return err
		} else if !same {
			return errAgain
		}
	}
	c, err := peek(f, path)
	if err != nil || c == ready {
		return err
	}
	if c == removing { // its remover died before it unlinked the file
		st, err := sys.StatFile(f)
		if err != nil {
			return err
		}
		b, err := sys.Map(f, st.Size, true)
		if err != nil {
			return err
		}
		(&Segment{b: b}).state().Store(stateReady)
		return sys.Unmap(b)
	}
	if o.MustExist {
		return fmt.Errorf("%w: the file is there, but nobody has created the bus in it", fs.ErrNotExist)
	}
	err = found(f, path, o)
	if err != nil && named {
		_ = os.Remove(path)
	}
	return err
}

// names says whether path still names the file f.
func names(path string, f *os.File) (bool, error) {
	have, err := sys.StatFile(f)
	if err != nil {
		return false, err
	}
	now, err := sys.StatPath(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return now.Dev == have.Dev && now.Ino == have.Ino, err
}

// found makes a bus of the file f, whose superblock holds nothing. Its caller
// holds the creation lock; nobody has f mapped.
func found(f *os.File, path string, o *Options) error {
	st, err := sys.StatFile(f)
	if err != nil {
		return err
	}
	size, err := o.size()
	if err != nil {
		return err
	}
	if o.Size == 0 && st.Size > 0 {
		size = st.Size // somebody made the file with this size
	}
	if size < minSize || size > maxSize {
		return &FormatError{path, "length of the file", fmt.Sprintf("%d bytes", size), fmt.Sprintf("%d to %d bytes", minSize, int64(maxSize))}
	}
	if networked(f) {
		return onNetwork(path)
	}
	if o.huge > 0 {
		size = int64(mem.Align(uint64(size), o.huge))
	}
	if st.Size != size {
		if err := f.Truncate(size); err != nil {
			return err
		}
	}
	if int(st.UID) == os.Geteuid() && o.Mode.Perm() != 0 {
		if err := f.Chmod(fs.FileMode(o.perm())); err != nil { // whatever the umask
			return err
		}
	}
	invariant.Point("segment.format.sized")
	if err := reserve(f, path, 0, controlSize); err != nil {
		return err
	}
	b, err := sys.Map(f, size, true)
	if err != nil {
		return err
	}
	format(b[:controlSize], uint64(size), st.Size == 0)
	return sys.Unmap(b)
}

// mapReady maps the bus in f, after the checks of its superblock.
func mapReady(f *os.File, path string, named bool, o Options) (*Segment, error) {
	var head [superSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	st, err := sys.StatFile(f)
	if err != nil {
		return nil, err
	}
	sb, err := check(head[:], path, st.Size)
	if err != nil {
		return nil, err
	}
	if err := sizeAsked(&o, sb.size); err != nil {
		return nil, err
	}
	if named {
		if err := modeAsked(st, path, &o); err != nil {
			return nil, err
		}
		if same, err := names(path, f); err != nil {
			return nil, err
		} else if !same {
			return nil, errAgain
		}
	}
	b, err := sys.Map(f, int64(sb.size), !o.ReadOnly)
	if err != nil {
		return nil, err
	}
	s := newSegment(b, sb, path, o)
	s.f, s.file, s.fixed = f, named, o.huge > 0
	s.unmapLater(b)
	if s.own, _, err = s.newLocks(); err != nil {
		return nil, err
	}
	return s, nil
}

func sizeAsked(o *Options, have uint64) error {
	if o.Size == 0 {
		return nil
	}
	want, err := o.size()
	if err == nil && uint64(want) != have {
		err = &MismatchError{"size", fmt.Sprintf("%d bytes", have), fmt.Sprintf("%d bytes", want)}
	}
	return err
}

// reserve takes the pages of an extent of f, and says in figures why not.
func reserve(f *os.File, path string, off, n int64) error {
	err := sys.Allocate(f, off, n)
	if err == nil || !sys.IsNoSpace(err) {
		return err
	}
	free, ferr := sys.Free(f)
	if ferr != nil {
		return err
	}
	return &SpaceError{Path: path, In: inFileSystem, Need: n, Free: free}
}
