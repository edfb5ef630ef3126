package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/journal"
)

func newJournalLevel(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "level NAME [LEVEL | off]",
		Short: "Show or set the level below which all writers of a journal are silent",
		Long: `Show the filter that all writers of a journal share, or set it: from their next
record on they leave out what is below it. It costs them one load. Off removes
it. What is in the journal already stays; "ringbus journal tail --level" filters
what is read.

The records of a logger that writes lines (slog.NewJSONHandler, log), as those of
each stream of "ringbus journal run", have one level, their writer's (INFO unless
it says otherwise), whatever the text says: the filter takes all of them or none.
journal.NewHandler gives each record its own level.`,
		Example: `  ringbus journal level app
  ringbus journal level app warn
  ringbus journal level app -- -4   # a number, as slog has it: debug
  ringbus journal level app off`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 2 {
				return misused(c, "a journal and a level, not %q", args)
			}
			return oneJournal(c, args[:min(len(args), 1)])
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return g.showLevel(args[0])
			}
			var l levelFlag
			if args[1] != "off" {
				if err := l.Set(args[1]); err != nil {
					return misused(c, "%w; off removes the filter", err)
				}
			}
			return g.setLevel(args[0], &l)
		},
	}
}

// levelOf is a journal's filter as JSON.
type levelOf struct {
	Journal string      `json:"journal"`
	Level   *slog.Level `json:"level"`
}

// showLevel looks without joining the bus.
func (g *global) showLevel(name string) error {
	bus, err := g.look()
	if err != nil {
		return err
	}
	j, ok := bus.Journal(name)
	switch {
	case !ok:
		return g.noJournal(name, errNotThere)
	case j.Mode == "":
		return fmt.Errorf("journal %q: %s", name, j.Err)
	case g.json:
		return printJSON(levelOf{name, j.Level})
	case j.Level == nil:
		fmt.Println("off")
	default:
		fmt.Println(j.Level)
	}
	return nil
}

func (g *global) setLevel(name string, l *levelFlag) error {
	node, err := g.join()
	if err != nil {
		return err
	}
	defer node.Close()
	if l.set {
		err = journal.SetLevel(node, name, l.Level)
	} else {
		err = journal.ClearLevel(node, name)
	}
	if err != nil {
		return g.noJournal(name, err)
	}
	if g.json {
		of := levelOf{Journal: name}
		if l.set {
			of.Level = &l.Level
		}
		return printJSON(of)
	}
	return nil
}
