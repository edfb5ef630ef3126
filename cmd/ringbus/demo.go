package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

type demoFlags struct {
	source string
	rounds int
}

func newDemo(g *global) *cobra.Command {
	f := demoFlags{}
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: four processes, two killed with SIGKILL, nothing lost",
		Long: `Start one publisher and three subscribers as processes of their own, on a bus of
their own. The publisher sends every file of the Go source tree, round after
round. On the way a subscriber is killed with SIGKILL and comes back under its
name, and then so is the publisher, which goes on with the next file.

At the end a table says who sent and received what, how fast, and whether the
SHA-256 of all that was received, in order, is that of the files. The status is
1 if it is not, or if a reliable subscriber that lived lost anything.`,
		Example: `  ringbus demo
  ringbus demo --source ~/pictures --rounds 20`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.rounds < 0 {
				return misused(c, "--rounds cannot be negative")
			}
			return g.demo(c.Context(), f)
		},
	}
	c.Flags().StringVar(&f.source, "source", "", "send the files of this `directory` (default $(go env GOROOT)/src)")
	c.Flags().IntVar(&f.rounds, "rounds", 0, "send all files `n` times (default: until it is about 2 GiB)")
	return c
}

// demo is the verb demo. It removes all that it made, however it ends.
func (g *global) demo(ctx context.Context, f demoFlags) error {
	// Our children are told by the kernel when the thread ends that began them.
	runtime.LockOSThread()
	source, err := sourceDir(ctx, f.source)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "reading %s\n", source)
	t, err := readTree(ctx, source)
	if err != nil {
		return err
	}
	p, err := newPlay(t, f.rounds)
	if err != nil {
		return err
	}
	defer p.clear()
	if err := p.run(ctx); err != nil {
		return err
	}
	r := p.result()
	if g.json {
		err = printJSON(r)
	} else {
		err = r.print()
	}
	if err == nil && len(r.Wrong) > 0 {
		return errSaid
	}
	return err
}

// sourceDir finds the directory whose files are sent.
func sourceDir(ctx context.Context, asked string) (string, error) {
	if asked != "" {
		return filepath.Abs(asked)
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	for _, root := range []string{strings.TrimSpace(string(out)), os.Getenv("GOROOT"), "/usr/local/go"} {
		src := filepath.Join(root, "src")
		if info, err := os.Stat(src); root != "" && err == nil && info.IsDir() {
			return src, nil
		}
	}
	return "", errors.Join(errors.New("there is no Go source tree: say --source DIRECTORY"), err)
}
