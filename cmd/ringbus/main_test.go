package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// asCommand makes the test binary the command that is tested.
const asCommand = "RINGBUS_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(os.Args[1:]))
	}
	shmtest.Main(m, map[string]func([]string) error{"unfinished": unfinishedRole})
}

// command is one call of ringbus. It is killed when the test ends.
type command struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  output
	errs output
	done chan struct{}
}

// output is what a command has written so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// prepare makes a command on the buses of dir, not yet started.
func prepare(t *testing.T, dir string, args ...string) *command {
	t.Helper()
	c := &command{t: t, cmd: exec.Command(os.Args[0], args...), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), asCommand+"=1", "RINGBUS_DIR="+dir, "RINGBUS_BUS=",
		"GORACE=atexit_sleep_ms=0") // else a race build sleeps for a second at its end
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errs
	return c
}

func (c *command) start() *command {
	c.t.Helper()
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.done)
	}()
	c.t.Cleanup(c.kill)
	return c
}

// start starts a command that reads in.
func start(t *testing.T, dir string, in io.Reader, args ...string) *command {
	t.Helper()
	c := prepare(t, dir, args...)
	c.cmd.Stdin = in
	return c.start()
}

// open starts a command whose standard input the test writes.
func open(t *testing.T, dir string, args ...string) (*command, io.WriteCloser) {
	t.Helper()
	c := prepare(t, dir, args...)
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return c.start(), in
}

// call runs a command to its end.
func call(t *testing.T, dir string, in io.Reader, args ...string) *command {
	t.Helper()
	c := start(t, dir, in, args...)
	c.wait()
	return c
}

func (c *command) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

func (c *command) signal(sig os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// stop stops the command's process, and returns when it stands still.
func (c *command) stop() {
	c.t.Helper()
	c.signal(syscall.SIGSTOP)
	eventually(c.t, "it is stopped", func() bool { return shmtest.Stopped(c.t, c.cmd.Process.Pid) })
}

// wait returns the exit status, or minus the signal that ended the command.
func (c *command) wait() int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(shmtest.Deadline):
		c.t.Fatalf("%q does not end\n%s", c.cmd.Args[1:], c.errs.String())
	}
	ws := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return -int(ws.Signal())
	}
	return ws.ExitStatus()
}

// status fails the test unless the command ends with it.
func (c *command) status(want int) *command {
	c.t.Helper()
	if got := c.wait(); got != want {
		c.t.Fatalf("%q ended with status %d, want %d\nstdout %q\nstderr %q", c.cmd.Args[1:], got, want, brief(c.out.String()), c.errs.String())
	}
	return c
}

func brief(s string) string {
	if len(s) > 500 {
		return s[:500] + "..."
	}
	return s
}

// says fails the test unless standard error has the text.
func (c *command) says(text string) *command {
	c.t.Helper()
	if !strings.Contains(c.errs.String(), text) {
		c.t.Errorf("%q says %q, want %q in it", c.cmd.Args[1:], c.errs.String(), text)
	}
	return c
}

// last fails the test unless the last line on standard error is this one.
func (c *command) last(want string) *command {
	c.t.Helper()
	lines := strings.Split(strings.TrimSuffix(c.errs.String(), "\n"), "\n")
	if got := lines[len(lines)-1]; got != want {
		c.t.Errorf("%q says %q at the end, want %q", c.cmd.Args[1:], got, want)
	}
	return c
}

// decode reads standard output as JSON.
func decode[T any](c *command) (v T) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.out.String()), &v); err != nil {
		c.t.Fatalf("%q wrote %q: %v", c.cmd.Args[1:], brief(c.out.String()), err)
	}
	return v
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(shmtest.Deadline); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// topicOf describes a topic of the default bus; it may be empty.
func topicOf(t *testing.T, dir, name string) inspect.Topic {
	t.Helper()
	seg, err := inspect.Open("default", &segment.Options{Dir: dir})
	if errors.Is(err, os.ErrNotExist) {
		return inspect.Topic{}
	}
	if err != nil {
		return inspect.Topic{} // not ready yet
	}
	defer seg.Close()
	topic, _ := inspect.Look(seg).Topic(name)
	return topic
}

// clean fails the test unless the doctor finds nothing, not even the dead.
func clean(t *testing.T, dir string) {
	t.Helper()
	h := decode[health](call(t, dir, nil, "doctor", "--json").status(0))
	if len(h.Found) > 0 || len(h.Remaining) > 0 {
		t.Errorf("doctor found %v, and %v remains", h.Found, h.Remaining)
	}
}

// tidy removes the default bus.
func tidy(t *testing.T, dir string) {
	t.Helper()
	call(t, dir, nil, "rm", "--whole-bus").status(0)
}
