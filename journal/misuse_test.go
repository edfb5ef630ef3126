package journal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/ringbustest"
)

func TestOneWriterForManyGoroutines(t *testing.T) {
	for _, o := range []*journal.Options{held(), loose(), {NoChecksum: true, NoTime: true}} {
		bus := ringbustest.New(t)
		w := open(t, bus.Node("app"), "log", o)
		r := reader(t, bus.Node("reader"), "log", holding())
		ctx := soon(t)
		const many, count = 8, 100
		var all sync.WaitGroup
		for i := range many {
			key := fmt.Sprint("g", i)
			all.Go(func() {
				for n := range uint64(count) {
					ro := &journal.RecordOptions{Key: key}
					data := datum(key, n)
					var err error
					switch n % 3 {
					case 0:
						_, err = w.Append(ctx, data, ro)
					case 1:
						err = w.AppendFunc(ctx, len(data), len(data), ro, func(b []byte) (int, error) { return copy(b, data), nil })
					default:
						var res journal.Reservation
						if res, err = w.Reserve(ctx, len(data), len(data), ro); err == nil {
							runtime.Gosched()
							err = res.Commit(copy(res.Data(), data))
						}
					}
					if errors.Is(err, journal.ErrLapped) { // in its reservation
						_, err = w.Append(ctx, data, ro)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		var c tally
		for c.seen() < many*count {
			rec, err := r.Read(ctx)
			if err == nil {
				err = c.take(rec)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		all.Wait()
		if c.size+c.skip.LostBytes != many*sumTo(count) || o.Mode == journal.Reject && c.skip != (journal.Skipped{}) || c.skip.Corrupt != 0 {
			t.Errorf("%+v", c)
		}
	}
}

func TestCloseAmongCallsInside(t *testing.T) {
	for round := range 60 {
		bus := ringbustest.New(t)
		node := bus.Node("app")
		w := open(t, node, "log", held())
		r := reader(t, node, "log", holding())
		ctx := soon(t)
		var all sync.WaitGroup
		ended := func(what string, err error) {
			if !errors.Is(err, journal.ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for i := range 4 {
			all.Go(func() {
				var err error
				for n := uint64(0); err == nil || errors.Is(err, journal.ErrLapped); n++ {
					data := datum(fmt.Sprint(i), n)
					if n%2 == 0 {
						_, err = w.Append(ctx, data, nil)
					} else {
						err = w.AppendFunc(ctx, len(data), 2*len(data), nil, func(b []byte) (int, error) { return copy(b, data), nil })
					}
				}
				ended("append", err)
			})
		}
		all.Go(func() {
			for _, err := range r.Tail(ctx) {
				if err != nil {
					ended("tail", err)
				}
			}
		})
		all.Go(func() {
			for range rand.IntN(2000) {
				runtime.Gosched()
			}
			var err error
			switch round % 3 {
			case 0:
				err = errors.Join(w.Close(), r.Close())
			case 1:
				err = errors.Join(r.Close(), w.Close())
			default:
				err = node.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		if err := errors.Join(w.Close(), r.Close(), node.Close()); err != nil {
			t.Error("closed again:", err)
		}
		other := bus.Node("other")
		v := look(other.Segment(), "log")
		if len(v.wrong) != 0 || len(v.info.Open) != 0 || len(v.info.Readers) != 0 || len(v.info.Waiting) != 0 {
			t.Fatalf("left behind: %v, %+v", v.wrong, v.info)
		}
		if err := journal.Remove(other, "log"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseWaitsForWhoFillsARecord(t *testing.T) {
	bus := ringbustest.New(t)
	w, r := open(t, bus.Node("app"), "log", nil), reader(t, bus.Node("reader"), "log", nil)
	begun, closed := make(chan struct{}), make(chan error, 1)
	go func() {
		<-begun
		closed <- w.Close()
	}()
	err := w.AppendFunc(context.Background(), 4, 4, nil, func(b []byte) (int, error) {
		close(begun)
		until(t, "the writer is closed", func() bool { _, err := w.Write(nil); return err != nil })
		select {
		case err := <-closed:
			t.Error("Close has returned:", err)
		default:
		}
		return copy(b, "last"), nil
	})
	if err := errors.Join(err, <-closed); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, r); got[0] != "last" {
		t.Errorf("%q", got)
	}
}

func TestWhatIsClosedSaysSo(t *testing.T) {
	bus := ringbustest.New(t)
	node := bus.Node("app")
	w, r := open(t, node, "log", nil), reader(t, node, "log", nil)
	ctx := context.Background()
	res, err := w.Reserve(ctx, 10, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Write":      second(w.Write(nil)),
		"Append":     second(w.Append(ctx, nil, nil)),
		"Reserve":    second(w.Reserve(ctx, 0, 0, nil)),
		"AppendFunc": w.AppendFunc(ctx, 0, 0, nil, nil),
		"Commit":     res.Commit(0),
		"Read":       second(r.Read(ctx)),
		"After":      r.After(0),
		"Last":       r.Last(1),
	} {
		if !errors.Is(err, journal.ErrClosed) || !strings.Contains(err.Error(), `"log"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, ok, err := r.TryRead(); ok || !errors.Is(err, journal.ErrClosed) {
		t.Errorf("TryRead: %v, %v", ok, err)
	}
	res.Discard()
	if got := texts(t, reader(t, node, "log", nil)); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"NewWriter": second(journal.NewWriter(node, "log", nil)),
		"NewReader": second(journal.NewReader(node, "log", nil)),
		"SetLevel":  journal.SetLevel(node, "log", 0),
		"Remove":    journal.Remove(node, "log"),
	} {
		if !errors.Is(err, journal.ErrClosed) {
			t.Errorf("%s on a closed node: %v", what, err)
		}
	}
}

// The memory of a closed reader may be gone, or hold something else.
func TestAClosedReaderLooksAtNothing(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w, r := open(t, node, "log", nil), reader(t, node, "log", nil)
	if err := journal.SetLevel(node, "log", slog.LevelDebug); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.WaitsFor(); ok {
		t.Error("it waits for a record of an empty journal")
	}
	if _, err := w.Reserve(context.Background(), 1, 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, w, "behind")
	if u, ok := r.WaitsFor(); !ok || u.Writer != "app" || u.Size != 128 || u.Position+2 != r.End() {
		t.Errorf("it waits for %+v, %v", u, ok)
	}
	if l, ok := r.Level(); !ok || l != slog.LevelDebug {
		t.Errorf("level %v, %v", l, ok)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if u, ok := r.WaitsFor(); ok {
		t.Errorf("closed, it waits for %+v", u)
	}
	if all, err := r.Unfinished(); !errors.Is(err, journal.ErrClosed) || all != nil {
		t.Errorf("closed, it lists %+v, %v", all, err)
	}
	if l, ok := r.Level(); ok || r.End() != 0 || r.Skipped() != (journal.Skipped{}) {
		t.Errorf("closed, it says %v, %d, %+v", l, r.End(), r.Skipped())
	}
}

func TestReservationsThatAreMisused(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w, r := open(t, node, "log", nil), reader(t, node, "log", nil)
	ctx := context.Background()
	reserve := func() journal.Reservation {
		res, err := w.Reserve(ctx, 10, 20, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	done := reserve()
	if err := done.Commit(0); err != nil {
		t.Fatal(err)
	}
	gone := reserve()
	gone.Discard()
	gone.Discard()
	open := reserve()
	for what, f := range map[string]func(){
		"Commit twice":            func() { _ = done.Commit(0) },
		"Data after Commit":       func() { done.Data() },
		"Commit after Discard":    func() { _ = gone.Commit(0) },
		"Data after Discard":      func() { gone.Data() },
		"Commit of too much":      func() { _ = open.Commit(21) },
		"Commit of less than 0":   func() { _ = open.Commit(-1) },
		"Reserve of most < least": func() { _, _ = w.Reserve(ctx, 2, 1, nil) },
		"Reserve of less than 0":  func() { _, _ = w.Reserve(ctx, -1, 1, nil) },
		"a fill that panics":      func() { _ = w.AppendFunc(ctx, 1, 1, nil, func([]byte) (int, error) { panic("ha") }) },
		"a fill that says more":   func() { _ = w.AppendFunc(ctx, 1, 1, nil, func(b []byte) (int, error) { return len(b) + 1, nil }) },
	} {
		if panics(f) == nil {
			t.Errorf("%s: no panic", what)
		}
	}
	if err := w.AppendFunc(ctx, 1, 1, nil, func([]byte) (int, error) { return 0, errors.New("no") }); err == nil || err.Error() != "no" {
		t.Error(err)
	}
	ended := make(chan struct{})
	go func() { // as t.FailNow in a fill does
		defer close(ended)
		_ = w.AppendFunc(ctx, 1, 1, nil, func([]byte) (int, error) { runtime.Goexit(); return 0, nil })
	}()
	<-ended
	if err := open.Commit(copy(open.Data(), "end")); err != nil {
		t.Fatal(err)
	}
	var none journal.Reservation
	if none.Discard(); none.Data() != nil || none.Commit(0) != nil {
		t.Error("the zero reservation is not nothing")
	}
	if got := texts(t, r); !slices.Equal(got, []string{"", "end"}) {
		t.Errorf("%q", got)
	}
}

func TestReservationsAreFinishedInAnyOrderByAnyone(t *testing.T) {
	bus := ringbustest.New(t)
	w, r := open(t, bus.Node("app"), "log", nil), reader(t, bus.Node("reader"), "log", nil)
	var want []string
	var all sync.WaitGroup
	for i := range 50 {
		res, err := w.Reserve(context.Background(), 1, 500, nil)
		if err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			all.Go(res.Discard)
			continue
		}
		text := fmt.Sprint("record ", i)
		want = append(want, text)
		all.Go(func() {
			if err := res.Commit(copy(res.Data(), text)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := texts(t, r); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	for _, o := range []*journal.Options{
		{Size: -1}, {Size: 1 << 50}, {Mode: -1}, {Mode: 3}, {Key: strings.Repeat("k", 256)}, {Size: ringbustest.Size},
	} {
		if _, err := journal.NewWriter(node, "log", o); err == nil || !strings.Contains(err.Error(), `"log"`) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if areas := node.Segment().Areas(); len(areas) != 0 {
		t.Errorf("left behind: %+v", areas)
	}
	for size, want := range map[int]int{0: 4 << 20, 1: 32 << 10, 32<<10 + 1: 64 << 10, 100_000: 128 << 10} {
		w := open(t, node, "log", &journal.Options{Size: size})
		again := open(t, node, "log", &journal.Options{Size: want})
		if have := look(node.Segment(), "log").info.Cells * 128; have != want {
			t.Errorf("size %d makes one of %d", size, have)
		}
		if err := errors.Join(w.Close(), again.Close(), journal.Remove(node, "log")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLevelsAtTheirLimits(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w, r := open(t, node, "log", nil), reader(t, node, "log", nil)
	if _, ok := r.Level(); ok {
		t.Error("a new journal has a filter")
	}
	const least, most = -1<<15 + 1, 1<<15 - 1
	for given, kept := range map[slog.Level]slog.Level{-1 << 40: least, least: least, -8: -8, 12: 12, most: most, 1 << 40: most} {
		if err := journal.SetLevel(node, "log", given); err != nil {
			t.Fatal(err)
		}
		got, ok, err := journal.Level(node, "log")
		if here, hok := r.Level(); got != kept || !ok || err != nil || here != got || !hok {
			t.Errorf("filter %d is %d, %v, %v", given, got, ok, err)
		}
		for _, level := range []slog.Level{given, given - 1} {
			if _, err := w.Append(context.Background(), nil, &journal.RecordOptions{Level: level}); err != nil {
				t.Fatal(err)
			}
		}
		rec, ok, err := r.TryRead()
		if !ok || err != nil || rec.Level != kept {
			t.Errorf("level %d is %d, %v, %v", given, rec.Level, ok, err)
		}
		if rec, ok, _ = r.TryRead(); ok != (kept == least || kept == most && given > most) {
			t.Errorf("below a filter of %d: %+v, %v", given, rec, ok)
		}
	}
	if err := journal.ClearLevel(node, "log"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := journal.Level(node, "log"); ok || err != nil || !w.Enabled(-1<<40) {
		t.Error("the filter is there still")
	}
	for _, f := range []func() error{
		func() error { _, _, err := journal.Level(node, "none"); return err },
		func() error { return journal.SetLevel(node, "none", 0) },
		func() error { return journal.ClearLevel(node, "none") },
		func() error { return journal.Remove(node, "none") },
	} {
		if f() == nil {
			t.Error("no error of a journal that is not there")
		}
	}
}

func TestNamesAndKeysOfEveryLength(t *testing.T) {
	bus := ringbustest.New(t)
	for _, n := range []int{1, 7, 8, 9, 127, 128} {
		name := strings.Repeat("n", n)
		w := open(t, bus.Node(name), "log", nil)
		for _, k := range []int{0, 1, 7, 8, 200, 255} {
			key := strings.Repeat("k", k)
			if _, err := w.Append(context.Background(), []byte("data"), &journal.RecordOptions{Key: key}); err != nil {
				t.Fatal(err)
			}
			r := reader(t, bus.Node("r"), "log", &journal.ReaderOptions{Writer: name, Key: key})
			if err := r.Last(1); err != nil {
				t.Fatal(err)
			}
			rec, ok, err := r.TryRead()
			if !ok || err != nil || rec.Writer != name || rec.Key != key || string(rec.Data) != "data" {
				t.Errorf("%+v, %v, %v", rec, ok, err)
			}
		}
	}
}
