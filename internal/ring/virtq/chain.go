package virtq

import "github.com/ringbus/ringbus/internal/invariant"

// Chain is what a driver offered: readable bytes, then writable ones, each in
// pieces. It belongs to the device from Pop to Push. The zero value is ready
// for Pop; one that is used again allocates nothing.
//
// The bytes are the driver's memory, which it may change while they are read:
// read each once, or copy.
type Chain struct {
	Readable [][]byte
	Writable [][]byte

	readable uint64
	writable uint64
	live     bool
	id       uint16
	count    uint16 // entries of a packed ring
	seq      uint32
}

// ReadableLen is the number of readable bytes.
func (c *Chain) ReadableLen() uint64 { return c.readable }

// WritableLen is the number of writable bytes.
func (c *Chain) WritableLen() uint64 { return c.writable }

// Live says whether c was popped and not pushed yet.
func (c *Chain) Live() bool { return c.live }

func (c *Chain) reset() {
	c.Readable, c.Writable = c.Readable[:0], c.Writable[:0]
	c.readable, c.writable = 0, 0
}

// add puts one buffer at the end of c. It says which of the buffer's words is
// wrong, nil if none is.
func (c *Chain) add(m *Memory, addr uint64, length uint32, write bool) *BrokenError {
	n := uint64(length)
	if addr+n < addr && addr+n != 0 {
		return &BrokenError{"descriptor address", addr, "so that the buffer ends below 2^64"}
	}
	if c.readable+c.writable+n > maxBytes {
		return &BrokenError{"descriptor length", n, "so that the chain has at most 2^32 bytes"}
	}
	switch {
	case write:
		c.writable += n
	case c.writable > 0:
		return &BrokenError{"descriptor flags", 0, "WRITE: readable buffers come first"}
	default:
		c.readable += n
	}
	for n > 0 {
		b := m.from(addr, n)
		if b == nil {
			return &BrokenError{"descriptor address", addr, "inside the memory, with all of its buffer"}
		}
		if write {
			c.Writable = append(c.Writable, b)
		} else {
			c.Readable = append(c.Readable, b)
		}
		addr += uint64(len(b))
		n -= uint64(len(b))
	}
	return nil
}

// addTable walks the indirect table at addr. In a split ring its descriptors
// are linked, in a packed one they follow each other.
func (d *Device) addTable(c *Chain, addr uint64, length uint32) *BrokenError {
	n := length / 16
	if length == 0 || length%16 != 0 || n > MaxIndirect {
		return &BrokenError{"indirect table length", uint64(length), "16 to 524288 bytes, a multiple of 16"}
	}
	if addr+uint64(length) < addr && addr+uint64(length) != 0 {
		return &BrokenError{"indirect table address", addr, "so that the table ends below 2^64"}
	}
	i := uint32(0)
	for range n { // more would be a loop
		lo, hi, ok := d.memory.descriptor(addr + uint64(i)*16)
		invariant.Point("virtq.D3")
		if !ok {
			return &BrokenError{"indirect table address", addr, "inside the memory, with all of its table"}
		}
		flags := uint16(hi >> 32)
		if d.packed {
			flags = uint16(hi >> 48)
		}
		if flags&flagIndirect != 0 {
			return &BrokenError{"indirect descriptor flags", uint64(flags), "without INDIRECT: tables do not nest"}
		}
		if err := c.add(d.memory, lo, uint32(hi), flags&flagWrite != 0); err != nil {
			return err
		}
		if d.packed {
			if i++; i == n {
				return nil
			}
			continue
		}
		if flags&flagNext == 0 {
			return nil
		}
		if i = uint32(hi >> 48); i >= n {
			return &BrokenError{"indirect descriptor next", uint64(i), "the number of a descriptor of the table"}
		}
	}
	return &BrokenError{"indirect descriptor next", uint64(i), "without a loop"}
}
