package journal_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ringbus/ringbus/journal"
)

// marked writes n records from two nodes, with levels and keys in turn, and
// returns what they were as names of the records.
func (s *side) marked(n int, o func() *journal.Options) {
	one, err := journal.NewWriter(s.another("one"), "log", o())
	s.check(err)
	two, err := journal.NewWriter(s.another("two"), "log", o())
	s.check(err)
	for i := range n {
		w := one
		if i%3 == 0 {
			w = two
		}
		key := []string{"", "x", "y", "x"}[i%4]
		s.check(second(w.Append(s.ctx, fmt.Append(make([]byte, 0, 200), i)[:1+i%150], &journal.RecordOptions{Level: slog.Level(i%7*4 - 8), Key: key})))
	}
}

// sequences reads what there is and returns the records' sequences.
func (s *side) sequences(r *journal.Reader) (out []int) {
	for rec, err := range r.Records() {
		s.check(err)
		if rec.Skipped != (journal.Skipped{}) {
			s.fail("skipped %+v", rec.Skipped)
		}
		out = append(out, int(rec.Sequence))
	}
	return out
}

// those are the numbers below n that f takes.
func those(n int, f func(i int) bool) (out []int) {
	for i := range n {
		if f(i) {
			out = append(out, i)
		}
	}
	return out
}

var seeking = []conversation{
	{"the filter that all share is raised and lowered while they write", func(s *side) {
		w := s.writer("log", keyed(&journal.Options{Size: 1 << 20}, "a"))
		s.meet("ready")
		var r *journal.Reader
		for round := range 20 {
			level := slog.Level(round%5*4 - 8)
			s.check(journal.SetLevel(s.Node, "log", level))
			s.meet("set")
			if r == nil {
				r = s.reader("log", nil)
			}
			s.hear("written")
			for l := slog.Level(-8); l <= 8; l += 4 {
				s.check(second(w.Append(s.ctx, nil, &journal.RecordOptions{Level: l})))
			}
			n := 0
			for rec, err := range r.Records() {
				s.check(err)
				if n++; rec.Level < level {
					s.fail("a record of level %v passed a filter of %v", rec.Level, level)
				}
			}
			if n != 2*(5-round%5) {
				s.fail("%d records passed a filter of %v", n, level)
			}
			s.tell("read")
		}
		if w.Silenced() != 4*(0+1+2+3+4) {
			s.fail("%d are silenced", w.Silenced())
		}
		s.hear("cleared")
		if _, ok, err := journal.Level(s.Node, "log"); ok || err != nil || !w.Enabled(-1000) {
			s.fail("the filter is there still: %v", err)
		}
	}, func(s *side) {
		s.meet("ready")
		w := s.writer("log", nil)
		for range 20 {
			s.meet("set")
			level, ok, err := journal.Level(s.Node, "log")
			s.check(err)
			for l := slog.Level(-8); l <= 8; l += 4 {
				if w.Enabled(l) != (l >= level) || !ok {
					s.fail("level %v is enabled: %v, with a filter of %v", l, w.Enabled(l), level)
				}
				s.check(second(w.Append(s.ctx, nil, &journal.RecordOptions{Level: l})))
			}
			s.tell("written")
			s.hear("read")
		}
		s.check(journal.ClearLevel(s.Node, "log"))
		s.tell("cleared")
	}},
	{"filters take what they say, and count nothing as lost", func(s *side) {
		s.marked(200, loose)
		s.meet("written")
	}, func(s *side) {
		s.meet("written")
		for what, f := range map[string]struct {
			o journal.ReaderOptions
			f func(i int) bool
		}{
			"all":              {journal.ReaderOptions{}, func(int) bool { return true }},
			"level":            {journal.ReaderOptions{Level: slog.LevelWarn}, func(i int) bool { return i%7*4-8 >= 4 }},
			"the lowest level": {journal.ReaderOptions{Level: slog.Level(-8)}, func(int) bool { return true }},
			"key":              {journal.ReaderOptions{Key: "x"}, func(i int) bool { return i%2 == 1 }},
			"no such key":      {journal.ReaderOptions{Key: "z"}, func(int) bool { return false }},
			"writer":           {journal.ReaderOptions{Writer: "two"}, func(i int) bool { return i%3 == 0 }},
			"part of a name":   {journal.ReaderOptions{Writer: "tw"}, func(int) bool { return false }},
			"all three": {journal.ReaderOptions{Level: slog.LevelInfo, Key: "y", Writer: "one"}, func(i int) bool {
				return i%7*4-8 >= 0 && i%4 == 2 && i%3 != 0
			}},
		} {
			r := s.reader("log", &f.o)
			all := s.sequences(s.reader("log", nil)) // the oldest went
			from := all[0]
			want := those(200, func(i int) bool { return i >= from && f.f(i) })
			if got := s.sequences(r); !slices.Equal(got, want) {
				s.fail("%s: %v, want %v", what, got, want)
			}
			s.check(r.Last(3))
			if got := s.sequences(r); !slices.Equal(got, want[max(0, len(want)-3):]) && len(want) > 0 {
				s.fail("the last three of %s: %v, want those of %v", what, got, want)
			}
			s.check(r.Close())
		}
	}},
	{"after a position, since a time, the last ones", func(s *side) {
		s.writer("log", loose())
		s.writer("kept", held())
		keeper := s.reader("kept", holding())
		s.marked(200, loose)
		s.meet("written")
		s.hear("read")
		s.check(keeper.Close())
	}, func(s *side) {
		s.meet("written")
		w, err := journal.NewWriter(s.another("w"), "kept", held())
		s.check(err)
		for range 100 {
			s.check(second(w.Write(make([]byte, 200))))
		}
		for name, o := range map[string]*journal.ReaderOptions{"log": nil, "kept": holding()} {
			s.looksFor(s.reader(name, o))
		}
		s.tell("read")
	}},
	{"a reader that holds goes back no further than what is there, and holds that", func(s *side) {
		s.writer("log", held())
		r := s.reader("log", holding())
		s.tell("ready")
		s.hear("full")
		var first journal.Record
		for range 50 {
			rec, err := r.Read(s.ctx)
			s.check(err)
			if first.Position == 0 {
				first = rec
			}
		}
		s.tell("read 50")
		s.hear("full again")
		var gone *journal.GoneError
		if err := r.After(first.Position); !errors.As(err, &gone) || gone.Position != first.Position {
			s.fail("after what is gone: %v", err)
		}
		s.tell("back")
		s.hear("still full")
		got := s.sequences(r)
		if len(got) < 100 || got[0] < 30 || got[0] > 50 || got[len(got)-1] != 256+got[0]-1 {
			s.fail("%v", got)
		}
		s.check(r.Last(20))
		s.tell("at the last 20")
		s.hear("full once more")
		if more := s.sequences(r); more[0] != got[len(got)-1]-19 || len(more) != 256 {
			s.fail("%v", more)
		}
	}, func(s *side) {
		s.hear("ready")
		o := held()
		o.NoWait, o.NoTime = true, true
		w := s.writer("log", o)
		fill := func() (n int) {
			for {
				_, err := w.Write(nil)
				if errors.Is(err, journal.ErrFull) {
					return n
				}
				s.check(err)
				n++
			}
		}
		if n := fill(); n != 256 {
			s.fail("full after %d", n)
		}
		s.tell("full")
		s.hear("read 50")
		if n := fill(); n != 50 {
			s.fail("full again after %d", n)
		}
		s.tell("full again")
		s.hear("back")
		if n := fill(); n != 0 {
			s.fail("room for %d though the reader went back", n)
		}
		s.tell("still full")
		s.hear("at the last 20")
		if n := fill(); n != 236 {
			s.fail("room for %d behind the last 20", n)
		}
		s.tell("full once more")
	}},
}

