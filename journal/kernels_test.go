package journal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/segment"
)

// two is one bus as two kernels see it.
type two struct {
	*testing.T
	ctx         context.Context
	host, guest *segment.Segment
}

func newTwo(t *testing.T) *two {
	t.Helper()
	b := mem.Alloc(busSize)
	of := func(id uint64) *segment.Segment {
		s, err := segment.FromBytes(b, &segment.Options{Kernel: id, SuspectAfter: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	return &two{t, soon(t), of(1), of(2)}
}

// node joins the bus on one of the kernels.
func (k *two) node(seg *segment.Segment, name string) *ringbus.Node {
	k.Helper()
	n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() {
		if err := n.Close(); err != nil && !errors.Is(err, ringbus.ErrFenced) {
			k.Error(err)
		}
	})
	return n
}

// evict has an operator evict who has the given name.
func (k *two) evict(name string) {
	k.Helper()
	o, err := k.host.Join("operator")
	if err != nil {
		k.Fatal(err)
	}
	for _, n := range k.host.Nodes() {
		if n.Name == name {
			if err := o.Evict(n.Slot); err != nil {
				k.Fatal(err)
			}
		}
	}
	if err := o.Leave(); err != nil {
		k.Fatal(err)
	}
}

func (k *two) owner(name string) segment.Owner {
	k.Helper()
	for _, n := range k.host.Nodes() {
		if n.Name == name {
			return n.Owner
		}
	}
	k.Fatalf("no node %q", name)
	return 0
}

// A reader of another kernel that is silent may be dead: nobody can know. It
// holds nobody up; if it comes back it is told what it lost.
func TestASilentReaderOfAnotherKernelHoldsNobodyUp(t *testing.T) {
	k := newTwo(t)
	host, guest := k.node(k.host, "host"), k.node(k.guest, "guest")
	w := open(t, host, "log", keyed(held(), "host"))
	silent := reader(t, guest, "log", holding())
	runs := reader(t, host, "log", holding())
	var c, d tally
	for n := range uint64(400) { // waits until it is suspect, and goes on
		if err := put(k.ctx, w, "host", n); err != nil {
			t.Fatal(err)
		}
		for rec, err := range runs.Records() {
			if err == nil {
				err = c.take(rec)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if c.seen() != 400 || c.skip != (journal.Skipped{}) {
		t.Errorf("who runs: %+v", c)
	}
	for rec, err := range silent.Records() {
		if err == nil {
			err = d.take(rec)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if d.seen() != 400 || d.skip.Lost == 0 || d.size+d.skip.LostBytes != sumTo(400) {
		t.Errorf("who was silent: %+v", d)
	}
}

// A record that a suspect does not finish is stepped over at once, whoever came
// first: the record, or the reader's sleep.
func TestARecordOfASuspectIsSteppedOver(t *testing.T) {
	for _, mode := range []journal.Mode{journal.Overwrite, journal.Reject} {
		for _, asleepFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, reader sleeps first: %v", mode, asleepFirst), func(t *testing.T) {
				k := newTwo(t)
				host, guest := k.node(k.host, "host"), k.node(k.guest, "guest")
				w := open(t, host, "log", &journal.Options{Size: 1, Mode: mode})
				g := open(t, guest, "log", nil)
				r := reader(t, k.node(k.host, "reader"), "log", holding())
				sleeps := func() bool { n, _ := sleepers(k.host, "log"); return n == 1 }
				read := make(chan string, 10)
				go func() {
					defer close(read)
					for rec, err := range r.Tail(k.ctx) {
						if err != nil {
							return
						}
						read <- fmt.Sprint(string(rec.Data), " ", rec.Holes)
					}
				}()
				if asleepFirst {
					until(t, "the reader sleeps", sleeps)
				}
				res, err := g.Reserve(k.ctx, 10, 10, nil)
				if err != nil {
					t.Fatal(err)
				}
				write(t, w, "after")
				if got := <-read; got != "after 1" {
					t.Fatal(got)
				}
				if err := res.Commit(0); !errors.Is(err, journal.ErrLapped) { // not at fault, but late
					t.Errorf("late commit: %v", err)
				}
				write(t, g, "on time")
				// It may be slow once more, and make another hole.
				if got := <-read; !strings.HasPrefix(got, "on time ") {
					t.Error(got)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				<-read
			})
		}
	}
}

// Who was evicted and lives is told so by whatever it does; what it had is out
// of use, and what it writes late is nobody's.
func TestAnEvictedNodeIsToldAndHarmsNobody(t *testing.T) {
	k := newTwo(t)
	host, guest := k.node(k.host, "host"), k.node(k.guest, "guest")
	w := open(t, host, "log", loose())
	g := open(t, guest, "log", nil)
	r := reader(t, host, "log", nil)
	gr := reader(t, guest, "log", nil)
	full := open(t, guest, "full", held())
	fr := reader(t, guest, "full", holding())
	sleeper := make(chan error, 1)
	go func() {
		for {
			if _, err := full.Write(make([]byte, 1000)); err != nil {
				sleeper <- err
				return
			}
		}
	}()
	until(t, "a writer sleeps", func() bool { return sleeping(k.host, "full") == 1 })
	lapped, err := g.Reserve(k.ctx, 300, 300, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		write(t, w, "laps")
	}
	late, err := g.Reserve(k.ctx, 600, 600, nil)
	if err != nil {
		t.Fatal(err)
	}
	k.evict("guest")
	if err := <-sleeper; !errors.Is(err, journal.ErrFenced) {
		t.Errorf("the writer that slept: %v", err)
	}
	heir := k.node(k.host, "heir") // in the same slot
	h := open(t, heir, "log", keyed(&journal.Options{}, "heir"))
	hr := reader(t, heir, "full", holding())
	for what, err := range map[string]error{
		"commit of what was lapped": lapped.Commit(3),
		"commit":                    late.Commit(3),
		"write":                     second(g.Write(nil)),
		"reserve":                   second(g.Reserve(k.ctx, 1, 1, nil)),
		"read":                      second(gr.Read(k.ctx)),
		"read of what it held":      second(fr.Read(k.ctx)),
		"a new writer":              second(journal.NewWriter(guest, "log", nil)),
		"a new reader":              second(journal.NewReader(guest, "log", nil)),
	} {
		if !errors.Is(err, journal.ErrFenced) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, v := range []view{look(k.host, "log"), look(k.host, "full")} {
		if len(v.wrong) != 0 || len(v.info.Waiting) != 0 || len(v.info.Open) != 0 {
			t.Errorf("%v, %+v", v.wrong, v.info)
		}
	}
	// All its doings are late now: it closes everything.
	_ = errors.Join(g.Close(), gr.Close(), full.Close(), fr.Close(), guest.Close())
	var c tally
	c.late = true
	if err := r.Last(0); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(500) {
		if err := put(k.ctx, h, "heir", n); err != nil {
			t.Fatal(err)
		}
		rec, err := r.Read(k.ctx)
		if err == nil {
			err = c.take(rec)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if all, _ := retiredIn(t, k.host, "full"); !slices.Equal(all, []segment.Owner{k.owner("heir")}) {
		t.Errorf("entries of %v", all)
	}
	// The writer that slept is told that it is fenced, and may be faster than the
	// one that buries it.
	if _, retired := retiredIn(t, k.host, "full"); retired != 1 && retired != 2 {
		t.Errorf("%d entries are nobody's, want that of the reader, and of the writer that slept unless it gave it up", retired)
	}
	if err := hr.Close(); err != nil {
		t.Fatal(err)
	}
}

// A node whose eviction it does not know yet appends, and is told.
func TestAWriterThatIsFencedWhileItClaims(t *testing.T) {
	k := newTwo(t)
	host, guest := k.node(k.host, "host"), k.node(k.guest, "guest")
	w, g := open(t, host, "log", loose()), open(t, guest, "log", nil)
	write(t, w, "one")
	k.evict("guest")
	if _, err := g.Write([]byte("two")); !errors.Is(err, journal.ErrFenced) {
		t.Error(err)
	}
	write(t, w, "three")
	r := reader(t, host, "log", nil)
	if got := texts(t, r); !slices.Equal(got, []string{"one", "three"}) {
		t.Errorf("%q, %+v", got, r.Skipped())
	}
	for range 600 { // around, over what it had claimed
		write(t, w, "x")
	}
	if v := look(k.host, "log"); len(v.wrong) != 0 {
		t.Error(v.wrong)
	}
}
