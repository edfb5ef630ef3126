package journal

import (
	"fmt"

	"github.com/ringbus/ringbus/internal/ring/multilog"
	"github.com/ringbus/ringbus/segment"
)

// OpenFile reads the journal of the bus in the file at path, without joining
// it: the file is mapped read-only, nobody notices, and nothing is held. Read
// polls, up to a hundred times a second.
func OpenFile(path, name string, o *ReaderOptions) (*Reader, error) {
	seg, err := segment.OpenFile(path, &segment.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		return nil, err
	}
	return without(seg, name, o, false)
}

// OpenImage reads the journal of a bus whose processes are all dead from the
// bus's file at path, or from a copy of it, which may be cut short or damaged:
// what can be read is read, and the rest is counted. The file is read whole
// before OpenImage returns, and not changed. Read returns io.EOF at the end.
func OpenImage(path, name string, o *ReaderOptions) (*Reader, error) {
	seg, err := segment.OpenImage(path)
	if err != nil {
		return nil, err
	}
	return without(seg, name, o, true)
}

// without makes a reader that is no node.
func without(seg *segment.Segment, name string, o *ReaderOptions, image bool) (*Reader, error) {
	if o == nil {
		o = &ReaderOptions{}
	}
	l, err := find(seg, name)
	if err != nil {
		_ = seg.Close()
		return nil, fmt.Errorf("journal %q: %w", name, err)
	}
	r := &Reader{name: name, seg: seg, policy: policy(o.Wait), end: image, who: func(o uint32) string { return seg.NameOf(segment.Owner(o)) }}
	if image {
		r.rx = l.NewImageRx()
	} else {
		r.rx = l.NewRx(multilog.Peers{Status: func(o uint32) multilog.Status {
			return multilog.Status(seg.StatusOf(segment.Owner(o)))
		}})
	}
	r.rx.Filter = o.filter()
	return r, nil
}

// find opens the journal's area.
func find(seg *segment.Segment, name string) (*multilog.Log, error) {
	area, err := seg.Find(keyOf(name))
	if err != nil {
		return nil, err
	}
	return multilog.Open(area)
}
