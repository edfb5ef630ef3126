package sys

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const headless = "RINGBUS_TEST_HEADLESS"

func init() {
	if os.Getenv(headless) == "" {
		return
	}
	// Initialization runs on the process's first thread, which ends here; the
	// others live until standard input ends.
	runtime.LockOSThread()
	go func() {
		_, _ = os.Stdout.WriteString("here\n")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		_, _, _ = syscall.Syscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}()
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
}

func TestProcessWhoseFirstThreadHasEndedIsAlive(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), headless+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	start, err := StartTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "here\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not true: %s", what)
			}
		}
	}
	wait("its first thread has ended", func() bool {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return strings.Contains(string(b), ") Z ")
	})
	if Ended(pid, start) {
		t.Error("it has ended, though threads of it live")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	wait("it has ended", func() bool { return Ended(pid, start) }) // nobody has reaped it
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !Ended(pid, start) {
		t.Error("who was reaped is alive")
	}
}
