package journal_test

import (
	"errors"
	"testing"

	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/ringbustest"
)

// A writer that sleeps looks again ten times a second all the same: a ring that
// never came would not hang it. These tests have it sleep so often that they
// would not end in time if it were that which wakes it.
const manySleeps = 700

// slept has a writer append one record after the other to a full journal, and
// lets free make room each time it sleeps.
func slept(t *testing.T, free func(h *journal.Reader, again func() *journal.Reader) *journal.Reader) {
	t.Helper()
	bus := ringbustest.New(t)
	node, holder := bus.Node("app"), bus.Node("holder")
	o := held()
	o.NoWait, o.NoTime = true, true
	w, filler := open(t, node, "log", held()), open(t, node, "log", o)
	again := func() *journal.Reader { return reader(t, holder, "log", holding()) }
	h := again()
	ctx := soon(t)
	done := make(chan error)
	for range manySleeps {
		var err error
		for err == nil {
			_, err = filler.Write(nil)
		}
		if !errors.Is(err, journal.ErrFull) {
			t.Fatal(err)
		}
		go func() {
			_, err := w.Append(ctx, nil, nil)
			done <- err
		}()
		until(t, "the writer sleeps", func() bool { return sleeping(node.Segment(), "log") == 1 })
		h = free(h, again)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestAReaderThatReadsWakesTheWriter(t *testing.T) {
	slept(t, func(h *journal.Reader, _ func() *journal.Reader) *journal.Reader {
		for _, err := range h.Records() {
			if err != nil {
				t.Fatal(err)
			}
		}
		return h
	})
}

func TestAReaderThatSkipsWakesTheWriter(t *testing.T) {
	slept(t, func(h *journal.Reader, _ func() *journal.Reader) *journal.Reader {
		if err := h.Last(0); err != nil {
			t.Fatal(err)
		}
		return h
	})
}

func TestAReaderThatLeavesWakesTheWriter(t *testing.T) {
	slept(t, func(h *journal.Reader, again func() *journal.Reader) *journal.Reader {
		next := again()
		if err := errors.Join(next.Last(0), h.Close()); err != nil {
			t.Fatal(err)
		}
		return next
	})
}

func TestCloseWakesTheWriter(t *testing.T) {
	bus := ringbustest.New(t)
	node := bus.Node("app")
	o := held()
	o.NoWait = true
	filler := open(t, node, "log", o)
	reader(t, node, "log", holding())
	for {
		if _, err := filler.Write(nil); errors.Is(err, journal.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	ctx := soon(t)
	for range manySleeps {
		w := open(t, node, "log", held())
		done := make(chan error)
		go func() {
			_, err := w.Append(ctx, nil, nil)
			done <- err
		}()
		until(t, "the writer sleeps", func() bool { return sleeping(node.Segment(), "log") == 1 })
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, journal.ErrClosed) {
			t.Fatal(err)
		}
	}
}
