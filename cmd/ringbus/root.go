package main

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/segment"
)

// global has the flags of every verb.
type global struct {
	bus  string
	dir  string
	name string
	mode string
	size size
	json bool
}

func newRoot() *cobra.Command {
	g := &global{}
	root := &cobra.Command{
		Use:   "ringbus",
		Short: "Move messages between processes through shared memory",
		Long: `ringbus moves messages between the processes and virtual machines of one host
through shared memory: no broker, no copies, no locks.

Nothing has to be started first. A bus is made by whoever opens it first, a
topic by its first publisher or subscriber, a journal by its first writer, and
what a killed process leaves behind is cleaned up by the others.`,
		Example: `  ringbus sub greetings                      # in one terminal
  echo hello, world | ringbus pub greetings  # in another

  ringbus journal run app -- make test       # a log that outlives its writers
  ringbus journal tail -f app

  ringbus serve up --exec 'tr a-z A-Z'       # answer calls
  ringbus call up hello

  ringbus demo                               # see it work, and survive kill -9`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(c, "there is no verb %q", args[0])
			}
			return misused(c, "say what to do: pub, sub, journal, stream, io, serve, call, ls, info, rm, doctor, evict, vm, demo or version")
		},
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return g.check(c) },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{c.CommandPath(), err} })
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringVar(&g.bus, "bus", defaultBus(), "`name` of the bus; also $RINGBUS_BUS. In a virtual machine \"ivshmem:\" is the one in its ivshmem device, \"ivshmem:0000:00:05.0\" that at an address; a path is what can be mapped there")
	f.StringVar(&g.dir, "dir", "", "`directory` of the bus files; also $RINGBUS_DIR (default /dev/shm/ringbus-UID)")
	f.StringVar(&g.name, "name", "", "`name` of this node; who comes back under its name goes on (default the verb)")
	f.Var(&g.size, "size", "`size` of the bus if it is made now (default 256MiB, used as needed)")
	f.StringVar(&g.mode, "mode", "", "`mode` of the bus file, 0660 to share it with its group (default 0600)")
	f.BoolVar(&g.json, "json", false, "print JSON")
	root.AddCommand(newPub(g), newSub(g), newJournal(g), newStream(g), newIO(g), newServe(g), newCall(g), newLs(g), newInfo(g), newRm(g), newDoctor(g), newEvict(g), newVM(g), newDemo(g), newDemoPub(g), newDemoSub(g), newVersion(g))
	return root
}

func defaultBus() string {
	if b := os.Getenv("RINGBUS_BUS"); b != "" {
		return b
	}
	return "default"
}

// check tells wrong values of the global flags from what fails later.
func (g *global) check(c *cobra.Command) error {
	if err := segment.CheckBus(g.bus); err != nil {
		return misused(c, "--bus: %w", err)
	}
	if g.name == "" {
		g.name = c.Name()
	} else if err := segment.CheckName(g.name); err != nil {
		return misused(c, "--name: %w", err)
	}
	if m, err := strconv.ParseUint(g.mode, 8, 32); g.mode != "" && (err != nil || m > 0o777) {
		return misused(c, "--mode: %q is no file mode; 0660, for example, is one", g.mode)
	}
	return nil
}

func (g *global) fileMode() fs.FileMode {
	m, _ := strconv.ParseUint(g.mode, 8, 32)
	return fs.FileMode(m)
}

// open opens the bus and joins it, with its doorbell if it has one.
func (g *global) open() (*ringbus.Node, error) {
	n, err := ringbus.Open(g.bus, &ringbus.Options{
		Name: g.name, Dir: g.dir, Size: int64(g.size), Mode: g.fileMode(),
	})
	if err == nil {
		attachDoorbell(g.bus, n)
	}
	return n, err
}

// segmentOptions are those of a bus that must be there.
func (g *global) segmentOptions() *segment.Options {
	return &segment.Options{Dir: g.dir, Mode: g.fileMode(), MustExist: true}
}

// topicName checks the name of a topic.
func topicName(c *cobra.Command, name string) error {
	if err := segment.CheckName(name); err != nil {
		return misused(c, "topic: %w", err)
	}
	return nil
}

// size is a number of bytes on the command line.
type size int64

// Type names the kind of value in the help text.
func (s *size) Type() string { return "size" }

func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Set parses 65536, 64k, 64K, 64KiB (of 1024 bytes), 64kB or 64KB (of 1000),
// and so for M, G and T.
func (s *size) Set(text string) error {
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	unit, ok := units[text[digits:]]
	v, err := strconv.ParseInt(text[:digits], 10, 64)
	if err != nil || !ok || v <= 0 || v > (1<<62)/unit {
		return fmt.Errorf("%q is no size; 65536, 64k, 64KiB and 1M are some", text)
	}
	*s = size(v * unit)
	return nil
}

var units = func() map[string]int64 {
	m := map[string]int64{"": 1, "B": 1, "k": 1 << 10, "K": 1 << 10, "kB": 1e3, "KB": 1e3, "KiB": 1 << 10, "kiB": 1 << 10}
	for i, c := range []string{"M", "G", "T"} {
		binary, decimal := int64(1)<<(20+10*i), []int64{1e6, 1e9, 1e12}[i]
		m[c], m[c+"iB"], m[c+"B"] = binary, binary, decimal
	}
	return m
}()

// human writes a number of bytes as people read it.
func human[T int | int64 | uint64](bytes T) string {
	v, unit := float64(bytes), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	if unit == "B" || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
