package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/segment"
	streams "github.com/ringbus/ringbus/stream"
)

func newStream(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "stream",
		Short: "Send to many readers, or share work among them; relay connections",
		Long: `A stream has one writer at a time and many readers. Each sees everything, or,
as --group says, the readers of a group share the messages among them: what one
of them had when it was killed, another one gets, marked as delivered again.

Or a stream carries connections: forward relays any TCP or Unix-socket program
over the bus.`,
		Example: `  ringbus stream recv work --group g         # in two terminals
  seq 1000000 | ringbus stream send work     # in a third

  ringbus stream forward --from web --dial tcp:localhost:8000
  ringbus stream forward --listen tcp:localhost:9000 --to web`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(c, "there is no verb %q of streams", args[0])
			}
			return misused(c, "say what to do: send, recv, forward or rm")
		},
	}
	c.AddCommand(newStreamSend(g), newStreamRecv(g), newStreamForward(g), newStreamRm(g))
	return c
}

// oneStream wants the name of a stream as the only argument.
func oneStream(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return misused(c, "say which stream")
	case len(args) > 1:
		return misused(c, "one stream at a time, not %d: %q", len(args), args)
	}
	return streamName(c, args[0])
}

func streamName(c *cobra.Command, name string) error {
	if err := segment.CheckName(name); err != nil {
		return misused(c, "stream: %w", err)
	}
	return nil
}

func newStreamRm(g *global) *cobra.Command {
	return newRmOf(g, &cobra.Command{
		Use:     "rm STREAM...",
		Short:   "Remove streams",
		Long:    `Remove streams that nobody has open, with the groups that they have, and give their memory back.`,
		Example: `  ringbus stream rm work`,
	}, "streams", streams.Remove, func(name string, _ error) error {
		return fmt.Errorf("there is no stream %q on bus %q: \"ringbus ls\" lists those that are there", name, g.bus)
	})
}
