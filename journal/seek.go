package journal

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/ringbus/ringbus/internal/ring/multilog"
)

// After moves the reader behind the record at a position that a record told,
// to go on where another reader stopped; 0: to the oldest record. If that
// record is gone, the reader is at the oldest one, and the error is a
// [GoneError]; if there never was one, the reader stays where it is, and the
// error is a [NoRecordError].
func (r *Reader) After(position uint64) error {
	if position == 0 {
		return r.seek((*multilog.Rx).SeekFirst)
	}
	return r.seek(func(rx *multilog.Rx) error { return rx.Seek(position) })
}

// Since moves the reader to the first record that was written at or after t, by
// its writer's clock.
func (r *Reader) Since(t time.Time) error {
	return r.seek(func(rx *multilog.Rx) error { return rx.SeekTime(t.UnixNano()) })
}

// Last moves the reader to the n-th last record that is there, of all that its
// filter takes; 0: to the end.
func (r *Reader) Last(n int) error {
	return r.seek(func(rx *multilog.Rx) error { return rx.SeekLast(uint64(max(n, 0))) })
}

func (r *Reader) seek(to func(*multilog.Rx) error) error {
	r.gate.Enter("Reader")
	defer r.gate.Leave()
	if r.gate.Closed.Load() {
		return r.closedErr()
	}
	err := to(r.rx)
	r.rx.Skipped = multilog.Skipped{} // what it passed on the way
	r.told = r.rx.Skipped
	if err != nil {
		return fmt.Errorf("journal %q: %w", r.name, err)
	}
	return nil
}

// Journal returns the journal's name.
func (r *Reader) Journal() string { return r.name }

// Mode returns what happens when the journal is full.
func (r *Reader) Mode() Mode { return Mode(r.rx.Log().Config().Mode) }

// Skipped is what the reader has passed so far without returning it, since it
// was moved last.
func (r *Reader) Skipped() Skipped { return Skipped(r.rx.Skipped) }

// look calls f, which looks at the journal, unless the reader is closed: then
// the memory may be gone.
func (r *Reader) look(f func()) bool {
	r.gate.Enter("Reader")
	defer r.gate.Leave()
	if r.gate.Closed.Load() {
		return false
	}
	f()
	return true
}

// End is the position that the next record will have, or a greater one: a
// reader that has come so far has read all there was when End was called. Of a
// closed reader it is 0.
func (r *Reader) End() (position uint64) {
	r.look(func() { position = r.rx.Log().End() })
	return position
}

// Unfinished is a record that is not finished.
type Unfinished struct {
	Position uint64
	Writer   string // the name of its writer's node, or its number if that is gone
	Size     int    // bytes that it takes in the journal
}

func (r *Reader) unfinished(c multilog.OpenClaim) Unfinished {
	return Unfinished{c.Position, r.who(c.Owner), c.Size}
}

// WaitsFor returns the record that the reader stands before, if that is not
// finished; ok is false if it is, if there is none, and if the reader is closed.
// It costs one load, where [Reader.Unfinished] walks the whole journal.
func (r *Reader) WaitsFor() (u Unfinished, ok bool) {
	r.look(func() {
		var c multilog.OpenClaim
		if c, ok = r.rx.Waits(); ok {
			u = r.unfinished(c)
		}
	})
	return u, ok
}

// Unfinished lists the records that are not finished, from the oldest on: the
// first one is what all readers wait for. In an image they never will be. An
// error is [ErrClosed], or a [CorruptError] that ended the walk.
func (r *Reader) Unfinished() (all []Unfinished, err error) {
	open := r.look(func() {
		var in multilog.Info
		in, err = r.rx.Log().Info()
		for _, c := range in.Open {
			all = append(all, r.unfinished(c))
		}
	})
	switch {
	case !open:
		return nil, r.closedErr()
	case err != nil:
		return all, fmt.Errorf("journal %q: %w", r.name, err)
	}
	return all, nil
}

// Level returns the filter that the journal's writers share; ok is false if
// there is none, or the reader is closed.
func (r *Reader) Level() (level slog.Level, ok bool) {
	r.look(func() {
		l := r.rx.Log().Level()
		level, ok = slog.Level(l), l != multilog.NoLevel
	})
	return level, ok
}

func (r *Reader) closedErr() error { return fmt.Errorf("reader of journal %q: %w", r.name, ErrClosed) }

// Close ends the reader.
func (r *Reader) Close() error {
	wakeUp := func() {
		if e := r.rx.Entry(); e != nil {
			r.p.ring(e.Bell())
		}
	}
	return r.gate.Close(wakeUp, r.leave)
}

// leave gives back what the reader has.
func (r *Reader) leave() error {
	if r.sleeper != nil {
		r.sleeper.Close()
	}
	r.rx.Unregister()
	if r.seg != nil {
		return r.seg.Close()
	}
	if r.p == nil {
		return nil
	}
	defer r.p.host.Remove(r) // until then the node waits for us before it leaves
	return r.p.area.Close()
}
