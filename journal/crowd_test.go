//go:build !race

package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
)

func init() { roles["member"] = member }

// perMember is how many records each process of a crowd writes.
const perMember = 120

// member writes its records, and reads everybody's, without losing one; and
// reads those of another journal, which goes around, as they come.
func member(args []string) error {
	crowd, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	node, end, err := joinAs(args[0], args[1], 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	defer cancel()
	all, err := journal.NewReader(node, "log", holding())
	if err != nil {
		return err
	}
	some, err := journal.NewReader(node, "some", nil)
	if err != nil {
		return err
	}
	fmt.Println("joined")
	shmtest.Listen(func(string) bool { return false })
	wrote := make(chan error, 1)
	go func() { wrote <- memberWrites(ctx, args) }()
	var c, d tally
	for c.seen() < uint64(crowd*perMember) && err == nil {
		var rec journal.Record
		if rec, err = all.Read(ctx); err == nil {
			err = c.take(rec)
		}
	}
	for d.seen() < uint64(crowd*perMember) && err == nil {
		var rec journal.Record
		if rec, err = some.Read(ctx); err == nil {
			err = d.take(rec)
		}
	}
	if err = errors.Join(err, <-wrote); err != nil {
		return err
	}
	size := uint64(crowd) * sumTo(perMember)
	if c.skip != (journal.Skipped{}) || len(c.next) != crowd || c.size != size {
		return fmt.Errorf("%+v", c)
	}
	if d.skip.Tombs+d.skip.Corrupt != 0 || d.size+d.skip.LostBytes != size {
		return fmt.Errorf("%+v", d)
	}
	fmt.Println("hash", c.hash)
	return errors.Join(all.Close(), some.Close(), end())
}

// memberWrites writes each record to both journals.
func memberWrites(ctx context.Context, args []string) error {
	node, end, err := joinAs(args[0], args[1]+"/w", 0)
	if err != nil {
		return err
	}
	all, err := journal.NewWriter(node, "log", keyed(held(), args[1]))
	if err != nil {
		return err
	}
	some, err := journal.NewWriter(node, "some", keyed(loose(), args[1]))
	if err != nil {
		return err
	}
	for n := range uint64(perMember) {
		if err := put(ctx, all, args[1], n); err != nil {
			return err
		}
		err := journal.ErrLapped
		for errors.Is(err, journal.ErrLapped) {
			err = put(ctx, some, args[1], n)
		}
		if err != nil {
			return err
		}
	}
	return end()
}

func TestCrowdsOfProcesses(t *testing.T) {
	for crowd := 1; crowd <= 8; crowd++ {
		t.Run(fmt.Sprintf("%d processes", crowd), func(t *testing.T) {
			s := newStage(t, 0)
			s.writer(s.node, "log", held())
			s.writer(s.node, "some", loose())
			var procs []*shmtest.Proc
			for i := range crowd {
				procs = append(procs, shmtest.Start(t, "member", nil, s.dir, fmt.Sprint("m", i), fmt.Sprint(crowd)))
			}
			for _, p := range procs {
				p.Expect("joined")
			}
			for _, p := range procs {
				p.Say("go")
			}
			hash := ""
			for i, p := range procs {
				if h := p.Expect("hash"); i == 0 {
					hash = h
				} else if h != hash {
					t.Errorf("process %d read another order", i)
				}
			}
			for _, p := range procs {
				p.Success()
			}
			s.sound("log", "some")
			s.exercise("log")
			s.exercise("some")
		})
	}
}

// Readers see who holds them up: a writer that is stopped, by its node's name.
func TestAStoppedWriterIsNamed(t *testing.T) {
	s := newStage(t, 0)
	s.writer(s.node, "log", held())
	p := shmtest.Start(t, "half", nil, s.dir)
	p.Expect("reserved")
	p.Stop()
	w := s.writer(s.node, "log", keyed(held(), "keeper"))
	s.check(s.appends(w, journal.Reject, "keeper", 5))
	r := s.reader(s.node, "log", holding())
	for range 3 {
		if _, ok, err := r.TryRead(); ok || err != nil {
			t.Fatal(ok, err)
		}
		if rep, err := s.node.Recover(); err != nil || len(rep.Dead) != 0 {
			t.Fatal(rep, err)
		}
	}
	open, err := r.Unfinished()
	if err != nil || len(open) != 1 || open[0].Writer != "half" {
		t.Errorf("%+v, %v", open, err)
	}
	p.Continue()
	p.Say("go")
	p.Success()
	var c tally
	for rec, err := range r.Records() {
		s.check(err)
		s.check(c.take(rec))
	}
	if c.next["half"] != 1 || c.next["keeper"] != 5 {
		t.Errorf("%+v", c)
	}
	s.check(r.Close())
	s.sound("log")
	s.exercise("log")
}

// A writer that is killed in the middle of a record, at no step of the protocol.
func TestAWriterThatIsKilledWhileItFillsARecord(t *testing.T) {
	s := newStage(t, 0)
	s.writer(s.node, "log", held())
	l := s.listen(s.reader(s.node, "log", holding()), nil)
	for i := range 5 {
		p := shmtest.Start(t, "half", nil, s.dir)
		p.Expect("reserved")
		w := s.writer(s.node, "log", keyed(held(), "keeper"))
		s.check(s.appends(w, journal.Reject, "keeper", 5))
		p.Kill()
		if c := s.catchesUp("the reader", l, "log"); c.next["keeper"] != uint64(5*i+5) || c.skip != (journal.Skipped{Tombs: uint64(i + 1)}) {
			t.Errorf("%+v", c)
		}
	}
	s.quit(l)
	s.sound("log")
	s.exercise("log")
}

func init() {
	roles["half"] = func(args []string) error {
		node, end, err := joinAs(args[0], "half", 0)
		if err != nil {
			return err
		}
		w, err := journal.NewWriter(node, "log", keyed(held(), "half"))
		if err != nil {
			return err
		}
		r, err := w.Reserve(context.Background(), sizeOf(0), 2000, nil)
		if err != nil {
			return err
		}
		copy(r.Data(), "half of a record")
		fmt.Println("reserved")
		shmtest.Listen(func(string) bool { return false })
		return errors.Join(r.Commit(len(fill(r.Data()[:sizeOf(0)], "half", 0))), w.Close(), end())
	}
}
