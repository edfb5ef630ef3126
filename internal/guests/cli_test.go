//go:build !race

package guests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// command is the command line, built once.
var command = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ringbus-guests-")
	if err != nil {
		return "", err
	}
	leave = append(leave, dir)
	path := filepath.Join(dir, "ringbus")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/ringbus")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", &buildError{err, out}
	}
	return path, nil
})

type buildError struct {
	err error
	out []byte
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + string(e.out) }

// cli makes a call of the command line on the buses of a directory.
func cli(t *testing.T, dir string, args ...string) (cmd *exec.Cmd, out, errs *text) {
	t.Helper()
	path, err := command()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "RINGBUS_DIR="+dir, "RINGBUS_BUS=", "RINGBUS_KERNEL="+kernel)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, errs = &text{}, &text{}
	cmd.Stdout, cmd.Stderr = out, errs
	return cmd, out, errs
}

// says calls the command line on a bus and returns all that it says.
func says(t *testing.T, seg *segment.Segment, args ...string) string {
	t.Helper()
	cmd, out, errs := cli(t, filepath.Dir(seg.Path()), append(args, "--bus", filepath.Base(seg.Path()))...)
	_ = cmd.Run()
	return out.String() + errs.String()
}

func TestAsANewUserWouldTryIt(t *testing.T) {
	dir := shmtest.Dir(t)
	sub, out, errs := cli(t, dir, "vm", "run", "--timeout", "80s", "--", "ringbus", "--bus", "ivshmem:", "sub", "--count", "3", "hello")
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	pub, _, pubErrs := cli(t, dir, "pub", "--wait", "1", "hello")
	pub.Stdin = strings.NewReader("1\n2\n3\n")
	if err := pub.Run(); err != nil {
		t.Errorf("pub: %v\n%s", err, pubErrs.String())
	}
	if err := sub.Wait(); err != nil {
		t.Errorf("vm run: %v\n%s", err, errs.String())
	}
	if out.String() != "1\n2\n3\n" || errs.String() != "received=3 lost=0 bytes=3\n" {
		t.Errorf("the guest printed %q and said %q", out.String(), errs.String())
	}
}

func TestGuestsInputOutputAndStatusAreOurs(t *testing.T) {
	dir := shmtest.Dir(t)
	input := bytes.Repeat([]byte("0123456789abcde\n"), 4<<10) // 64 KiB, eight times what may be under way
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, input, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(in []byte, args ...string) (status int, out, errs string) {
		cmd, o, e := cli(t, dir, append([]string{"vm", "run", "--timeout", "80s"}, args...)...)
		cmd.Stdin = bytes.NewReader(in)
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode(), o.String(), e.String()
	}
	// As long as the topic has room for what it gets; the guest's sub reads the history.
	if status, _, errs := run(input, "--", "ringbus", "pub", "--depth", "8192", "t"); status != 0 || !strings.Contains(errs, "sent=4096 bytes=61440") {
		t.Errorf("pub in a guest: status %d, %q", status, errs)
	}
	if status, out, errs := run(nil, "--file", file+"=/in", "--", "ringbus", "sub", "--history", "4096", "--count", "4096", "t"); status != 0 || out != string(input) {
		t.Errorf("sub in a guest: status %d, %d bytes, %q", status, len(out), errs)
	}
	if status, out, errs := run(nil, "--", "ringbus", "info", "nothing"); status != 1 || out != "" || !strings.Contains(errs, `no topic "nothing"`) {
		t.Errorf("info in a guest: status %d, %q, %q", status, out, errs)
	}
	if status, _, errs := run(nil, "--", "nosuch"); status != 1 || !strings.Contains(errs, "/bin/ringbus: add files with --file") {
		t.Errorf("no command: status %d, %q", status, errs)
	}
	if status, _, errs := run(nil, "--timeout", "1ms", "--", "ringbus", "version"); status != 124 || !strings.Contains(errs, "after 1ms") {
		t.Errorf("no time: status %d, %q", status, errs)
	}
}

func TestInterruptEndsTheGuestsCommand(t *testing.T) {
	dir := shmtest.Dir(t)
	cmd, out, errs := cli(t, dir, "vm", "run", "--timeout", "80s", "--", "ringbus", "sub", "t")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pub, _, _ := cli(t, dir, "pub", "--wait", "1", "t")
	pub.Stdin = strings.NewReader("x\n")
	if err := pub.Run(); err != nil {
		t.Error(err)
	}
	eventually(t, "the guest has received", func() bool { return out.String() == "x\n" })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 130 || !strings.Contains(errs.String(), "received=1") {
		t.Errorf("status %d, %q", status, errs.String())
	}
	rm, _, why := cli(t, dir, "rm", "--whole-bus") // nobody is left on it
	if err := rm.Run(); err != nil {
		t.Errorf("rm: %v: %s", err, why.String())
	}
}

func TestGuestEndsWithWhoStartedIt(t *testing.T) {
	dir := shmtest.Dir(t)
	cmd, _, _ := cli(t, dir, "vm", "run", "--", "ringbus", "sub", "t")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has started QEMU", func() bool { return len(qemus(dir)) > 0 })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "QEMU has ended", func() bool { return len(qemus(dir)) == 0 })
}

// qemus are the processes that have a bus of a directory on their command line.
func qemus(dir string) []string {
	var out []string
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte("mem-path="+dir)) {
			out = append(out, f)
		}
	}
	return out
}
