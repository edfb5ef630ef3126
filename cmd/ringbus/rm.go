package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/segment"
)

func newRm(g *global) *cobra.Command {
	whole, force := false, false
	c := &cobra.Command{
		Use:   "rm TOPIC... | rm --whole-bus [--force]",
		Short: "Remove topics, or the bus itself",
		Long: `Remove topics that nobody has open, and give their memory back. Or remove the
whole bus with all its topics and journals, and its file. "ringbus journal rm"
removes journals.

Nothing ever has to be removed after a crash; this is for what is not wanted
any more, and for a topic that is to be made anew with another depth or size.`,
		Example: `  ringbus rm greetings
  ringbus rm --bus plant --whole-bus
  ringbus rm --whole-bus --force   # though others use it, or it is garbage`,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case whole && len(args) > 0:
				return misused(c, "--whole-bus takes no topics: it removes all there is")
			case !whole && len(args) == 0:
				return misused(c, "say which topics, or --whole-bus")
			case force && !whole:
				return misused(c, "--force is for --whole-bus only: end the programs that have the topic open")
			}
			for _, a := range args {
				if err := topicName(c, a); err != nil {
					return err
				}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			done := removed{Topics: []string{}}
			if whole {
				if err = g.removeBus(force); err == nil {
					done.Bus = g.bus
				}
			} else {
				done.Topics, err = g.removeTopics(args)
			}
			if g.json {
				return errors.Join(err, printJSON(done))
			}
			return err
		},
	}
	c.Flags().BoolVar(&whole, "whole-bus", false, "remove the bus itself, with all its topics and journals")
	c.Flags().BoolVar(&force, "force", false, "remove a bus that others use (they keep what they have mapped), or a damaged file")
	return c
}

// removed says what was removed, as JSON.
type removed struct {
	Bus    string   `json:"bus,omitempty"`
	Topics []string `json:"topics"`
}

func (g *global) removeBus(force bool) error {
	o := g.segmentOptions()
	o.Force = force
	err := segment.Remove(g.bus, o)
	switch {
	case errors.Is(err, segment.ErrInUse):
		return fmt.Errorf("%w; end it first, or use --force", err)
	case errors.As(err, new(*segment.FormatError)):
		return fmt.Errorf("%w; --force removes the file nevertheless", err)
	}
	return missing(g.bus, err)
}

func (g *global) removeTopics(names []string) ([]string, error) {
	done := []string{}
	bus, err := g.look()
	if err != nil {
		return done, err
	}
	done, err = g.removeEach(names, (*ringbus.Node).Remove, func(name string, _ error) error { return g.noTopic(bus, name) })
	for _, name := range done {
		if _, ok := bus.Journal(name); ok {
			fmt.Fprintf(os.Stderr, "ringbus: the journal %q stays: \"ringbus journal rm\" removes it\n", name)
		}
	}
	return done, err
}

// newRmOf makes c the verb that removes what it is given the names of, of the
// kind that what says, and that removes one by remove; absent says what to do
// about one that is not there.
func newRmOf(g *global, c *cobra.Command, what string, remove func(*ringbus.Node, string) error, absent func(string, error) error) *cobra.Command {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return misused(c, "say which %s", what)
		}
		for _, a := range args {
			if err := segment.CheckName(a); err != nil {
				return misused(c, "%s: %w", strings.TrimSuffix(what, "s"), err)
			}
		}
		return nil
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		done, err := g.removeEach(args, remove, absent)
		if g.json {
			return errors.Join(err, printJSON(map[string][]string{what: done}))
		}
		return err
	}
	return c
}

// removeEach removes what can be removed, and says what that was.
func (g *global) removeEach(names []string, remove func(*ringbus.Node, string) error, absent func(string, error) error) (done []string, err error) {
	done = []string{}
	node, err := g.join()
	if err != nil {
		return done, err
	}
	var errs []error
	for _, name := range names {
		err := remove(node, name)
		switch {
		case err == nil:
			done = append(done, name)
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, absent(name, err))
		case errors.Is(err, segment.ErrInUse):
			errs = append(errs, fmt.Errorf("%w; end that program first", err))
		default:
			errs = append(errs, err)
		}
	}
	return done, errors.Join(append(errs, node.Close())...)
}
