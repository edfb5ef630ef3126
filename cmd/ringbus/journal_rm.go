package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/segment"
)

func newJournalRm(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove journals",
		Long: `Remove journals that nobody has open, with all their records, and give their
memory back: for what is not wanted any more, and for a journal that is to be
made anew with another size or policy.`,
		Example: `  ringbus journal rm app
  ringbus journal rm app audit`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misused(c, "say which journals")
			}
			for _, a := range args {
				if err := journalName(c, a); err != nil {
					return err
				}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			done, err := g.removeJournals(args)
			if g.json {
				return errors.Join(err, printJSON(map[string][]string{"journals": done}))
			}
			return err
		},
	}
}

func (g *global) removeJournals(names []string) (done []string, err error) {
	done = []string{}
	node, err := g.join()
	if err != nil {
		return done, err
	}
	var errs []error
	for _, name := range names {
		err := journal.Remove(node, name)
		if errors.Is(err, segment.ErrInUse) {
			err = fmt.Errorf("%w; end that program first", err)
		}
		if err != nil {
			errs = append(errs, g.noJournal(name, err))
			continue
		}
		done = append(done, name)
	}
	return done, errors.Join(append(errs, node.Close())...)
}
