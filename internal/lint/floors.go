package lint

import "strings"

// Module is the path of this module.
const Module = "github.com/ringbus/ringbus"

// A Room is one package of the house with everything below its directory.
type Room struct {
	Dir   string // "" is the root package
	Floor int    // imports go to a lower floor, never up or sideways

	TestOnly bool // only test files may import it, whatever their floor
	Syscall  bool // may import syscall
	Unix     bool // may import golang.org/x/sys
	Deps     bool // may import other modules outside test files
}

// Rooms is the architecture. A new package gets its line here, and its sentence
// in ARCHITECTURE.md, in the commit that adds it.
var Rooms = []Room{
	{Dir: "internal/mem", Floor: 0},
	{Dir: "internal/sys", Floor: 0, Unix: true, Syscall: true},
	{Dir: "internal/invariant", Floor: 0, Syscall: true},
	{Dir: "internal/lint", Floor: 0},

	{Dir: "internal/wake", Floor: 1},
	{Dir: "internal/pci", Floor: 1},
	{Dir: "internal/vfio", Floor: 1},

	{Dir: "internal/ring/fanout", Floor: 2},
	{Dir: "internal/ring/cells", Floor: 2},
	{Dir: "internal/ring/multilog", Floor: 2},
	{Dir: "internal/ring/mpsc", Floor: 2},
	{Dir: "internal/ring/virtq", Floor: 2},
	{Dir: "internal/ring/calls", Floor: 2},

	{Dir: "segment", Floor: 3},

	{Dir: "internal/host", Floor: 4},

	{Dir: "", Floor: 5},

	{Dir: "typed", Floor: 6},
	{Dir: "stream", Floor: 6},
	{Dir: "journal", Floor: 6},
	{Dir: "ioqueue", Floor: 6},
	{Dir: "virtio", Floor: 6},
	{Dir: "ringbustest", Floor: 6, TestOnly: true},

	{Dir: "vhostuser", Floor: 7},
	{Dir: "device", Floor: 7},
	{Dir: "ivshmem", Floor: 7},

	{Dir: "inspect", Floor: 8},
	{Dir: "internal/vm", Floor: 8, Syscall: true},

	{Dir: "cmd/ringbus", Floor: 9, Syscall: true, Deps: true},

	{Dir: "examples", Floor: 10},
	{Dir: "bench", Floor: 10, Deps: true},
	{Dir: "scripts", Floor: 10, Syscall: true},
	{Dir: "internal/guests", Floor: 10, TestOnly: true, Syscall: true, Deps: true},
	{Dir: "internal/mutation", Floor: 10, TestOnly: true},
	{Dir: "internal/shmtest", Floor: 10, TestOnly: true, Syscall: true, Deps: true},
}

// unsafeDir and its file names own unsafe.
const unsafeDir = "internal/mem"

// RoomOf returns the room that a package's directory belongs to: the one with
// the longest matching path. The root room holds the root package only.
func RoomOf(dir string) (Room, bool) {
	best, found := Room{}, false
	for _, r := range Rooms {
		inside := dir == r.Dir || r.Dir != "" && strings.HasPrefix(dir, r.Dir+"/")
		if inside && (!found || len(r.Dir) > len(best.Dir)) {
			best, found = r, true
		}
	}
	return best, found
}

// public says whether users can import the package in dir.
func public(dir string) bool {
	for _, p := range []string{"internal", "cmd", "examples", "bench", "scripts"} {
		if dir == p || strings.HasPrefix(dir, p+"/") || strings.Contains(dir, "/internal") {
			return false
		}
	}
	return true
}
