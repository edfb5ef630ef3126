package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/segment"
)

type tailFlags struct {
	follow  bool
	last    int
	since   string
	after   uint64
	level   levelFlag
	key     string
	writer  string
	data    bool
	raw     bool
	count   uint64
	hold    bool
	file    string
	image   string
	changed func(flag string) bool
	from    time.Time // since
}

func newJournalTail(g *global) *cobra.Command {
	t := tailFlags{}
	c := &cobra.Command{
		Use:   "tail NAME",
		Short: "Print the records of a journal",
		Long: `Print the records of a journal in their order, from the oldest one on: time,
level, writer, key and data; with --data only that, on a line; with --raw its
bytes and nothing else; with --json an object with position, sequence, time,
level, writer, key, length and data (or data_base64, if it is not UTF-8). On a
terminal, what would control it is replaced, but with --raw.

What is missing is told where it is missing, on standard error: records that went
before they were read (lost), whose writers died over them (tombs), that were
taken away from writers that stood still (holes), or that are damaged (corrupt).
At the end come the records that are being written, and their writers; -f says so
when one has made it wait for more than a second. In an image they will never be
finished, and count as tombs. The last line on standard error is the sum. The
status is 1 if something was damaged.

--file and --image read a bus file without joining its bus. With them NAME can be
left out if the bus has one journal. An image may be cut short or damaged: what
can be read is printed.`,
		Example: `  ringbus journal tail app
  ringbus journal tail -f -n 10 app
  ringbus journal tail --since 10m --level warn app
  ringbus journal tail --json --key stderr app | jq .data
  ringbus journal tail --image core/ringbus-file app`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && (t.file != "" || t.image != "") {
				return nil
			}
			return oneJournal(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			t.changed = c.Flags().Changed
			if err := t.check(c, g); err != nil {
				return err
			}
			return g.tail(c.Context(), strings.Join(args, ""), &t)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.BoolVarP(&t.follow, "follow", "f", false, "wait for more, and for the journal if it is not there yet")
	f.IntVarP(&t.last, "last", "n", 0, "begin with the last `n` records of those that are asked for")
	f.StringVar(&t.since, "since", "", "begin at this `time`, or so long ago: 15:04, 2006-01-02 15:04:05, RFC 3339, 10m, 2h30m")
	f.Uint64Var(&t.after, "after", 0, "begin after the record at this `position`")
	f.Var(&t.level, "level", "only records at least as severe")
	f.StringVar(&t.key, "key", "", "only records with this `key`; of \"journal run\": stdout or stderr")
	f.StringVar(&t.writer, "writer", "", "only records of the node of this `name`")
	f.BoolVar(&t.data, "data", false, "print the data only, on lines")
	f.BoolVar(&t.raw, "raw", false, "write the bytes of the data and nothing else")
	f.Uint64Var(&t.count, "count", 0, "end after `n` records")
	f.BoolVar(&t.hold, "hold", false, "where the journal rejects when full: nothing goes that was not read")
	f.StringVar(&t.file, "file", "", "read the bus in this `file`, in use or not, and only read")
	f.StringVar(&t.image, "image", "", "read this `file` of a bus whose processes are all dead, or a copy of it")
	return c
}

func (t *tailFlags) check(c *cobra.Command, g *global) error {
	places, shapes := 0, 0
	for _, f := range []string{"last", "since", "after"} {
		if t.changed(f) {
			places++
		}
	}
	for _, shape := range []bool{t.data, t.raw, g.json} {
		if shape {
			shapes++
		}
	}
	switch {
	case places > 1:
		return misused(c, "-n, --since and --after: choose one")
	case shapes > 1:
		return misused(c, "--data, --raw and --json: choose one")
	case t.file != "" && t.image != "":
		return misused(c, "--file and --image: choose one")
	case t.image != "" && t.follow:
		return misused(c, "nothing follows in an image: leave -f out")
	case t.hold && t.file+t.image != "":
		return misused(c, "--hold: who only reads cannot hold anything")
	case t.last < 0:
		return misused(c, "-n cannot be negative")
	}
	var err error
	if t.from, err = parseSince(t.since, time.Now()); err != nil {
		return misused(c, "--since: %w", err)
	}
	return nil
}

// parseSince reads a time, or how long it is ago.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-max(d, -d)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), now.Location()), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time; 10m, 15:04, %q and RFC 3339 are understood", text, time.DateTime)
}

func (t *tailFlags) options() *journal.ReaderOptions {
	o := &journal.ReaderOptions{Hold: t.hold, Key: t.key, Writer: t.writer}
	if t.level.set {
		o.Level = t.level.Level
	}
	return o
}

// openTail opens the journal, however it is to be read. close closes it.
func (g *global) openTail(ctx context.Context, name string, t *tailFlags) (r *journal.Reader, close func() error, err error) {
	if t.image != "" || t.file != "" {
		r, err = openApart(name, t)
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	var node *ringbus.Node
	if t.follow {
		node, err = g.open()
	} else {
		node, err = g.join()
	}
	if err != nil {
		return nil, nil, err
	}
	r, err = journal.NewReader(node, name, t.options())
	if t.follow && errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "ringbus: there is no journal %q on bus %q yet: waiting for it\n", name, g.bus)
		r, err = await(ctx, node, name, t.options())
	}
	if err != nil {
		return nil, nil, errors.Join(g.noJournal(name, err), node.Close())
	}
	return r, node.Close, nil
}

