// Bench measures ringbus between two processes, each figure beside the
// core-to-core floor of the same moment: how long a cache line takes from one
// CPU to the other, which no program on this machine can beat.
//
// See README.md for how to run it and how to read it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/ringbus/ringbus/internal/sys"
)

// config is what the command line asks for.
type config struct {
	json   bool
	quick  bool
	check  bool
	rounds int
	only   *regexp.Regexp
	cpus   []int // of the two processes; one entry where there is only one
}

func main() {
	if dir := os.Getenv(childEnv); dir != "" {
		childMain(dir)
		return
	}
	c, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	missed, err := run(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if missed > 0 && c.check {
		os.Exit(1)
	}
}

func parse() (config, error) {
	var c config
	flag.BoolVar(&c.json, "json", false, "print one JSON object")
	flag.BoolVar(&c.quick, "quick", false, "a tenth of the messages and 3 rounds")
	flag.BoolVar(&c.check, "check", false, "exit 1 if a target is missed")
	flag.IntVar(&c.rounds, "rounds", 0, "rounds to take medians of (7; 3 with -quick)")
	only := flag.String("run", "", "measure only what matches this `regexp`, and what it is compared with")
	cpus := flag.String("cpus", "", "the two CPUs to use, as in 0,1 (the first two allowed)")
	flag.Parse()
	if flag.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if c.rounds == 0 {
		c.rounds = 7
		if c.quick {
			c.rounds = 3
		}
	}
	if c.rounds < 1 {
		return c, fmt.Errorf("-rounds %d: must be at least 1", c.rounds)
	}
	var err error
	if c.only, err = regexp.Compile(*only); err != nil {
		return c, fmt.Errorf("-run: %w", err)
	}
	allowed, err := sys.CPUs()
	if err != nil {
		return c, err
	}
	c.cpus = allowed[:min(2, len(allowed))]
	if *cpus != "" {
		c.cpus = nil
		for s := range strings.SplitSeq(*cpus, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				return c, fmt.Errorf("-cpus %s: %w", *cpus, err)
			}
			c.cpus = append(c.cpus, n)
		}
		if len(c.cpus) != 2 || c.cpus[0] == c.cpus[1] {
			return c, fmt.Errorf("-cpus %s: want two different CPUs", *cpus)
		}
	}
	return c, nil
}

// run measures everything and prints it. It returns how many targets were missed.
func run(c config) (missed int, err error) {
	list := chosen(c)
	if len(list) == 0 {
		return 0, errors.New("-run matches nothing")
	}
	dir, err := makeDir()
	if err != nil {
		return 0, err
	}
	p, err := startPeer(dir, c)
	if err != nil {
		return 0, errors.Join(err, os.RemoveAll(dir))
	}
	// Whoever comes first ends the child and removes the bus: the normal end,
	// a signal, or the child's death.
	cleanUp := sync.OnceFunc(func() {
		p.kill()
		_ = os.RemoveAll(dir)
	})
	defer cleanUp()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt) // after any other the child cleans up
	go func() {
		select {
		case s := <-signals:
			cleanUp()
			fmt.Fprintln(os.Stderr, "bench:", s)
			os.Exit(130)
		case <-p.died:
			cleanUp()
			fmt.Fprintln(os.Stderr, "bench: the other process died")
			os.Exit(1)
		}
	}()
	results, err := measure(p, list, c)
	if err != nil {
		return 0, err
	}
	p.finish()
	r := newReport(c, results)
	if c.json {
		return r.missed(), r.printJSON(os.Stdout)
	}
	return r.missed(), r.print(os.Stdout)
}

// makeDir makes a private directory for the bus, in memory if possible.
func makeDir() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "ringbus-bench-"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "ringbus-bench-")
}
