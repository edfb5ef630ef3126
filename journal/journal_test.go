package journal_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/ringbustest"
)

// write appends the data as records.
func write(t *testing.T, w *journal.Writer, data ...string) {
	t.Helper()
	for _, d := range data {
		if _, err := w.Write([]byte(d)); err != nil {
			t.Fatal(err)
		}
	}
}

// texts are the data of the records that are there now.
func texts(t *testing.T, r *journal.Reader) []string {
	t.Helper()
	var out []string
	for rec, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(rec.Data))
	}
	return out
}

func open(t *testing.T, node *ringbus.Node, name string, o *journal.Options) *journal.Writer {
	t.Helper()
	w, err := journal.NewWriter(node, name, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func reader(t *testing.T, node *ringbus.Node, name string, o *journal.ReaderOptions) *journal.Reader {
	t.Helper()
	r, err := journal.NewReader(node, name, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", nil)
	write(t, w, "one", "two", "")
	if _, err := w.Append(context.Background(), []byte("three"), &journal.RecordOptions{Level: slog.LevelWarn, Key: "k"}); err != nil {
		t.Fatal(err)
	}
	r := reader(t, node, "log", nil)
	var got []string
	for rec, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Time.IsZero() || rec.Mono == 0 {
			t.Error("no time")
		}
		got = append(got, fmt.Sprint(rec.Sequence, " ", rec.Writer, " ", rec.Level, " ", rec.Key, " ", string(rec.Data)))
	}
	if want := []string{"0 app INFO  one", "1 app INFO  two", "2 app INFO  ", "3 app WARN k three"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestAReaderWaitsAndIsWoken(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", nil)
	r := reader(t, node, "log", nil)
	done := make(chan error)
	go func() {
		defer close(done)
		for i := range 2000 {
			rec, err := r.Read(context.Background())
			if err != nil || string(rec.Data) != fmt.Sprint(i) {
				done <- fmt.Errorf("record %d: %q, %w", i, rec.Data, err)
				return
			}
			if i%50 == 0 {
				done <- nil // the writer goes on when we are about to sleep
			}
		}
	}()
	for i := range 2000 {
		write(t, w, fmt.Sprint(i))
		if i%50 == 0 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAWriterWaitsForAReaderThatHolds(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", &journal.Options{Size: 1, Mode: journal.Reject})
	r := reader(t, node, "log", &journal.ReaderOptions{Hold: true})
	const n = 5000
	done := make(chan error)
	go func() {
		defer close(done)
		for i := range n {
			if _, err := fmt.Fprint(w, i); err != nil {
				done <- err
				return
			}
		}
	}()
	for i := range n {
		rec, err := r.Read(context.Background())
		if err != nil || string(rec.Data) != fmt.Sprint(i) || rec.Skipped != (journal.Skipped{}) {
			t.Fatalf("record %d: %q, %+v, %v", i, rec.Data, rec.Skipped, err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAFullJournalSaysWhoHoldsIt(t *testing.T) {
	bus := ringbustest.New(t)
	w := open(t, bus.Node("app"), "log", &journal.Options{Size: 1, Mode: journal.Reject, NoWait: true})
	r := reader(t, bus.Node("slow"), "log", &journal.ReaderOptions{Hold: true})
	var err error
	for err == nil {
		_, err = w.Write([]byte("x"))
	}
	var full *journal.FullError
	if !errors.Is(err, journal.ErrFull) || !errors.As(err, &full) || !slices.Equal(full.Blockers, []string{"slow"}) {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, w, "y")
}

func TestTheSharedFilterSilencesAllWriters(t *testing.T) {
	bus := ringbustest.New(t)
	node := bus.Node("app")
	w := open(t, node, "log", nil)
	if err := journal.SetLevel(bus.Node("operator"), "log", slog.LevelWarn); err != nil {
		t.Fatal(err)
	}
	write(t, w, "info")
	log := slog.New(journal.NewHandler(w, nil))
	log.Info("silenced")
	log.Error("heard")
	if w.Silenced() != 1 {
		t.Errorf("%d silenced", w.Silenced())
	}
	r := reader(t, node, "log", nil)
	if got := texts(t, r); len(got) != 1 || w.Enabled(slog.LevelInfo) || !w.Enabled(slog.LevelError) {
		t.Errorf("%q", got)
	}
}

func TestReservations(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", nil)
	r := reader(t, node, "log", nil)
	res, err := w.Reserve(context.Background(), 3, 1000, nil)
	if err != nil || len(res.Data()) != 1000 {
		t.Fatal(len(res.Data()), err)
	}
	write(t, w, "behind")
	if open, err := r.Unfinished(); err != nil || len(open) != 1 || open[0].Writer != "app" {
		t.Errorf("%+v, %v", open, err)
	}
	if err := res.Commit(copy(res.Data(), "before")); err != nil {
		t.Fatal(err)
	}
	res.Discard() // nothing
	func() {
		defer func() { _ = recover() }()
		_ = w.AppendFunc(context.Background(), 1, 1, nil, func([]byte) (int, error) { panic("x") })
	}()
	write(t, w, "after")
	if got := texts(t, r); !slices.Equal(got, []string{"before", "behind", "after"}) {
		t.Errorf("%q", got)
	}
}

func TestNoSuchJournal(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	if _, err := journal.NewReader(node, "log", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	open(t, node, "log", nil)
	var mismatch *journal.MismatchError
	if _, err := journal.NewWriter(node, "log", &journal.Options{Mode: journal.Reject}); !errors.As(err, &mismatch) || mismatch.Field != "mode" {
		t.Error(err)
	}
	if err := journal.Remove(node, "log"); err == nil {
		t.Error("removed though it is open")
	}
}
