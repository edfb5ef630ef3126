package vm

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringbus/ringbus/internal/sys"
)

// A File is one that a guest has, or a directory with all below it.
type File struct {
	Path  string // on the host
	Guest string // in the guest; empty: /bin/NAME if it can be executed, else /NAME
}

// ParseFile reads PATH or PATH=GUEST.
func ParseFile(s string) (File, error) {
	from, to, named := strings.Cut(s, "=")
	if from == "" || named && !path.IsAbs(to) {
		return File{}, fmt.Errorf("%q: want PATH, or PATH=NAME with the absolute name that it has in the guest", s)
	}
	return File{from, to}, nil
}

// fileSystem writes the guest's file system into memory.
func (c *Config) fileSystem(k Kernel) (*os.File, error) {
	f, err := sys.Scratch("ringbus-guest")
	if err != nil {
		return nil, err
	}
	if err := c.fill(f, k); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("file system of the guest: %w", err)
	}
	return f, nil
}

func (c *Config) fill(f *os.File, k Kernel) error {
	wanted := c.Modules
	if c.Bus.Doorbell != "" { // with which the guest's programs get the interrupts
		wanted = append(slices.Clone(wanted), "vfio-pci", "vfio_iommu_type1")
	}
	modules, err := k.modulesFor(wanted)
	if err != nil {
		return err
	}
	self, err := c.program()
	if err != nil {
		return err
	}
	a := &archive{w: f}
	// Go opens /dev/null where a program starts without files, the first one.
	a.device("/dev/null", 0o666, 1, 3)
	a.device("/dev/console", 0o600, 5, 1)
	for _, d := range []string{"/proc", "/sys", "/run", "/dev/shm", "/bin"} {
		a.dir(d)
	}
	copyFile(a, self, "/bin/ringbus", 0o755)
	a.link(initFile, "/bin/ringbus")
	o := order{Args: c.Args, Env: append([]string{"PATH=/bin", "HOME=/", "TMPDIR=/run", "RINGBUS_BUS=ivshmem:"}, c.Env...)}
	for i, m := range modules {
		name := fmt.Sprintf(moduleFile, i, filepath.Base(m.Path))
		copyFile(a, m.Path, name, 0o644)
		o.Modules = append(o.Modules, loadable{name, m.Parameters})
	}
	for _, file := range c.Files {
		addFile(a, file)
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	a.file(orderFile, 0o600, int64(len(text)), strings.NewReader(string(text)))
	return a.close()
}

// program returns the program that is the guest's first process.
func (c *Config) program() (string, error) {
	self := c.Program
	if self == "" {
		var err error
		if self, err = os.Executable(); err != nil {
			return "", err
		}
	}
	e, err := elf.Open(self)
	if err != nil {
		return "", fmt.Errorf("%s: %w", self, err)
	}
	defer func() { _ = e.Close() }()
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s needs libraries that a guest has not: build it with CGO_ENABLED=0, as make build does", self)
		}
	}
	return self, nil
}

// addFile adds a file, or a directory with all below it.
func addFile(a *archive, file File) {
	to := file.Guest
	st, err := os.Stat(file.Path)
	switch {
	case err != nil:
		a.err = err
		return
	case to == "" && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0:
		to = "/bin/" + filepath.Base(file.Path)
	case to == "":
		abs, err := filepath.Abs(file.Path)
		if err != nil {
			a.err = err
			return
		}
		to = "/" + filepath.Base(abs)
	}
	if !st.IsDir() {
		copyFile(a, file.Path, to, uint32(st.Mode().Perm()))
		return
	}
	err = filepath.WalkDir(file.Path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(file.Path, p)
		if err != nil {
			return err
		}
		return addEntry(a, p, path.Join(to, rest), d)
	})
	if a.err == nil {
		a.err = err
	}
}

func addEntry(a *archive, from, to string, d fs.DirEntry) error {
	switch {
	case d.IsDir():
		a.dir(to)
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		a.link(to, target)
	case d.Type().IsRegular():
		st, err := d.Info()
		if err != nil {
			return err
		}
		copyFile(a, from, to, uint32(st.Mode().Perm()))
	}
	return a.err
}

func copyFile(a *archive, from, to string, perm uint32) {
	if a.err != nil {
		return
	}
	f, err := os.Open(from)
	if err != nil {
		a.err = err
		return
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	switch {
	case err != nil:
		a.err = err
	case !st.Mode().IsRegular():
		a.err = fmt.Errorf("%s is neither a file nor a directory", from)
	default:
		a.file(to, perm, st.Size(), f)
	}
}
