//go:build !race

package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/segment"
)

// A stage is a bus in a file on which processes die and stop while nodes of
// this one, the survivors, go on.
type stage struct {
	*testing.T
	ctx  context.Context
	dir  string
	node *ringbus.Node
	acks map[string]uint64 // by the key of a writer of this process
	mu   sync.Mutex        // of acks
}

// newStage is a stage whose keeper is of the given kernel, 0 for ours.
func newStage(t *testing.T, kernel uint64) *stage {
	t.Helper()
	s := &stage{T: t, ctx: soon(t), dir: shmtest.Dir(t), acks: make(map[string]uint64)}
	s.node = s.join("keeper", kernel)
	return s
}

// join attaches one more node of this process, of the given kernel, 0 for ours.
func (s *stage) join(name string, kernel uint64) *ringbus.Node {
	s.Helper()
	n, end, err := joinAs(s.dir, name, kernel)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := end(); err != nil && !errors.Is(err, ringbus.ErrFenced) {
			s.Error(err)
		}
	})
	return n
}

// suspectAfter is how long the nodes of these tests wait for a heartbeat of
// another kernel. It is less than a beat, so that who lives is suspect at times.
const suspectAfter = 20 * time.Millisecond

// joinAs opens the bus in dir and joins it.
func joinAs(dir, name string, kernel uint64) (*ringbus.Node, func() error, error) {
	seg, err := segment.Open("bus", &segment.Options{Dir: dir, Size: busSize, Kernel: kernel, SuspectAfter: suspectAfter})
	if err != nil {
		return nil, nil, err
	}
	n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
	if err != nil {
		return nil, nil, errors.Join(err, seg.Close())
	}
	return n, func() error { return errors.Join(n.Close(), seg.Close()) }, nil
}

// joinAsGuest joins as a VM does: all that it has of the bus is its memory.
func joinAsGuest(dir, name string, _ uint64) (*ringbus.Node, func() error, error) {
	f, err := os.OpenFile(filepath.Join(dir, "bus"), os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	b, err := sys.Map(f, st.Size(), true)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, err
	}
	seg, err := segment.FromBytes(b, &segment.Options{Kernel: 2, SuspectAfter: suspectAfter})
	if err != nil {
		return nil, nil, err
	}
	n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
	if err != nil {
		return nil, nil, err
	}
	return n, func() error { return errors.Join(n.Close(), seg.Close(), sys.Unmap(b)) }, nil
}

func (s *stage) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) writer(n *ringbus.Node, name string, o *journal.Options) *journal.Writer {
	s.Helper()
	w, err := journal.NewWriter(n, name, o)
	s.check(err)
	return w
}

func (s *stage) reader(n *ringbus.Node, name string, o *journal.ReaderOptions) *journal.Reader {
	s.Helper()
	r, err := journal.NewReader(n, name, o)
	s.check(err)
	return r
}

// A listener reads for ever, and judges each record.
type listener struct {
	r     *journal.Reader
	mu    sync.Mutex
	c     tally
	ended chan struct{}
	err   error // once it has ended
}

// listen begins to read when gate returns.
func (s *stage) listen(r *journal.Reader, gate func()) *listener {
	l := &listener{r: r, ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		if gate != nil {
			gate()
		}
		for rec, err := range r.Tail(s.ctx) {
			if err == nil {
				l.mu.Lock()
				err = l.c.take(rec)
				l.mu.Unlock()
			}
			if l.err = err; err != nil {
				break
			}
		}
		_ = r.Close() // who does not read any more must not hold others up
	}()
	s.Cleanup(func() {
		_ = r.Close()
		<-l.ended
	})
	return l
}

// quit ends the listener.
func (s *stage) quit(all ...*listener) {
	s.Helper()
	for _, l := range all {
		s.check(l.r.Close())
		if <-l.ended; !errors.Is(l.err, journal.ErrClosed) {
			s.Error(l.err)
		}
	}
}

// look is a copy of what the listener has so far.
func (l *listener) look() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.c
	c.next = make(map[string]uint64)
	for k, n := range l.c.next {
		c.next[k] = n
	}
	return c
}

