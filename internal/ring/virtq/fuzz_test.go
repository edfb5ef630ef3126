package virtq

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
)

// The other side may write anything anywhere, at any time. Whatever it writes,
// we return within bounds: no panic, no endless loop, no byte outside of the
// memory. An input is a variant, then writes: {size and kind 1, offset 2, value
// 8}. Those of the first half are made before, the others while we are at work:
// one at each step where there are crash points, else between calls.

const scribbleSize = 11

// hostile is a queue whose other side is an input.
type hostile struct {
	*rig
	v      variant
	writes []byte
	end    int // of the queue in the memory: most writes go there
}

func newHostile(t testing.TB, data []byte) *hostile {
	h := &hostile{writes: data}
	which, size := byte(0), 8
	if len(data) > 0 {
		which, h.writes = data[0], data[1:]
	}
	vs := variants()
	h.v = vs[int(which)%len(vs)]
	if which >= 128 && h.v.features.Has(RingPacked) {
		size = 7
	}
	h.rig = newRig(t, size, h.v)
	h.end = int(h.data-base) + 256
	return h
}

// scribble makes up to n writes.
func (h *hostile) scribble(n int) (more bool) {
	for ; n > 0 && len(h.writes) >= scribbleSize; n-- {
		w := h.writes[:scribbleSize]
		h.writes = h.writes[scribbleSize:]
		width := 1 << (w[0] & 3)
		off := int(binary.LittleEndian.Uint16(w[1:])) % h.end &^ (width - 1)
		b := h.bytes[off : off+width]
		value := binary.LittleEndian.Uint64(w[3:])
		if w[0]&4 != 0 { // an address that means something
			value = base + value%uint64(len(h.bytes)+64)
		}
		if w[0]&8 != 0 { // near what is there
			var old [8]byte
			copy(old[:], b)
			value = binary.LittleEndian.Uint64(old[:]) + uint64(int64(int8(w[3])))
		}
		var whole [8]byte
		binary.LittleEndian.PutUint64(whole[:], value)
		copy(b, whole[:])
	}
	return len(h.writes) >= scribbleSize
}

func scribbled(kind byte, addr, value uint64) []byte {
	b := make([]byte, scribbleSize)
	b[0] = kind
	binary.LittleEndian.PutUint16(b[1:], uint16(addr-base))
	binary.LittleEndian.PutUint64(b[3:], value)
	return b
}

// seeds are the malformed rings that have a name, as inputs.
func addSeeds(f *testing.F) {
	f.Add([]byte{})
	for i, v := range variants() {
		f.Add([]byte{byte(i)})
		for _, m := range malformedForDevice {
			if m.features.Has(RingPacked) != v.features.Has(RingPacked) {
				continue
			}
			r := newRig(f, 8, v)
			before := append([]byte{}, r.bytes...)
			m.make(r)
			in := []byte{byte(i)}
			for off := 0; off < int(r.data-base)+256; off += 8 {
				if x := binary.LittleEndian.Uint64(r.bytes[off:]); x != binary.LittleEndian.Uint64(before[off:]) {
					in = append(in, scribbled(3, base+uint64(off), x)...)
				}
			}
			f.Add(in)
		}
		r := newRig(f, 8, v)
		for _, id := range []uint64{0, 1, 7, 8, 0xFFFF} {
			if v.features.Has(RingPacked) {
				f.Add(append([]byte{byte(i)}, scribbled(3, r.c.Desc+8, id<<32|(flagAvail|flagUsed|flagWrite)<<48|9)...))
			} else {
				in := append([]byte{byte(i)}, scribbled(3, r.c.Device+4, id|9<<32)...)
				f.Add(append(in, scribbled(1, r.c.Device+2, 1)...))
			}
		}
	}
}

// live makes the rest of the writes while f runs.
func (h *hostile) live(f func()) {
	half := len(h.writes) / scribbleSize / 2
	h.scribble(half)
	invariant.SetHook(func(string) { h.scribble(1) })
	defer invariant.SetHook(nil)
	f()
}

