package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// OpenImage reads the file of a bus whose processes are all dead, or a copy of
// it, into memory, and opens that read-only. A file that is cut short is read
// as far as it goes; the rest is zeros. The superblock must be sound.
func OpenImage(path string) (*Segment, error) {
	s, err := openImage(path)
	if err != nil {
		return nil, fmt.Errorf("open image %q: %w", path, err)
	}
	return s, nil
}

func openImage(path string) (*Segment, error) {
	f, err := sys.OpenToRead(path)
	if err != nil {
		return nil, pathless(err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, pathless(err)
	case !st.Mode().IsRegular():
		return nil, &FormatError{Field: "file", Have: kindOf(st.Mode()), Want: "a regular file"}
	case st.Size() < superSize:
		return nil, &FormatError{Field: "length of the file", Have: fmt.Sprintf("%d bytes", st.Size()), Want: fmt.Sprintf("at least %d bytes, a superblock", superSize)}
	}
	head := make([]byte, superSize)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, pathless(err)
	}
	sb, err := check(head, "", maxSize) // of any length
	if err != nil {
		return nil, err
	}
	b, err := sys.MapZeros(int64(sb.size)) // of a bus of a terabyte, a few pages may be there
	if err != nil {
		return nil, fmt.Errorf("memory for a bus of %d bytes: %w", sb.size, err)
	}
	if err := readData(f, b[:min(sb.size, uint64(st.Size()))]); err != nil {
		_ = sys.Unmap(b)
		return nil, pathless(err)
	}
	o := (&Options{ReadOnly: true}).resolve()
	o.Kernel = processID()
	s := newSegment(b, sb, path, o)
	s.unmapLater(b)
	s.own = newTableLocks(s.b, s.kernel)
	s.image = true
	return s, nil
}

// kindOf is what a file is that is not regular.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return m.Type().String()
}

// readData reads the file into b, but for its holes, of which a bus has many.
func readData(f *os.File, b []byte) error {
	const seekData, seekHole = 3, 4
	for at := int64(0); at < int64(len(b)); {
		from, err := f.Seek(at, seekData)
		if err != nil || from >= int64(len(b)) {
			return nil // nothing but a hole is left
		}
		to, err := f.Seek(from, seekHole)
		if err != nil {
			to = int64(len(b))
		}
		to = min(to, int64(len(b)))
		if _, err := f.ReadAt(b[from:to], from); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		at = to
	}
	return nil
}

// pathless is err without the path, which the caller adds.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Find returns the memory of the area with the given key, for looking at it
// only: nothing keeps the area from being removed meanwhile. The error wraps
// fs.ErrNotExist if it is not there. In an image the blocks of the area need not
// carry its name: what is there is looked at.
func (s *Segment) Find(key Key) ([]byte, error) {
	if err := key.check(); err != nil {
		return nil, err
	}
	i, e, ok := s.find(key)
	if !ok || e.state() == EntryClaimed {
		return nil, fmt.Errorf("%v: %w", key, fs.ErrNotExist)
	}
	off, size, err := s.extent(i, e)
	if err != nil && s.image {
		u := mem.U64(s.b, entryOff(i)+entryOffset).Load()
		n := mem.U64(s.b, entryOff(i)+entryLength).Load()
		if u%mem.Page == 0 && u >= controlSize && u < s.super.size && n <= s.super.size-u {
			off, size, err = int64(u), int64(n), nil
		}
	}
	if err != nil {
		return nil, err
	}
	return s.b[off : off+size : off+size], nil
}

// NameOf returns the name of o's node; if it is gone, the owner in figures.
func (s *Segment) NameOf(o Owner) string {
	if w := s.load(o.Slot()); w.owner(o.Slot()) == o {
		if name := s.nodeName(o.Slot()); name != "" {
			return name
		}
	}
	return o.String()
}
