package virtq

import (
	"errors"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

// Every way to break a ring that docs of the virtio world name: an error that
// says which word it was, a queue that stays broken, and nothing else.

// desc writes a descriptor of a split ring, or of a split ring's table.
func (r *rig) desc(at uint64, addr uint64, length uint32, flags, next uint16) {
	r.put64(at, addr)
	r.put32(at+8, length)
	r.put16(at+12, flags)
	r.put16(at+14, next)
}

// entry writes entry i of a packed ring, as the driver in its first round does.
func (r *rig) entry(i uint64, addr uint64, length uint32, id, flags uint16) {
	at := r.c.Desc + 16*i
	r.put64(at, addr)
	r.put32(at+8, length)
	r.put16(at+12, id)
	r.put16(at+14, flags)
}

// offer makes the split ring's first heads available.
func (r *rig) offer(heads ...uint16) {
	for i, h := range heads {
		r.put16(r.c.Driver+4+2*uint64(i), h)
	}
	r.put16(r.c.Driver+2, uint16(len(heads)))
}

const (
	next     = flagNext
	write    = flagWrite
	indirect = flagIndirect
	avail    = flagAvail // of the first round
)

type malformed struct {
	name     string
	features Features
	make     func(r *rig)
	pops     int    // chains that are good, before
	field    string // of the BrokenError
}

var malformedForDevice = []malformed{
	{"split: available index one more than the ring has", 0, func(r *rig) {
		r.offer(0)
		r.put16(r.c.Driver+2, 9)
	}, 0, "available index"},
	{"split: available index goes back", 0, func(r *rig) { r.put16(r.c.Driver+2, 0xFFFF) }, 0, "available index"},
	{"split: head is no descriptor", 0, func(r *rig) { r.offer(8) }, 0, "available head"},
	{"split: head 0xFFFF", 0, func(r *rig) { r.offer(0xFFFF) }, 0, "available head"},
	{"split: the same head twice", 0, func(r *rig) {
		r.desc(r.c.Desc, r.data, 8, 0, 0)
		r.offer(0, 0)
	}, 1, "available head"},
	{"split: next is no descriptor", 0, func(r *rig) {
		r.desc(r.c.Desc, r.data, 8, next, 8)
		r.offer(0)
	}, 0, "descriptor next"},
	{"split: a descriptor that is its own next", 0, func(r *rig) {
		r.desc(r.c.Desc, r.data, 8, next, 0)
		r.offer(0)
	}, 0, "descriptor next"},
	{"split: a loop of all", 0, func(r *rig) {
		for i := range uint64(8) {
			r.desc(r.c.Desc+16*i, r.data, 8, next, uint16(i+1)&7)
		}
		r.offer(3)
	}, 0, "descriptor next"},
	{"split: a loop of buffers of no bytes", 0, func(r *rig) {
		r.desc(r.c.Desc, r.data, 0, next, 1)
		r.desc(r.c.Desc+16, r.data, 0, next, 0)
		r.offer(0)
	}, 0, "descriptor next"},
	{"split: address outside", 0, func(r *rig) {
		r.desc(r.c.Desc, base-1, 1, 0, 0)
		r.offer(0)
	}, 0, "descriptor address"},
	{"split: address 0", 0, func(r *rig) {
		r.desc(r.c.Desc, 0, 1, 0, 0)
		r.offer(0)
	}, 0, "descriptor address"},
	{"split: end outside", 0, func(r *rig) {
		r.desc(r.c.Desc, base+uint64(len(r.bytes))-7, 8, write, 0)
		r.offer(0)
	}, 0, "descriptor address"},
	{"split: address and length wrap", 0, func(r *rig) {
		r.desc(r.c.Desc, 1<<64-4, 8, 0, 0)
		r.offer(0)
	}, 0, "descriptor address"},
	{"split: the last byte of the address space", 0, func(r *rig) {
		r.desc(r.c.Desc, 1<<64-4, 4, 0, 0)
		r.offer(0)
	}, 0, "descriptor address"},
	{"split: length 2^32-1", 0, func(r *rig) {
		r.desc(r.c.Desc, r.data, 1<<32-1, 0, 0)
		r.offer(0)
	}, 0, "descriptor address"},
	{"split: readable after writable", 0, func(r *rig) {
		r.desc(r.c.Desc, r.data, 8, next|write, 1)
		r.desc(r.c.Desc+16, r.data, 8, 0, 0)
		r.offer(0)
	}, 0, "descriptor flags"},
	{"split: a table that was not agreed on", 0, func(r *rig) {
		r.desc(r.data, r.data, 8, 0, 0)
		r.desc(r.c.Desc, r.data, 16, indirect, 0)
		r.offer(0)
	}, 0, "descriptor flags"},
	{"split: INDIRECT and NEXT", IndirectDesc, func(r *rig) {
		r.desc(r.data, r.data, 8, 0, 0)
		r.desc(r.c.Desc, r.data, 16, indirect|next, 1)
		r.offer(0)
	}, 0, "descriptor flags"},
	{"split: table in a table", IndirectDesc, func(r *rig) {
		r.desc(r.data, r.data+32, 16, indirect, 0)
		r.desc(r.data+32, r.data, 8, 0, 0)
		r.desc(r.c.Desc, r.data, 16, indirect, 0)
		r.offer(0)
	}, 0, "indirect descriptor flags"},
	{"split: table of no bytes", IndirectDesc, func(r *rig) {
		r.desc(r.c.Desc, r.data, 0, indirect, 0)
		r.offer(0)
	}, 0, "indirect table length"},
	{"split: table of a descriptor and a half", IndirectDesc, func(r *rig) {
		r.desc(r.c.Desc, r.data, 24, indirect, 0)
		r.offer(0)
	}, 0, "indirect table length"},
	{"split: table longer than any", IndirectDesc, func(r *rig) {
		r.desc(r.c.Desc, r.data, 16*(MaxIndirect+1), indirect, 0)
		r.offer(0)
	}, 0, "indirect table length"},
	{"split: table outside", IndirectDesc, func(r *rig) {
		r.desc(r.c.Desc, 16, 16, indirect, 0)
		r.offer(0)
	}, 0, "indirect table address"},
	{"split: table ends outside", IndirectDesc, func(r *rig) {
		at := base + uint64(len(r.bytes)) - 16
		r.desc(at, r.data, 8, next, 1)
		r.desc(r.c.Desc, at, 32, indirect, 0)
		r.offer(0)
	}, 0, "indirect table address"},
	{"split: table wraps", IndirectDesc, func(r *rig) {
		r.desc(r.c.Desc, 1<<64-16, 32, indirect, 0)
		r.offer(0)
	}, 0, "indirect table address"},
	{"split: next outside of the table", IndirectDesc, func(r *rig) {
		r.desc(r.data, r.data, 8, next, 2)
		r.desc(r.c.Desc, r.data, 32, indirect, 0)
		r.offer(0)
	}, 0, "indirect descriptor next"},
	{"split: loop in the table", IndirectDesc, func(r *rig) {
		r.desc(r.data, r.data, 8, next, 1)
		r.desc(r.data+16, r.data, 8, next, 0)
		r.desc(r.c.Desc, r.data, 32, indirect, 0)
		r.offer(0)
	}, 0, "indirect descriptor next"},
	{"split: readable in the table after writable in the ring", IndirectDesc, func(r *rig) {
		r.desc(r.c.Desc, r.data, 8, next|write, 1)
		r.desc(r.data, r.data, 8, 0, 0)
		r.desc(r.c.Desc+16, r.data, 16, indirect, 0)
		r.offer(0)
	}, 0, "descriptor flags"},

	{"packed: chain without an end", RingPacked, func(r *rig) {
		for i := range uint64(8) {
			r.entry(i, r.data, 8, 0, next|avail)
		}
	}, 0, "descriptor flags"},
	{"packed: chain that runs into entries that are not available", RingPacked, func(r *rig) {
		r.entry(0, r.data, 8, 0, next|avail)
	}, 0, "descriptor flags"},
	{"packed: chain that runs into entries that are in flight", RingPacked, func(r *rig) {
		for i := range uint64(8) {
			r.entry(i, r.data, 8, 0, avail)
		}
		r.entry(7, r.data, 8, 0, next|avail)
	}, 7, "descriptor flags"},
	{"packed: address outside", RingPacked, func(r *rig) { r.entry(0, base-8, 8, 0, avail) }, 0, "descriptor address"},
	{"packed: end outside", RingPacked, func(r *rig) {
		r.entry(0, base+uint64(len(r.bytes))-7, 8, 0, avail|write)
	}, 0, "descriptor address"},
	{"packed: address and length wrap", RingPacked, func(r *rig) { r.entry(0, 1<<64-4, 8, 0, avail) }, 0, "descriptor address"},
	{"packed: readable after writable", RingPacked, func(r *rig) {
		r.entry(0, r.data, 8, 0, next|write|avail)
		r.entry(1, r.data, 8, 0, avail)
	}, 0, "descriptor flags"},
	{"packed: a table that was not agreed on", RingPacked, func(r *rig) {
		r.entry(0, r.data, 16, 0, indirect|avail)
	}, 0, "descriptor flags"},
	{"packed: INDIRECT and NEXT", RingPacked | IndirectDesc, func(r *rig) {
		r.entry(0, r.data, 16, 0, indirect|next|avail)
	}, 0, "descriptor flags"},
	{"packed: table in a table", RingPacked | IndirectDesc, func(r *rig) {
		r.desc(r.data, r.data, 16, 0, indirect)
		r.entry(0, r.data, 16, 0, indirect|avail)
	}, 0, "indirect descriptor flags"},
	{"packed: table of no bytes", RingPacked | IndirectDesc, func(r *rig) {
		r.entry(0, r.data, 0, 0, indirect|avail)
	}, 0, "indirect table length"},
	{"packed: table of a descriptor and a half", RingPacked | IndirectDesc, func(r *rig) {
		r.entry(0, r.data, 24, 0, indirect|avail)
	}, 0, "indirect table length"},
	{"packed: table outside", RingPacked | IndirectDesc, func(r *rig) {
		r.entry(0, base+uint64(len(r.bytes))-16, 32, 0, indirect|avail)
	}, 0, "indirect table address"},
}

func TestMalformedRingsBreakTheDevice(t *testing.T) {
	for _, m := range malformedForDevice {
		t.Run(m.name, func(t *testing.T) {
			r := newRig(t, 8, variant{"", m.features, 0})
			m.make(r)
			cs := make([]Chain, m.pops+1)
			n, err := r.dev.PopMany(cs)
			wantBroken(t, err, m.field)
			if n != m.pops {
				t.Fatalf("%d chains before the bad one, want %d", n, m.pops)
			}
			if c := &cs[n]; c.Live() || len(c.Readable)+len(c.Writable) > 0 {
				t.Errorf("the bad chain has %d and %d pieces", len(c.Readable), len(c.Writable))
			}
			// For good, even if the driver repents.
			clear(r.bytes)
			_, again := r.dev.Pop(new(Chain))
			_, call := r.dev.Call()
			if again != err || call != err || r.dev.Err() != err || !r.dev.EnableKick() {
				t.Errorf("broken, then %v, %v", again, call)
			}
			for i := range n {
				if push := r.dev.Push(&cs[i], 0); push != err {
					t.Errorf("push: %v", push)
				}
			}
		})
	}
}

// A driver that offers again what it has not got back.
func TestNoMoreIsInFlightThanTheRingHas(t *testing.T) {
	cs := make([]Chain, 9)
	r := newRig(t, 8, variant{"", RingPacked, 0})
	for i := range uint64(8) {
		r.entry(i, r.data, 8, uint16(i), avail)
	}
	if n, err := r.dev.PopMany(cs); n != 8 || err != nil {
		t.Fatal(n, err)
	}
	r.entry(0, r.data, 8, 8, flagUsed) // available in the second round
	if ok, err := r.dev.Pop(&cs[8]); ok || err != nil || r.dev.InFlight() != 8 {
		t.Errorf("packed: %v, %v; %d in flight", ok, err, r.dev.InFlight())
	}
	if err := r.dev.Push(&cs[0], 0); err != nil {
		t.Fatal(err)
	}
	r.pop(&cs[8])

	cs = make([]Chain, 9)
	r = newRig(t, 8, variant{})
	for i := range uint64(8) {
		r.desc(r.c.Desc+16*i, r.data, 8, 0, 0)
	}
	r.offer(0, 1, 2, 3, 4, 5, 6, 7)
	if n, err := r.dev.PopMany(cs[:8]); n != 8 || err != nil {
		t.Fatal(n, err)
	}
	r.put16(r.c.Driver+2, 9)
	_, err := r.dev.Pop(&cs[8])
	wantBroken(t, err, "available index")
}

func wantBroken(t *testing.T, err error, field string) {
	t.Helper()
	var broken *BrokenError
	if !errors.As(err, &broken) {
		t.Fatalf("error %v, want one of %s", err, field)
	}
	if broken.Field != field {
		t.Fatalf("%v, want one of %s", err, field)
	}
}

// used writes element or entry i of what the device has used in its first
// round, and the index of a split ring.
func (r *rig) used(i uint64, id, length uint32, index uint16) {
	if r.c.Features.Has(RingPacked) {
		r.entry(i, 0, length, uint16(id), flagAvail|flagUsed|flagWrite)
		return
	}
	r.put32(r.c.Device+4+8*i, id)
	r.put32(r.c.Device+8+8*i, length)
	r.put16(r.c.Device+2, index)
}

func TestMalformedRingsBreakTheDriver(t *testing.T) {
	for _, layout := range []struct {
		name     string
		features Features
	}{{"split", 0}, {"packed", RingPacked}} {
		for _, m := range []struct {
			name     string
			features Features
			make     func(r *rig)
			reaps    int
			field    string
		}{
			{"used id that is none", 0, func(r *rig) { r.used(0, 8, 0, 1) }, 0, "used id"},
			{"used id 0xFFFF", 0, func(r *rig) { r.used(0, 0xFFFF, 0, 1) }, 0, "used id"},
			{"used id that is not in flight", 0, func(r *rig) { r.used(0, 5, 0, 1) }, 0, "used id"},
			{"used id of a chain that was not kicked", 0, func(r *rig) {
				r.add(r.buffers(0, 1, 8), nil, 3)
				r.used(0, 3, 0, 1)
			}, 0, "used id"},
			{"the same id twice", 0, func(r *rig) {
				r.used(0, 1, 0, 2)
				r.used(1, 1, 0, 2)
			}, 1, "used id"},
			{"used length of more than is writable", 0, func(r *rig) { r.used(0, 0, 17, 1) }, 0, "used length"},
			{"used length of what is only readable", 0, func(r *rig) { r.used(0, 2, 1, 1) }, 0, "used length"},
			{"used length 2^32-1", 0, func(r *rig) { r.used(0, 0, 1<<32-1, 1) }, 0, "used length"},
			{"in order: an id before its turn, again", InOrder, func(r *rig) {
				r.used(0, 1, 0, 2)
				r.used(2, 0, 0, 3)
			}, 2, "used id"},
		} {
			t.Run(layout.name+": "+m.name, func(t *testing.T) {
				r := newRig(t, 8, variant{"", layout.features | m.features, 0})
				r.add(nil, r.buffers(0, 1, 16), 0)
				r.add(nil, r.buffers(1, 1, 16), 1)
				r.add(r.buffers(2, 1, 16), nil, 2)
				r.kick()
				m.make(r)
				us := make([]Used, 8)
				n, err := r.drv.ReapMany(us)
				wantBroken(t, err, m.field)
				if n != m.reaps {
					t.Fatalf("%d chains before, want %d", n, m.reaps)
				}
				clear(r.bytes)
				_, _, again := r.drv.Reap()
				_, kick := r.drv.Kick()
				if add := r.drv.Add(r.buffers(0, 1, 8), nil, 0); add != err || again != err || kick != err || r.drv.Err() != err || !r.drv.EnableCall() {
					t.Errorf("broken, then %v, %v, %v", add, again, kick)
				}
				left := 0
				r.drv.Detach(func(uint64) { left++ })
				if left+n < 3 {
					t.Errorf("%d reaped, %d detached", n, left)
				}
			})
		}
	}
}

func TestUsedIndexThatJumpsBreaksTheDriver(t *testing.T) {
	for _, index := range []uint16{3, 8, 0x8000, 0xFFFF} {
		r := newRig(t, 8, variant{})
		r.add(nil, r.buffers(0, 1, 16), 0)
		r.add(nil, r.buffers(0, 1, 16), 0)
		r.kick()
		r.put16(r.c.Device+2, index)
		_, _, err := r.drv.Reap()
		wantBroken(t, err, "used index")
		r = newRig(t, 8, variant{})
		r.put16(r.c.Device+2, index)
		if !r.drv.EnableCall() {
			t.Error("sleeps over a broken queue")
		}
		_, _, err = r.drv.Reap()
		wantBroken(t, err, "used index")
	}
}

// In order: the id says that two are used, the index that it is one.
func TestUsedIdBeyondTheUsedIndexBreaksTheDriver(t *testing.T) {
	r := newRig(t, 8, variant{"", InOrder, 0})
	r.add(nil, r.buffers(0, 1, 16), 0)
	r.add(nil, r.buffers(0, 1, 16), 0)
	r.kick()
	r.used(0, 1, 0, 1)
	_, _, err := r.drv.Reap()
	wantBroken(t, err, "used id")
}

func TestEventOfNoEntryBreaksThePackedRing(t *testing.T) {
	for _, off := range []uint32{8, 9, 0x7FFF, 0x8000 | 8, 0xFFFF} {
		r := newRig(t, 8, variant{"", RingPacked | EventIdx, 0})
		r.add(r.buffers(0, 1, 8), nil, 0)
		r.put32(r.c.Device, off|eventDesc<<16)
		notify, err := r.drv.Kick()
		wantBroken(t, err, "device event")
		if !notify {
			t.Error("the other side is not told")
		}
		r = newRig(t, 8, variant{"", RingPacked | EventIdx, 0})
		r.add(r.buffers(0, 1, 8), nil, 0)
		r.kick()
		var c Chain
		r.pop(&c)
		if err := r.dev.Push(&c, 0); err != nil {
			t.Fatal(err)
		}
		r.put32(r.c.Driver, off|eventDesc<<16)
		_, err = r.dev.Call()
		wantBroken(t, err, "driver event")
	}
	// Without EVENT_IDX, or with flags that mean nothing, it is as if enabled.
	for _, v := range []struct {
		f     Features
		event uint32
	}{{RingPacked, 0xFFFF | eventDesc<<16}, {RingPacked | EventIdx, 0xFFFF | 3<<16}, {RingPacked | EventIdx, 0xFFFF}} {
		r := newRig(t, 8, variant{"", v.f, 0})
		r.add(r.buffers(0, 1, 8), nil, 0)
		r.put32(r.c.Device, v.event)
		if notify, err := r.drv.Kick(); !notify || err != nil {
			t.Errorf("event %#x: %v, %v", v.event, notify, err)
		}
	}
}

// What is odd and allowed.
func TestOddRingsAreServed(t *testing.T) {
	for _, m := range []struct {
		name     string
		features Features
		make     func(r *rig)
		want     string // lengths of the pieces
	}{
		{"split: buffers of no bytes, wherever they are", 0, func(r *rig) {
			r.desc(r.c.Desc, 0, 0, next, 1)
			r.desc(r.c.Desc+16, r.data, 3, next, 2)
			r.desc(r.c.Desc+32, 1<<63, 0, write, 0)
			r.offer(0)
		}, "3 / "},
		{"split: descriptors, then a table", IndirectDesc, func(r *rig) {
			r.desc(r.c.Desc, r.data, 5, next, 1)
			r.desc(r.c.Desc+16, r.data+64, 32, indirect, 0)
			r.desc(r.data+64, r.data, 6, next, 1)
			r.desc(r.data+80, r.data, 7, write, 0)
			r.offer(0)
		}, "5 6 / 7 "},
		{"split: WRITE beside INDIRECT says nothing", IndirectDesc, func(r *rig) {
			r.desc(r.c.Desc, r.data+64, 16, indirect|write, 0)
			r.desc(r.data+64, r.data, 6, 0, 0)
			r.offer(0)
		}, "6 / "},
		{"split: a table that is longer than the ring", IndirectDesc, func(r *rig) {
			for i := range uint64(12) {
				r.desc(r.data+16*i, r.data, 1, next, uint16(i+1))
			}
			r.desc(r.data+16*11, r.data, 2, write, 0)
			r.desc(r.c.Desc, r.data, 16*12, indirect, 0)
			r.offer(0)
		}, "1 1 1 1 1 1 1 1 1 1 1 / 2 "},
		{"split: a table at an odd address", IndirectDesc, func(r *rig) {
			r.desc(r.data+63, r.data, 6, next, 1)
			r.desc(r.data+79, r.data, 7, write, 0)
			r.desc(r.c.Desc, r.data+63, 32, indirect, 0)
			r.offer(0)
		}, "6 / 7 "},
		{"split: the whole memory as one buffer", 0, func(r *rig) {
			r.desc(r.c.Desc, base, uint32(len(r.bytes)), 0, 0)
			r.offer(0)
		}, ""},
		{"packed: an id that is no entry", RingPacked, func(r *rig) { r.entry(0, r.data, 9, 0xFFFF, avail|write) }, "/ 9 "},
		{"packed: the whole ring as one chain", RingPacked, func(r *rig) {
			for i := range uint64(8) {
				r.entry(i, r.data, 2, 0, next|avail)
			}
			r.entry(7, r.data, 1, 3, avail)
		}, "2 2 2 2 2 2 2 1 / "},
		{"packed: a table with NEXT in it, which means nothing there", RingPacked | IndirectDesc, func(r *rig) {
			r.desc(r.data, r.data, 4, 0, next)
			r.desc(r.data+16, r.data, 5, 0, next|write)
			r.entry(0, r.data, 32, 0, indirect|avail)
		}, "4 / 5 "},
	} {
		t.Run(m.name, func(t *testing.T) {
			r := newRig(t, 8, variant{"", m.features, 0})
			m.make(r)
			var c Chain
			r.pop(&c)
			if got := lengths(c.Readable) + "/ " + lengths(c.Writable); m.want != "" && got != m.want {
				t.Errorf("pieces %q, want %q", got, m.want)
			}
			if err := r.dev.Push(&c, c.WritableLen()); err != nil {
				t.Error(err)
			}
			r.call()
		})
	}
}

// A packed device that never sets WRITE in what it has used.
func TestUsedLengthWithoutTheWriteFlag(t *testing.T) {
	for _, c := range []struct{ length, want uint32 }{{0, 0}, {5, 5}, {16, 16}, {17, 0}, {1<<32 - 1, 0}} {
		r := newRig(t, 8, variant{"", RingPacked, 0})
		r.add(nil, r.buffers(0, 1, 16), 1)
		r.kick()
		r.entry(0, 0, c.length, 0, flagAvail|flagUsed)
		if u := r.reap(); u.Len != c.want {
			t.Errorf("length %d without WRITE: %d, want %d", c.length, u.Len, c.want)
		}
	}
}

// No chain has more than 2^32 bytes, however little memory it has them in.
func TestAChainOfTooManyBytesBreaksTheDevice(t *testing.T) {
	const size, length = 8192, 2 << 20
	for _, f := range []Features{0, RingPacked} {
		area := mem.Alloc(length)
		m, err := NewMemory(Region{0, area})
		if err != nil {
			t.Fatal(err)
		}
		c, _ := Layout(0, size, f, 0)
		drv, err := NewDriver(m, c)
		if err != nil {
			t.Fatal(err)
		}
		dev, err := NewDevice(m, c, State{})
		if err != nil {
			t.Fatal(err)
		}
		whole := make([]Buffer, 1<<32/length)
		for i := range whole {
			whole[i] = Buffer{0, length}
		}
		var chain Chain
		if err := drv.Add(whole, nil, 1); err != nil { // as many as there may be
			t.Fatal(err)
		}
		if _, err := drv.Kick(); err != nil {
			t.Fatal(err)
		}
		if ok, err := dev.Pop(&chain); !ok || err != nil || chain.ReadableLen() != 1<<32 {
			t.Fatalf("2^32 bytes: %v, %v", ok, err)
		}
		// One byte more, by a driver that does not look.
		n := len(whole) - 1
		if _, err := NewDriver(m, c); err != nil {
			t.Fatal(err)
		}
		if dev, err = NewDevice(m, c, State{}); err != nil {
			t.Fatal(err)
		}
		for i := range len(whole) + 1 {
			at, flags, last := int(c.Desc)+16*i, uint64(flagNext), uint64(length)
			if i > n {
				flags, last = 0, 1
			}
			second := last | flags<<32 | uint64(i+1)<<48
			if f.Has(RingPacked) {
				second = last | (flags|flagAvail)<<48
			}
			mem.U64(area, at).Store(0)
			mem.U64(area, at+8).Store(second)
		}
		if !f.Has(RingPacked) {
			mem.U32(area, int(c.Driver)).Store(1 << 16)
		}
		var broken *BrokenError
		var more Chain
		if ok, err := dev.Pop(&more); ok || !errors.As(err, &broken) || broken.Field != "descriptor length" {
			t.Errorf("%v: one byte more: %v, %v", f, ok, err)
		}
	}
}
