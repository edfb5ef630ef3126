package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/sys"
)

var _ = invariant.Declare("segment.rm.removing", "segment.rm.unlinked")

// BusInfo describes one bus of a directory.
type BusInfo struct {
	Name  string
	Path  string
	Size  int64 // bytes
	Nodes int   // that are not dead
	Areas int
	Err   error // why it cannot be opened; the numbers are then 0
}

// List describes the buses of Options.Dir, by name. A directory that is not
// there has none.
func List(o *Options) ([]BusInfo, error) {
	opts := o.resolve()
	dir, own := directory(&opts)
	opts.ReadOnly = true
	if err := prepareDir(dir, own, &opts); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("list buses: %w", err)
	}
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list buses: %w", err)
	}
	var out []BusInfo
	for _, f := range files {
		name := nameOf(f.Name())
		if f.IsDir() || CheckName(name) != nil {
			continue
		}
		info := describe(fileOf(dir, name), opts)
		if errors.Is(info.Err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		info.Name = name
		out = append(out, info)
	}
	return out, nil
}

func describe(path string, o Options) BusInfo {
	info := BusInfo{Path: path}
	o.Size = 0
	s, err := openPath(path, o)
	if err != nil {
		info.Err = err
		return info
	}
	info.Size = s.Size()
	for _, n := range s.Nodes() {
		if n.Status != Dead {
			info.Nodes++
		}
	}
	info.Areas = len(s.Areas())
	info.Err = s.Close()
	return info
}

// Remove removes the bus with the given name. If a node uses it that is not
// proved dead, the error wraps [ErrInUse] and names it. With Options.Force the
// bus is removed nevertheless, and so is a file that is no valid bus; who has
// it mapped keeps what there is.
func Remove(name string, o *Options) error {
	opts := o.resolve()
	err := func() error {
		opts.MustExist, opts.Size = true, 0
		if strings.HasPrefix(name, schemePCI) {
			return errNoFile
		}
		if strings.HasPrefix(name, schemeDir) {
			return removePath(name, opts)
		}
		if err := CheckName(name); err != nil {
			return err
		}
		dir, own := directory(&opts)
		if err := prepareDir(dir, own, &opts); err != nil {
			return err
		}
		return removePath(fileOf(dir, name), opts)
	}()
	if err != nil {
		return fmt.Errorf("remove bus %q: %w", name, err)
	}
	return nil
}

// errNoFile refuses to remove what others have given us.
var errNoFile = errors.New("it lies in a device, not in a file of its own; whoever made it, the host of this machine, removes it")

func removePath(path string, o Options) error {
	s, err := openPath(path, o)
	if err == nil && !s.file {
		return errors.Join(errNoFile, s.Close())
	}
	if err != nil {
		var garbage *FormatError
		if st, serr := sys.StatPath(path); serr == nil && !st.Regular {
			return err
		}
		if o.Force && (errors.As(err, &garbage) || errors.Is(err, fs.ErrNotExist)) {
			return os.Remove(path)
		}
		return err
	}
	defer s.Close()
	for wait := 0; ; wait++ {
		got, err := s.own.try(creationLock)
		if err != nil {
			return err
		}
		if got {
			break
		}
		if wait > 2000 {
			return fmt.Errorf("%w: another process is creating or removing it", ErrInUse)
		}
		pause(wait)
	}
	defer func() { _ = s.own.unlock(creationLock) }()
	if same, err := names(path, s.f); err != nil {
		return err
	} else if !same {
		return fmt.Errorf("%w: somebody else removed it", fs.ErrNotExist)
	}
	s.state().Store(stateRemoving) // edge: join (a full barrier)
	invariant.Point("segment.rm.removing")
	if err := s.unusedBus(); err != nil && !o.Force {
		s.state().Store(stateReady)
		return err
	}
	err = os.Remove(path)
	invariant.Point("segment.rm.unlinked")
	if err != nil {
		s.state().Store(stateReady)
	}
	return err
}

// unusedBus returns an error that names a node that is not dead, unless there
// is none. A slot that is locked is about to be joined.
func (s *Segment) unusedBus() error {
	for slot := range nodeCount {
		w := s.load(slot)
		if w.state() != NodeFree && s.status(w.owner(slot), s.own) != Dead {
			info := s.nodeInfo(slot, w)
			return fmt.Errorf("%w by node %d %q, process %d (%v)", ErrInUse, slot, info.Name, info.Pid, info.Status)
		}
		if held, err := s.own.held(slot); err != nil {
			return err
		} else if held {
			return fmt.Errorf("%w: somebody is joining or leaving as node %d", ErrInUse, slot)
		}
	}
	return nil
}
