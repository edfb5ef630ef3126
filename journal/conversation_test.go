package journal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/ringbus/ringbus/journal"
)

// conversations are all of them. Those about waiting and about what is looked
// for have files of their own.
var conversations = slices.Concat(delivery, crowds(), limits, waiting, seeking)

// stream is how many records run where a conversation is about their flow.
const stream = 2000

// held are the options of a small journal that is full at times, loose those of
// one that goes around often.
func held() *journal.Options {
	return &journal.Options{Size: 1, Mode: journal.Reject, Wait: asleep}
}

func loose() *journal.Options { return &journal.Options{Size: 1, Mode: journal.Overwrite} }

func holding() *journal.ReaderOptions { return &journal.ReaderOptions{Hold: true, Wait: asleep} }

// keyed is o for a writer that is to be told from others.
func keyed(o *journal.Options, key string) *journal.Options {
	o.Key = key
	return o
}

// put appends record n of the writer with the given key, in turn by each of the
// ways to do that.
func put(ctx context.Context, w *journal.Writer, key string, n uint64) error {
	data := datum(key, n)
	if key == "tiny" { // not to take more than a cell
		_, err := w.Write(data)
		return err
	}
	switch n % 5 {
	case 0:
		_, err := w.Write(data)
		return err
	case 1:
		position, err := w.Append(ctx, data, nil)
		if err == nil && position == 0 {
			err = errors.New("position 0")
		}
		return err
	case 2:
		_, err := w.Append(ctx, data, &journal.RecordOptions{Key: key})
		return err
	case 3:
		r, err := w.Reserve(ctx, len(data), len(data)+200, nil)
		if err != nil {
			return err
		}
		defer r.Discard()
		if len(r.Data()) < len(data) || len(r.Data()) > len(data)+200 {
			return fmt.Errorf("%d bytes were reserved for %d", len(r.Data()), len(data))
		}
		return r.Commit(len(fill(r.Data()[:len(data)], key, n)))
	}
	r, err := w.Reserve(ctx, 100, 100, nil) // changes its mind
	if err != nil {
		return err
	}
	r.Discard()
	return w.AppendFunc(ctx, len(data), len(data), nil, func(b []byte) (int, error) {
		return len(fill(b, key, n)), nil
	})
}

// puts appends records from up to to.
func (s *side) puts(w *journal.Writer, key string, from, to uint64) error {
	for n := from; n < to; n++ {
		if err := put(s.ctx, w, key, n); err != nil {
			return fmt.Errorf("record %d of %q: %w", n, key, err)
		}
	}
	return nil
}

// laps is puts for a writer that others may lap, if it is not scheduled for a
// while: it tries again.
func (s *side) laps(w *journal.Writer, key string, from, to uint64) error {
	for from < to {
		err := s.puts(w, key, from, from+1)
		switch {
		case err == nil:
			from++
		case !errors.Is(err, journal.ErrLapped):
			return err
		}
	}
	return nil
}

// tallies reads until c has seen n records.
func (s *side) tallies(r *journal.Reader, c *tally, n uint64) error {
	for c.seen() < n {
		rec, err := r.Read(s.ctx)
		if err == nil {
			err = c.take(rec)
		}
		if err != nil {
			return fmt.Errorf("after %d records and a loss of %d: %w", c.got, c.skip.Lost, err)
		}
	}
	return nil
}

// rest is all that is there now.
func (s *side) rest(r *journal.Reader, c *tally) {
	for rec, err := range r.Records() {
		s.check(err)
		s.check(c.take(rec))
	}
}

