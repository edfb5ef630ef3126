package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/segment"
)

func newLs(g *global) *cobra.Command {
	buses := false
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the topics, journals, streams, IO queues and services of the bus, or the buses",
		Example: `  ringbus ls
  ringbus ls --bus plant --json
  ringbus ls --buses`,
		Args: atMost(0),
		RunE: func(*cobra.Command, []string) error {
			if buses {
				return g.listBuses()
			}
			return g.list()
		},
	}
	c.Flags().BoolVar(&buses, "buses", false, "list the buses of the directory")
	return c
}

// listed is what a bus has, as JSON.
type listed struct {
	Topics   []inspect.Topic   `json:"topics"`
	Journals []inspect.Journal `json:"journals"`
	Streams  []inspect.Stream  `json:"streams"`
	Queues   []inspect.Queue   `json:"queues"`

	Listeners []inspect.Listener `json:"listeners"`
	Services  []inspect.Service  `json:"services"`
}

func (g *global) list() error {
	bus, err := g.look()
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(listed{bus.Topics, bus.Journals, bus.Streams, bus.Queues, bus.Listeners, bus.Services})
	}
	if len(bus.Topics)+len(bus.Journals)+len(bus.Streams)+len(bus.Listeners)+len(bus.Queues)+len(bus.Services) == 0 {
		fmt.Fprintf(os.Stderr, "no topics, journals, streams, IO queues or services on bus %q\n", g.bus)
		return nil
	}
	first := true
	for _, part := range []struct {
		count int
		list  func() error
	}{
		{len(bus.Topics), func() error { return listTopics(bus.Topics) }},
		{len(bus.Journals), func() error { return listJournals(bus.Journals) }},
		{len(bus.Streams), func() error { return listStreams(bus.Streams) }},
		{len(bus.Queues), func() error { return listQueues(bus.Queues) }},
		{len(bus.Listeners), func() error { return listListeners(bus.Listeners) }},
		{len(bus.Services), func() error { return listServices(bus.Services) }},
	} {
		if part.count == 0 {
			continue
		}
		if !first {
			fmt.Println()
		}
		first = false
		if err := part.list(); err != nil {
			return err
		}
	}
	return nil
}

func listServices(services []inspect.Service) error {
	return table(os.Stdout, "SERVICE\tSERVERS\tLINKS\tREQUEST\tREPLY\tMEMORY", func(w io.Writer) {
		for _, s := range services {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\n", s.Name, len(s.Servers), len(s.Links),
				human(s.MaxRequest), human(s.MaxReply), human(s.Memory), s.Err)
		}
	})
}

func listJournals(journals []inspect.Journal) error {
	return table(os.Stdout, "JOURNAL\tREADERS\tRECORDS\tBYTES\tWRITTEN\tMEMORY", func(w io.Writer) {
		for _, j := range journals {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%s\t%s\n", j.Name, len(j.Readers), j.Records, human(j.Bytes), j.Written, human(j.Memory), j.Err)
		}
	})
}

func listStreams(streams []inspect.Stream) error {
	return table(os.Stdout, "STREAM\tWRITER\tREADERS\tGROUPS\tMESSAGES\tMEMORY", func(w io.Writer) {
		for _, s := range streams {
			writer := s.Writer
			if writer == "" {
				writer = "-"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", s.Name, writer, len(s.Readers), len(s.Groups), s.Messages, human(s.Memory), s.Err)
		}
	})
}

func listListeners(listeners []inspect.Listener) error {
	return table(os.Stdout, "LISTENER\tNODE\tPID\tCONNECTIONS\tMEMORY", func(w io.Writer) {
		for _, l := range listeners {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", l.Name, l.Node, l.Pid, l.Connections, human(l.Memory))
		}
	})
}

func listTopics(topics []inspect.Topic) error {
	return table(os.Stdout, "TOPIC\tPUBLISHERS\tSUBSCRIBERS\tMESSAGES\tBYTES\tMEMORY", func(w io.Writer) {
		for _, t := range topics {
			publishers := 0
			for _, l := range t.Lanes {
				if l.Publishing() {
					publishers++
				}
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%s\n", t.Name, publishers, len(t.Subscribers), t.Messages, human(t.Bytes), human(t.Memory), t.Err)
		}
	})
}

// look describes the bus, which must be there.
func (g *global) look() (inspect.Bus, error) {
	seg, err := inspect.Open(g.bus, g.segmentOptions())
	if err != nil {
		return inspect.Bus{}, missing(g.bus, err)
	}
	defer seg.Close()
	return inspect.Look(seg), nil
}

// busLine is a bus of the list as JSON.
type busLine struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Size  int64  `json:"size"`
	Nodes int    `json:"nodes"`
	Areas int    `json:"areas"`
	Err   string `json:"error,omitempty"`
}

func (g *global) listBuses() error {
	found, err := segment.List(&segment.Options{Dir: g.dir, Mode: g.fileMode()})
	if err != nil {
		return err
	}
	lines := []busLine{}
	for _, b := range found {
		l := busLine{Name: b.Name, Path: b.Path, Size: b.Size, Nodes: b.Nodes, Areas: b.Areas}
		if b.Err != nil && !errors.Is(b.Err, fs.ErrNotExist) {
			l.Err = b.Err.Error()
		}
		lines = append(lines, l)
	}
	if g.json {
		return printJSON(lines)
	}
	if len(lines) == 0 {
		fmt.Fprintln(os.Stderr, "no buses")
		return nil
	}
	return table(os.Stdout, "BUS\tSIZE\tNODES\tAREAS\tFILE", func(w io.Writer) {
		for _, b := range lines {
			if b.Err != "" {
				fmt.Fprintf(w, "%s\t-\t-\t-\t%s\n", b.Name, b.Err)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", b.Name, human(b.Size), b.Nodes, b.Areas, b.Path)
		}
	})
}

// table writes a heading and the rows that it is given, their columns in line.
func table(out io.Writer, heading string, rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	rows(w)
	return w.Flush()
}
