package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/internal/vm"
	"github.com/ringbus/ringbus/segment"
)

func newVM(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "vm",
		Short: "Put a bus into virtual machines",
		Long: `A virtual machine sees a bus as a PCI device, ivshmem, whose memory is the bus's
file. In it, --bus ivshmem: names that bus, and its programs are nodes like any
others.

Who may write a bus can garble whatever is on it: give a bus to guests that trust
each other, and one of its own to each that does not.`,
		Example: `  ringbus vm run -- ringbus sub greetings       # in a guest that is made for it
  echo hello | ringbus pub --wait 1 greetings    # on the host

  qemu-system-x86_64 ... $(ringbus vm args)      # in a guest of yours`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(c, "there is no verb %q of vm", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return misused(c, "say what to do: args, run or doorbell") },
	}
	c.AddCommand(newVMArgs(g), newVMRun(g), newVMDoorbell(g))
	return c
}

func newVMArgs(g *global) *cobra.Command {
	var doorbell string
	var libvirt bool
	c := &cobra.Command{
		Use:   "args",
		Short: "Print QEMU's arguments for a guest with the bus",
		Long: `Print the arguments with which QEMU gives the bus to a guest as a PCI device; with
--libvirt what the XML of a domain needs; with --json an object with args, path,
size and, with a doorbell, socket. The bus is made if it is not there.`,
		Example: `  qemu-system-x86_64 -m 1G disk.img $(ringbus vm args)
  ringbus vm args --bus cameras --libvirt
  ringbus vm args --doorbell /run/ringbus/default.sock`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if libvirt && g.json {
				return misused(c, "--libvirt and --json: choose one")
			}
			bus, err := g.forGuests(doorbell)
			if err != nil {
				return err
			}
			return g.printArgs(bus, libvirt)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&doorbell, "doorbell", "", "`socket` of the doorbell server (\"ringbus vm doorbell\"): interrupts instead of polling")
	f.BoolVar(&libvirt, "libvirt", false, "print XML for libvirt")
	return c
}

// forGuests returns what guests get to see of the bus, which is made if it is not
// there.
func (g *global) forGuests(doorbell string) (vm.Bus, error) {
	seg, err := segment.Open(g.bus, &segment.Options{Dir: g.dir, Mode: g.fileMode(), Size: int64(g.size)})
	if err != nil {
		return vm.Bus{}, err
	}
	bus := vm.Bus{Path: seg.Path(), Size: seg.Size(), Doorbell: doorbell}
	// A guest that touches a page for which there is no memory dies of it.
	if err := seg.Reside(); err != nil {
		return bus, errors.Join(err, seg.Close())
	}
	return bus, seg.Close()
}

func (g *global) printArgs(bus vm.Bus, libvirt bool) error {
	if libvirt {
		xml, err := bus.Libvirt()
		if err == nil {
			_, err = os.Stdout.WriteString(xml)
		}
		return err
	}
	args, err := bus.Arguments()
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(struct {
			Args   []string `json:"args"`
			Path   string   `json:"path"`
			Size   int64    `json:"size"`
			Socket string   `json:"socket,omitempty"`
		}{args, bus.Path, bus.Size, bus.Doorbell})
	}
	_, err = fmt.Println(vm.Quoted(args))
	return err
}