var delivery = []conversation{
	{"records are read once, whole and in order", func(s *side) {
		s.writer("log", held())
		r := s.reader("log", holding())
		s.tell("ready")
		var c tally
		s.check(s.tallies(r, &c, stream))
		if c.next["b"] != stream || c.size != sumTo(stream) || c.skip != (journal.Skipped{}) || r.Skipped() != c.skip {
			s.fail("%+v", c)
		}
		s.hear("done")
		if _, ok, err := r.TryRead(); ok || err != nil {
			s.fail("one more: %v, %v", ok, err)
		}
	}, func(s *side) {
		s.hear("ready")
		s.check(s.puts(s.writer("log", keyed(held(), "b")), "b", 0, stream))
		s.tell("done")
	}},
	{"lapped reader learns exactly what it lost", func(s *side) {
		s.writer("log", loose())
		r := s.reader("log", nil)
		s.tell("ready")
		var c tally
		s.check(s.tallies(r, &c, stream))
		if c.seen() != stream || c.size+c.skip.LostBytes != sumTo(stream) || c.next["b"] != stream {
			s.fail("%+v", c)
		}
	}, func(s *side) {
		s.hear("ready")
		s.check(s.puts(s.writer("log", keyed(loose(), "b")), "b", 0, stream))
	}},
	{"reader that does not run loses all but what is there", func(s *side) {
		s.writer("log", loose())
		r := s.reader("log", nil)
		s.tell("ready")
		s.hear("done")
		late := s.reader("log", nil)
		var c tally
		d := tally{late: true}
		s.rest(r, &c)
		s.rest(late, &d)
		if c.seen() != stream || c.size+c.skip.LostBytes != sumTo(stream) || c.got < 20 || c.got > 200 {
			s.fail("%+v", c)
		}
		if d.got != c.got || d.hash != c.hash || d.skip.Lost != 0 {
			s.fail("who came late: %+v, not %+v", d, c)
		}
	}, func(s *side) {
		s.hear("ready")
		s.check(s.puts(s.writer("log", keyed(loose(), "b")), "b", 0, stream))
		s.tell("done")
	}},
	{"what its writers have left behind stays", func(s *side) {
		s.hear("done")
		var c tally
		s.rest(s.reader("log", nil), &c)
		if c.next["x"] != 30 || c.next["y"] != 30 || c.got != 60 {
			s.fail("%+v", c)
		}
	}, func(s *side) {
		for _, key := range []string{"x", "y"} {
			n := s.another(key)
			w, err := journal.NewWriter(n, "log", &journal.Options{Key: key})
			s.check(err)
			s.check(s.puts(w, key, 0, 30))
			s.check(n.Close())
		}
		s.tell("done")
	}},
	{"without a reader that holds, the oldest records go in reject mode too", func(s *side) {
		s.writer("log", held())
		r := s.reader("log", nil)
		s.tell("ready")
		s.hear("done")
		var c tally
		s.rest(r, &c)
		if c.seen() != 500 || c.skip.Lost == 0 || c.size+c.skip.LostBytes != sumTo(500) {
			s.fail("%+v", c)
		}
	}, func(s *side) {
		s.hear("ready")
		o := keyed(held(), "b")
		o.NoWait = true
		s.check(s.puts(s.writer("log", o), "b", 0, 500))
		s.tell("done")
	}},
	{"records of one side are open to the other one by one", func(s *side) {
		one := s.writer("log", loose())
		two := s.writer("log", loose())
		first, err := one.Reserve(s.ctx, 8, 8, &journal.RecordOptions{Key: "a"})
		s.check(err)
		s.check(second(two.Append(s.ctx, datum("c", 0), &journal.RecordOptions{Key: "c"})))
		s.tell("reserved")
		s.hear("none yet")
		s.check(first.Commit(len(fill(first.Data(), "a", 0))))
		s.hear("both")
	}, func(s *side) {
		s.hear("reserved")
		r := s.reader("log", &journal.ReaderOptions{Wait: asleep})
		if _, ok, err := r.TryRead(); ok || err != nil {
			s.fail("%v, %v", ok, err)
		}
		open, err := r.Unfinished()
		if err != nil || len(open) != 1 || open[0].Writer != "a" || open[0].Size != 128 {
			s.fail("%+v, %v", open, err)
		}
		s.tell("none yet")
		var c tally
		s.check(s.tallies(r, &c, 2))
		if c.next["a"] != 1 || c.next["c"] != 1 {
			s.fail("%+v", c)
		}
		s.tell("both")
	}},
}

func second[T any](_ T, err error) error { return err }

// crowds are conversations of 1 to 8 writers.
func crowds() (all []conversation) {
	for n := 1; n <= 8; n++ {
		all = append(all,
			conversation{
				fmt.Sprintf("one order for three readers that hold, of %d writers", n),
				func(s *side) { s.holdsWith(n, 0, 2) }, func(s *side) { s.holdsWith(n, 1, 1) },
			},
			conversation{
				fmt.Sprintf("three readers that are lapped, of %d writers", n),
				func(s *side) { s.lappedWith(n, 0, 2) }, func(s *side) { s.lappedWith(n, 1, 1) },
			})
	}
	return all
}

// each is how many records each of n writers writes.
func each(n int) uint64 { return uint64(400 / n) }

// writers returns what the writers of this side do: of 0 to n-1 each second
// one, from first on, each in a node of its own.
func (s *side) writers(n, first int, mode journal.Mode) (all []func() error) {
	for i := first; i < n; i += 2 {
		key := fmt.Sprintf("w/%d", i)
		o := &journal.Options{Key: key, Wait: asleep}
		w, err := journal.NewWriter(s.another(key), "log", o)
		s.check(err)
		puts := s.puts
		if mode == journal.Overwrite {
			puts = s.laps
		}
		all = append(all, func() error { return puts(w, key, 0, each(n)) })
	}
	return all
}

