package virtq

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

// The bytes of two chains, as the specification's structures have them.
func TestBytesOfTheRing(t *testing.T) {
	chain := func(r *rig) {
		r.add([]Buffer{{0x0102030405060708, 0x11121314}}, []Buffer{{0x2122232425262728, 0x31323334}}, 0)
		r.add(nil, []Buffer{{0x41, 0x51}}, 0)
		r.kick()
	}
	r := newRig(t, 4, variant{})
	chain(r)
	wantBytes(t, "descriptor table", r.at(r.c.Desc, 64), `
		08 07 06 05 04 03 02 01  14 13 12 11  01 00  01 00
		28 27 26 25 24 23 22 21  34 33 32 31  02 00  00 00
		41 00 00 00 00 00 00 00  51 00 00 00  02 00  00 00
		00 00 00 00 00 00 00 00  00 00 00 00  00 00  00 00`)
	wantBytes(t, "available ring", r.at(r.c.Driver, 14), "00 00  02 00  00 00 02 00 00 00 00 00  00 00")
	var c Chain
	clear(r.at(r.c.Desc, 64))
	r.desc(r.c.Desc, r.data, 8, 0, 0)
	r.desc(r.c.Desc+32, r.data, 16, write, 0)
	r.pop(&c)
	_ = r.dev.Push(&c, 0)
	r.pop(&c)
	_ = r.dev.Push(&c, 9)
	r.call()
	r.dev.DisableKick()
	wantBytes(t, "used ring", r.at(r.c.Device, 38), `01 00  02 00  00 00 00 00 00 00 00 00  02 00 00 00 09 00 00 00
		00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  00 00`)

	r = newRig(t, 5, variant{"", RingPacked | EventIdx, 0})
	chain(r)
	wantBytes(t, "ring", r.at(r.c.Desc, 80), `
		08 07 06 05 04 03 02 01  14 13 12 11  00 00  81 00
		28 27 26 25 24 23 22 21  34 33 32 31  00 00  82 00
		41 00 00 00 00 00 00 00  51 00 00 00  01 00  82 00
		00 00 00 00 00 00 00 00  00 00 00 00  00 00  00 00
		00 00 00 00 00 00 00 00  00 00 00 00  00 00  00 00`)
	r.desc(r.c.Desc, r.data, 8, 0, 1|avail)
	r.desc(r.c.Desc+16, r.data, 16, 0, write|avail)
	r.pop(&c)
	_ = r.dev.Push(&c, 9)
	r.call()
	wantBytes(t, "first entry, used", r.at(r.c.Desc+8, 8), "09 00 00 00  00 00  82 80")
	r.dev.EnableKick()
	r.drv.EnableCall()
	wantBytes(t, "device event", r.at(r.c.Device, 4), "02 80  02 00")
	wantBytes(t, "driver event", r.at(r.c.Driver, 4), "00 80  02 00")
	r.drv.DisableCall()
	wantBytes(t, "driver event", r.at(r.c.Driver, 4), "00 00  01 00")
}

func wantBytes(t *testing.T, what string, have []byte, want string) {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(want), ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b) {
		t.Errorf("%s is\n% x, want\n% x", what, have, b)
	}
}

func TestIndicesOfASplitRing(t *testing.T) {
	r := newRig(t, 4, variant{"", EventIdx, 0})
	r.dev.EnableKick()
	var c Chain
	for range 7 {
		r.add(r.buffers(0, 1, 8), nil, 0)
		r.kick()
		r.pop(&c)
		_ = r.dev.Push(&c, 0)
		r.call()
		r.reap()
	}
	r.dev.EnableKick()
	r.drv.EnableCall()
	if got := r.u16(r.c.Device + 4 + 8*4).Load(); got != 7 {
		t.Errorf("avail_event %d", got)
	}
	if got := r.u16(r.c.Driver + 4 + 2*4).Load(); got != 7 {
		t.Errorf("used_event %d", got)
	}
}

// The parts may be where the specification lets them be: the available ring at
// any even address, the used ring at any multiple of 4. Nothing beside them is
// written.
func TestPartsAtAnyAlignedAddress(t *testing.T) {
	for shift := uint64(0); shift < 8; shift += 2 {
		for _, f := range []Features{EventIdx, 0, RingPacked | EventIdx} {
			c, end := Layout(base+64, 4, f, 0)
			c.Driver += shift &^ 1
			c.Device += shift &^ 3
			if f.Has(RingPacked) {
				c.Driver = c.Driver &^ 3
			}
			b := mem.Alloc(mem.Page)
			for i := range b {
				b[i] = 0xA5
			}
			m, err := NewMemory(Region{base, b})
			if err != nil {
				t.Fatal(err)
			}
			drv, err := NewDriver(m, c)
			if err != nil {
				t.Fatal(err)
			}
			dev, err := NewDevice(m, c, State{})
			if err != nil {
				t.Fatal(err)
			}
			var ch Chain
			for i := range uint64(20) {
				if dev.EnableKick() || drv.EnableCall() {
					t.Fatal("something is there")
				}
				if err := drv.Add([]Buffer{{base + 2048, 8}}, []Buffer{{base + 2056, 8}}, i); err != nil {
					t.Fatal(err)
				}
				if n, err := drv.Kick(); !n || err != nil {
					t.Fatal(n, err)
				}
				if ok, err := dev.Pop(&ch); !ok || err != nil {
					t.Fatal(ok, err)
				}
				if err := dev.Push(&ch, 3); err != nil {
					t.Fatal(err)
				}
				if n, err := dev.Call(); !n || err != nil {
					t.Fatal(n, err)
				}
				if u, ok, err := drv.Reap(); !ok || err != nil || u != (Used{i, 3}) {
					t.Fatal(u, ok, err)
				}
				drv.DisableCall()
				dev.DisableKick()
			}
			desc, driver, device := c.sizes()
			for i, x := range b {
				at := base + uint64(i)
				in := func(from, n uint64) bool { return at >= from && at < from+n }
				if x != 0xA5 && !in(c.Desc, desc) && !in(c.Driver, driver) && !in(c.Device, device) {
					t.Fatalf("%v, shift %d: byte at %d was written; parts at %d, %d, %d", f, shift, i, c.Desc-base, c.Driver-base, c.Device-base)
				}
			}
			_ = end
		}
	}
}

