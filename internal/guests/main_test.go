//go:build !race

package guests

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/vm"
)

// asAgent makes this binary an agent.
const asAgent = "RINGBUS_TEST_AGENT"

// What the tests boot; the binary of the guests is this one, linked statically.
var program, kernel string

// leave are directories to be removed in the end.
var leave []string

func TestMain(m *testing.M) {
	if vm.IsInit() {
		vm.Init()
	}
	if bus := os.Getenv(asAgent); bus != "" {
		if err := agent(bus); err != nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dir, err := prepare()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	leave = append(leave, dir)
	code := shmtest.Run(m)
	for _, dir := range leave {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// prepare finds the kernel and makes the program.
func prepare() (dir string, err error) {
	if os.Getenv("RINGBUS_KERNEL") == "" {
		found, _ := filepath.Glob("../../.cache/guest/boot/vmlinuz-*")
		if len(found) > 0 {
			if err := os.Setenv("RINGBUS_KERNEL", found[len(found)-1]); err != nil {
				return "", err
			}
		}
	}
	k, err := vm.FindKernel("")
	if err != nil {
		return "", fmt.Errorf("%w\n\nor run make setup", err)
	}
	kernel = k.Path
	if program = os.Args[0]; static(program) {
		return "", nil
	}
	if dir, err = os.MkdirTemp("", "ringbus-guests-"); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "guests.test")
	args := []string{"test", "-c", "-o", program}
	if invariant.Enabled {
		args = append(args, "-tags=invariants")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build the guests' program: %w\n%s", err, out)
	}
	return dir, nil
}

// static says whether a program needs no libraries.
func static(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}
