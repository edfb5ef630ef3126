package journal_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/segment"
)

// A conversation is what two sides do to each other, wherever they are: in one
// process on the heap, in two mappings, in two processes.
type conversation struct {
	name string
	a, b func(s *side)
}

// A place is where the two sides of a conversation meet. The heap is one that
// the race detector sees; mappings and processes are added where it is off.
type place struct {
	name string
	// talk has the two sides hold a conversation, a in the test's goroutine.
	talk func(t *testing.T, c *conversation)
}

var places = []place{{"heap", func(t *testing.T, c *conversation) { local(t, c, onHeap(t)) }}}

// opener makes a node of one bus.
type opener func(name string) (*ringbus.Node, error)

// onHeap makes a bus on the heap.
func onHeap(t testing.TB) opener {
	t.Helper()
	seg, err := segment.FromBytes(mem.Alloc(busSize), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := seg.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(name string) (*ringbus.Node, error) { return ringbus.Attach(seg, &ringbus.Options{Name: name}) }
}

// A side is one of the two parties of a conversation: a node, and a way to say
// to the other side how far it is.
type side struct {
	*ringbus.Node
	ctx  context.Context // ends where waiting any longer would be in vain
	open opener
	more []*ringbus.Node
	die  func(err error) // does not return
	tell func(word string)
	next func() string
}

// check ends the conversation if err is not nil.
func (s *side) check(err error) {
	if err != nil {
		s.fail("%w", err)
	}
}

// fail ends the conversation.
func (s *side) fail(format string, args ...any) {
	at := "?"
	for depth := 1; depth < 8; depth++ { // the first that is no helper of ours
		if _, file, line, ok := runtime.Caller(depth); ok && filepath.Base(file) != "place_test.go" {
			at = fmt.Sprintf("%s:%d", filepath.Base(file), line)
			break
		}
	}
	s.die(fmt.Errorf("%s, %s: %w", s.Name(), at, fmt.Errorf(format, args...)))
}

// want ends the conversation unless err is target.
func (s *side) want(err, target error) {
	if !errors.Is(err, target) {
		s.fail("got %v, want %v", err, target)
	}
}

// hear waits until the other side says word.
func (s *side) hear(word string) {
	if got := s.next(); got != word {
		s.fail("heard %q, want %q", got, word)
	}
}

// another returns one more node on this side.
func (s *side) another(name string) *ringbus.Node {
	n, err := s.open(name)
	s.check(err)
	s.more = append(s.more, n)
	return n
}

func (s *side) writer(name string, o *journal.Options) *journal.Writer {
	w, err := journal.NewWriter(s.Node, name, o)
	s.check(err)
	return w
}

func (s *side) reader(name string, o *journal.ReaderOptions) *journal.Reader {
	r, err := journal.NewReader(s.Node, name, o)
	s.check(err)
	return r
}

// run holds one side of a conversation.
func (s *side) run(name string, f func(*side)) {
	var err error
	if s.Node, err = s.open(name); err != nil {
		s.die(err)
	}
	f(s)
	for _, n := range append(s.more, s.Node) {
		s.check(n.Close())
	}
}

// local holds a conversation within this process.
func local(t *testing.T, c *conversation, open opener) {
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	defer cancel()
	ab, ba := make(chan string, 64), make(chan string, 64)
	ended := make(chan struct{})
	next := func(die func(error), words <-chan string) func() string {
		return func() string {
			select {
			case w := <-words:
				return w
			case <-ctx.Done():
				die(fmt.Errorf("the other side says nothing any more: %w", ctx.Err()))
			}
			return ""
		}
	}
	die := func(end func()) func(error) {
		return func(err error) { // the first is the cause, others follow from it
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Error(err)
			}
			cancel()
			end()
		}
	}
	a := &side{ctx: ctx, open: open, die: die(t.FailNow), tell: func(w string) { ab <- w }}
	b := &side{ctx: ctx, open: open, die: die(runtime.Goexit), tell: func(w string) { ba <- w }}
	a.next, b.next = next(a.die, ba), next(b.die, ab)
	go func() {
		defer close(ended)
		b.run("b", c.b)
	}()
	well := false
	defer func() {
		if !well {
			cancel() // b must not go on after the test
		}
		<-ended
	}()
	a.run("a", c.a)
	well = true
}

// together runs functions at once, and checks what they return.
func (s *side) together(fs ...func() error) {
	var wg sync.WaitGroup
	errs := make([]error, len(fs))
	for i, f := range fs {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	s.check(errors.Join(errs...))
}

func TestConversations(t *testing.T) {
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			for i := range conversations {
				t.Run(conversations[i].name, func(t *testing.T) { p.talk(t, &conversations[i]) })
			}
		})
	}
}
