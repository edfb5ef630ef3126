package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/journal"
)

func newJournalAppend(g *global) *cobra.Command {
	w, key := writing{}, ""
	c := &cobra.Command{
		Use:   "append NAME",
		Short: "Append each line of standard input to a journal",
		Long: `Append each line of standard input as one record. The journal is made if it is
not there.

At the end, standard error says how many records and bytes were appended, and
how many the journal's filter silenced ("ringbus journal level").`,
		Example: `  echo hello | ringbus journal append app
  ringbus journal append --level warn --key disk app < disk.log
  ringbus journal append --keep 64M --when-full reject app < events`,
		Args: oneJournal,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := w.options(c)
			if err != nil {
				return err
			}
			o.Key = key
			if len(key) > 255 {
				return misused(c, "--key: %d bytes; 255 is the limit", len(key))
			}
			return g.appendLines(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&key, "key", "", "`text` that readers can choose the records by, 255 bytes at most")
	w.flags(c)
	return c
}

// appendLines is the verb journal append.
func (g *global) appendLines(ctx context.Context, name string, o *journal.Options) error {
	node, err := g.open()
	if err != nil {
		return err
	}
	defer node.Close()
	w, err := openWriter(node, name, o)
	if err != nil {
		return err
	}
	in, err := newInput(ctx, os.Stdin)
	if err != nil {
		return err
	}
	defer in.close()
	appended, bytes, limit := uint64(0), uint64(0), w.MaxRecord()
	err = eachLine(in, limit, func(line []byte, more bool) error {
		if more {
			hint := ""
			if limit < 1<<19 {
				hint = ": set --keep when the journal is made"
			}
			return fmt.Errorf("line %d is longer than the journal's records, which are limited to %d bytes%s", appended+w.Silenced()+1, limit, hint)
		}
		position, err := w.Append(ctx, line, nil)
		if err == nil && position != 0 {
			appended, bytes = appended+1, bytes+uint64(len(line))
		}
		return err
	})
	silenced := w.Silenced()
	if cerr := node.Close(); err == nil {
		err = cerr
	}
	if g.json {
		_ = json.NewEncoder(os.Stderr).Encode(map[string]uint64{"appended": appended, "bytes": bytes, "silenced": silenced})
	} else {
		fmt.Fprintf(os.Stderr, "appended=%d bytes=%d silenced=%d\n", appended, bytes, silenced)
	}
	return err
}