// looksFor has a reader look for records; nobody writes.
func (s *side) looksFor(r *journal.Reader) {
	var all []journal.Record
	for rec, err := range r.Records() {
		s.check(err)
		all = append(all, rec)
	}
	from := int(all[0].Sequence)
	end := from + len(all)
	at := func(what string, err error, want int) {
		s.check(err)
		if got := s.sequences(r); len(got) != end-want || len(got) > 0 && got[0] != want {
			s.fail("%s of %s: %v, want %d to %d", what, r.Journal(), got, want, end-1)
		}
	}
	at("after 0", r.After(0), from)
	for i, rec := range all {
		at(fmt.Sprint("after record ", i), r.After(rec.Position), from+i+1)
	}
	for n := range 10 {
		at(fmt.Sprint("the last ", n), r.Last(n), end-n)
	}
	at("the last of more than there are", r.Last(1000), from)
	at("the last of fewer than none", r.Last(-1), end)
	at("since ever", r.Since(time.Unix(0, 0)), from)
	at("since tomorrow", r.Since(time.Now().Add(24*time.Hour)), end)
	for i := 0; i < len(all); i += 7 {
		first := slices.IndexFunc(all, func(rec journal.Record) bool { return !rec.Time.Before(all[i].Time) })
		at(fmt.Sprint("since record ", i), r.Since(all[i].Time), from+first)
	}
	s.check(r.After(all[5].Position))
	last := all[len(all)-1].Position
	for _, wrong := range []uint64{last + 1, last + 2, last + 1000, 1 << 40, 1<<64 - 1} {
		var none *journal.NoRecordError
		if err := r.After(wrong); !errors.As(err, &none) || none.Position != wrong {
			s.fail("after %d, where nothing ever was: %v", wrong, err)
		}
	}
	for i := range len(all) - 1 {
		for p := all[i].Position + 1; p < all[i+1].Position; p++ { // within a record, or a pad
			var none *journal.NoRecordError
			if err := r.After(p); !errors.As(err, &none) {
				if err == nil && string(s.first(r).Data) == string(all[i+1].Data) {
					s.check(r.After(all[5].Position)) // behind the pad
					continue
				}
				s.fail("after %d, within a record: %v", p, err)
			}
		}
	}
	rec, ok, err := r.TryRead()
	if err != nil || !ok || int(rec.Sequence) != from+6 {
		s.fail("after positions that never were, the reader is at %d: %v", rec.Sequence, err)
	}
	for _, old := range []uint64{1, 255, all[0].Position - 1} {
		var gone *journal.GoneError
		if all[0].Position == 256 {
			continue // nothing went yet
		}
		if err := r.After(old); !errors.As(err, &gone) || gone.Oldest != all[0].Position {
			s.fail("after %d, which is gone: %v", old, err)
		}
		at("after a position that is gone", nil, from)
	}
}

// first is the next record.
func (s *side) first(r *journal.Reader) journal.Record {
	rec, err := r.Read(s.ctx)
	s.check(err)
	return rec
}