// catchesUp waits until the listener has been told of all the records there
// are.
func (s *stage) catchesUp(who string, l *listener, name string) tally {
	s.Helper()
	var c tally
	var total uint64
	ok := eventually(func() bool {
		select {
		case <-l.ended:
			return true
		default:
		}
		in := look(s.node.Segment(), name).info
		c, total = l.look(), in.Given+in.Records
		return c.seen() >= total && c.seq >= total
	})
	select {
	case <-l.ended:
		s.Errorf("%s has ended: %v", who, l.err)
	default:
	}
	if !ok {
		open, err := l.r.Unfinished()
		s.Fatalf("%s was told of %d records, %d are there; unfinished: %+v, %v", who, c.seen(), total, open, err)
	}
	return c
}

// appends writes count records more.
func (s *stage) appends(w *journal.Writer, mode journal.Mode, key string, count uint64) error {
	s.mu.Lock()
	n := s.acks[key]
	s.mu.Unlock()
	for end := n + count; n < end; {
		err := put(s.ctx, w, key, n)
		switch {
		case err == nil:
			n++
			s.mu.Lock()
			s.acks[key] = n
			s.mu.Unlock()
		case mode != journal.Reject && errors.Is(err, journal.ErrLapped):
		default:
			return fmt.Errorf("record %d of %q: %w", n, key, err)
		}
	}
	return nil
}

// sound recovers the dead and fails the test if anything is wrong with the
// bus, or if anything in it belongs to nobody.
func (s *stage) sound(names ...string) {
	s.Helper()
	if _, err := s.node.Recover(); err != nil {
		s.Fatal(err)
	}
	seg := s.node.Segment()
	for _, p := range seg.Verify() {
		s.Error(p)
	}
	live := make(map[segment.Owner]bool)
	for _, n := range seg.Nodes() {
		if n.Status == segment.Dead {
			s.Errorf("node %q (%v) is dead and not recovered", n.Name, n.Owner)
		}
		live[n.Owner] = true
	}
	for _, name := range names {
		v := look(seg, name)
		for _, w := range v.wrong {
			s.Error(w)
		}
		for _, c := range v.info.Open {
			if !live[segment.Owner(c.Owner)] {
				s.Errorf("journal %q: the claim at %d belongs to nobody", name, c.Position)
			}
		}
		area, err := seg.Find(segment.Key{Kind: segment.KindJournal, Name: name})
		s.check(err)
		all, _ := owners(area)
		for _, o := range all {
			if !live[o] {
				s.Errorf("journal %q: an entry belongs to %v, which is nobody", name, o)
			}
		}
	}
}

// exercise shows that every cell of the journal can still be had: with one
// reader that holds and does not read, it takes as many records of one cell as
// it has cells, and no more; in overwrite mode it goes around. No other reader
// may hold anything.
func (s *stage) exercise(name string) {
	s.Helper()
	const key = "tiny"
	w := s.writer(s.node, name, &journal.Options{NoWait: true, NoTime: true, Key: key})
	r := s.reader(s.node, name, holding())
	cells := uint64(look(s.node.Segment(), name).info.Cells)
	for range 2 {
		s.check(r.Last(0))
		var err error
		n := uint64(0)
		for ; n < 2*cells && err == nil; n++ {
			err = s.appends(w, r.Mode(), key, 1)
		}
		switch full := errors.Is(err, journal.ErrFull); {
		case r.Mode() == journal.Reject && (!full || n != cells+1):
			s.Errorf("journal %q: full after %d records of a cell, want %d: %v", name, n-1, cells, err)
		case r.Mode() == journal.Overwrite && err != nil:
			s.Errorf("journal %q: %v", name, err)
		}
	}
	s.check(errors.Join(w.Close(), r.Close()))
	if in := look(s.node.Segment(), name).info; in.OutOfUse != 0 || len(in.Open) != 0 {
		s.Errorf("journal %q: %d cells are out of use, %+v are open", name, in.OutOfUse, in.Open)
	}
}
