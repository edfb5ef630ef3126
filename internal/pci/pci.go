// Package pci finds the shared memory that a hypervisor has put into a virtual
// machine as an ivshmem device: by its PCI id or by its address, through sysfs,
// which may be a tree of plain files. It reads and checks what the kernel says of
// the device, and enables it; it maps nothing.
//
// The device is described in QEMU's docs/specs/ivshmem-spec.rst: BAR 0 has the
// registers, BAR 1 the interrupt vectors, if there are any, BAR 2 the memory.
package pci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Sysfs is where the kernel shows its devices.
const Sysfs = "/sys"

// The ids of ivshmem: Red Hat's inter-VM shared memory.
const (
	vendorID = 0x1af4
	deviceID = 0x1110
	revision = 1       // 0 was QEMU's before 2.6, with other rules
	minSize  = 1 << 20 // of a bus
)

// What is wrong with a device, for errors.Is.
var (
	ErrNoDevice = errors.New("no such ivshmem device")
	ErrSeveral  = errors.New("several ivshmem devices")
	ErrRevision = errors.New("ivshmem device of another revision")
	ErrDisabled = errors.New("ivshmem device is disabled")
	ErrTooSmall = errors.New("memory of the ivshmem device is too small")
	ErrRights   = errors.New("no right to use the ivshmem device")

	ErrNoDoorbell = errors.New("ivshmem device has no doorbell")
)

// An Error says why a device cannot be used, and what to do about it. It
// matches one of the values above.
type Error struct {
	Kind    error
	Address string // of the device; may be empty
	What    string
	Do      string
}

func (e *Error) Error() string {
	s := e.What + "; " + e.Do
	if e.Address != "" {
		s = "ivshmem device " + e.Address + ": " + s
	}
	return s
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

// A Device is one ivshmem device as the kernel describes it.
type Device struct {
	Address  string // as 0000:00:05.0
	Revision int
	Enabled  bool
	Driver   string // the driver that has it, if one has
	Vectors  bool   // it has interrupts: a doorbell
	Size     int64  // of its memory, BAR 2; 0: it has none
	Dir      string // its directory in sysfs
}

// Memory is the path of the file that maps the memory.
func (d Device) Memory() string { return filepath.Join(d.Dir, "resource2") }

// Registers is the path of the file that maps the registers.
func (d Device) Registers() string { return filepath.Join(d.Dir, "resource0") }

// Address checks the address of a PCI device, and returns it in full: 00:05.0
// is 0000:00:05.0.
func Address(text string) (string, error) {
	bad := fmt.Errorf("%q is no address of a PCI device; 0000:00:05.0 is one", text)
	full := text
	if strings.Count(text, ":") == 1 {
		full = "0000:" + text
	}
	if len(full) != len("0000:00:05.0") || full[4] != ':' || full[7] != ':' || full[10] != '.' {
		return "", bad
	}
	for _, part := range []string{full[:4], full[5:7], full[8:10], full[11:]} {
		if _, err := strconv.ParseUint(part, 16, 16); err != nil {
			return "", bad
		}
	}
	return strings.ToLower(full), nil
}

// Devices lists the ivshmem devices of the sysfs under root, by address.
func Devices(root string) ([]Device, error) {
	all := filepath.Join(root, "bus", "pci", "devices")
	entries, err := os.ReadDir(all)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // no PCI: no device
		return nil, err
	}
	var out []Device
	for _, e := range entries {
		dir := filepath.Join(all, e.Name())
		if vendor, device, err := ids(dir); err != nil || vendor != vendorID || device != deviceID {
			continue // gone again, or another one
		}
		d, err := describe(dir)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Device) int { return strings.Compare(a.Address, b.Address) })
	return out, nil
}

// Find returns the ivshmem device at the address, or, if that is empty, the only
// one there is, and checks that it can hold a bus.
func Find(root, address string) (Device, error) {
	d, err := find(root, address)
	if err != nil {
		return Device{}, err
	}
	return d, d.check()
}

