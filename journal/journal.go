package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/ring/multilog"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// place is an endpoint's view of a journal.
type place struct {
	name string
	host *host.Host
	area *segment.Area
	log  *multilog.Log
}

func keyOf(name string) segment.Key { return segment.Key{Kind: segment.KindJournal, Name: name} }

// open opens the journal of the given name, which must be there.
func open(node *ringbus.Node, name string) (*place, error) {
	h := host.Of(node)
	if err := segment.CheckName(name); err != nil {
		return nil, fmt.Errorf("journal %q: %w", name, err)
	}
	if err := h.Err(); err != nil {
		return nil, err
	}
	area, err := h.Node.Lookup(keyOf(name))
	if err != nil {
		return nil, fmt.Errorf("journal %q: %w", name, err)
	}
	return view(name, h, area)
}

func view(name string, h *host.Host, area *segment.Area) (*place, error) {
	l, err := multilog.Open(area.Bytes())
	if err != nil {
		_ = area.Close()
		return nil, fmt.Errorf("journal %q: %w", name, err)
	}
	return &place{name, h, area, l}, nil
}

// create opens the journal, or creates it.
func create(node *ringbus.Node, name string, o *Options) (*place, error) {
	if err := o.check(name); err != nil {
		return nil, err
	}
	cells, err := o.cells(name)
	if err != nil {
		return nil, err
	}
	p, err := open(node, name)
	if errors.Is(err, fs.ErrNotExist) {
		p, err = build(host.Of(node), name, multilog.Config{
			Cells: cells, Mode: multilog.Mode(max(o.Mode, Overwrite)), Checksum: !o.NoChecksum,
		})
	}
	if err != nil {
		return nil, err
	}
	have := p.log.Config()
	for _, f := range []struct {
		name       string
		asked      bool
		have, want any
	}{
		{"size", o.Size != 0, have.Cells * multilog.CellSize, cells * multilog.CellSize},
		{"mode", o.Mode != DefaultMode, Mode(have.Mode), o.Mode},
		{"checksum", o.NoChecksum, have.Checksum, false},
	} {
		if f.asked && f.have != f.want {
			_ = p.area.Close()
			return nil, &MismatchError{Journal: name, Field: f.name, Have: f.have, Want: f.want}
		}
	}
	return p, nil
}

// build creates the journal, or opens what somebody else just created.
func build(h *host.Host, name string, c multilog.Config) (*place, error) {
	area, _, err := h.Node.Create(context.Background(), keyOf(name), multilog.Size(c), func(b []byte) error {
		return multilog.Format(b, c)
	})
	var other *segment.MismatchError
	if errors.As(err, &other) {
		area, err = h.Node.Lookup(keyOf(name))
	}
	if err != nil {
		return nil, fmt.Errorf("journal %q: %w", name, err)
	}
	return view(name, h, area)
}

// peers is what the ring asks about others.
func (p *place) peers() multilog.Peers {
	n := p.host.Node
	return multilog.Peers{
		Me: uint32(n.Owner()),
		Status: func(owner uint32) multilog.Status {
			st := n.Status(segment.Owner(owner))
			if st == segment.Dead && !n.Proved(segment.Owner(owner)) {
				return multilog.Gone
			}
			return multilog.Status(st)
		},
		Fenced: n.Fenced,
		Ring:   p.ring,
	}
}

func (p *place) ring(b wake.Bell) { p.host.Pool.Ring(b) }

// names of the owners' nodes.
func (p *place) names(owners []uint32) []string {
	var out []string
	for _, o := range owners {
		out = append(out, p.host.Node.NameOf(segment.Owner(o)))
	}
	return out
}

// Remove removes the journal from the bus and gives its memory back. It is an
// error if any node has it open.
func Remove(node *ringbus.Node, name string) error {
	if err := host.Of(node).Node.Remove(keyOf(name)); err != nil {
		return fmt.Errorf("remove journal %q: %w", name, err)
	}
	return nil
}

// Level returns the filter that all writers of the journal share: they leave
// out records below it. ok is false if there is none.
func Level(node *ringbus.Node, name string) (level slog.Level, ok bool, err error) {
	p, err := open(node, name)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = p.area.Close() }()
	l := p.log.Level()
	return slog.Level(l), l != multilog.NoLevel, nil
}

// SetLevel sets the filter that all writers of the journal share, from their
// next record on. It costs them one load. What [Writer.Write] appends, for
// instance for slog.NewJSONHandler, log or "ringbus journal run", has its
// writer's own level, whatever its text says: the filter takes all of it or
// nothing. [NewHandler] gives each record its own.
func SetLevel(node *ringbus.Node, name string, level slog.Level) error {
	p, err := open(node, name)
	if err != nil {
		return err
	}
	defer func() { _ = p.area.Close() }()
	p.log.SetLevel(int(narrow(level)))
	return nil
}

// ClearLevel removes the filter.
func ClearLevel(node *ringbus.Node, name string) error {
	p, err := open(node, name)
	if err != nil {
		return err
	}
	defer func() { _ = p.area.Close() }()
	p.log.SetLevel(multilog.NoLevel)
	return nil
}
