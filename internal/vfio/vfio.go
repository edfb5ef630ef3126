// Package vfio drives a PCI device from a process: its registers as memory, its
// interrupts as eventfds. The kernel's driver vfio-pci has the device meanwhile,
// and an IOMMU keeps it from touching anything of ours.
//
// The interface is that of linux/vfio.h: a container, which stands for an IOMMU's
// tables, a group of devices that no IOMMU can tell apart, and in it the device.
// One process at a time can have a group. The device's memory may be mapped
// through sysfs besides.
package vfio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// Requests of linux/vfio.h: type ';', from 100 on, without sizes in them.
const (
	base = ';'<<8 | 100

	getVersion   = base + 0
	setIOMMU     = base + 2
	groupStatus  = base + 3
	setContainer = base + 4
	groupDevice  = base + 6
	regionInfo   = base + 8
	irqInfo      = base + 9
	setIRQs      = base + 10
)

const (
	apiVersion = 0
	type1      = 1 // the IOMMU of x86 and arm64
	viable     = 1

	configRegion = 7
	msixIRQ      = 2

	irqDataEventfd = 1 << 2
	irqTrigger     = 1 << 5

	regionMmap = 1 << 2
)

const driver = "vfio-pci"

// An Error says which device is meant, what is in the way, and what to do.
type Error struct {
	Address string
	What    string
	Do      string
	Err     error // may be nil
}

func (e *Error) Error() string {
	s := fmt.Sprintf("VFIO device %s: %s", e.Address, e.What)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s + "; " + e.Do
}

func (e *Error) Unwrap() error { return e.Err }

// Bind gives the device, whose directory in sysfs is dir, to vfio-pci, unless
// another driver has it. It needs root, if vfio-pci has not got it already.
func Bind(dir string) error {
	address := filepath.Base(dir)
	have, err := os.Readlink(filepath.Join(dir, "driver"))
	if err == nil && filepath.Base(have) == driver {
		return nil
	}
	if err == nil {
		return &Error{address, "the driver " + filepath.Base(have) + " has it", "unbind it there", nil}
	}
	if err := poke(dir, "driver_override", driver); err != nil {
		return &Error{address, "it cannot be given to " + driver, "be root", err}
	}
	// The bus tries the drivers it has; without vfio-pci nobody answers.
	if err := poke(filepath.Dir(filepath.Dir(dir)), "drivers_probe", address); err != nil {
		return &Error{address, "no driver takes it", "modprobe " + driver, err}
	}
	if have, err = os.Readlink(filepath.Join(dir, "driver")); err != nil || filepath.Base(have) != driver {
		return &Error{address, driver + " does not take it", "modprobe " + driver + ", and see the kernel's log", err}
	}
	return nil
}

func poke(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0)
}

// A Device is a device that this process has, from Open to Close.
type Device struct {
	address                  string
	container, group, device *os.File
	events                   []*os.File
}

// Open takes the device, whose directory in sysfs is dir and which vfio-pci has.
func Open(dir string) (*Device, error) {
	d := &Device{address: filepath.Base(dir)}
	if err := d.open(dir); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Device) wrong(what, do string, err error) error { return &Error{d.address, what, do, err} }

func (d *Device) open(dir string) error {
	link, err := os.Readlink(filepath.Join(dir, "iommu_group"))
	if err != nil {
		return d.wrong("no IOMMU stands before it", "give the machine one (QEMU: -device intel-iommu,intremap=on) and its kernel intel_iommu=on", err)
	}
	if d.container, err = take("/dev/vfio/vfio"); err != nil {
		return d.wrong("there is no VFIO", "modprobe vfio-pci, and be allowed to open /dev/vfio/vfio", err)
	}
	if v, err := sys.Control(d.container, getVersion, 0); err != nil || v != apiVersion {
		return d.wrong(fmt.Sprintf("VFIO has version %d, want %d", v, apiVersion), "use a kernel that has it", err)
	}
	if d.group, err = take("/dev/vfio/" + filepath.Base(link)); err != nil {
		do := "be allowed to open that file"
		if errors.Is(err, fs.ErrNotExist) {
			do = "give the device to vfio-pci"
		} else if strings.Contains(err.Error(), "busy") {
			do = "one process at a time can have it"
		}
		return d.wrong("its group cannot be had", do, err)
	}
	status := newBuffer(8)
	if err := status.call(d.group, groupStatus); err != nil {
		return d.wrong("its group says nothing of itself", "see the kernel's log", err)
	}
	if status.u32(4)&viable == 0 {
		return d.wrong("other devices of its group have other drivers", "give them to vfio-pci too", nil)
	}
	fd, err := sys.Descriptor(d.container)
	if err != nil {
		return err
	}
	where := newBuffer(8)
	where.put(0, uint32(fd))
	if err := where.call(d.group, setContainer); err != nil {
		return d.wrong("its group does not take the IOMMU's tables", "see the kernel's log", err)
	}
	if _, err := sys.Control(d.container, setIOMMU, type1); err != nil {
		return d.wrong("the IOMMU cannot be had", "modprobe vfio_iommu_type1; without interrupt remapping with allow_unsafe_interrupts=1", err)
	}
	name := newBuffer(64)
	copy(name.b, d.address)
	n, err := name.result(d.group, groupDevice)
	if err != nil {
		return d.wrong("it is not given out", "see the kernel's log", err)
	}
	d.device = sys.Received(n, d.address)
	return nil
}

