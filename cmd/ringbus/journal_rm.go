package main

import (
	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/journal"
)

func newJournalRm(g *global) *cobra.Command {
	return newRmOf(g, &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove journals",
		Long: `Remove journals that nobody has open, with all their records, and give their
memory back: for what is not wanted any more, and for a journal that is to be
made anew with another size or policy.`,
		Example: `  ringbus journal rm app
  ringbus journal rm app audit`,
	}, "journals", journal.Remove, g.noJournal)
}
