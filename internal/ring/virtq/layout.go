package virtq

import "github.com/ringbus/ringbus/internal/mem"

// MaxSize is the greatest size of a queue, MaxIndirect the most descriptors that
// a table may have.
const (
	MaxSize     = 1 << 15
	MaxIndirect = 1 << 15
)

// maxBytes is the most that a chain may hold.
const maxBytes = 1 << 32

// Flags of descriptors.
const (
	flagNext     = 1
	flagWrite    = 2
	flagIndirect = 4
	flagAvail    = 1 << 7
	flagUsed     = 1 << 15
)

// Flags of the packed ring's event structures.
const (
	eventEnable  = 0
	eventDisable = 1
	eventDesc    = 2
)

// suppress is the flag in a split ring's flags word that says: do not notify me.
const suppress = 1

// Config says where a queue is and how it is used. Both sides have the same.
type Config struct {
	Size     int      // entries: split a power of two to 32768, packed 1 to 32768
	Features Features // agreed on; bits that do not concern the ring change nothing here

	// Addresses, in the driver's terms.
	Desc   uint64 // split: descriptor table; packed: the ring
	Driver uint64 // split: available ring; packed: driver event structure
	Device uint64 // split: used ring; packed: device event structure

	// For the driver alone: memory for indirect tables, Size of them, each of
	// TableLen descriptors. 0: there are none, whatever was agreed on.
	Tables   uint64
	TableLen int
}

// sizes of the parts in bytes.
func (c *Config) sizes() (desc, driver, device uint64) {
	n := uint64(c.Size)
	if c.Features.Has(RingPacked) {
		return 16 * n, 4, 4
	}
	return 16 * n, 6 + 2*n, 6 + 8*n
}

func (c *Config) check() error {
	if c.Features.Has(RingPacked) {
		if c.Size < 1 || c.Size > MaxSize {
			return &LayoutError{"size", uint64(c.Size), "1 to 32768"}
		}
	} else if c.Size < 1 || c.Size > MaxSize || c.Size&(c.Size-1) != 0 {
		return &LayoutError{"size", uint64(c.Size), "a power of two from 1 to 32768"}
	}
	if c.TableLen < 0 || c.TableLen > MaxIndirect {
		return &LayoutError{"table length", uint64(c.TableLen), "0 to 32768"}
	}
	return nil
}

// parts returns the memory of the three parts, each from the 8 bytes on in
// which it begins.
func (c *Config) parts(m *Memory) (desc, driver, device []byte, err error) {
	if err := c.check(); err != nil {
		return nil, nil, nil, err
	}
	n, r, v := c.sizes()
	names := [3]string{"descriptor table", "available ring", "used ring"}
	aligns := [3]uint64{16, 2, 4}
	if c.Features.Has(RingPacked) {
		names = [3]string{"ring", "driver event", "device event"}
		aligns = [3]uint64{16, 4, 4}
	}
	if desc, err = m.part(names[0], c.Desc, n, aligns[0]); err != nil {
		return nil, nil, nil, err
	}
	if driver, err = m.part(names[1], c.Driver, r, aligns[1]); err != nil {
		return nil, nil, nil, err
	}
	if device, err = m.part(names[2], c.Device, v, aligns[2]); err != nil {
		return nil, nil, nil, err
	}
	return desc, driver, device, nil
}

// Layout puts the parts of a queue of the given size at addr, which is aligned
// to 64 bytes, one after the other with the two sides' words in lines of their
// own, and returns where the memory after it begins. tableLen is for the
// driver's indirect tables, 0 for none.
func Layout(addr uint64, size int, f Features, tableLen int) (c Config, end uint64) {
	c = Config{Size: size, Features: f, TableLen: tableLen}
	desc, driver, device := c.sizes()
	c.Desc = addr
	c.Driver = mem.Align(c.Desc+desc, 2*mem.Line)
	c.Device = mem.Align(c.Driver+driver, 2*mem.Line)
	end = mem.Align(c.Device+device, 2*mem.Line)
	if tableLen > 0 {
		c.Tables = end
		end = mem.Align(end+uint64(size)*uint64(tableLen)*16, 2*mem.Line)
	}
	return c, end
}
