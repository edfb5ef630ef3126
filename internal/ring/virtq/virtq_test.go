package virtq

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

func TestOneChainThereAndBack(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, 4, v)
		var c Chain
		for i := range uint64(70_000) { // every index wraps
			if i > 40 && i < 65_500 {
				// Only the ends are interesting in full.
				r.add(r.buffers(0, 1, 8), nil, i)
				r.kick()
				r.pop(&c)
				_ = r.dev.Push(&c, 0)
				r.call()
				r.reap()
				continue
			}
			copy(r.at(r.data, 8), "request!")
			r.add(r.buffers(0, 1, 8), r.buffers(1, 2, 8), i)
			r.nothing()
			r.kick()
			r.pop(&c)
			if len(c.Readable) != 1 || string(c.Readable[0]) != "request!" || lengths(c.Writable) != "8 8 " {
				t.Fatalf("chain %d: %q, writable %s", i, c.Readable, lengths(c.Writable))
			}
			if c.ReadableLen() != 8 || c.WritableLen() != 16 || !c.Live() || r.dev.InFlight() == 0 {
				t.Fatalf("chain %d: %d readable, %d writable, live %v", i, c.ReadableLen(), c.WritableLen(), c.Live())
			}
			copy(c.Writable[0], "reply")
			if err := r.dev.Push(&c, 5); err != nil {
				t.Fatal(err)
			}
			r.nothing()
			r.call()
			if u := r.reap(); u != (Used{i, 5}) || string(r.at(r.data+8, 5)) != "reply" {
				t.Fatalf("chain %d: used %v, %q", i, u, r.at(r.data+8, 5))
			}
			r.nothing()
			if r.drv.InFlight() != 0 || r.drv.Free() != 4 || r.dev.InFlight() != 0 {
				t.Fatalf("chain %d: %d in flight, %d free, device %d", i, r.drv.InFlight(), r.drv.Free(), r.dev.InFlight())
			}
		}
	})
}

func TestABatchIsSeenAtOnce(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, 16, v)
		cs := make([]Chain, 8)
		us := make([]Used, 8)
		for round := range 40 {
			for i := range 5 {
				r.add(r.buffers(i, 1+i%2, 16), r.buffers(i, 1, 16), uint64(i))
				if n, err := r.dev.PopMany(cs); n != 0 || err != nil {
					t.Fatalf("round %d: %d chains before the kick, %v", round, n, err)
				}
			}
			r.kick()
			n, err := r.dev.PopMany(cs)
			if n != 5 || err != nil {
				t.Fatalf("round %d: %d chains, %v", round, n, err)
			}
			if err := r.dev.PushMany(cs[:3], []uint64{1, 2, 16}); err != nil {
				t.Fatal(err)
			}
			if n, err := r.drv.ReapMany(us); n != 0 || err != nil {
				t.Fatalf("round %d: %d used before the call, %v", round, n, err)
			}
			r.call()
			if n, err := r.drv.ReapMany(us); n != 3 || err != nil || us[0] != (Used{0, 1}) || us[1] != (Used{1, 2}) || us[2] != (Used{2, 16}) {
				t.Fatalf("round %d: %d used, %v, %v", round, n, us[:3], err)
			}
			if err := r.dev.PushMany(cs[3:5], []uint64{16, 16}); err != nil {
				t.Fatal(err)
			}
			r.call()
			if n, err := r.drv.ReapMany(us); n != 2 || err != nil || us[0] != (Used{3, 16}) || us[1] != (Used{4, 16}) {
				t.Fatalf("round %d: %d used, %v, %v", round, n, us[:2], err)
			}
			r.nothing()
		}
	})
}

