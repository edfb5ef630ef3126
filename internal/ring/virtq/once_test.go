//go:build invariants || race

package virtq

import (
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
)

// Each word of the other side is loaded once and then known: what it says
// afterwards, even before we had time to check, changes nothing.

// spoilAt runs f, and at each passage of a point what is said for it.
func spoilAt(t *testing.T, at map[string][]func(), f func()) {
	t.Helper()
	passed := map[string]int{}
	invariant.SetHook(func(name string) {
		n := passed[name]
		passed[name]++
		if n < len(at[name]) {
			at[name][n]()
		}
	})
	defer invariant.SetHook(nil)
	f()
	for name, fs := range at {
		if passed[name] < len(fs) {
			t.Errorf("%s was passed %d times, want %d", name, passed[name], len(fs))
		}
	}
}

func TestWordsAreReadOnceByTheDevice(t *testing.T) {
	for _, c := range []struct {
		name     string
		features Features
		make     func(r *rig)
		spoil    func(r *rig) map[string][]func()
	}{
		{"split", 0, func(r *rig) {
			r.desc(r.c.Desc, r.data, 5, next, 1)
			r.desc(r.c.Desc+16, r.data+8, 6, write, 0)
			r.offer(0)
		}, func(r *rig) map[string][]func() {
			return map[string][]func(){
				"virtq.D1": {func() { r.put16(r.c.Driver+2, 9) }},
				"virtq.D2": {func() { r.put16(r.c.Driver+4, 9) }},
				"virtq.D3": {
					func() { r.desc(r.c.Desc, 0, 1<<32-1, indirect|next|write, 9) },
					func() { r.desc(r.c.Desc+16, 0, 1<<32-1, indirect|next, 9) },
				},
			}
		}},
		{"split, table", IndirectDesc, func(r *rig) {
			r.desc(r.c.Desc, r.data+64, 32, indirect, 0)
			r.desc(r.data+64, r.data, 5, next, 1)
			r.desc(r.data+80, r.data+8, 6, write, 0)
			r.offer(0)
		}, func(r *rig) map[string][]func() {
			return map[string][]func(){"virtq.D3": {
				func() { r.desc(r.c.Desc, 0, 16, indirect|next, 9) },
				func() { r.desc(r.data+64, 0, 1<<32-1, indirect|write, 9) },
				func() { r.desc(r.data+80, 0, 1<<32-1, indirect|next, 9) },
			}}
		}},
		{"packed", RingPacked, func(r *rig) {
			r.entry(0, r.data, 5, 3, avail|next)
			r.entry(1, r.data+8, 6, 3, avail|write)
		}, func(r *rig) map[string][]func() {
			return map[string][]func(){
				"virtq.D1": {
					func() { r.put64(r.c.Desc+8, 1<<64-1) },
					func() { r.put64(r.c.Desc+24, 1<<64-1) },
				},
				"virtq.D3": {
					func() { r.put64(r.c.Desc, 0) },
					func() { r.put64(r.c.Desc+16, 0) },
				},
			}
		}},
		{"packed, table", RingPacked | IndirectDesc, func(r *rig) {
			r.entry(0, r.data+64, 32, 3, avail|indirect)
			r.desc(r.data+64, r.data, 5, 0, 0)
			r.desc(r.data+80, r.data+8, 6, 0, write)
		}, func(r *rig) map[string][]func() {
			return map[string][]func(){
				"virtq.D1": {func() { r.put64(r.c.Desc+8, 1<<64-1) }},
				"virtq.D3": {
					func() { r.put64(r.c.Desc, 0) },
					func() { r.desc(r.data+64, 0, 1<<32-1, 9, indirect|write) },
					func() { r.desc(r.data+80, 0, 1<<32-1, 9, indirect) },
				},
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 8, variant{"", c.features, 0})
			c.make(r)
			var ch Chain
			spoilAt(t, c.spoil(r), func() { r.pop(&ch) })
			if lengths(ch.Readable) != "5 " || lengths(ch.Writable) != "6 " || ch.ReadableLen() != 5 || ch.WritableLen() != 6 {
				t.Errorf("pieces %s/ %s", lengths(ch.Readable), lengths(ch.Writable))
			}
			if r.c.Features.Has(RingPacked) && ch.id != 3 {
				t.Errorf("id %d", ch.id)
			}
			if err := r.dev.Push(&ch, 6); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWordsAreReadOnceByTheDriver(t *testing.T) {
	for _, f := range []Features{0, RingPacked} {
		r := newRig(t, 8, variant{"", f, 0})
		r.add(nil, r.buffers(0, 1, 16), 7)
		r.kick()
		r.used(0, 0, 9, 1)
		spoil := map[string][]func(){
			"virtq.B1": {func() { r.put16(r.c.Device+2, 9) }},
			"virtq.B2": {func() { r.put64(r.c.Device+4, 1<<64-1) }},
		}
		if f.Has(RingPacked) {
			spoil = map[string][]func(){"virtq.B1": {func() { r.put64(r.c.Desc+8, 1<<64-1) }}}
		}
		spoilAt(t, spoil, func() {
			if u := r.reap(); u != (Used{7, 9}) {
				t.Errorf("%v", u)
			}
		})
	}
}

// The walk of the longest table, and of the longest loop, ends.
func TestPopTakesABoundedNumberOfSteps(t *testing.T) {
	for _, size := range []int{1, 8, MaxSize} {
		r := newRig(t, size, variant{"", 0, 0})
		for i := range uint64(size) {
			r.desc(r.c.Desc+16*i, r.data, 0, next, uint16(i+1)%uint16(size))
		}
		r.offer(0)
		steps := 0
		invariant.SetHook(func(string) { steps++ })
		_, err := r.dev.Pop(new(Chain))
		invariant.SetHook(nil)
		wantBroken(t, err, "descriptor next")
		if steps > size+2 {
			t.Errorf("%d steps in a ring of %d", steps, size)
		}
	}
}