// meet waits until the other side is here as well.
func (s *side) meet(where string) {
	s.tell(where)
	s.hear(where)
}

// holdsWith is one side of conversations with readers that hold, of which this
// side has some.
func (s *side) holdsWith(n, first, readers int) {
	s.writer("log", held())
	tallied := make([]tally, readers)
	var all []func() error
	for i := range tallied {
		r := s.reader("log", holding())
		all = append(all, func() error { return s.tallies(r, &tallied[i], uint64(n)*each(n)) })
	}
	s.meet("ready")
	s.together(append(all, s.writers(n, first, journal.Reject)...)...)
	for _, c := range tallied {
		if c.skip != (journal.Skipped{}) || len(c.next) != n || c.hash != tallied[0].hash || c.size != uint64(n)*sumTo(each(n)) {
			s.fail("%+v", c)
		}
	}
	s.meet(fmt.Sprint(tallied[0].hash))
}

// lappedWith is one side of conversations with readers that hold nothing up.
func (s *side) lappedWith(n, first, readers int) {
	s.writer("log", loose())
	tallied := make([]tally, readers)
	var all []func() error
	for i := range tallied {
		r := s.reader("log", nil)
		all = append(all, func() error { return s.tallies(r, &tallied[i], uint64(n)*each(n)) })
	}
	s.meet("ready")
	s.together(append(all, s.writers(n, first, journal.Overwrite)...)...)
	for _, c := range tallied {
		if c.skip.Corrupt+c.skip.Tombs != 0 || c.seen() != uint64(n)*each(n) || c.size+c.skip.LostBytes != uint64(n)*sumTo(each(n)) {
			s.fail("%+v", c)
		}
	}
}

