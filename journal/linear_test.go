//go:build !race

package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/journal"
)

// Histories across processes are checked against one log. Each call has a begin
// and an end by the clock that all processes share; for a log whose appends say
// their positions no search is needed:
//
//   - an append that had ended when another one began is before it;
//   - nothing is read before its append began;
//   - who looks and finds nothing stands before a record whose append had not
//     ended when the look began, or before none.
//
// The ring's own histories, within one process, are checked by porcupine.

// An event is one call of a party.
type event struct {
	begin, end int64
	what       string // append, read, or look: nothing was there
	pos        uint64 // of the record; of a look, all before was read
}

func init() { roles["historian"] = chronicle }

// chronicle appends and reads in turn, and tells what it did.
func chronicle(args []string) error {
	node, end, err := joinAs(args[0], args[1], 0)
	if err != nil {
		return err
	}
	w, err := journal.NewWriter(node, "log", &journal.Options{Key: args[1]})
	if err != nil {
		return err
	}
	r, err := journal.NewReader(node, "log", nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var all []event
	next := uint64(0)
	shmtest.Listen(func(when string) bool {
		var start int64
		if _, err = fmt.Sscan(when, &start); err != nil {
			return false
		}
		for sys.Monotonic() < start { // all at once
			runtime.Gosched()
		}
		for n := uint64(0); n < 6000 && err == nil; n++ {
			e := event{what: "append", begin: sys.Monotonic()}
			if n%3 == 0 {
				e.pos, err = w.Append(context.Background(), datum(args[1], n)[:8], nil)
			} else {
				var rec journal.Record
				var ok bool
				e.what, e.pos = "look", next
				if rec, ok, err = r.TryRead(); ok {
					e.what, e.pos, next = "read", rec.Position, rec.Position+1
				}
			}
			e.end = sys.Monotonic()
			all = append(all, e)
		}
		return false
	})
	for _, e := range all {
		fmt.Println(e.begin, e.end, e.what, e.pos)
	}
	return errors.Join(err, w.Close(), r.Close(), end())
}

func TestHistoriesOfProcessesAreThoseOfOneLog(t *testing.T) {
	for round := range 4 {
		s := newStage(t, 0)
		s.writer(s.node, "log", &journal.Options{Size: 4 << 20}) // nothing goes
		var procs []*shmtest.Proc
		for i := range 2 + round {
			p := shmtest.Start(t, "historian", nil, s.dir, fmt.Sprint("h", i))
			p.Expect("ready")
			procs = append(procs, p)
		}
		start := sys.Monotonic() + int64(5*time.Millisecond)
		for _, p := range procs {
			p.Say(fmt.Sprint(start))
		}
		var all []event
		for _, p := range procs {
			p.Each(func(line string) {
				var e event
				if _, err := fmt.Sscan(line, &e.begin, &e.end, &e.what, &e.pos); err != nil {
					t.Fatal(line, err)
				}
				all = append(all, e)
			})
			p.Success()
		}
		if wrong := unlike(all); len(wrong) > 0 {
			t.Errorf("%d processes:\n%s", len(procs), strings.Join(wrong[:min(len(wrong), 10)], "\n"))
		}
		overlaps := 0
		appends := of(all, "append")
		for i := 1; i < len(appends); i++ {
			if appends[i].begin < appends[i-1].end {
				overlaps++
			}
		}
		t.Logf("%d processes: %d appends, %d of them at once with the one before, %d reads, %d looks at nothing",
			len(procs), len(appends), overlaps, len(of(all, "read")), len(of(all, "look")))
	}
}

// of returns the events of one kind by position.
func of(all []event, what string) (out []event) {
	for _, e := range all {
		if e.what == what {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b event) int { return int(int64(a.pos - b.pos)) })
	return out
}

// unlike says what of a history cannot have happened to one log.
func unlike(all []event) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	appends := of(all, "append")
	ends := int64(math.MaxInt64) // the first of what is behind
	for i, e := range slices.Backward(appends) {
		if i > 0 && appends[i-1].pos == e.pos {
			say("two records at %d", e.pos)
		}
		if ends < e.begin {
			say("%+v is before one that had ended at %d", e, ends)
		}
		ends = min(ends, e.end)
	}
	find := func(pos uint64) (event, bool) { // the first at pos or after
		i, _ := slices.BinarySearchFunc(appends, pos, func(e event, pos uint64) int { return int(int64(e.pos - pos)) })
		if i == len(appends) {
			return event{}, false
		}
		return appends[i], true
	}
	for _, e := range of(all, "read") {
		if a, ok := find(e.pos); !ok || a.pos != e.pos || a.begin > e.end {
			say("%+v was read, %+v appended", e, a)
		}
	}
	for _, e := range of(all, "look") {
		if a, ok := find(e.pos); ok && a.end < e.begin {
			say("%+v found nothing, though %+v had ended", e, a)
		}
	}
	return wrong
}

func TestHistoriesThatNoLogHasAreFoundOut(t *testing.T) {
	good := []event{{1, 3, "append", 256}, {2, 5, "append", 258}, {4, 6, "read", 256}, {4, 6, "look", 257}, {7, 9, "read", 258}, {8, 9, "look", 259}}
	if wrong := unlike(good); len(wrong) > 0 {
		t.Error(wrong)
	}
	for what, e := range map[string]event{
		"an append before one that had ended": {6, 7, "append", 257},
		"two at one place":                    {2, 3, "append", 256},
		"a read of what is not there":         {4, 6, "read", 257},
		"a read of what is not begun":         {0, 1, "read", 258},
		"nothing where there is something":    {6, 7, "look", 257},
	} {
		if len(unlike(append(slices.Clone(good), e))) == 0 {
			t.Errorf("%s is not found out", what)
		}
	}
}
