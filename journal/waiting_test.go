package journal_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/journal"
)

// full returns a writer of a journal without room, which a reader holds.
func (s *side) full(name string) *journal.Writer {
	w := s.writer(name, held())
	s.reader(name, holding())
	o := held()
	o.NoWait = true
	filler := s.writer(name, o)
	for {
		_, err := filler.Write(nil)
		if err != nil {
			s.want(err, journal.ErrFull)
			s.check(filler.Close())
			return w
		}
	}
}

var waiting = []conversation{
	{"two that sleep wake each other", func(s *side) {
		w := s.writer("ping", keyed(loose(), "a"))
		s.meet("made")
		r := s.reader("pong", &journal.ReaderOptions{Wait: asleep})
		s.meet("ready")
		var c tally
		for n := range uint64(400) {
			s.check(put(s.ctx, w, "a", n))
			s.check(s.tallies(r, &c, n+1))
		}
	}, func(s *side) {
		w := s.writer("pong", keyed(loose(), "b"))
		s.meet("made")
		r := s.reader("ping", &journal.ReaderOptions{Wait: asleep})
		s.meet("ready")
		var c tally
		for n := range uint64(400) {
			s.check(s.tallies(r, &c, n+1))
			s.check(put(s.ctx, w, "b", n))
		}
	}},
	{"one record wakes all who sleep", func(s *side) {
		w := s.writer("log", keyed(held(), "a"))
		var readers []*journal.Reader
		for i := range 12 {
			readers = append(readers, s.reader("log", &journal.ReaderOptions{Wait: asleep, Hold: i%2 == 0}))
		}
		s.meet("ready")
		var all []func() error
		for _, r := range readers {
			var c tally
			all = append(all, func() error { return s.tallies(r, &c, 60) })
		}
		s.together(append(all, func() error {
			for n := range uint64(60) {
				if err := put(s.ctx, w, "a", n); err != nil {
					return err
				}
				if n%10 == 0 {
					s.hear("go on")
				}
			}
			return nil
		})...)
	}, func(s *side) {
		s.writer("log", held())
		r := s.reader("log", &journal.ReaderOptions{Wait: asleep})
		s.meet("ready")
		var c tally
		for n := range uint64(60) {
			s.check(s.tallies(r, &c, n+1))
			if n%10 == 0 {
				s.tell("go on")
			}
		}
	}},
	{"a record that is finished late wakes who waits for it, one that is given up too", func(s *side) {
		w := s.writer("log", keyed(loose(), "a"))
		s.meet("ready")
		for n := range uint64(20) {
			r, err := w.Reserve(s.ctx, 8, 3000, nil)
			s.check(err)
			s.check(second(w.Append(s.ctx, datum("c", n), &journal.RecordOptions{Key: "c"})))
			s.tell("open")
			s.hear("waits")
			if n%2 == 0 {
				r.Discard()
			} else {
				s.check(r.Commit(len(fill(r.Data()[:sizeOf(n/2)], "a", n/2))))
			}
		}
	}, func(s *side) {
		s.writer("log", loose())
		r := s.reader("log", &journal.ReaderOptions{Wait: asleep})
		s.meet("ready")
		var c tally
		for n := range uint64(20) {
			s.hear("open")
			if _, ok, err := r.TryRead(); ok || err != nil {
				s.fail("%v, %v", ok, err)
			}
			s.tell("waits")
			s.check(s.tallies(r, &c, n+1+(n+1)/2))
		}
	}},
	{"many writers sleep over one reader", func(s *side) {
		w, err := journal.NewWriter(s.Node, "log", held())
		s.check(err)
		r := s.reader("log", holding())
		other := s.reader("log", holding())
		s.check(w.Close())
		s.tell("ready")
		var c, d tally
		s.together(
			func() error { return s.tallies(r, &c, 70*12) },
			func() error { return s.tallies(other, &d, 70*12) })
		if c.hash != d.hash || len(c.next) != 70 || c.skip != (journal.Skipped{}) {
			s.fail("%+v", c)
		}
	}, func(s *side) {
		s.hear("ready")
		var all []func() error
		for i := range 70 { // more than may sleep
			key := fmt.Sprintf("w/%d", i)
			w := s.writer("log", keyed(held(), key))
			all = append(all, func() error { return s.puts(w, key, 0, 12) })
		}
		s.together(all...)
	}},
	{"a writer that sleeps goes on when the reader leaves", func(s *side) {
		for _, leave := range []string{"reader", "node"} {
			n := s.another("leaver")
			w, err := journal.NewWriter(n, leave, held())
			s.check(err)
			r, err := journal.NewReader(n, leave, holding())
			s.check(err)
			s.meet(leave)
			s.hear("full")
			if !eventually(func() bool { return sleeping(s.Segment(), leave) == 1 }) {
				s.fail("the writer does not sleep")
			}
			if leave == "reader" {
				s.check(r.Close())
			} else {
				s.check(n.Close())
			}
			s.hear("went on")
			if leave == "reader" {
				s.check(w.Close())
			}
		}
	}, func(s *side) {
		for _, leave := range []string{"reader", "node"} {
			s.meet(leave)
			w := s.writer(leave, keyed(held(), "b"))
			s.check(s.puts(w, "b", 0, 10))
			s.tell("full") // soon
			s.check(s.puts(w, "b", 10, 300))
			s.tell("went on")
		}
	}},
	{"context ends every wait", func(s *side) {
		s.writer("empty", loose())
		reader := s.reader("empty", &journal.ReaderOptions{Wait: asleep})
		busy := s.reader("empty", &journal.ReaderOptions{Wait: ringbus.Wait{BusyPoll: true}})
		full := s.full("full")
		first, err := s.writer("open", loose()).Reserve(s.ctx, 1, 1, nil)
		s.check(err)
		open := s.reader("open", &journal.ReaderOptions{Wait: asleep})
		for what, wait := range map[string]func(context.Context) error{
			"Read":                         func(c context.Context) error { return second(reader.Read(c)) },
			"busy Read":                    func(c context.Context) error { return second(busy.Read(c)) },
			"Read of an unfinished record": func(c context.Context) error { return second(open.Read(c)) },
			"Append":                       func(c context.Context) error { return second(full.Append(c, nil, nil)) },
			"Reserve":                      func(c context.Context) error { return second(full.Reserve(c, 1, 1, nil)) },
			"AppendFunc": func(c context.Context) error {
				return full.AppendFunc(c, 1, 1, nil, func([]byte) (int, error) { return 0, nil })
			},
			"Tail": func(c context.Context) (err error) {
				for _, err = range reader.Tail(c) {
					continue
				}
				return err
			},
		} {
			s.check(interrupts(s.ctx, what, wait))
		}
		first.Discard()
	}, func(*side) {}},
	{"close from another goroutine ends every wait", func(s *side) {
		s.writer("empty", loose())
		s.full("full")
		for _, whole := range []bool{false, true} {
			for what, wait := range map[string]func(n *ringbus.Node) (func() error, func() error, error){
				"Read": func(n *ringbus.Node) (func() error, func() error, error) {
					r, err := journal.NewReader(n, "empty", &journal.ReaderOptions{Wait: asleep})
					return func() error { return second(r.Read(s.ctx)) }, func() error { return r.Close() }, err
				},
				"Tail": func(n *ringbus.Node) (func() error, func() error, error) {
					r, err := journal.NewReader(n, "empty", &journal.ReaderOptions{Wait: asleep})
					return func() (err error) {
						for _, err = range r.Tail(s.ctx) {
							continue
						}
						return err
					}, func() error { return r.Close() }, err
				},
				"Append": func(n *ringbus.Node) (func() error, func() error, error) {
					w, err := journal.NewWriter(n, "full", held())
					return func() error { return second(w.Append(s.ctx, nil, nil)) }, func() error { return w.Close() }, err
				},
				"Reserve": func(n *ringbus.Node) (func() error, func() error, error) {
					w, err := journal.NewWriter(n, "full", held())
					return func() error { return second(w.Reserve(s.ctx, 1, 2, nil)) }, func() error { return w.Close() }, err
				},
			} {
				n, err := s.open("waiter/" + what)
				s.check(err)
				call, end, err := wait(n)
				s.check(err)
				if whole {
					end = n.Close
				}
				s.together(
					func() error {
						if err := call(); !errors.Is(err, journal.ErrClosed) {
							return fmt.Errorf("%s: got %w", what, err)
						}
						return nil
					},
					func() error {
						time.Sleep(time.Millisecond) // let it sleep; it need not
						return end()
					})
				s.check(n.Close())
			}
		}
	}, func(*side) {}},
}

// interrupts checks that wait ends with its context: one that is done before,
// one that is cancelled, one whose time comes, and that not too early.
func interrupts(ctx context.Context, what string, wait func(context.Context) error) error {
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := wait(done); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s with a context that is done: %w", what, err)
	}
	later, cancel := context.WithCancel(ctx)
	time.AfterFunc(2*time.Millisecond, cancel)
	if err := wait(later); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s that is cancelled: %w", what, err)
	}
	start := time.Now()
	timed, cancel := context.WithTimeout(ctx, 3*time.Millisecond)
	defer cancel()
	if err := wait(timed); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s with a deadline: %w", what, err)
	}
	if took := time.Since(start); took < 3*time.Millisecond {
		return fmt.Errorf("%s with a deadline of 3 ms took %v", what, took)
	}
	return nil
}
