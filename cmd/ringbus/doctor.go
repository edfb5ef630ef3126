package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/segment"
)

func newDoctor(g *global) *cobra.Command {
	readOnly := false
	c := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Check every invariant of a bus, in use or left behind, and repair what can be",
		Long: `Check every invariant of the bus, or of the bus in FILE: one that is in use, or
one that everybody left or died on. Then take back what dead nodes held, as any
node does that opens the bus, check again, and say what was found and repaired.

The status is 1 if something remains wrong, or if it is no valid bus at all.`,
		Example: `  ringbus doctor
  ringbus doctor --bus plant --json
  ringbus doctor --read-only copy-of-a-bus`,
		Args: atMost(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			h, err := g.examine(file, readOnly)
			if err != nil {
				return err
			}
			if g.json {
				err = printJSON(h)
			} else {
				h.print()
			}
			if err == nil && len(h.Remaining) > 0 {
				return errSaid
			}
			return err
		},
	}
	c.Flags().BoolVar(&readOnly, "read-only", false, "look only, repair nothing")
	return c
}

// health is what the doctor found.
type health struct {
	Path      string            `json:"path"`
	Nodes     int               `json:"nodes"` // that live
	Topics    int               `json:"topics"`
	Journals  int               `json:"journals"`
	Streams   int               `json:"streams"`
	Queues    int               `json:"queues"`
	Found     []inspect.Problem `json:"found"`
	Dead      []inspect.Node    `json:"dead"` // that were there and not recovered
	Repaired  []string          `json:"repaired"`
	Remaining []inspect.Problem `json:"remaining"`
}

// examine checks the bus, or the one in file, repairs it, and checks again.
func (g *global) examine(file string, readOnly bool) (*health, error) {
	open := func(ro bool) (*segment.Segment, error) {
		o := g.segmentOptions()
		o.ReadOnly = ro
		if file != "" {
			return segment.OpenFile(file, o)
		}
		return segment.Open(g.bus, o)
	}
	seg, err := open(true)
	if err != nil {
		return nil, g.unreadable(file, err)
	}
	defer seg.Close()
	h := &health{Path: seg.Path(), Found: inspect.Verify(seg), Dead: []inspect.Node{}, Repaired: []string{}}
	h.Remaining = h.Found
	bus := inspect.Look(seg)
	h.count(bus)
	if readOnly {
		return h.full(), nil
	}
	rw, err := open(false)
	if err != nil {
		return nil, fmt.Errorf("%w; --read-only only looks", err)
	}
	defer rw.Close()
	if err := h.repair(rw, g.name); err != nil {
		return nil, err
	}
	h.Remaining = inspect.Verify(seg)
	after := inspect.Look(seg)
	for _, n := range h.Dead {
		if !slices.ContainsFunc(after.Nodes, func(m inspect.Node) bool { return m.Slot == n.Slot && m.Joined.Equal(n.Joined) }) {
			h.Repaired = append(h.Repaired, fmt.Sprintf("took back what node %d %q (process %d), which is dead, held", n.Slot, n.Name, n.Pid))
		}
	}
	for _, p := range h.Found {
		if !slices.Contains(h.Remaining, p) {
			h.Repaired = append(h.Repaired, p.String())
		}
	}
	return h.full(), nil
}

func (h *health) count(b inspect.Bus) {
	h.Topics, h.Journals, h.Streams, h.Queues = len(b.Topics), len(b.Journals), len(b.Streams), len(b.Queues)
	for _, n := range b.Nodes {
		if n.Status == segment.Dead.String() {
			h.Dead = append(h.Dead, n)
		} else {
			h.Nodes++
		}
	}
}

// full makes empty lists of those that are nil, for JSON.
func (h *health) full() *health {
	if h.Found == nil {
		h.Found = []inspect.Problem{}
	}
	if h.Remaining == nil {
		h.Remaining = []inspect.Problem{}
	}
	return h
}

// repair does what every node does on the way: it recovers the dead. And it
// removes the lanes of topics that are gone.
func (h *health) repair(seg *segment.Segment, name string) error {
	node, err := seg.Join(name)
	if err != nil {
		return err
	}
	_, err = node.Recover()
	if err == nil {
		for _, key := range inspect.Orphans(seg) {
			if rerr := node.Remove(key); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) && !errors.Is(rerr, segment.ErrInUse) {
				err = rerr
			}
		}
	}
	return errors.Join(err, node.Leave())
}

// unreadable says what may be done about a bus that cannot be opened.
func (g *global) unreadable(file string, err error) error {
	if !errors.As(err, new(*segment.FormatError)) {
		if file == "" {
			return missing(g.bus, err)
		}
		return err
	}
	if file != "" {
		return fmt.Errorf("%w: this is no valid bus", err)
	}
	return fmt.Errorf("%w: this is no valid bus; \"ringbus rm --bus %s --whole-bus --force\" removes the file", err, g.bus)
}

func (h *health) print() {
	fmt.Printf("%s: %d nodes, %d topics, %d journals, %d streams", h.Path, h.Nodes, h.Topics, h.Journals, h.Streams)
	if h.Queues > 0 {
		fmt.Printf(", %d IO queues", h.Queues)
	}
	fmt.Println()
	for _, p := range h.Found {
		fmt.Printf("found     %v\n", p)
	}
	for _, s := range h.Repaired {
		fmt.Printf("repaired  %s\n", s)
	}
	for _, p := range h.Remaining {
		fmt.Printf("WRONG     %v\n", p)
	}
	switch {
	case len(h.Remaining) > 0:
		fmt.Printf("%d things are wrong\n", len(h.Remaining))
	case len(h.Repaired) > 0:
		fmt.Println("clean now")
	default:
		fmt.Println("clean")
	}
}
