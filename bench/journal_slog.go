package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/ringbus/ringbus/journal"
)

// where a logger writes to.
type where int

const (
	discard  where = iota
	inMemory       // a file opened with O_APPEND beside the bus
	onDisk         // the same in the temporary directory
	inJournal
	byHandler // journal.Handler
)

// logs is the time of one record of log/slog.
type logs struct {
	to       where
	silenced bool // by the journal's filter
	over     bool // the figure is what it takes more than 1.2 times io.Discard
}

const logCount = 100_000

// logging takes the time of records of a message and three attributes.
func logging(o logs) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		if !p.parent {
			return s, nil
		}
		l, done, err := o.logger(p)
		if err != nil {
			return s, err
		}
		defer done()
		s.value, err = logTime(p, l)
		if err == nil && o.over {
			var least float64
			least, err = logTime(p, slog.New(slog.NewJSONHandler(io.Discard, nil)))
			s.value -= 1.2 * least
		}
		return s, err
	}
}

func logTime(p *party, l *slog.Logger) (float64, error) {
	times, err := chunked(p.count(logCount), func(n int) error {
		for range n {
			l.Info("gripper closed", "force", 4.2, "part", "A-17", "slot", 12)
		}
		return nil
	})
	return median(times) / chunk, err
}

// logger makes the logger that o asks for, and what ends it.
func (o *logs) logger(p *party) (l *slog.Logger, done func(), err error) {
	var out io.Writer
	done = func() {}
	switch o.to {
	case discard:
		out = io.Discard
	case inMemory, onDisk:
		dir := p.dir
		if o.to == onDisk {
			dir = os.TempDir()
		}
		f, err := os.CreateTemp(dir, "ringbus-bench-*.log")
		if err != nil {
			return nil, nil, err
		}
		name := f.Name()
		_ = f.Close()
		if f, err = os.OpenFile(filepath.Clean(name), os.O_WRONLY|os.O_APPEND, 0); err != nil {
			_ = os.Remove(name)
			return nil, nil, err
		}
		out, done = f, func() {
			_ = f.Close()
			_ = os.Remove(name)
		}
	default:
		a := appends{journal: "slog"}
		w, err := a.writer(p, 0)
		if err != nil {
			return nil, nil, err
		}
		if o.silenced {
			if err := journal.SetLevel(p.node, a.journal, slog.LevelError); err != nil {
				return nil, nil, err
			}
			done = func() { _ = journal.ClearLevel(p.node, a.journal) }
		}
		if o.to == byHandler {
			return slog.New(journal.NewHandler(w, nil)), done, nil
		}
		out = w
	}
	return slog.New(slog.NewJSONHandler(out, nil)), done, nil
}
