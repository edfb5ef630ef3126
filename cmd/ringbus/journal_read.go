package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/journal"
)

// tailer prints what a reader of a journal finds.
type tailer struct {
	ctx     context.Context
	name    string
	r       *journal.Reader
	out     *bufio.Writer
	write   func(*bufio.Writer, journal.Record) error
	json    bool
	records uint64
	bytes   uint64
	told    journal.Skipped // so far
	due     journal.Skipped // to be told
	next    time.Time       // not before this, if it follows
	follow  bool
	waits   uint64 // position of the record that it waits for, once it did for long
	said    uint64 // that standard error was told of
}

// tail is the verb journal tail.
func (g *global) tail(ctx context.Context, name string, f *tailFlags) error {
	r, end, err := g.openTail(ctx, name, f)
	if err != nil {
		return err
	}
	defer func() { _ = end() }()
	t := &tailer{ctx: ctx, name: r.Journal(), r: r, out: bufio.NewWriterSize(os.Stdout, 256<<10), json: g.json, follow: f.follow}
	t.write = f.printer(g.json, sys.Terminal(os.Stdout))
	if f.hold && r.Mode() != journal.Reject {
		t.say("the journal overwrites its oldest records when it is full: --hold holds nothing")
	}
	err = t.seek(f)
	if err == nil {
		err = t.run(f)
	}
	if ferr := t.out.Flush(); err == nil {
		err = ferr
	}
	open := t.rest(f)
	if cerr := end(); err == nil {
		err = cerr
	}
	t.summary(open)
	if err == nil && t.told.Corrupt > 0 {
		return errSaid
	}
	return err
}

// seek goes to where the flags say. That a position is gone is told, and the
// oldest record is the next.
func (t *tailer) seek(f *tailFlags) (err error) {
	switch {
	case f.changed("after"):
		err = t.r.After(f.after)
	case f.changed("since"):
		err = t.r.Since(f.from)
	case f.changed("last"):
		err = t.r.Last(f.last)
	}
	var gone *journal.GoneError
	if errors.As(err, &gone) {
		t.say("%v: beginning there", err)
		err = nil
	}
	return err
}

// run ends at the end of the journal as it is now, or when the context is done.
func (t *tailer) run(f *tailFlags) error {
	end := uint64(1<<64 - 1) // an image does not grow
	if !f.follow && f.image == "" {
		end = t.r.End()
	}
	for f.count == 0 || t.records < f.count {
		if t.records%16 == 0 && t.ctx.Err() != nil {
			return t.ctx.Err()
		}
		rec, ok, err := t.r.TryRead()
		if err == nil && !ok {
			if err = t.out.Flush(); err == nil && !f.follow {
				return nil
			}
			if err == nil {
				rec, err = t.wait()
			}
		}
		if err != nil || rec.Position >= end {
			return err
		}
		t.tell(rec.Skipped, fmt.Sprintf("before position %d", rec.Position))
		t.records++
		t.bytes += uint64(len(rec.Data))
		if err := t.write(t.out, rec); err != nil {
			return err
		}
	}
	return nil
}

// wait waits for a record, and says who keeps it waiting.
func (t *tailer) wait() (journal.Record, error) {
	for {
		ctx, cancel := context.WithTimeout(t.ctx, time.Second)
		rec, err := t.r.Read(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || t.ctx.Err() != nil {
			return rec, err
		}
		t.tell(journal.Skipped{}, "so far")
		u, _ := t.r.WaitsFor()
		if at := u.Position; at != 0 && at == t.waits && at != t.said {
			t.said = at
			t.say("waiting for %q, which has not finished its record at position %d: \"ringbus journal info\" says more", u.Writer, at)
		}
		t.waits = u.Position
	}
}

// tell says what was passed without being printed: where it was, or, of a
// journal that is followed, once a second. JSON has it in the record.
func (t *tailer) tell(s journal.Skipped, where string) {
	t.told, t.due = plus(t.told, s), plus(t.due, s)
	if t.json || t.due == (journal.Skipped{}) || t.follow && time.Now().Before(t.next) {
		return
	}
	s, t.due, t.next = t.due, journal.Skipped{}, time.Now().Add(time.Second)
	for _, p := range []struct {
		n    uint64
		what string
	}{
		{s.Lost, fmt.Sprintf("records of %s went before they were read", human(s.LostBytes))},
		{s.Tombs, "records never finished: their writers died over them"},
		{s.Holes, "records taken away from writers that stood still"},
		{s.Corrupt, "times the journal was damaged, and what was there was passed"},
	} {
		if p.n > 0 {
			t.say("%s: %d %s", where, p.n, p.what)
		}
	}
}

func plus(a, b journal.Skipped) journal.Skipped {
	return journal.Skipped{
		Lost: a.Lost + b.Lost, LostBytes: a.LostBytes + b.LostBytes,
		Tombs: a.Tombs + b.Tombs, Holes: a.Holes + b.Holes, Corrupt: a.Corrupt + b.Corrupt,
	}
}

// say says something on standard error, after what was printed.
func (t *tailer) say(format string, args ...any) {
	_ = t.out.Flush() // the next write has the error too
	text := fmt.Sprintf(format, args...)
	if t.json {
		_ = json.NewEncoder(os.Stderr).Encode(map[string]string{"notice": text})
		return
	}
	fmt.Fprintf(os.Stderr, "ringbus: %s\n", text)
}

// rest tells what was passed after the last record, and what is not finished.
func (t *tailer) rest(f *tailFlags) []journal.Unfinished {
	t.follow = false // nothing comes later
	var s journal.Skipped
	if all := t.r.Skipped(); f.count == 0 {
		s = journal.Skipped{
			Lost: all.Lost - t.told.Lost, LostBytes: all.LostBytes - t.told.LostBytes, Tombs: all.Tombs - t.told.Tombs,
			Holes: all.Holes - t.told.Holes, Corrupt: all.Corrupt - t.told.Corrupt,
		}
	}
	t.tell(s, "at the end")
	open, err := t.r.Unfinished()
	if err != nil {
		t.say("looking for unfinished records: %v", err)
	}
	if !t.json && !f.follow {
		for _, o := range open {
			t.say("unfinished: the record of %q at position %d, %s", o.Writer, o.Position, human(o.Size))
		}
	}
	return open
}

// tailSum is the summary as JSON.
type tailSum struct {
	Records    uint64       `json:"records"`
	Bytes      uint64       `json:"bytes"`
	Lost       uint64       `json:"lost"`
	LostBytes  uint64       `json:"lost_bytes"`
	Tombs      uint64       `json:"tombs"`
	Holes      uint64       `json:"holes"`
	Corrupt    uint64       `json:"corrupt"`
	Unfinished []unfinished `json:"unfinished"`
}

type unfinished struct {
	Position uint64 `json:"position"`
	Writer   string `json:"writer"`
	Size     int    `json:"size"`
}

func (t *tailer) summary(open []journal.Unfinished) {
	s := t.told
	if !t.json {
		fmt.Fprintf(os.Stderr, "records=%d bytes=%d lost=%d tombs=%d holes=%d corrupt=%d unfinished=%d\n",
			t.records, t.bytes, s.Lost, s.Tombs, s.Holes, s.Corrupt, len(open))
		return
	}
	all := tailSum{t.records, t.bytes, s.Lost, s.LostBytes, s.Tombs, s.Holes, s.Corrupt, []unfinished{}}
	for _, o := range open {
		all.Unfinished = append(all.Unfinished, unfinished(o))
	}
	_ = json.NewEncoder(os.Stderr).Encode(all)
}
