package pci

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// describe reads what sysfs says of the device in dir.
func describe(dir string) (Device, error) {
	d := Device{Address: filepath.Base(dir), Dir: dir}
	rev, err := number(dir, "revision")
	if err != nil {
		return d, err
	}
	on, err := number(dir, "enable")
	if err != nil {
		return d, err
	}
	d.Revision, d.Enabled = int(rev), on != 0
	if link, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
		d.Driver = filepath.Base(link)
	}
	bars, err := regions(dir)
	if err != nil {
		return d, err
	}
	d.Vectors, d.Size = bars[1] > 0, bars[2]
	return d, nil
}

// ids returns the vendor's and the device's number.
func ids(dir string) (vendor, device uint64, err error) {
	if vendor, err = number(dir, "vendor"); err != nil {
		return 0, 0, err
	}
	device, err = number(dir, "device")
	return vendor, device, err
}

// number reads a file that holds one number.
func number(dir, file string) (uint64, error) {
	path := filepath.Join(dir, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is no number", path, b)
	}
	return v, nil
}

// memoryFlag marks a region that is memory, not ports (IORESOURCE_MEM of the
// kernel's include/linux/ioport.h).
const memoryFlag = 0x200

// regions returns the sizes of the device's first three BARs that are memory. Each
// line of the file says begin, end and flags of one; zeros: it is not there.
func regions(dir string) (sizes [3]int64, err error) {
	path := filepath.Join(dir, "resource")
	b, err := os.ReadFile(path)
	if err != nil {
		return sizes, err
	}
	lines := strings.Split(string(b), "\n")
	for i := range sizes {
		var from, to, flags uint64
		if i >= len(lines) {
			return sizes, fmt.Errorf("%s has %d lines, want at least %d", path, len(lines), len(sizes))
		}
		if _, err := fmt.Sscanf(lines[i], "0x%x 0x%x 0x%x", &from, &to, &flags); err != nil {
			return sizes, fmt.Errorf("%s: line %d is %q, want begin, end and flags", path, i+1, lines[i])
		}
		if flags&memoryFlag != 0 && to > from && to-from < 1<<62 {
			sizes[i] = int64(to-from) + 1
		}
	}
	return sizes, nil
}
