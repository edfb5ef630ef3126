//go:build !race

package journal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

func init() {
	places = append(places,
		place{"two mappings of a file", func(t *testing.T, c *conversation) { local(t, c, inFile(shmtest.Dir(t))) }},
		place{"two mappings of a memfd", func(t *testing.T, c *conversation) { local(t, c, inMemory(t)) }},
		place{"two processes", processes},
	)
	roles["side"] = roleSide
}

// inFile opens the bus in a directory, each time in a mapping of its own.
func inFile(dir string) opener {
	return func(name string) (*ringbus.Node, error) {
		return ringbus.Open("bus", &ringbus.Options{Name: name, Dir: dir, Size: busSize})
	}
}

// inMemory makes a bus in a memfd, of which each node has its own mapping.
func inMemory(t *testing.T) opener {
	first, err := segment.Memfd("bus", &segment.Options{Size: busSize})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	segs := []*segment.Segment{first}
	t.Cleanup(func() {
		for _, s := range segs {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return func(name string) (*ringbus.Node, error) {
		mu.Lock()
		defer mu.Unlock()
		seg, err := segment.OpenFD(first.File(), nil)
		if err != nil {
			return nil, err
		}
		segs = append(segs, seg)
		return ringbus.Attach(seg, &ringbus.Options{Name: name})
	}
}

// processes holds a conversation with another process.
func processes(t *testing.T, c *conversation) {
	dir := shmtest.Dir(t)
	p := shmtest.Start(t, "side", nil, dir, c.name)
	a := &side{
		ctx: soon(t), open: inFile(dir),
		die:  func(err error) { t.Helper(); t.Fatalf("%v\nthe other process said:\n%s", err, p.Stderr()) },
		tell: p.Say,
		next: p.Line,
	}
	a.run("a", c.a)
	p.Success()
}

// roleSide is side b of a conversation.
func roleSide(args []string) (err error) {
	var c *conversation
	for i := range conversations {
		if conversations[i].name == args[1] {
			c = &conversations[i]
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	defer cancel()
	in := bufio.NewScanner(os.Stdin)
	b := &side{
		ctx: ctx, open: inFile(args[0]),
		die: func(err error) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		},
		tell: func(w string) { fmt.Println(w) },
	}
	b.next = func() string {
		if !in.Scan() {
			b.die(errors.New("the other side says nothing any more"))
		}
		return in.Text()
	}
	b.run("b", c.b)
	return nil
}
