package journal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/ringbustest"
)

// decoded are the records as JSON, in their order.
func decoded(t *testing.T, r *journal.Reader) (out []map[string]any) {
	t.Helper()
	for _, text := range texts(t, r) {
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil || !strings.HasSuffix(text, "\n") {
			t.Fatalf("%q: %v", text, err)
		}
		out = append(out, m)
	}
	return out
}

func TestHandlerKeepsTheRulesOfSlog(t *testing.T) {
	for name, handler := range map[string]func(w *journal.Writer) slog.Handler{
		"of our own": func(w *journal.Writer) slog.Handler { return journal.NewHandler(w, nil) },
		"for JSON":   func(w *journal.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		"with everything": func(w *journal.Writer) slog.Handler {
			return journal.NewHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
	} {
		t.Run(name, func(t *testing.T) {
			node := ringbustest.New(t).Node("app")
			w := open(t, node, "log", nil)
			if err := slogtest.TestHandler(handler(w), func() []map[string]any { return decoded(t, reader(t, node, "log", nil)) }); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHandlerWritesWhatTheJSONHandlerWrites(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", &journal.Options{Key: "k"})
	var want bytes.Buffer
	o := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	levels := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, 2, 100}
	one, two := slog.New(journal.NewHandler(w, o)), slog.New(slog.NewJSONHandler(&want, o))
	for _, l := range []*slog.Logger{one, two} {
		for i, level := range levels {
			l.With("a", i).WithGroup("g").Log(context.Background(), level, "message", "b", strings.Repeat("x", 50*i), "c", fmt.Errorf("e"))
		}
	}
	var got []string
	for rec, err := range reader(t, node, "log", nil).Records() {
		if err != nil {
			t.Fatal(err)
		}
		if i := len(got); rec.Level != levels[i] || rec.Key != "k" || rec.Writer != "app" {
			t.Errorf("record %d: %+v", i, rec)
		}
		got = append(got, string(rec.Data))
	}
	if strings.Join(got, "") != want.String() || len(got) != len(levels) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, ""), want.String())
	}
}

func TestHandlerLeavesOutWhatTheFilterSilences(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", nil)
	h := journal.NewHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn})
	logger := slog.New(h)
	ctx := context.Background()
	for _, c := range []struct {
		filter slog.Level
		want   []slog.Level
	}{
		{slog.LevelDebug, []slog.Level{slog.LevelWarn, slog.LevelError}},
		{slog.LevelError, []slog.Level{slog.LevelError}},
		{slog.LevelError + 1, nil},
	} {
		if err := journal.SetLevel(node, "log", c.filter); err != nil {
			t.Fatal(err)
		}
		for _, level := range []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			if h.Enabled(ctx, level) != slices.Contains(c.want, level) {
				t.Errorf("filter %v: %v is enabled: %v", c.filter, level, h.Enabled(ctx, level))
			}
			logger.Log(ctx, level, c.filter.String())
		}
	}
	if got := decoded(t, reader(t, node, "log", nil)); len(got) != 3 {
		t.Errorf("%v", got)
	}
	if err := h.Handle(ctx, slog.Record{Level: slog.LevelDebug}); err != nil { // asked all the same
		t.Error(err)
	}
	if got := decoded(t, reader(t, node, "log", nil)); len(got) != 3 || w.Silenced() != 1 {
		t.Errorf("%v, %d silenced", got, w.Silenced())
	}
}

func TestHandlerSaysWhyItCannotWrite(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", &journal.Options{Size: 1})
	h := journal.NewHandler(w, nil)
	r := slog.Record{Message: strings.Repeat("x", 100_000)}
	if err := h.Handle(context.Background(), r); err == nil {
		t.Error("a record over the limit was taken")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Handle(context.Background(), slog.Record{}); err == nil {
		t.Error("a record was taken after Close")
	}
}

func TestPackageLogWritesToAJournal(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", nil)
	l := log.New(w, "p: ", log.Lmsgprefix)
	l.Print("one")
	l.Printf("two\n%d", 3)
	if _, err := io.WriteString(w, "raw"); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, reader(t, node, "log", nil)); !slices.Equal(got, []string{"p: one\n", "p: two\n3\n", "raw"}) {
		t.Errorf("%q", got)
	}
}