func TestChainsMayComeBackInAnyOrder(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, 8, v)
		cs := make([]Chain, 4)
		for round := range 20 {
			for i := range 4 {
				r.add(r.buffers(i, 1, 16), r.buffers(i, 1, 16), uint64(i))
			}
			r.kick()
			if n, err := r.dev.PopMany(cs); n != 4 || err != nil {
				t.Fatal(n, err)
			}
			order := []int{2, 0, 3, 1}
			want := order
			if v.features.Has(InOrder) {
				want = []int{0, 1, 2, 3}
			}
			var got []int
			for _, i := range order {
				if err := r.dev.Push(&cs[i], uint64(i)); err != nil {
					t.Fatal(err)
				}
				r.call()
				for u, ok, err := r.drv.Reap(); ok; u, ok, err = r.drv.Reap() {
					if err != nil || u.Len != uint32(u.Token) {
						t.Fatal(u, err)
					}
					got = append(got, int(u.Token))
				}
			}
			for i := range want {
				if len(got) != 4 || got[i] != want[i] {
					t.Fatalf("round %d: came back as %v, want %v", round, got, want)
				}
			}
		}
	})
}

func TestAFullRingTakesNoMore(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		size := 8
		r := newRig(t, size, v)
		tables := v.features.Has(IndirectDesc)
		for round := range 10 {
			n := 0
			for ; ; n++ {
				err := r.drv.Add(r.buffers(n, 2, 8), r.buffers(n, 1, 8), uint64(n))
				if errors.Is(err, ErrFull) {
					break
				}
				if err != nil || n > size {
					t.Fatal(n, err)
				}
			}
			if want := map[bool]int{false: 2, true: 8}[tables]; n != want {
				t.Fatalf("round %d: %d chains of 3 buffers, want %d", round, n, want)
			}
			r.kick()
			cs := make([]Chain, n+1)
			if k, err := r.dev.PopMany(cs); k != n || err != nil {
				t.Fatal(k, err)
			}
			for i := range n {
				if err := r.dev.Push(&cs[i], 1); err != nil {
					t.Fatal(err)
				}
			}
			r.call()
			for i := range n {
				if u := r.reap(); u != (Used{uint64(i), 1}) {
					t.Fatal(u)
				}
			}
		}
		var long *TooLongError
		if err := r.drv.Add(r.buffers(0, size+1, 8), nil, 0); !errors.As(err, &long) || long.Max != size {
			t.Errorf("a chain longer than the ring: %v", err)
		}
		r.add(r.buffers(0, size, 8), nil, 7)
		r.kick()
		var c Chain
		r.pop(&c)
		if len(c.Readable) != size {
			t.Errorf("%d buffers", len(c.Readable))
		}
	})
}

// The rule of Driver.indirect.
func TestTwoBuffersStayInTheRingWhileThereIsRoom(t *testing.T) {
	for _, f := range []Features{0, RingPacked} {
		r := newRig(t, 8, variant{"", f | IndirectDesc, 4})
		for _, step := range []struct{ buffers, free int }{{1, 7}, {2, 5}, {3, 4}, {4, 3}, {2, 1}, {2, 0}} {
			r.add(r.buffers(0, step.buffers, 8), nil, 0)
			if r.drv.Free() != step.free {
				t.Fatalf("%v: %d free after a chain of %d, want %d", f, r.drv.Free(), step.buffers, step.free)
			}
		}
		r = newRig(t, 8, variant{"", f | IndirectDesc, 4})
		r.add(r.buffers(0, 5, 8), nil, 0) // longer than a table
		if r.drv.Free() != 3 {
			t.Fatalf("%d free", r.drv.Free())
		}
	}
}

func TestDetachGivesBackWhatIsInFlight(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, 8, v)
		for i := range uint64(3) {
			r.add(r.buffers(0, 1, 8), nil, i)
		}
		r.kick()
		r.add(r.buffers(0, 1, 8), nil, 3)
		var c Chain
		r.pop(&c)
		_ = r.dev.Push(&c, 0)
		r.call()
		if u := r.reap(); u.Token != 0 {
			t.Fatal(u)
		}
		got := map[uint64]bool{}
		r.drv.Detach(func(token uint64) { got[token] = true })
		if len(got) != 3 || got[0] || r.drv.InFlight() != 0 {
			t.Errorf("detached %v", got)
		}
		r.drv.Detach(func(uint64) { t.Error("detached twice") })
		if err := r.drv.Add(r.buffers(0, 1, 8), nil, 3); !errors.Is(err, ErrDetached) {
			t.Error(err)
		}
		if _, _, err := r.drv.Reap(); !errors.Is(err, ErrDetached) {
			t.Error(err)
		}
		// A new queue in its place.
		drv, err := NewDriver(r.memory, r.c)
		if err != nil {
			t.Fatal(err)
		}
		dev, err := NewDevice(r.memory, r.c, State{})
		if err != nil {
			t.Fatal(err)
		}
		r.drv, r.dev = drv, dev
		r.nothing()
	})
}

