package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/ioqueue"
	"github.com/ringbus/ringbus/segment"
)

func newIOInfo(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "info NAME",
		Short: "Show who executes an IO queue, its depth, and who submitted how much",
		Example: `  ringbus io info disk
  ringbus io info disk --json`,
		Args: oneQueue,
		RunE: func(_ *cobra.Command, args []string) error {
			bus, err := g.look()
			if err != nil {
				return err
			}
			q, ok := bus.Queue(args[0])
			if !ok {
				return g.noQueue(args[0])
			}
			if g.json {
				return printJSON(q)
			}
			return showQueue(q)
		},
	}
}

// oneQueue wants the name of a queue as the only argument.
func oneQueue(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return misused(c, "say which queue")
	}
	if err := segment.CheckName(args[0]); err != nil {
		return misused(c, "queue %q: %v", args[0], err)
	}
	return nil
}

func executorOf(q inspect.Queue) string {
	switch {
	case q.Executor == "" && q.Left:
		return "none: the last one died"
	case q.Executor == "":
		return "none"
	case q.Status != segment.Alive.String():
		return q.Executor + ", " + q.Status
	}
	return q.Executor
}

func showQueue(q inspect.Queue) error {
	fmt.Printf("ioqueue    %s\ncreated    %s\nmemory     %s\ndepth      %d ops\nmax-data   %s\nexecutor   %s", q.Name,
		q.Created.Format(time.DateTime), human(q.Memory), q.Depth, human(q.MaxData), executorOf(q))
	if q.Pid != 0 {
		fmt.Printf(" (process %d)", q.Pid)
	}
	fmt.Printf("\nops        %d ever taken, %d queued, %d at the device, %d finished and not asked for\ntakeovers  %d\nwaiting    %v now, %v at most\n",
		q.Taken, q.Queued, q.Issued, q.Finished, q.Takeovers, round(q.Waiting), round(q.Longest))
	if q.Lost > 0 {
		fmt.Printf("lost       %d places that evicted nodes may still write into\n", q.Lost)
	}
	if q.Err != "" {
		fmt.Printf("error      %s\n", q.Err)
	}
	fmt.Println()
	return table(os.Stdout, "SLOT\tNODE NOW\tPID\tSUBMITTED\tEXECUTED\tHERE", func(w io.Writer) {
		for _, m := range q.Members {
			name, pid := m.Node, fmt.Sprint(m.Pid)
			if name == "" {
				name, pid = "-", "-"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%d\n", m.Slot, name, pid, m.Submitted, m.Executed, m.Here)
		}
	})
}

func round(ns int64) time.Duration {
	return time.Duration(ns).Round(time.Microsecond)
}

func newIORm(g *global) *cobra.Command {
	c := newRmOf(g, &cobra.Command{
		Use:     "rm NAME",
		Short:   "Remove an IO queue that nobody has open",
		Example: `  ringbus io rm disk`,
	}, "queues", ioqueue.Remove, func(name string, _ error) error { return g.noQueue(name) })
	c.Args = oneQueue
	return c
}

func (g *global) noQueue(name string) error {
	return fmt.Errorf("there is no IO queue %q on bus %q: \"ringbus ls\" lists those that are there", name, g.bus)
}
