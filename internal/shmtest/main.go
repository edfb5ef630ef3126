// Package shmtest is the harness of tests over shared memory: it runs the test
// binary again as other processes, which may be killed at any step, and finds
// out what a run has left behind.
package shmtest

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const roleVar = "RINGBUS_TEST_ROLE"

// Main is to be called by TestMain. In a process made by [Start] it runs the
// role and exits. Otherwise it runs the tests, and fails the run if they leave
// descriptors, shared mappings, or files in the directories of [Dir].
func Main(m *testing.M, roles map[string]func(args []string) error) {
	if name, ok := os.LookupEnv(roleVar); ok {
		os.Exit(runRole(name, roles))
	}
	os.Exit(Run(m))
}

// Run is Main without roles that returns the exit status.
func Run(m *testing.M) int {
	if r, w, err := os.Pipe(); err == nil { // has Go open its own poller
		_, _ = r.Close(), w.Close()
	}
	before := takeStock()
	code := m.Run()
	if code == 0 {
		if left := leftBehind(before, Deadline/4); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "the tests left behind:\n\t%s\n", strings.Join(left, "\n\t"))
			code = 1
		}
	}
	return code
}

func runRole(name string, roles map[string]func([]string) error) int {
	role := roles[name]
	if role == nil {
		fmt.Fprintf(os.Stderr, "no role %q\n", name)
		return 2
	}
	if err := role(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "role %q: %v\n", name, err)
		return 1
	}
	return 0
}

// Listen calls f with each line that a role's starter says, until it says no
// more or f returns false.
func Listen(f func(line string) bool) {
	scan := bufio.NewScanner(os.Stdin)
	for scan.Scan() && f(scan.Text()) {
	}
}

var dirs struct {
	sync.Mutex
	all []string
}

// roomy is how much memory there must be for buses: packages run beside each
// other, and what has ended is given back when the garbage collector runs.
const roomy = 1 << 30

// Dir returns a private directory for buses, in memory where enough can be had:
// a container's /dev/shm often has 64 MiB.
// It must be empty when the test ends, and is removed.
func Dir(t testing.TB) string {
	t.Helper()
	base := "/dev/shm"
	if !usable(base) {
		base = "" // wherever temporary files go
	}
	dir, err := os.MkdirTemp(base, "ringbus-test-")
	if err != nil {
		t.Fatal(err)
	}
	dirs.Lock()
	dirs.all = append(dirs.all, dir)
	dirs.Unlock()
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func usable(dir string) bool {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < roomy {
		return false
	}
	f, err := os.CreateTemp(dir, "ringbus-probe-")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	return f.Close() == nil
}

// stock counts what this process has, by what it is.
type stock map[string]int

func takeStock() stock {
	s := make(stock)
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && !strings.HasPrefix(to, "/proc/") {
			s["descriptor of "+to]++
		}
	}
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		// address perms offset dev inode path; the fourth permission is s if shared
		if f := strings.Fields(line); len(f) >= 6 && strings.HasSuffix(f[1], "s") {
			s["mapping of "+strings.Join(f[5:], " ")]++
		}
	}
	return s
}

// leftBehind waits for the garbage collector to let go of mappings, for as long
// as it takes on a machine that has much else to do, and names what is more than
// before.
func leftBehind(before stock, patience time.Duration) []string {
	var left []string
	for end := time.Now().Add(patience); ; {
		runtime.GC() // cleanups run some time after
		time.Sleep(2 * time.Millisecond)
		if left = more(before, takeStock()); len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	dirs.Lock()
	defer dirs.Unlock()
	for _, dir := range dirs.all {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		left = append(left, files...)
	}
	return left
}

func more(before, now stock) []string {
	var out []string
	for what, n := range now {
		if n > before[what] {
			out = append(out, fmt.Sprintf("%s (%d more)", what, n-before[what]))
		}
	}
	sort.Strings(out)
	return out
}