func take(path string) (*os.File, error) { return sys.OpenFile(path, os.O_RDWR, 0) }

// Map maps the registers or memory of one BAR. The caller unmaps it.
func (d *Device) Map(bar int) ([]byte, error) {
	info, err := d.region(bar)
	if err != nil {
		return nil, err
	}
	size, offset := info.u64(16), info.u64(24)
	if info.u32(4)&regionMmap == 0 || size == 0 {
		return nil, d.wrong(fmt.Sprintf("its BAR %d cannot be mapped", bar), "see the kernel's log", nil)
	}
	return sys.MapAt(d.device, int64(offset), int64(size))
}

func (d *Device) region(index int) (buffer, error) {
	info := newBuffer(32)
	info.put(8, uint32(index))
	if err := info.call(d.device, regionInfo); err != nil {
		return buffer{}, d.wrong(fmt.Sprintf("it has no region %d", index), "see the kernel's log", err)
	}
	return info, nil
}

// Master lets the device write into memory, which is how it interrupts.
func (d *Device) Master() error {
	info, err := d.region(configRegion)
	if err != nil {
		return err
	}
	const command, master = 4, 1 << 2
	var word [2]byte
	at := int64(info.u64(24)) + command
	if _, err := d.device.ReadAt(word[:], at); err != nil {
		return d.wrong("its configuration cannot be read", "see the kernel's log", err)
	}
	word[0] |= master
	if _, err := d.device.WriteAt(word[:], at); err != nil {
		return d.wrong("its configuration cannot be written", "see the kernel's log", err)
	}
	return nil
}

// Interrupts has the device raise an event for each of its MSI-X vectors, at most
// limit. The events are the device's.
func (d *Device) Interrupts(limit int) ([]*os.File, error) {
	info := newBuffer(16)
	info.put(8, msixIRQ)
	if err := info.call(d.device, irqInfo); err != nil {
		return nil, d.wrong("it says nothing of its interrupts", "see the kernel's log", err)
	}
	n := min(int(info.u32(12)), limit)
	if n == 0 {
		return nil, d.wrong("it has no MSI-X interrupts", "use QEMU's ivshmem-doorbell", nil)
	}
	set := newBuffer(20 + 4*n)
	set.put(4, irqDataEventfd|irqTrigger)
	set.put(8, msixIRQ)
	set.put(16, uint32(n))
	for v := range n {
		event, err := sys.NewEvent(fmt.Sprintf("vector %d of %s", v, d.address))
		if err != nil {
			return nil, err
		}
		d.events = append(d.events, event)
		fd, err := sys.Descriptor(event)
		if err != nil {
			return nil, err
		}
		set.put(20+4*v, uint32(fd))
	}
	if err := set.call(d.device, setIRQs); err != nil {
		return nil, d.wrong("its interrupts are not given out", "see the kernel's log", err)
	}
	return d.events, nil
}

// Close gives the device back. Mappings of it stay until they are unmapped.
func (d *Device) Close() error {
	var errs []error
	for _, f := range append(d.events, d.device, d.group, d.container) {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	d.events, d.device, d.group, d.container = nil, nil, nil, nil
	return errors.Join(errs...)
}

// buffer is the memory of a request, whose first word is its length.
type buffer struct{ b []byte }

func newBuffer(n int) buffer {
	b := mem.Alloc(mem.Line * ((n + mem.Line - 1) / mem.Line))[:n:n]
	buf := buffer{b}
	buf.put(0, uint32(n))
	return buf
}

func (b buffer) put(at int, v uint32) { binary.NativeEndian.PutUint32(b.b[at:], v) }
func (b buffer) u32(at int) uint32    { return binary.NativeEndian.Uint32(b.b[at:]) }
func (b buffer) u64(at int) uint64    { return binary.NativeEndian.Uint64(b.b[at:]) }

func (b buffer) call(f *os.File, request uintptr) error {
	_, err := b.result(f, request)
	return err
}

func (b buffer) result(f *os.File, request uintptr) (int, error) {
	n, err := sys.Control(f, request, mem.Addr(mem.U32(b.b, 0)))
	runtime.KeepAlive(b.b)
	return n, err
}
