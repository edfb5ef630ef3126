package virtq

import (
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

type tableWords []atomic.Uint64

// openTables finds the memory of the indirect tables, one for each id.
func (d *Driver) openTables(m *Memory) error {
	c := d.config
	if c.TableLen == 0 || !c.Features.Has(IndirectDesc) {
		return nil
	}
	size := uint64(c.TableLen) * 16
	b, err := m.part("tables", c.Tables, uint64(c.Size)*size, 16)
	if err != nil {
		return err
	}
	for i := range c.Size {
		d.tables = append(d.tables, mem.U64s(b, i*int(size), c.TableLen*2))
	}
	return nil
}

// indirect says whether a chain of n buffers goes into a table. Two descriptors
// side by side in the ring are half a line that the device fetches anyway, a
// table is a line more, so a request and its reply stay in the ring while there
// is room. From three on, and when the ring is short of descriptors, a table
// makes the ring deeper, which is worth more than the line.
func (d *Driver) indirect(n int) bool {
	return d.tables != nil && n <= d.config.TableLen && n > 1 && (n > 2 || n > d.free)
}

// fillTable writes a chain into the table of id, and returns the first word of
// the descriptor that refers to it, and the length.
func (d *Driver) fillTable(id uint32, readable, writable []Buffer) (addr uint64, length uint32) {
	t := d.tables[id]
	i, last := 0, len(readable)+len(writable)-1
	put := func(b Buffer, flags uint64) {
		if !d.packed && i < last {
			flags |= flagNext | uint64(i+1)<<16
		}
		if d.packed {
			flags <<= 16 // behind the id
		}
		mem.StoreRelease(&t[2*i], b.Addr)
		mem.StoreRelease(&t[2*i+1], uint64(b.Len)|flags<<32)
		invariant.Point("virtq.A1")
		i++
	}
	for _, b := range readable {
		put(b, 0)
	}
	for _, b := range writable {
		put(b, flagWrite)
	}
	return d.config.Tables + uint64(id)*uint64(d.config.TableLen)*16, uint32(last+1) * 16
}
