package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/internal/vm"
	"github.com/ringbus/ringbus/ivshmem/doorbell"
	"github.com/ringbus/ringbus/segment"
)

func newVMDoorbell(g *global) *cobra.Command {
	d := vmDoorbell{global: g}
	c := &cobra.Command{
		Use:   "doorbell [--socket PATH]",
		Short: "Serve doorbells, by which guests and host interrupt one another",
		Long: `Serve QEMU's ivshmem-doorbell devices, and programs on the host, until interrupted:
whoever is connected can be woken by the others, in place of polling. And when a
guest dies, its nodes are recovered at once.

Messages do not pass through here. If this server ends, what is connected goes on;
start it again, and it knows whom it served. A socket that a dead server has left
is replaced. It keeps notes beside the bus's file, in NAME~doorbell.peers.

It prints a line for each client that comes and goes; with --json an object each.`,
		Example: `  ringbus vm doorbell --socket /run/ringbus.sock &
  ringbus vm run --doorbell /run/ringbus.sock -- ringbus sub greetings
  qemu-system-x86_64 ... $(ringbus vm args --doorbell /run/ringbus.sock)`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if d.vectors < 1 || d.vectors > doorbell.MaxVectors {
				return misused(c, "--vectors: %d is out of range: 1 to %d", d.vectors, doorbell.MaxVectors)
			}
			if d.clients < 1 || d.clients > doorbell.MaxID {
				return misused(c, "--clients: %d is out of range: 1 to %d", d.clients, doorbell.MaxID)
			}
			m, err := strconv.ParseUint(d.mode, 8, 32)
			if err != nil || m == 0 || m > 0o777 {
				return misused(c, "--socket-mode: %q is no file mode; 0660, for example, is one", d.mode)
			}
			return d.serve(c, fs.FileMode(m))
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&d.socket, "socket", "", "`path` of the socket (default the bus's file with ~doorbell behind)")
	f.IntVar(&d.vectors, "vectors", vm.Vectors, "how many interrupts each client has; those of the device may not be fewer")
	f.IntVar(&d.clients, "clients", 64, "how many clients may be connected at once")
	f.StringVar(&d.mode, "socket-mode", "0600", "`mode` of the socket: who may connect may map the bus")
	return c
}

type vmDoorbell struct {
	*global
	socket  string
	mode    string
	vectors int
	clients int
}

// serve opens the bus, which is made if it is not there, and serves it.
func (d *vmDoorbell) serve(c *cobra.Command, mode fs.FileMode) (err error) {
	seg, err := segment.Open(d.bus, &segment.Options{Dir: d.dir, Mode: d.fileMode(), Size: int64(d.size)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, seg.Close()) }()
	if strings.HasPrefix(d.bus, "ivshmem:") || seg.File() == nil {
		return fmt.Errorf("bus %q is not in a file of this host: serve it where its file is", d.bus)
	}
	node, err := seg.Join(d.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Leave()) }()
	path := d.socket
	if path == "" {
		path = doorbell.SocketOf(seg)
	}
	s, err := doorbell.Listen(path, seg.File(), &doorbell.Options{
		Vectors: d.vectors, MaxClients: d.clients, Mode: mode, State: doorbell.SocketOf(seg),
		Gone:  func(id uint16) bool { return doorbell.Bury(node, id) },
		Event: d.print,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	unlink, err := point(doorbell.SocketOf(seg), path)
	if err != nil {
		return err
	}
	defer unlink()
	fmt.Fprintf(os.Stderr, "ringbus: serving doorbells of bus %q at %s\n", d.bus, path)
	return s.Serve(c.Context())
}

// point makes a symbolic link to the socket where the programs of the host look
// for it. Its caller is the bus's only server.
func point(from, to string) (unlink func(), err error) {
	if from == to {
		return func() {}, nil
	}
	if to, err = filepath.Abs(to); err != nil {
		return nil, err
	}
	if err := os.Remove(from); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return func() { _ = os.Remove(from) }, os.Symlink(to, from)
}

// print says what has happened.
func (d *vmDoorbell) print(e doorbell.Event) {
	if d.json {
		_ = json.NewEncoder(os.Stdout).Encode(e)
		return
	}
	line := fmt.Sprintf("%s %-7s", e.Time.Format("15:04:05.000"), e.What)
	if e.What != doorbell.Refused {
		line += fmt.Sprintf(" client %d", e.ID)
	}
	if e.Pid != 0 {
		line += fmt.Sprintf(" process %d", e.Pid)
	}
	if e.Why != "" {
		line += ": " + e.Why
	}
	fmt.Println(line)
}
