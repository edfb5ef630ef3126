package vm

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A module is one that the guest loads.
type module struct {
	Path       string // on the host
	Parameters string
}

// modulesFor finds the named modules and those they need, in the order in which
// they are loaded. A name may have parameters behind it: "vfio_iommu_type1 x=1".
// What is built into the kernel is left out.
func (k Kernel) modulesFor(names []string) ([]module, error) {
	if len(names) == 0 {
		return nil, nil
	}
	dir, err := k.modules()
	if err != nil {
		return nil, err
	}
	files := map[string]string{} // by name with underscores
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if base, _, ok := strings.Cut(filepath.Base(path), ".ko"); ok && err == nil && d.Type().IsRegular() {
			files[underscored(base)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	builtin, _ := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	f := finder{files: files, builtin: map[string]bool{}, seen: map[string]bool{}}
	for line := range strings.Lines(string(builtin)) {
		f.builtin[underscored(strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko"))] = true
	}
	for _, n := range names {
		name, parameters, _ := strings.Cut(n, " ")
		if err := f.add(name, parameters); err != nil {
			return nil, fmt.Errorf("module %s of kernel %s: %w", name, k.Version, err)
		}
	}
	return f.order, nil
}

func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

type finder struct {
	files   map[string]string
	builtin map[string]bool
	seen    map[string]bool
	order   []module
}

// add appends the module after those that it needs.
func (f *finder) add(name, parameters string) error {
	name = underscored(name)
	if f.seen[name] || f.builtin[name] {
		return nil
	}
	f.seen[name] = true
	path, ok := f.files[name]
	switch {
	case !ok:
		return fmt.Errorf("there is no %s", name)
	case filepath.Ext(path) != ".ko":
		return fmt.Errorf("%s is compressed: unpack it there first", path)
	}
	needs, err := needs(path)
	if err != nil {
		return err
	}
	for _, n := range needs {
		if err := f.add(n, ""); err != nil {
			return err
		}
	}
	f.order = append(f.order, module{path, parameters})
	return nil
}

// needs reads from a module which others it needs.
func needs(path string) ([]string, error) {
	e, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = e.Close() }()
	s := e.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("%s says nothing of itself (no .modinfo)", path)
	}
	info, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}