// FuzzDevice serves what a hostile driver wrote.
func FuzzDevice(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			data = data[:4096]
		}
		h := newHostile(t, data)
		h.live(func() {
			cs := make([]Chain, 16)
			inflight := map[int]bool{}
			for range 40 {
				for i := range cs {
					if inflight[i] {
						continue
					}
					ok, err := h.dev.Pop(&cs[i])
					if h.broken(t, err, h.dev.Err()) || !ok {
						break
					}
					h.pieces(t, &cs[i])
					inflight[i] = true
				}
				if len(inflight) > h.c.Size {
					t.Fatalf("%d chains in flight", len(inflight))
				}
				for i := range cs {
					if inflight[i] && i%3 != 2 {
						delete(inflight, i)
						h.broken(t, h.dev.Push(&cs[i], cs[i].WritableLen()/2), h.dev.Err())
					}
				}
				_, err := h.dev.Call()
				h.broken(t, err, h.dev.Err())
				h.dev.EnableKick()
				h.dev.DisableKick()
				if !h.scribble(1) {
					break
				}
			}
		})
	})
}

// pieces looks at what a chain claims to be.
func (h *hostile) pieces(t *testing.T, c *Chain) {
	var n [2]uint64
	for k, side := range [][][]byte{c.Readable, c.Writable} {
		for _, b := range side {
			if len(b) == 0 || len(b) > len(h.bytes) || cap(b) != len(b) {
				t.Fatalf("a piece of %d bytes, capacity %d", len(b), cap(b))
			}
			n[k] += uint64(len(b))
		}
	}
	if n[0] != c.ReadableLen() || n[1] != c.WritableLen() || n[0]+n[1] > maxBytes {
		t.Fatalf("%d and %d bytes, pieces of %d and %d", c.ReadableLen(), c.WritableLen(), n[0], n[1])
	}
}

// broken says whether the queue broke, and checks that it says so properly.
func (h *hostile) broken(t *testing.T, err, sticky error) bool {
	var typed *BrokenError
	if err != nil && (!errors.As(err, &typed) || typed.Field == "" || err != sticky) {
		t.Fatalf("error %v, sticky %v", err, sticky)
	}
	return sticky != nil
}

// FuzzDriver drives a device that writes what it likes.
func FuzzDriver(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			data = data[:4096]
		}
		h := newHostile(t, data)
		out := map[uint64]uint32{} // writable bytes of what is in flight
		h.live(func() {
			next := uint64(0)
			for range 40 {
				for i := range 5 {
					writable := h.buffers(i, i%3, 16)
					err := h.drv.Add(h.buffers(i, 1+i%2, 16), writable, next)
					if errors.Is(err, ErrFull) {
						break
					}
					if h.broken(t, err, h.drv.Err()) {
						break
					}
					out[next] = uint32(16 * len(writable))
					next++
				}
				if len(out) != h.drv.InFlight() {
					t.Fatalf("%d in flight, want %d", h.drv.InFlight(), len(out))
				}
				_, err := h.drv.Kick()
				h.broken(t, err, h.drv.Err())
				for range 3 {
					u, ok, err := h.drv.Reap()
					if h.broken(t, err, h.drv.Err()) || !ok {
						break
					}
					if room, known := out[u.Token]; !known || u.Len > room {
						t.Fatalf("reaped %v, in flight %v", u, out)
					}
					delete(out, u.Token)
				}
				h.drv.EnableCall()
				h.drv.EnableCallLater()
				h.drv.DisableCall()
				if !h.scribble(1) {
					break
				}
			}
			h.drv.Detach(func(token uint64) {
				if _, known := out[token]; !known {
					t.Fatalf("detached %d", token)
				}
				delete(out, token)
			})
		})
		if len(out) > 0 {
			t.Fatalf("never came back: %v", out)
		}
	})
}
