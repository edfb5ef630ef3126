package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/pci"
	"github.com/ringbus/ringbus/internal/sys"
)

// Names of buses that are not files in the directory of buses.
const (
	schemePCI = "ivshmem:"
	schemeDir = "/"
)

// CheckBus returns an error that says what is wrong with name as what [Open]
// takes: a name as [CheckName] wants it; "ivshmem:", alone or with the address of
// a PCI device behind it; or the absolute path of what can be mapped.
func CheckBus(name string) error {
	if address, ok := strings.CutPrefix(name, schemePCI); ok {
		if address == "" {
			return nil
		}
		_, err := pci.Address(address)
		return err
	}
	if strings.HasPrefix(name, schemeDir) {
		return nil
	}
	return CheckName(name)
}

// openNamed opens what name names if that is no name in the directory of buses.
func openNamed(name string, o Options) (s *Segment, ok bool, err error) {
	if address, ok := strings.CutPrefix(name, schemePCI); ok {
		d, err := pci.Find(pci.Sysfs, address)
		if err != nil {
			return nil, true, err
		}
		s, err := openPCI(d, o)
		return s, true, err
	}
	if strings.HasPrefix(name, schemeDir) {
		s, err := openPath(name, o)
		return s, true, err
	}
	return nil, false, nil
}

// OpenPCI opens the bus in the memory of a PCI device, which it enables. Package
// ivshmem finds one.
func OpenPCI(d pci.Device, o *Options) (*Segment, error) { return openPCI(d, o.resolve()) }

func openPCI(d pci.Device, o Options) (*Segment, error) {
	if err := d.Enable(); err != nil {
		return nil, err
	}
	flags := os.O_RDWR
	if o.ReadOnly {
		flags = os.O_RDONLY
	}
	f, err := sys.OpenFile(d.Memory(), flags, 0)
	if err != nil {
		return nil, d.Refused(err)
	}
	o.MustExist = true
	s, err := openFixed(f, d.Memory(), d.Size, o)
	if err != nil {
		_ = f.Close()
		return nil, d.Refused(err)
	}
	return s, nil
}

// FromMapping opens the bus in b, memory of fixed size that the caller has mapped
// and keeps mapped, a region of a VFIO device for example. The lock bytes of its
// nodes are those of the file lock, which stays the caller's: all processes of one
// kernel must name the same file, for a PCI device its resource2. The bus must be
// there.
func FromMapping(b []byte, lock *os.File, o *Options) (*Segment, error) {
	s, err := func() (*Segment, error) {
		opts := o.resolve()
		opts.MustExist = true
		own, err := sys.Reopen(lock, !opts.ReadOnly)
		if err != nil {
			return nil, err
		}
		s, err := openMapped(b, own, "["+lock.Name()+"]", opts)
		if err != nil {
			_ = own.Close()
		}
		return s, err
	}()
	if err != nil {
		return nil, fmt.Errorf("open segment in the mapping of %s: %w", lock.Name(), err)
	}
	return s, nil
}

// openFixed maps all of f, a thing of fixed size: nobody cuts it off, reserves its
// pages or gives them back. The segment owns f if there is no error.
func openFixed(f *os.File, path string, size int64, o Options) (*Segment, error) {
	if size < minSize || size > maxSize {
		return nil, &FormatError{path, "size", fmt.Sprintf("%d bytes", size), fmt.Sprintf("%d to %d bytes", minSize, int64(maxSize))}
	}
	b, err := sys.Map(f, size, !o.ReadOnly)
	if err != nil {
		return nil, err
	}
	s, err := openMapped(b, f, path, o)
	if err != nil {
		_ = sys.Unmap(b)
		return nil, err
	}
	s.unmapLater(b)
	return s, nil
}

// openMapped opens the bus in b, whose lock bytes are those of lock. It formats b
// if that is up to us.
func openMapped(b []byte, lock *os.File, path string, o Options) (*Segment, error) {
	if len(b) < minSize {
		return nil, &FormatError{path, "size", fmt.Sprintf("%d bytes", len(b)), fmt.Sprintf("at least %d bytes", minSize)}
	}
	if o.Kernel == 0 {
		var err error
		if o.Kernel, err = lockDomain(lock); err != nil {
			return nil, err
		}
	}
	sb, err := settleMapped(b, lock, path, &o)
	if err != nil {
		return nil, err
	}
	if err := sizeAsked(&o, sb.size); err != nil {
		return nil, err
	}
	s := newSegment(b, sb, path, o)
	s.f, s.fixed = lock, true
	s.noFutex = !sys.HasFutex(mem.Addr(mem.U32(b, sbState)))
	if s.own, _, err = s.newLocks(); err != nil {
		return nil, err
	}
	return s, nil
}

// settleMapped waits for a READY bus in b, formats one if that is up to us, and
// checks it.
func settleMapped(b []byte, lock *os.File, path string, o *Options) (super, error) {
	lk := fileLocks{lock}
	deadline := time.Now().Add(patience)
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		head := copySuper(b)
		c, err := examine(head, path)
		var wrong *FormatError
		switch {
		case errors.As(err, &wrong) && wrong.Field == "magic":
			return super{}, fmt.Errorf("%w: %w", ErrNotBus, err)
		case err != nil:
			return super{}, err
		case c == ready || c == removing && o.ReadOnly:
			return check(head, path, int64(len(b)))
		case c == removing:
			return super{}, fmt.Errorf("%w: it is being removed", ErrNotBus)
		case o.ReadOnly || o.MustExist:
			return super{}, fmt.Errorf("%q: %w: nobody has made a bus in it; its owner does, before others open it", path, ErrNotBus)
		}
		got, err := lk.try(creationLock)
		if err != nil {
			return super{}, err
		}
		if got {
			if c, err = examine(copySuper(b), path); err == nil && c != ready {
				format(b[:controlSize], uint64(len(b)), false)
			}
			if uerr := lk.unlock(creationLock); err == nil {
				err = uerr
			}
			if err != nil {
				return super{}, err
			}
			continue
		}
		if time.Now().After(deadline) {
			return super{}, &FileError{path, "another process is creating the bus and does not come to an end", "see what that process does"}
		}
		time.Sleep(wait)
	}
}

// lockDomain returns the id of those who see the lock bytes of f: this kernel's,
// and, where one thing may be reached through several files, those with this file.
func lockDomain(f *os.File) (uint64, error) {
	st, err := sys.StatFile(f)
	if err != nil {
		return 0, err
	}
	id, err := kernelID()
	if err != nil {
		return 0, err
	}
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, [3]uint64{id, st.Dev, st.Ino})
	return h.Sum64(), nil
}

// fixedSize says whether f is a device, or shown by one, and how large it is.
func fixedSize(f *os.File) (size int64, fixed bool, err error) {
	st, err := sys.StatFile(f)
	switch {
	case err != nil:
		return 0, false, err
	case st.Regular:
		fixed, err := sys.Shown(f)
		return st.Size, fixed, err
	case st.Device:
		size, err := sys.DeviceSize(f)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, false, nil // no device that has a size
		}
		return size, true, err
	}
	return 0, false, nil
}
