package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/inspect"
)

func newJournalInfo(g *global) *cobra.Command {
	file, image := "", ""
	c := &cobra.Command{
		Use:   "info NAME",
		Short: "Show what a journal holds, who reads it, and what is being written",
		Long: `Show everything about a journal: what its parties agreed on, its records and what
became of others, its readers with their lag and what they lost, the writers that
wait for readers, and the records that are being written, with their writers: for
the first of them all readers wait.

It joins nothing and disturbs nobody. With --file or --image NAME can be left out
if the bus has one journal.`,
		Example: `  ringbus journal info app
  ringbus journal info app --json
  ringbus journal info --image core/ringbus-file`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && file+image != "" {
				return nil
			}
			return oneJournal(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if file != "" && image != "" {
				return misused(c, "--file and --image: choose one")
			}
			return g.journalInfo(strings.Join(args, ""), file, image)
		},
	}
	c.Flags().StringVar(&file, "file", "", "look at the bus in this `file`, in use or not")
	c.Flags().StringVar(&image, "image", "", "look at this `file` of a bus whose processes are all dead, or a copy of it")
	return c
}

func (g *global) journalInfo(name, file, image string) error {
	var bus inspect.Bus
	var err error
	if file+image == "" {
		bus, err = g.look()
	} else if bus, err = lookAt(file+image, image != ""); err == nil {
		name, err = theJournal(bus, name)
	}
	if err != nil {
		return err
	}
	j, ok := bus.Journal(name)
	if !ok {
		return g.noJournal(name, errNotThere)
	}
	return g.showJournal(j)
}

func (g *global) showJournal(j inspect.Journal) error {
	if g.json {
		return printJSON(j)
	}
	fmt.Printf("journal     %s\ncreated     %s\n", j.Name, j.Created.Format(time.DateTime))
	if j.Mode == "" {
		fmt.Printf("memory      %s\nerror       %s\n", human(j.Memory), j.Err)
		return nil
	}
	level, full := "off: every record is written", "the oldest records go"
	if j.Level != nil {
		level = fmt.Sprintf("%v: writers leave out what is below", j.Level)
	}
	if j.Mode == "reject" {
		full = "reject: nothing goes that a reader which holds did not read"
	} else {
		full = j.Mode + ": " + full
	}
	fmt.Printf("memory      %s, %s of it for records\nwhen full   %s\nlevel       %s\n", human(j.Memory), human(j.Size), full, level)
	fmt.Printf("records     %d of %s, at positions %d to %d\n", j.Records, human(j.Bytes), j.Head, j.Tail)
	if j.Oldest != nil {
		fmt.Printf("time        %s to %s\n", j.Oldest.Format(time.DateTime), j.Newest.Format(time.DateTime))
	}
	fmt.Printf("ever        %d records of %s, %d whose writers died over them, %d taken away from writers that stood still, %d refused\n",
		j.Written, human(j.WrittenBytes), j.Tombs, j.Holes, j.Refused)
	if j.OutOfUse > 0 {
		fmt.Printf("out of use  %s, for writers that stand still or were evicted\n", human(j.OutOfUse))
	}
	if j.Err != "" {
		fmt.Printf("error       %s\n", j.Err)
	}
	return parties(j)
}

// parties prints who reads, who waits, and what is being written.
func parties(j inspect.Journal) error {
	fmt.Println()
	err := table(os.Stdout, "READER\tPID\tSTATUS\tHOLDS\tLAG\tLOST", func(w io.Writer) {
		for _, r := range j.Readers {
			holds := "no"
			if r.Holds {
				holds = "yes"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%d\n", r.Node, r.Pid, r.Status, holds, r.Lag, r.Lost)
		}
	})
	if err == nil && len(j.Waiting) > 0 {
		fmt.Println()
		err = table(os.Stdout, "WAITS FOR READERS\tPID\tSTATUS", func(w io.Writer) {
			for _, r := range j.Waiting {
				fmt.Fprintf(w, "%s\t%d\t%s\n", r.Node, r.Pid, r.Status)
			}
		})
	}
	if err != nil || len(j.Unfinished) == 0 {
		return err
	}
	fmt.Println()
	err = table(os.Stdout, "UNFINISHED AT\tWRITER\tPID\tSTATUS\tSIZE", func(w io.Writer) {
		for _, u := range j.Unfinished {
			fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\n", u.Position, u.Writer, u.Pid, u.Status, human(u.Size))
		}
	})
	if u, ok := j.Stuck(); ok && err == nil {
		fmt.Printf("\nreaders wait for %s (process %d, %s) at position %d\n", u.Writer, u.Pid, u.Status, u.Position)
	}
	return err
}