// await waits until the journal is there.
func await(ctx context.Context, node *ringbus.Node, name string, o *journal.ReaderOptions) (*journal.Reader, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		r, err := journal.NewReader(node, name, o)
		if !errors.Is(err, fs.ErrNotExist) {
			return r, err
		}
	}
}

// openApart opens the journal of a bus that is not joined.
func openApart(name string, t *tailFlags) (*journal.Reader, error) {
	path, open := t.file, journal.OpenFile
	if t.image != "" {
		path, open = t.image, journal.OpenImage
		if inUse(path) {
			fmt.Fprintf(os.Stderr, "ringbus: processes use %s: --file in place of --image waits for what they are writing\n", path)
		}
	}
	if name != "" {
		r, err := open(path, name, t.options())
		var at *fs.PathError
		if !errors.Is(err, fs.ErrNotExist) || errors.As(err, &at) {
			return r, err
		}
	}
	bus, err := lookAt(path, t.image != "")
	if err != nil {
		return nil, err
	}
	if name, err = theJournal(bus, name); err != nil {
		return nil, err
	}
	return open(path, name, t.options())
}

// inUse reports whether a bus file has nodes that are not known dead.
func inUse(path string) bool {
	bus, err := lookAt(path, false)
	return err == nil && slices.ContainsFunc(bus.Nodes, func(n inspect.Node) bool { return n.Status == segment.Alive.String() })
}

// lookAt describes the bus in a file.
func lookAt(path string, image bool) (inspect.Bus, error) {
	open := func() (*segment.Segment, error) { return inspect.OpenFile(path, nil) }
	if image {
		open = func() (*segment.Segment, error) { return inspect.OpenImage(path) }
	}
	seg, err := open()
	if err != nil {
		return inspect.Bus{}, err
	}
	defer seg.Close()
	return inspect.Look(seg), nil
}

// theJournal returns the name of the bus's journal, if it is the only one or
// has the name that is asked for.
func theJournal(bus inspect.Bus, name string) (string, error) {
	var all []string
	for _, j := range bus.Journals {
		all = append(all, j.Name)
	}
	_, ok := bus.Journal(name)
	switch {
	case ok:
		return name, nil
	case len(all) == 0:
		return "", fmt.Errorf("%s: there is no journal on this bus", bus.Path)
	case name != "":
		return "", fmt.Errorf("%s: there is no journal %q on this bus, but %q", bus.Path, name, all)
	case len(all) > 1:
		return "", fmt.Errorf("%s: say which journal of %q", bus.Path, all)
	}
	return all[0], nil
}
