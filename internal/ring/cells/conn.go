package cells

import (
	"fmt"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Offsets in a connection's area.
const (
	connTag    = 0x000
	connConfig = 0x008
	connAccept = 0x040
	connRing0  = 0x1000

	connMagic = 0x01_4E_4E_4F_43_52_42_52 // "RBRCONN", version 1
)

// Conn is a view of a connection's area: two rings, and a word that says who
// accepted it.
type Conn struct {
	Rings  [2]*Ring // what the dialer writes, what it reads
	accept *atomic.Uint64
}

// ConnSize is the size in bytes of a connection's area.
func ConnSize(c Config) int64 { return connRing0 + 2*int64(mem.Align(uint64(Size(c)), mem.Page)) }

// FormatConn makes a connection's area of zeroed bytes.
func FormatConn(area []byte, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	if int64(len(area)) < ConnSize(c) {
		return fmt.Errorf("a connection of %d cells needs %d bytes, not %d", c.Cells, ConnSize(c), len(area))
	}
	half := (ConnSize(c) - connRing0) / 2
	for i := range int64(2) {
		if err := Format(area[connRing0+i*half:][:half], c); err != nil {
			return err
		}
	}
	mem.U64(area, connConfig).Store(c.pack())
	mem.U64(area, connTag).Store(connMagic)
	return nil
}

// IsConn reports whether area looks like a connection's.
func IsConn(area []byte) bool {
	return len(area) >= connRing0 && mem.U64(area, connTag).Load() == connMagic
}

// OpenConn views area, which must outlive the Conn.
func OpenConn(area []byte) (*Conn, error) {
	if !IsConn(area) {
		return nil, &CorruptError{"connection's tag or size", uint64(len(area))}
	}
	w := mem.U64(area, connConfig).Load()
	c, ok := unpackConfig(w)
	if !ok {
		return nil, &CorruptError{"connection's config", w}
	}
	if int64(len(area)) < ConnSize(c) {
		return nil, &CorruptError{"connection's size", uint64(len(area))}
	}
	conn := &Conn{accept: mem.U64(area, connAccept)}
	half := (ConnSize(c) - connRing0) / 2
	for i := range int64(2) {
		r, err := Open(area[connRing0+i*half:][:half:half])
		if err != nil {
			return nil, err
		}
		if r.config != c {
			return nil, &CorruptError{"connection's config", r.config.pack()}
		}
		conn.Rings[i] = r
	}
	return conn, nil
}

// Accept makes owner the one who accepted the connection; false if somebody has.
func (c *Conn) Accept(owner uint32) bool {
	ok := c.accept.CompareAndSwap(0, uint64(owner)) // A1
	invariant.Point("cells.A1")
	return ok
}

// Accepted returns who accepted the connection, 0 if nobody has.
func (c *Conn) Accepted() uint32 { return uint32(c.accept.Load()) & ownerMask }

// Recover ends what owner, who is dead, had in the connection.
func (c *Conn) Recover(owner uint32, evicted bool, ring func(wake.Bell)) {
	for _, r := range c.Rings {
		r.Recover(owner, evicted, ring)
	}
}
