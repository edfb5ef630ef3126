// Package ivshmem opens a bus that arrives in a virtual machine as a PCI device:
// QEMU's ivshmem, whose memory is a bus file of the host. A program in the
// machine is then a node like any other.
//
//	seg, err := ivshmem.Open("", nil) // or by address: "0000:00:05.0"
//	node, err := ringbus.Attach(seg, &ringbus.Options{Name: "guest"})
//
// ringbus.Open("ivshmem:", nil) does both.
//
// The host makes the bus and gives it to the machine; "ringbus vm args" prints
// with which arguments. In the machine nothing formats the memory, and root, or
// who was given the right, may map it.
//
// # Between machines
//
// Nodes of one kernel know by a lock which of them live, and wake each other by
// futex. Of a node of another kernel only its heartbeat is seen: if it stands
// still the node is suspect and no longer holds others back, but nothing of it is
// taken away until there is evidence. With a doorbell ([Attach], on the host package
// ivshmem/doorbell) nodes ring one another. Without one, who sleeps while there are nodes of other
// kernels looks again by itself, in intervals that grow with the time since the last news.
package ivshmem

import (
	"fmt"

	"github.com/ringbus/ringbus/internal/pci"
	"github.com/ringbus/ringbus/segment"
)

// What may be wrong with a device, for errors.Is.
var (
	ErrNoDevice = pci.ErrNoDevice // there is none, or not at that address
	ErrSeveral  = pci.ErrSeveral  // there are several, and none was named; the error lists them
	ErrRevision = pci.ErrRevision // of a revision that we do not know
	ErrDisabled = pci.ErrDisabled // and we cannot enable it
	ErrTooSmall = pci.ErrTooSmall // without memory, or with too little for a bus
	ErrRights   = pci.ErrRights   // we may not map its memory
	ErrNotBus   = segment.ErrNotBus

	ErrNoDoorbell = pci.ErrNoDoorbell // it is a plain device, without interrupts
)

// An Error says which device is meant, what is wrong with it and what to do about
// it. It matches one of the values above.
type Error = pci.Error

// A Device is one ivshmem device as the kernel describes it.
type Device = pci.Device

// Options say where to look and how to open. Nil, and the zero value of every
// field, mean the default.
type Options struct {
	// Root is where sysfs is mounted: default /sys.
	Root string
	// Segment are the options of the segment: ReadOnly, SuspectAfter, Size (which
	// must be that of the bus) and Kernel; the others mean nothing.
	Segment *segment.Options
}

func (o *Options) root() string {
	if o == nil || o.Root == "" {
		return pci.Sysfs
	}
	return o.Root
}

// Devices lists the ivshmem devices of this machine, by address.
func Devices(o *Options) ([]Device, error) { return pci.Devices(o.root()) }

// Find returns the device at the address, which may leave out the domain, or the
// only one if address is empty. Its revision and memory are checked.
func Find(address string, o *Options) (Device, error) { return pci.Find(o.root(), address) }

// Open finds the device as [Find] does, enables it, and opens the bus in its
// memory, which must be there.
func Open(address string, o *Options) (*segment.Segment, error) {
	seg, err := open(address, o)
	if err != nil {
		return nil, fmt.Errorf("open bus \"ivshmem:%s\": %w", address, err)
	}
	return seg, nil
}

func open(address string, o *Options) (*segment.Segment, error) {
	d, err := Find(address, o)
	if err != nil {
		return nil, err
	}
	var so *segment.Options
	if o != nil {
		so = o.Segment
	}
	return segment.OpenPCI(d, so)
}
