package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/segment"
)

func newEvict(g *global) *cobra.Command {
	force, kernel := false, ""
	c := &cobra.Command{
		Use:   "evict NODE... | evict --kernel ID",
		Short: "Say that nodes of a virtual machine are gone for good",
		Long: `Say that nodes of another kernel, of a virtual machine that was killed, are gone
for good, and take back what they held: their loans, claims, tokens and records.
NODE is a number or a name that "ringbus info" shows; --kernel evicts all nodes
of one machine.

Nobody needs this for processes of one kernel: their death is seen, and a node
that lives there is refused. Of another kernel only heartbeats are seen. A node
whose heart beats is evicted with --force only; one that comes to life again is
told, and has to open the bus anew. What it may still write into is not used again.`,
		Example: `  ringbus evict 7
  ringbus evict guest-2/camera
  ringbus evict --kernel 9f3a6c01d2e4b857   # all nodes of one machine`,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case kernel == "" && len(args) == 0:
				return misused(c, "say which nodes, or --kernel")
			case kernel != "" && len(args) > 0:
				return misused(c, "name nodes or a kernel, not both")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if kernel != "" {
				id, err := strconv.ParseUint(kernel, 16, 64)
				if err != nil || id == 0 {
					return misused(c, "--kernel: %q is no kernel's id; \"ringbus info\" shows those of the nodes", kernel)
				}
				return g.evict(c.Context(), func(n segment.NodeInfo) bool { return n.Kernel == id }, "kernel "+kernel, force)
			}
			for _, arg := range args {
				if err := g.evict(c.Context(), named(arg), fmt.Sprintf("node %q", arg), force); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "though their hearts beat")
	c.Flags().StringVar(&kernel, "kernel", "", "all nodes of the kernel with this `id`")
	return c
}

// named chooses nodes by their number or name.
func named(arg string) func(segment.NodeInfo) bool {
	slot, err := strconv.Atoi(arg)
	return func(n segment.NodeInfo) bool { return err == nil && n.Slot == slot || err != nil && n.Name == arg }
}

// evicted says who was evicted, as JSON.
type evicted struct {
	Slot   int    `json:"slot"`
	Name   string `json:"name"`
	Pid    int    `json:"pid"`
	Kernel string `json:"kernel"`
}

// evict evicts the nodes that are chosen; what says which are meant.
func (g *global) evict(ctx context.Context, chosen func(segment.NodeInfo) bool, what string, force bool) error {
	seg, err := segment.Open(g.bus, g.segmentOptions())
	if err != nil {
		return missing(g.bus, err)
	}
	defer seg.Close()
	node, err := seg.Join(g.name)
	if err != nil {
		return err
	}
	done, err := evictFrom(ctx, node, chosen, what, force)
	if g.json {
		err = errors.Join(err, printJSON(struct {
			Evicted []evicted `json:"evicted"`
		}{done}))
	} else {
		for _, e := range done {
			fmt.Printf("evicted node %d %q, process %d of kernel %s\n", e.Slot, e.Name, e.Pid, e.Kernel)
		}
	}
	return errors.Join(err, node.Leave())
}

func evictFrom(ctx context.Context, node *segment.Node, chosen func(segment.NodeInfo) bool, what string, force bool) ([]evicted, error) {
	done := []evicted{}
	seg := node.Segment()
	var targets []segment.NodeInfo
	for _, n := range seg.Nodes() {
		if chosen(n) {
			targets = append(targets, n)
		}
	}
	if len(targets) == 0 {
		return done, fmt.Errorf("there is no %s on the bus; \"ringbus info\" lists the nodes", what)
	}
	for _, n := range targets {
		if !n.Foreign && n.State == segment.NodeLive && n.Status != segment.Dead {
			return done, fmt.Errorf("node %d %q lives: it is process %d of this kernel, whose end would be seen; end that process instead", n.Slot, n.Name, n.Pid)
		}
	}
	if !force {
		if n, beats, err := beating(ctx, seg, targets); err != nil {
			return done, err
		} else if beats {
			return done, fmt.Errorf("the heart of node %d %q beats: its machine lives; end it there, or use --force", n.Slot, n.Name)
		}
	}
	for _, n := range targets {
		if err := node.Evict(n.Slot); err != nil {
			return done, err
		}
		done = append(done, evicted{n.Slot, n.Name, n.Pid, kernelText(n.Kernel)})
	}
	return done, nil
}

// beating looks for a while whether one of the nodes gives a sign of life.
func beating(ctx context.Context, seg *segment.Segment, targets []segment.NodeInfo) (segment.NodeInfo, bool, error) {
	begin := make(map[int]segment.NodeInfo)
	for _, n := range targets {
		if n.Foreign && n.State == segment.NodeLive {
			begin[n.Slot] = n
		}
	}
	if len(begin) == 0 {
		return segment.NodeInfo{}, false, nil
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(seg.Patience()); time.Now().Before(until); {
		for _, n := range seg.Nodes() {
			if was, ok := begin[n.Slot]; ok && was.Owner == n.Owner && n.Beat != was.Beat {
				return n, true, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return segment.NodeInfo{}, false, ctx.Err()
		}
	}
	return segment.NodeInfo{}, false, nil
}

// kernelText writes the id of a kernel.
func kernelText(id uint64) string { return fmt.Sprintf("%016x", id) }
