package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// place is one endpoint's view of a stream.
type place struct {
	name string
	host *host.Host
	area *segment.Area
	ring *cells.Ring
}

// Sizes of a stream, in bytes, and how many groups it may have by default.
const (
	defaultSize   = 1 << 20
	defaultGroups = 4
)

// create opens the stream, or creates it.
func create(node *ringbus.Node, name string, size, groups int) (*place, error) {
	p := &place{name: name, host: host.Of(node)}
	if err := segment.CheckName(name); err != nil {
		return nil, p.err(err)
	}
	if err := p.host.Err(); err != nil {
		return nil, err
	}
	if size < 0 || groups < -1 || groups > cells.MaxGroups || size > (cells.MaxCells-1)*cells.CellSize {
		return nil, p.err(fmt.Errorf("no such size (%d) or number of groups (%d)", size, groups))
	}
	want := cells.ConfigFor(size, groups)
	if size == 0 {
		want = cells.ConfigFor(defaultSize-cells.CellSize, groups)
	}
	switch groups {
	case 0:
		want.Groups = defaultGroups
	case -1:
		want.Groups = 0
	}
	key := segment.Key{Kind: segment.KindStream, Name: name}
	for {
		area, err := p.host.Node.Lookup(key)
		if errors.Is(err, fs.ErrNotExist) {
			area, _, err = p.host.Node.Create(context.Background(), key, cells.Size(want), func(b []byte) error { return cells.Format(b, want) })
			if errors.As(err, new(*segment.MismatchError)) {
				continue // somebody made it another one meanwhile
			}
		}
		if err != nil {
			return nil, p.err(err)
		}
		ring, err := cells.Open(area.Bytes())
		if err == nil {
			err = p.agree(ring.Config(), want, size, groups)
		}
		if err != nil {
			_ = area.Close()
			return nil, p.err(err)
		}
		p.area, p.ring = area, ring
		return p, nil
	}
}

func (p *place) agree(have, want cells.Config, size, groups int) error {
	if size != 0 && have.Cells != want.Cells {
		return &ringbus.MismatchError{Topic: p.name, Field: "size", Have: have.MaxMessage(), Want: want.MaxMessage()}
	}
	if groups != 0 && have.Groups != want.Groups {
		return &ringbus.MismatchError{Topic: p.name, Field: "groups", Have: have.Groups, Want: want.Groups}
	}
	return nil
}

func (p *place) err(err error) error { return fmt.Errorf("stream %q: %w", p.name, err) }

func (p *place) owner() uint32 { return uint32(p.host.Node.Owner()) }

func (p *place) bell(b wake.Bell) { p.host.Pool.Ring(b) }

func (p *place) status(o uint32) segment.Status { return p.host.Node.Status(segment.Owner(o)) }

// bury recovers o, who is dead by evidence. What it has in the ring nevertheless
// it took after it was buried, as a zombie of another kernel.
func (p *place) bury(o uint32) { bury(p.host, p.ring, o) }

func bury(h *host.Host, r *cells.Ring, o uint32) {
	if h.Node.RecoverOwner(segment.Owner(o)) && r.Names(o) {
		r.Recover(o, true, h.Pool.Ring)
	}
}

// join claims a slot; the dead make room.
func (p *place) join(m cells.Mode) (*cells.Slot, error) {
	s, err := p.ring.Join(p.owner(), m, p.bell)
	if errors.Is(err, cells.ErrNoSlot) {
		if _, err := p.host.Node.Recover(); err != nil {
			return nil, err
		}
		s, err = p.ring.Join(p.owner(), m, p.bell)
	}
	if errors.Is(err, cells.ErrNoSlot) {
		return nil, p.err(ErrTooMany)
	}
	return s, err
}

// Remove removes the stream from the bus and gives its memory back. It is an
// error if any node has it open.
func Remove(node *ringbus.Node, name string) error {
	return host.Of(node).Node.Remove(segment.Key{Kind: segment.KindStream, Name: name})
}
