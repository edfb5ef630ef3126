package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/inspect"
)

func newInfo(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "info [TOPIC | JOURNAL | STREAM]",
		Short: "Show a topic, a journal, a stream, or the bus and its nodes",
		Long: `Show everything about a topic: what its parties agreed on, its publishers, its
subscribers with their lag, what they hold and what they lost, and the memory
that it takes. Or about a journal, as "ringbus journal info" does; if both have
one name, the topic is shown. Or about a stream: its writer, its readers and
groups with what they have not read or finished. Without a name, show the bus
and its nodes, and whose records make the readers of a journal wait. "ringbus
io info" shows an IO queue.

Lag is what a subscriber has not passed yet; it says so in steps of up to a
quarter of the depth. Held is what it holds beyond the message it is at.`,
		Example: `  ringbus info greetings
  ringbus info --bus plant
  ringbus info greetings --json`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			bus, err := g.look()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return g.showBus(bus)
			}
			t, ok := bus.Topic(args[0])
			j, too := bus.Journal(args[0])
			switch {
			case !ok && too:
				return g.showJournal(j)
			case !ok && hasStream(bus, args[0]):
				s, _ := bus.Stream(args[0])
				return g.showStream(s)
			case !ok:
				return g.noTopic(bus, args[0])
			case too:
				fmt.Fprintf(os.Stderr, "ringbus: there is also a journal %q: \"ringbus journal info\" shows it\n", args[0])
			}
			return g.showTopic(t)
		},
	}
}

func (g *global) showBus(b inspect.Bus) error {
	if g.json {
		return printJSON(b)
	}
	fmt.Printf("bus      %s\nfile     %s\nid       %s\ncreated  %s\nmemory   %s used, %s free (%s in one piece), of %s\ntopics   %d\njournals %d\nstreams  %d\n",
		g.bus, b.Path, b.ID, b.Created.Format(time.DateTime), human(b.Used), human(b.Free), human(b.Longest), human(b.Size), len(b.Topics), len(b.Journals), len(b.Streams))
	if len(b.Queues) > 0 {
		fmt.Printf("queues   %d\n", len(b.Queues))
	}
	for _, j := range b.Journals {
		if u, ok := j.Stuck(); ok {
			fmt.Printf("journal %s: readers wait for %s (process %d, %s), which has not finished its record at position %d\n", j.Name, u.Writer, u.Pid, u.Status, u.Position)
		}
	}
	fmt.Println()
	several := slices.ContainsFunc(b.Nodes, func(n inspect.Node) bool { return n.Foreign })
	heading := "NODE\tNAME\tPID\tUID\tSTATUS\tJOINED\tAREAS"
	if several {
		heading += "\tKERNEL, WHOSE CLOCK"
	}
	return table(os.Stdout, heading, func(w io.Writer) {
		for _, n := range b.Nodes {
			fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%s\t%s\t%d", n.Slot, n.Name, n.Pid, n.UID, n.Status, n.Joined.Format(time.DateTime), n.Areas)
			switch {
			case several && n.Foreign:
				fmt.Fprintf(w, "\t%s", n.Kernel)
			case several:
				fmt.Fprint(w, "\tthis one")
			}
			fmt.Fprintln(w)
		}
	})
}

func (g *global) showTopic(t inspect.Topic) error {
	if g.json {
		return printJSON(t)
	}
	fmt.Printf("topic        %s\ncreated      %s\nmemory       %s\n", t.Name, t.Created.Format(time.DateTime), human(t.Memory))
	if c := t.Config; c != nil {
		fmt.Printf("depth        %d messages\nmax-message  %s\nholds        %d messages, of all subscribers\nloans        %d, of each publisher\n", c.Depth, human(c.MaxMessage), c.Holds, c.Loans)
		if c.LatestOnly {
			fmt.Println("latest-only  no subscriber may hold publishers back")
		}
	} else if t.Err == "" {
		fmt.Println("depth        not decided yet: no publisher has come")
	}
	if t.Err != "" {
		fmt.Printf("error        %s\n", t.Err)
	}
	fmt.Println()
	err := table(os.Stdout, "PUBLISHER\tLANE\tPID\tSTATE\tMESSAGES\tBYTES\tBLOCKED\tMEMORY", func(w io.Writer) {
		for _, l := range t.Lanes {
			state, pid := l.State, "-"
			if l.Status != "" && l.Status != "alive" {
				state += ", " + l.Status
			}
			if l.Pid != 0 {
				pid = fmt.Sprint(l.Pid)
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%s\t%d\t%s\n", l.Publisher, l.Number, pid, state, l.Messages, human(l.Bytes), l.Blocked, human(l.Memory))
		}
	})
	if err != nil {
		return err
	}
	fmt.Println()
	return table(os.Stdout, "SUBSCRIBER\tSLOT\tPID\tSTATUS\tMODE\tLAG\tHELD\tLOST", func(w io.Writer) {
		for _, s := range t.Subscribers {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%d\t%d\t%d\n", s.Node, s.Slot, s.Pid, s.Status, s.Mode, s.Lag, s.Held, s.Lost)
		}
	})
}

func hasStream(b inspect.Bus, name string) bool {
	_, ok := b.Stream(name)
	return ok
}

func (g *global) showStream(s inspect.Stream) error {
	if g.json {
		return printJSON(s)
	}
	fmt.Printf("stream    %s\ncreated   %s\nmemory    %s\nsize      %s, the largest message\nmessages  %d, of which %s are kept\nblocked   %d times for want of room\n",
		s.Name, s.Created.Format(time.DateTime), human(s.Memory), human(s.Size), s.Messages, human(s.Kept), s.Blocked)
	switch {
	case s.Writer != "":
		fmt.Printf("writer    %s (process %d, %s)\n", s.Writer, s.Pid, s.Status)
	case s.Retired:
		fmt.Println("writer    evicted: nobody may write to the stream again; remove it")
	case s.Ended != "":
		fmt.Printf("writer    none; the last one is %s\n", s.Ended)
	}
	if s.Err != "" {
		fmt.Printf("error     %s\n", s.Err)
	}
	fmt.Println()
	err := table(os.Stdout, "READER\tSLOT\tPID\tSTATUS\tKIND\tGROUP\tLAG\tLOST", func(w io.Writer) {
		for _, r := range s.Readers {
			kind := r.Kind
			if r.Fenced {
				kind += ", fenced"
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%d\n", r.Node, r.Slot, r.Pid, r.Status, kind, r.Group, human(r.Lag), r.Lost)
		}
	})
	if err != nil || len(s.Groups) == 0 {
		return err
	}
	fmt.Println()
	return table(os.Stdout, "GROUP\tREADERS\tUNCLAIMED\tUNFINISHED", func(w io.Writer) {
		for _, r := range s.Groups {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", r.Name, r.Readers, human(r.Unclaimed), human(r.Unfinished))
		}
	})
}
