package journal_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/ringbustest"
)

// chatty logs when it is formatted.
type chatty struct{ l *slog.Logger }

func (c chatty) LogValue() slog.Value {
	c.l.Info("asked")
	return slog.StringValue("told")
}

func TestWhatIsFormattedMayLog(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", nil)
	l := slog.New(journal.NewHandler(w, nil))
	l.Info("outside", "value", chatty{l})
	got := decoded(t, reader(t, node, "log", nil))
	if len(got) != 2 || got[0]["msg"] != "asked" || got[1]["value"] != "told" {
		t.Errorf("%v", got)
	}
}

// Values that change are those of the moment when With was called.
func TestWithFormatsAtOnce(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", nil)
	type point struct{ X int }
	p := &point{1}
	l := slog.New(journal.NewHandler(w, nil))
	l.Log(context.Background(), slog.Level(2), "one")
	l = l.With(slog.Group("g", slog.Any("p", p)))
	p.X = 2
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, 2, slog.LevelWarn, slog.LevelError} {
		l.Log(context.Background(), level, "two")
	}
	var seen []string
	for _, text := range texts(t, reader(t, node, "log", nil)) {
		if strings.Contains(text, "two") {
			seen = append(seen, text[strings.Index(text, `"g"`):])
		}
	}
	if want := slices.Repeat([]string{`"g":{"p":{"X":1}}}` + "\n"}, 4); !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}

func TestEveryLevelHasItsOwnHandler(t *testing.T) {
	node := ringbustest.New(t).Node("app")
	w := open(t, node, "log", nil)
	root := slog.New(journal.NewHandler(w, &slog.HandlerOptions{Level: slog.Level(-1000)}))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			l := root.With("n", i).WithGroup("g").With("m", i)
			for level := slog.Level(-20); level <= 20; level++ {
				l.Log(context.Background(), level, "x", "level", int(level))
			}
		})
	}
	wg.Wait()
	n := 0
	for rec, err := range reader(t, node, "log", nil).Records() {
		if err != nil {
			t.Fatal(err)
		}
		n++
		want := fmt.Sprintf(`"level":"%v","msg":"x"`, rec.Level)
		if !strings.Contains(string(rec.Data), want) || !strings.Contains(string(rec.Data), fmt.Sprintf(`"level":%d}`, int(rec.Level))) {
			t.Errorf("%v: %s", rec.Level, rec.Data)
		}
	}
	if n != 4*41 {
		t.Errorf("%d records", n)
	}
}
