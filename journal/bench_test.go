package journal_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/ringbustest"
)

// chunked reports the median of short runs, so that a moment without a CPU
// drops out.
func chunked(b *testing.B, f func()) {
	const n = 1024
	var times []float64
	for b.Loop() {
		start := time.Now()
		for range n {
			f()
		}
		times = append(times, float64(time.Since(start).Nanoseconds())/n)
	}
	slices.Sort(times)
	b.ReportMetric(times[len(times)/2], "ns/median")
	b.ReportMetric(times[len(times)/20], "ns/p5")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkAppend(b *testing.B) {
	data := make([]byte, 64)
	for _, c := range []struct {
		name    string
		o       journal.Options
		options *journal.RecordOptions
	}{
		{"bare", journal.Options{NoTime: true, NoChecksum: true}, nil},
		{"checksum", journal.Options{NoTime: true}, nil},
		{"default", journal.Options{Key: "key"}, nil},
		{"level+key", journal.Options{}, &journal.RecordOptions{Level: slog.LevelWarn, Key: "key"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			w, err := journal.NewWriter(ringbustest.New(b).Node("app"), "log", &c.o)
			if err != nil {
				b.Fatal(err)
			}
			f := func() {
				if _, err := w.Append(context.Background(), data, c.options); err != nil {
					b.Fatal(err)
				}
			}
			for range 70000 {
				f()
			}
			chunked(b, f)
		})
	}
}

// BenchmarkGoroutines is the time of a record where goroutines share a Writer.
func BenchmarkGoroutines(b *testing.B) {
	w, err := journal.NewWriter(ringbustest.New(b).Node("app"), "log", &journal.Options{NoTime: true})
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.Append(context.Background(), data, nil); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkLog is the time of a record of log/slog, by where it goes.
func BenchmarkLog(b *testing.B) {
	run := func(name string, h slog.Handler) {
		l := slog.New(h)
		b.Run(name, func(b *testing.B) {
			chunked(b, func() { l.Info("gripper closed", "force", 4.2, "part", "A-17", "slot", 12) })
		})
	}
	writer := func(name string, o *journal.Options) *journal.Writer {
		w, err := journal.NewWriter(ringbustest.New(b).Node("app"), name, o)
		if err != nil {
			b.Fatal(err)
		}
		return w
	}
	run("discard", slog.NewJSONHandler(io.Discard, nil))
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	run("file", slog.NewJSONHandler(f, nil))
	run("journal", slog.NewJSONHandler(writer("a", nil), nil))
	run("journal-notime", slog.NewJSONHandler(writer("a", &journal.Options{NoTime: true}), nil))
	run("journal-bare", slog.NewJSONHandler(writer("a", &journal.Options{NoTime: true, NoChecksum: true}), nil))
	run("handler", journal.NewHandler(writer("a", nil), nil))
	run("handler-bare", journal.NewHandler(writer("a", &journal.Options{NoTime: true, NoChecksum: true}), nil))
	w := writer("a", nil)
	off := &slog.HandlerOptions{Level: slog.LevelWarn}
	run("off", slog.NewJSONHandler(w, off))
	run("off-handler", journal.NewHandler(w, off))
}

// BenchmarkRead is the time of reading a record of 64 bytes, from the journal's
// oldest on.
func BenchmarkRead(b *testing.B) {
	for _, o := range []journal.Options{{NoTime: true, NoChecksum: true}, {}} {
		b.Run(fmt.Sprintf("checksum=%v", !o.NoChecksum), func(b *testing.B) {
			node := ringbustest.New(b).Node("app")
			w, err := journal.NewWriter(node, "log", &o)
			if err != nil {
				b.Fatal(err)
			}
			r, err := journal.NewReader(node, "log", nil)
			if err != nil {
				b.Fatal(err)
			}
			data := make([]byte, 64)
			for range 40_000 {
				if _, err := w.Append(context.Background(), data, nil); err != nil {
					b.Fatal(err)
				}
			}
			chunked(b, func() {
				if _, ok, err := r.TryRead(); err != nil {
					b.Fatal(err)
				} else if !ok {
					if err := r.After(0); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
