package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/segment"
)

func newJournal(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "journal",
		Short: "Write and read logs that many processes share and that outlive them",
		Long: `A journal is a log of fixed size that many processes append to at once, in one
order. It can be read while they write, and after they were killed: what was
finished is there.

It is made by its first writer. When it is full, the oldest records go, or, with
--when-full reject, none goes that a reader with --hold did not read.`,
		Example: `  ringbus journal run app -- make test   # everything that it prints, in one journal
  ringbus journal tail -f app            # in another terminal`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(c, "there is no verb %q of journals", args[0])
			}
			return misused(c, "say what to do: append, run, tail, level, info or rm")
		},
	}
	c.AddCommand(newJournalAppend(g), newJournalRun(g), newJournalTail(g), newJournalLevel(g), newJournalInfo(g), newJournalRm(g))
	return c
}

// oneJournal wants the name of a journal as the only argument.
func oneJournal(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return misused(c, "say which journal")
	case len(args) > 1:
		return misused(c, "one journal at a time, not %d: %q", len(args), args)
	}
	return journalName(c, args[0])
}

func journalName(c *cobra.Command, name string) error {
	if err := segment.CheckName(name); err != nil {
		return misused(c, "journal: %w", err)
	}
	return nil
}

// join joins the bus, which must be there.
func (g *global) join() (*ringbus.Node, error) {
	node, err := ringbus.Open(g.bus, &ringbus.Options{Name: g.name, Dir: g.dir, Mode: g.fileMode(), MustExist: true})
	if err != nil {
		return nil, missing(g.bus, err)
	}
	return node, nil
}

// errNotThere is for what a look at the bus did not show.
var errNotThere = fmt.Errorf("journal: %w", fs.ErrNotExist)

// noJournal says what to do where a journal is not there.
func (g *global) noJournal(name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	hint := `"ringbus ls" lists those that are there`
	if bus, err := g.look(); err == nil {
		if _, ok := bus.Topic(name); ok {
			hint = fmt.Sprintf(`there is a topic of that name: "ringbus sub %s" reads it`, name)
		}
	}
	return fmt.Errorf("there is no journal %q on bus %q: %s", name, g.bus, hint)
}

// noTopic is noJournal for a topic.
func (g *global) noTopic(bus inspect.Bus, name string) error {
	hint := `"ringbus ls" lists those that are there`
	if _, ok := bus.Journal(name); ok {
		hint = fmt.Sprintf(`there is a journal of that name: "ringbus journal info %s" shows it, "ringbus journal rm %s" removes it`, name, name)
	}
	return fmt.Errorf("there is no topic %q on bus %q: %s", name, g.bus, hint)
}

// levelFlag is a level on the command line.
type levelFlag struct {
	slog.Level
	set bool
}

// Type names the kind of value in the help text.
func (l *levelFlag) Type() string { return "level" }

func (l *levelFlag) String() string {
	if !l.set {
		return ""
	}
	return l.Level.String()
}

// Set parses debug, info, warn, error, info+2, or a number as slog has it.
func (l *levelFlag) Set(text string) error {
	if n, err := strconv.ParseInt(text, 10, 16); err == nil {
		l.Level, l.set = slog.Level(n), true
		return nil
	}
	if strings.EqualFold(text, "warning") {
		text = "warn"
	}
	if err := l.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("%q is no level; debug, info, warn, error, info+2 and -4 are some", text)
	}
	l.set = true
	return nil
}

// writing has the flags of the verbs that write a journal.
type writing struct {
	level      levelFlag
	keep       size
	whenFull   string
	noWait     bool
	noTime     bool
	noChecksum bool
}

func (w *writing) flags(c *cobra.Command) {
	f := c.Flags()
	f.Var(&w.level, "level", "severity of the records: debug, info, warn, error, info+2 (default info)")
	f.Var(&w.keep, "keep", "`size` of the journal if it is made now (default 4MiB); half of it, at most 1MiB, is the limit of a record")
	f.StringVar(&w.whenFull, "when-full", "", "`policy` of the journal if it is made now: overwrite (the oldest records go) or reject (default overwrite)")
	f.BoolVar(&w.noWait, "no-wait", false, "where readers hold a full journal, fail and do not wait for them")
	f.BoolVar(&w.noTime, "no-time", false, "records do not carry the time")
	f.BoolVar(&w.noChecksum, "no-checksum", false, "if the journal is made now, its records carry no checksum")
}

func (w *writing) options(c *cobra.Command) (*journal.Options, error) {
	o := &journal.Options{
		Size: int(w.keep), NoWait: w.noWait, NoTime: w.noTime, NoChecksum: w.noChecksum, Level: w.level.Level,
	}
	switch w.whenFull {
	case "":
	case "overwrite":
		o.Mode = journal.Overwrite
	case "reject":
		o.Mode = journal.Reject
	default:
		return nil, misused(c, "--when-full: %q is no policy; overwrite and reject are", w.whenFull)
	}
	if w.keep > 32<<30 {
		return nil, misused(c, "--keep: a journal keeps 32GiB at most")
	}
	return o, nil
}

// openWriter opens a journal for writing.
func openWriter(node *ringbus.Node, name string, o *journal.Options) (*journal.Writer, error) {
	w, err := journal.NewWriter(node, name, o)
	var other *journal.MismatchError
	if errors.As(err, &other) {
		err = fmt.Errorf("%w: take it as it is, or remove it with \"ringbus journal rm %s\"", err, name)
	}
	return w, err
}
