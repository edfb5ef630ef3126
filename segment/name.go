package segment

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// CheckName returns an error that says what is wrong with name as the name of
// a bus, a node or an area: it must be 1 to 128 bytes of letters, digits, '.',
// '_', '-' and '/', without a component that is empty, "." or "..".
func CheckName(name string) error {
	if name == "" {
		return fmt.Errorf("name is empty: want 1 to %d bytes", maxName)
	}
	if len(name) > maxName {
		return fmt.Errorf("name of %d bytes is too long: want 1 to %d", len(name), maxName)
	}
	for i := range len(name) {
		if c := name[i]; !nameByte(c) {
			return fmt.Errorf("name %q has %q at byte %d: want letters, digits, '.', '_', '-' or '/'", name, c, i)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("name %q has %q as a component", name, part)
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '_' || c == '-' || c == '/'
}

// shm is where buses live unless somebody says otherwise.
const shm = "/dev/shm"

// directory returns where the buses of o are, and whether that is the default
// place, which is ours alone.
func directory(o *Options) (dir string, own bool) {
	if o.Dir != "" {
		return o.Dir, false
	}
	if d := os.Getenv("RINGBUS_DIR"); d != "" {
		return d, false
	}
	return filepath.Join(shm, "ringbus-"+strconv.Itoa(os.Geteuid())), true
}

func fileOf(dir, name string) string {
	return filepath.Join(dir, strings.ReplaceAll(name, "/", "%"))
}

func nameOf(file string) string { return strings.ReplaceAll(file, "%", "/") }