func find(root, address string) (Device, error) {
	if address != "" {
		return at(root, address)
	}
	all, err := Devices(root)
	switch {
	case err != nil:
		return Device{}, err
	case len(all) == 0:
		return Device{}, &Error{ErrNoDevice, "", "this machine has no ivshmem device (PCI id 1af4:1110)", "\"ringbus vm args\" on its host says how to give it one"}
	case len(all) > 1:
		var names []string
		for _, d := range all {
			names = append(names, "ivshmem:"+d.Address)
		}
		return Device{}, &Error{ErrSeveral, "", fmt.Sprintf("this machine has %d ivshmem devices", len(all)), "say which: " + strings.Join(names, ", ")}
	}
	return all[0], nil
}

// at returns the device at the address.
func at(root, address string) (Device, error) {
	full, err := Address(address)
	if err != nil {
		return Device{}, err
	}
	dir := filepath.Join(root, "bus", "pci", "devices", full)
	vendor, device, err := ids(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Device{}, &Error{ErrNoDevice, full, "there is no PCI device at this address", "leave the address out, or see lspci -d 1af4:1110"}
	case err != nil:
		return Device{}, err
	case vendor != vendorID || device != deviceID:
		return Device{}, &Error{ErrNoDevice, full, fmt.Sprintf("the device there is %04x:%04x, not ivshmem (1af4:1110)", vendor, device), "leave the address out, or see lspci -d 1af4:1110"}
	}
	return describe(dir)
}

// check says what is wrong with the device.
func (d Device) check() error {
	switch {
	case d.Revision != revision:
		return &Error{ErrRevision, d.Address, fmt.Sprintf("its revision is %d, not %d", d.Revision, revision), "use QEMU's ivshmem-plain or ivshmem-doorbell, of QEMU 2.6 or later"}
	case d.Size == 0:
		return &Error{ErrTooSmall, d.Address, "it has no memory (BAR 2)", "give it a bus file as its memory; \"ringbus vm args\" says how"}
	case d.Size < minSize:
		return &Error{ErrTooSmall, d.Address, fmt.Sprintf("its memory (BAR 2) has %d bytes, a bus at least %d", d.Size, minSize), "give it a bus file as its memory; \"ringbus vm args\" says how"}
	}
	return nil
}

// Enable switches the device on, if it is off.
func (d Device) Enable() error {
	if d.Enabled {
		return nil
	}
	path := filepath.Join(d.Dir, "enable")
	err := os.WriteFile(path, []byte("1"), 0)
	if errors.Is(err, fs.ErrPermission) {
		return &Error{ErrDisabled, d.Address, "it is disabled, and only root may enable it", fmt.Sprintf("write 1 to %s as root", path)}
	}
	if err == nil {
		if on, rerr := number(d.Dir, "enable"); rerr != nil || on == 0 {
			err = errors.Join(errors.New("it stays disabled"), rerr)
		}
	}
	if err != nil {
		return &Error{ErrDisabled, d.Address, fmt.Sprintf("it is disabled, and enabling it ended with: %v", err), "see the kernel's log"}
	}
	return nil
}

// Refused explains an error of opening or mapping the device's memory.
func (d Device) Refused(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if st, serr := os.Stat(d.Memory()); serr == nil && os.Geteuid() == 0 {
		return &Error{ErrRights, d.Address, fmt.Sprintf("the kernel refuses its memory, to root too (%v, mode %#o)", err, st.Mode().Perm()), "a kernel that is locked down (secure boot) maps no devices: see /sys/kernel/security/lockdown"}
	}
	return &Error{ErrRights, d.Address, fmt.Sprintf("we (user %d) may not read and write %s", os.Geteuid(), d.Memory()), "run as root, or have a udev rule give that file to a group of ours with mode 0660"}
}