func TestAnotherDeviceGoesOn(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, 4, v)
		var c Chain
		for i := range uint64(30) {
			r.add(r.buffers(0, 1, 8), r.buffers(0, 2, 8), i)
			r.kick()
			dev, err := NewDevice(r.memory, r.c, r.dev.State())
			if err != nil {
				t.Fatal(err)
			}
			r.dev = dev
			r.pop(&c)
			if err := r.dev.Push(&c, 1); err != nil {
				t.Fatal(err)
			}
			r.call()
			if u := r.reap(); u != (Used{i, 1}) {
				t.Fatal(u)
			}
		}
	})
}

func TestNotificationData(t *testing.T) {
	r := newRig(t, 4, variant{"", NotificationData, 0})
	r.add(r.buffers(0, 3, 8), nil, 0)
	if got := r.drv.NotificationData(9); got != 1<<16|9 {
		t.Errorf("split: %#x", got)
	}
	r = newRig(t, 5, variant{"", NotificationData | RingPacked, 0})
	r.add(r.buffers(0, 3, 8), nil, 0)
	if got := r.drv.NotificationData(9); got != 1<<31|3<<16|9 {
		t.Errorf("packed: %#x", got)
	}
	r.add(r.buffers(0, 2, 8), nil, 0)
	if got := r.drv.NotificationData(9); got != 9 {
		t.Errorf("packed, wrapped: %#x", got)
	}
}

func TestBuffersMayGoFromOneRegionIntoTheNext(t *testing.T) {
	for _, f := range []Features{IndirectDesc, IndirectDesc | RingPacked} {
		c, end := Layout(0, 8, f, 4)
		q := mem.Alloc(int(mem.Align(end, mem.Page)))
		x, y := mem.Alloc(mem.Page), mem.Alloc(mem.Page)
		const at = 1 << 40
		m, err := NewMemory(Region{at + mem.Page, y}, Region{0, q}, Region{at, x})
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
		copy(x[mem.Page-3:], "abc")
		copy(y, "defgh")
		for range 3 {
			if err := drv.Add([]Buffer{{at + mem.Page - 3, 5}}, []Buffer{{at + mem.Page - 1, 2}, {at, 1}}, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := drv.Kick(); err != nil {
				t.Fatal(err)
			}
			var ch Chain
			if ok, err := dev.Pop(&ch); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if got := bytes.Join(ch.Readable, []byte("|")); string(got) != "abc|de" || lengths(ch.Writable) != "1 1 1 " {
				t.Errorf("readable %q, writable %s", got, lengths(ch.Writable))
			}
			if err := dev.Push(&ch, 3); err != nil {
				t.Fatal(err)
			}
			if _, err := dev.Call(); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := drv.Reap(); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
}

func TestMisuseIsTheCallersFault(t *testing.T) {
	r := newRig(t, 4, variants()[0])
	panics := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s does not panic", what)
			}
		}()
		f()
	}
	panics("a chain of nothing", func() { _ = r.drv.Add(nil, nil, 0) })
	panics("a buffer of no bytes", func() { _ = r.drv.Add([]Buffer{{base, 0}}, nil, 0) })
	panics("more than 2^32 bytes", func() { _ = r.drv.Add([]Buffer{{base, 1 << 31}, {base, 1 << 31}, {base, 1}}, nil, 0) })
	panics("Push of no chain", func() { _ = r.dev.Push(new(Chain), 0) })
	r.add(r.buffers(0, 1, 8), r.buffers(0, 1, 8), 0)
	r.kick()
	var c Chain
	r.pop(&c)
	panics("Pop into a chain in flight", func() { _, _ = r.dev.Pop(&c) })
	panics("more written than writable", func() { _ = r.dev.Push(&c, 9) })
	if err := r.dev.Push(&c, 8); err != nil {
		t.Fatal(err)
	}
	panics("Push twice", func() { _ = r.dev.Push(&c, 8) })
}
