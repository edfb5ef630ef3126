package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/ringbus/ringbus/internal/sys"
)

// prepareDir makes the directory of buses if it is missing. The default one
// lies where everybody may write, so that it must be proved to be ours.
func prepareDir(dir string, own bool, o *Options) error {
	if !o.MustExist && !o.ReadOnly {
		perm := fs.FileMode(0o700)
		if !own && o.perm()&0o060 != 0 {
			perm = 0o770
		}
		if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if !own {
		return nil
	}
	st, err := sys.StatPath(dir)
	if err != nil {
		return err
	}
	const do = "remove it, or choose another place with $RINGBUS_DIR"
	switch {
	case !st.Dir:
		return &FileError{dir, "this is no directory", do}
	case int(st.UID) != os.Geteuid():
		return &FileError{dir, fmt.Sprintf("the directory belongs to user %d, not to us (%d)", st.UID, os.Geteuid()), do}
	case st.Mode&0o022 != 0:
		return &FileError{dir, fmt.Sprintf("others may write to the directory (mode %#o)", st.Mode), "chmod it to 0700"}
	}
	return nil
}

// denied says why the kernel did not let us open path, if that can be seen.
func denied(path string, err error) error {
	st, serr := sys.StatPath(path)
	if serr != nil || int(st.UID) == os.Geteuid() {
		return err
	}
	do := "its owner may share it with a group by mode 0660"
	if st.Mode&0o060 == 0o060 {
		do = fmt.Sprintf("become a member of its group, %d", st.GID)
	}
	return &FileError{path, fmt.Sprintf("it belongs to user %d, not to us (%d), and its mode is %#o", st.UID, os.Geteuid(), st.Mode), do}
}

// trust checks who may write to the bus file f.
func trust(f *os.File, path string, o *Options) error {
	st, err := sys.StatFile(f)
	if err != nil {
		return err
	}
	if _, fixed, err := fixedSize(f); err != nil || fixed {
		return err // whoever gave us the right to open a device knew why
	}
	asked := uint32(o.Mode.Perm())
	switch {
	case !st.Regular:
		return &FileError{path, "this is not a regular file", "name a bus file"}
	case networked(f):
		return onNetwork(path)
	case st.Mode&0o002 != 0 && asked&0o002 == 0:
		return &FileError{path, fmt.Sprintf("everybody may write to it (mode %#o)", st.Mode), "chmod it, or ask for that mode"}
	case int(st.UID) == os.Geteuid():
		return nil // modeAsked comes when it is READY
	case asked&0o060 != 0o060:
		return &FileError{path, fmt.Sprintf("it belongs to user %d, not to us (%d)", st.UID, os.Geteuid()), "to share a bus with a group, open it with mode 0660"}
	case st.Mode&0o060 != 0o060:
		return &FileError{path, fmt.Sprintf("it belongs to user %d and its group may not read and write it (mode %#o)", st.UID, st.Mode), "its owner must chmod it to 0660"}
	case !inGroup(int(st.GID)):
		return &FileError{path, fmt.Sprintf("it belongs to user %d and group %d, of which we are no member", st.UID, st.GID), "join the group"}
	}
	return nil
}

// modeAsked refuses our own file if it gives others less than we ask for.
func modeAsked(st sys.Stat, path string, o *Options) error {
	asked := uint32(o.Mode.Perm())
	if want := asked & 0o066; int(st.UID) == os.Geteuid() && st.Mode&want != want {
		return &FileError{path, fmt.Sprintf("its mode is %#o, but %#o was asked for", st.Mode, asked), "chmod it, or ask for its mode"}
	}
	return nil
}

func onNetwork(path string) error {
	return &FileError{path, "it lies on a network file system, where neither locks nor mappings are shared", "choose a directory in memory or on a local disk"}
}

func networked(f *os.File) bool {
	yes, err := sys.Networked(f)
	return yes && err == nil
}

func inGroup(gid int) bool {
	groups, err := os.Getgroups()
	return gid == os.Getegid() || err == nil && slices.Contains(groups, gid)
}