var limits = []conversation{
	{"records of every size up to the limit", func(s *side) {
		w := s.writer("log", loose())
		r := s.reader("log", nil)
		s.tell("ready")
		for n := range uint64(3000) {
			size := 8 + int(n*n%7919)
			if n%100 == 0 {
				size = w.MaxRecord()
			}
			rec, err := r.Read(s.ctx)
			s.check(err)
			if want := fill(make([]byte, size), "b", n); string(want) != string(rec.Data) || rec.Lost != 0 {
				s.fail("record %d of %d bytes, %d wanted", binary.LittleEndian.Uint64(rec.Data), len(rec.Data), size)
			}
			s.tell("read")
		}
	}, func(s *side) {
		s.hear("ready")
		w := s.writer("log", keyed(loose(), "b"))
		if w.MaxRecord() != 128*128-32-8 {
			s.fail("limit of %d bytes", w.MaxRecord())
		}
		for n := range uint64(3000) {
			size := 8 + int(n*n%7919)
			if n%100 == 0 {
				size = w.MaxRecord()
			}
			s.check(second(w.Write(fill(make([]byte, size), "b", n))))
			s.hear("read")
		}
		var big *journal.SizeError
		if n, err := w.Write(make([]byte, w.MaxRecord()+1)); n != 0 || !errors.As(err, &big) || big.Size != w.MaxRecord()+1 || big.Max != w.MaxRecord() {
			s.fail("%d, %v", n, err)
		}
		key := string(make([]byte, 255))
		if _, err := w.Append(s.ctx, make([]byte, w.MaxRecord()-247), &journal.RecordOptions{Key: key}); !errors.As(err, &big) || big.Max != w.MaxRecord()-248 {
			s.fail("with a long key: %v", err)
		}
		s.check(second(w.Append(s.ctx, make([]byte, w.MaxRecord()-248), &journal.RecordOptions{Key: key})))
		if _, err := w.Append(s.ctx, nil, &journal.RecordOptions{Key: key + "x"}); err == nil {
			s.fail("a key of 256 bytes is taken")
		}
		if _, err := w.Reserve(s.ctx, w.MaxRecord()+1, w.MaxRecord()+1, nil); !errors.As(err, &big) {
			s.fail("reserved: %v", err)
		}
		res, err := w.Reserve(s.ctx, 1, 1<<40, nil)
		if err != nil || len(res.Data()) > w.MaxRecord() {
			s.fail("%d reserved, %v", len(res.Data()), err)
		}
		res.Discard()
	}},
	{"a reservation is granted what is there", func(s *side) {
		o := held()
		o.NoWait = true
		w := s.writer("log", o)
		r := s.reader("log", holding())
		s.check(second(w.Write(make([]byte, 32000-16000))))
		s.check(second(w.Write(make([]byte, 15900-96))))
		res, err := w.Reserve(s.ctx, 1, 5000, nil)
		if err != nil || len(res.Data()) < 100 || len(res.Data()) > 1500 {
			s.fail("%d granted, %v", len(res.Data()), err)
		}
		size := len(res.Data())
		_, err = w.Reserve(s.ctx, 1, 5000, nil)
		s.want(err, journal.ErrFull)
		s.check(res.Commit(size))
		s.tell(fmt.Sprint(size))
		s.hear("read")
		var got []int
		for rec, err := range r.Records() {
			s.check(err)
			got = append(got, len(rec.Data))
		}
		if len(got) != 3 || got[2] != size {
			s.fail("%v", got)
		}
	}, func(s *side) {
		size := s.next()
		r := s.reader("log", nil)
		s.check(r.Last(1))
		rec, err := r.Read(s.ctx)
		if err != nil || fmt.Sprint(len(rec.Data)) != size {
			s.fail("%d bytes, not %s; %v", len(rec.Data), size, err)
		}
		s.tell("read")
	}},
	{"sixty-four readers hold; more may read", func(s *side) {
		w := s.writer("log", keyed(held(), "a"))
		var readers []*journal.Reader
		for range 64 {
			readers = append(readers, s.reader("log", holding()))
		}
		_, err := journal.NewReader(s.Node, "log", holding())
		s.want(err, journal.ErrTooManyReaders)
		readers = append(readers, s.reader("log", nil))
		s.tell("ready")
		all := []func() error{func() error { return s.puts(w, "a", 0, 40) }}
		for _, r := range readers {
			var c tally
			all = append(all, func() error { return s.tallies(r, &c, 40) })
		}
		s.together(all...)
		s.check(readers[7].Close())
		s.reader("log", holding())
		s.hear("done")
	}, func(s *side) {
		s.hear("ready")
		_, err := journal.NewReader(s.Node, "log", holding())
		s.want(err, journal.ErrTooManyReaders)
		var c tally
		s.check(s.tallies(s.reader("log", nil), &c, 40))
		s.tell("done")
	}},
	{"journals are of one bus, by name", func(s *side) {
		for _, name := range []string{"", "a b", "ü"} {
			if _, err := journal.NewWriter(s.Node, name, nil); err == nil {
				s.fail("a journal named %q", name)
			}
			if _, err := journal.NewReader(s.Node, name, nil); err == nil || errors.Is(err, fs.ErrNotExist) {
				s.fail("a reader of journal %q: %v", name, err)
			}
		}
		one, two := s.writer("one", keyed(loose(), "1")), s.writer("two/x", keyed(loose(), "2"))
		s.check(s.puts(one, "1", 0, 5))
		s.check(s.puts(two, "2", 0, 7))
		s.meet("written")
		s.hear("refused")
		s.check(errors.Join(one.Close(), two.Close()))
		s.tell("closed")
		s.hear("removed")
		_, err := journal.NewReader(s.Node, "one", nil)
		s.want(err, fs.ErrNotExist)
		s.check(s.writer("one", &journal.Options{Size: 1 << 20, Mode: journal.Reject, NoChecksum: true}).Close())
	}, func(s *side) {
		s.meet("written")
		for name, n := range map[string]uint64{"one": 5, "two/x": 7} {
			r := s.reader(name, nil)
			var c tally
			s.rest(r, &c)
			if c.got != n {
				s.fail("%s: %+v", name, c)
			}
			for _, o := range []*journal.Options{{Size: 1 << 20}, {Mode: journal.Reject}, {NoChecksum: true}} {
				var m *journal.MismatchError
				if _, err := journal.NewWriter(s.Node, name, o); !errors.As(err, &m) || m.Journal != name {
					s.fail("%+v: %v", o, err)
				}
			}
			if err := journal.Remove(s.Node, name); err == nil || !strings.Contains(err.Error(), "in use by node") {
				s.fail("removed while it is open: %v", err)
			}
			s.check(r.Close())
		}
		s.tell("refused")
		s.hear("closed")
		for _, name := range []string{"one", "two/x"} {
			s.check(journal.Remove(s.Node, name))
			s.want(journal.Remove(s.Node, name), fs.ErrNotExist)
		}
		if areas := s.Segment().Areas(); len(areas) != 0 {
			s.fail("there are areas: %+v", areas)
		}
		s.tell("removed")
	}},
}