func TestQueuesThatCannotBe(t *testing.T) {
	b := mem.Alloc(1 << 20)
	m, err := NewMemory(Region{base, b})
	if err != nil {
		t.Fatal(err)
	}
	good, _ := Layout(base, 8, 0, 0)
	packed, _ := Layout(base, 8, RingPacked, 0)
	tables, _ := Layout(base, 8, IndirectDesc, 4)
	for _, c := range []struct {
		name   string
		config Config
		change func(c *Config)
		field  string
	}{
		{"no entries", good, func(c *Config) { c.Size = 0 }, "size"},
		{"split: no power of two", good, func(c *Config) { c.Size = 6 }, "size"},
		{"too large", good, func(c *Config) { c.Size = 1 << 16 }, "size"},
		{"packed: none", packed, func(c *Config) { c.Size = 0 }, "size"},
		{"packed: too large", packed, func(c *Config) { c.Size = 1<<15 + 1 }, "size"},
		{"packed: negative", packed, func(c *Config) { c.Size = -1 }, "size"},
		{"descriptor table not aligned", good, func(c *Config) { c.Desc += 8 }, "descriptor table address"},
		{"available ring not aligned", good, func(c *Config) { c.Driver++ }, "available ring address"},
		{"used ring not aligned", good, func(c *Config) { c.Device += 2 }, "used ring address"},
		{"ring not aligned", packed, func(c *Config) { c.Desc += 8 }, "ring address"},
		{"driver event not aligned", packed, func(c *Config) { c.Driver += 2 }, "driver event address"},
		{"device event not aligned", packed, func(c *Config) { c.Device += 2 }, "device event address"},
		{"descriptor table outside", good, func(c *Config) { c.Desc = 0 }, "descriptor table address"},
		{"descriptor table ends outside", good, func(c *Config) { c.Desc = base + 1<<20 - 16 }, "descriptor table address"},
		{"available ring ends outside", good, func(c *Config) { c.Driver = base + 1<<20 - 20 }, "available ring address"},
		{"used ring ends outside", good, func(c *Config) { c.Device = base + 1<<20 - 68 }, "used ring address"},
		{"used ring at the end of the address space", good, func(c *Config) { c.Device = 1<<64 - 4 }, "used ring address"},
		{"device event outside", packed, func(c *Config) { c.Device = base + 1<<20 }, "device event address"},
		{"table too long", tables, func(c *Config) { c.TableLen = MaxIndirect + 1 }, "table length"},
		{"tables outside", tables, func(c *Config) { c.Tables = base + 1<<20 - 256 }, "tables address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change(&c.config)
			_, err := NewDriver(m, c.config)
			var layout *LayoutError
			if !errors.As(err, &layout) || layout.Field != c.field {
				t.Fatalf("driver: %v, want an error of %s", err, c.field)
			}
			if strings.HasPrefix(c.name, "tables ") {
				return // the device does not look at them
			}
			if _, err := NewDevice(m, c.config, State{}); !errors.As(err, &layout) || layout.Field != c.field {
				t.Fatalf("device: %v, want an error of %s", err, c.field)
			}
		})
	}
	if _, err := NewDevice(m, packed, State{Avail: 8}); err == nil {
		t.Error("a packed ring's position beyond its end")
	}
	for _, size := range []int{1, 3, MaxSize} {
		c, end := Layout(base, size, RingPacked, 0)
		big, err := NewMemory(Region{base, mem.Alloc(int(end - base))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewDriver(big, c); err != nil {
			t.Errorf("packed of %d: %v", size, err)
		}
	}
}

func TestMemoriesThatCannotBe(t *testing.T) {
	b := mem.Alloc(64)
	for _, c := range []struct {
		name    string
		regions []Region
	}{
		{"none", nil},
		{"empty", []Region{{0, nil}}},
		{"size no multiple of 8", []Region{{0, b[:12]}}},
		{"address no multiple of 8", []Region{{4, b}}},
		{"bytes not aligned", []Region{{0, b[4:60]}}},
		{"end of the address space", []Region{{1<<64 - 32, b}}},
		{"overlap", []Region{{0, b}, {56, b}}},
		{"the same twice", []Region{{0, b}, {0, b}}},
	} {
		if _, err := NewMemory(c.regions...); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
	m, err := NewMemory(Region{128, b}, Region{0, b}, Region{64, b}, Region{1 << 50, b})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ addr, n, want uint64 }{
		{0, 64, 64}, {63, 64, 1}, {64, 1, 1}, {191, 5, 1}, {192, 1, 0}, {1<<50 - 1, 2, 0}, {1 << 50, 65, 64},
		{1<<50 + 63, 9, 1}, {1<<50 + 64, 1, 0}, {1<<64 - 1, 1, 0},
	} {
		if got := len(m.from(c.addr, c.n)); got != int(c.want) {
			t.Errorf("[%d, +%d): %d bytes, want %d", c.addr, c.n, got, c.want)
		}
		if got := m.Slice(c.addr, c.n); (got != nil) != (c.n == c.want) {
			t.Errorf("Slice of [%d, +%d): %d bytes", c.addr, c.n, len(got))
		}
	}
}
