package shmtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Proc is this test binary, running again in a role. It is killed when the
// test ends.
type Proc struct {
	t    testing.TB
	role string
	cmd  *exec.Cmd
	in   io.WriteCloser

	lines chan string // what it writes to standard output
	log   tail        // what it writes to standard error
	done  chan struct{}
	err   error // how it ended; valid once done is closed
}

// Start runs the test binary in a role that [Main] was given. env are further
// variables, "RINGBUS_CRASH=segment.create.turn:1" for example.
func Start(t testing.TB, role string, env []string, args ...string) *Proc {
	t.Helper()
	p := &Proc{
		t: t, role: role, cmd: exec.Command(os.Args[0], args...),
		lines: make(chan string, 1<<16), done: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), append(env, roleVar+"="+role)...)
	p.cmd.Stderr = &p.log
	// A child that outlives a test run that was killed would keep its locks.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	go p.run(out, started)
	if err := <-started; err != nil {
		t.Fatalf("start role %q: %v", role, err)
	}
	t.Cleanup(p.Kill)
	return p
}

// run starts the process, reads its lines and waits for it, all on the thread
// whose end the kernel would tell the process by its death signal.
func (p *Proc) run(out io.Reader, started chan<- error) {
	runtime.LockOSThread()
	defer close(p.done)
	defer close(p.lines)
	err := p.cmd.Start()
	started <- err
	if err != nil {
		p.err = err
		return
	}
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		p.lines <- scan.Text()
	}
	p.err = p.cmd.Wait()
}

// Pid returns the process's id.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Kill ends the process by SIGKILL and waits until it is gone.
func (p *Proc) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.in.Close()
	for range p.lines { // nobody reads them any more
	}
	<-p.done
}

// Stop stops the process by SIGSTOP, and returns when all of its threads stand
// still, which the signal's return does not say. Continue lets it go on.
func (p *Proc) Stop() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	for end := time.Now().Add(Deadline); !Stopped(p.t, p.Pid()); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			p.t.Fatalf("role %q does not stop\n%s", p.role, p.log.String())
		}
	}
}

// Stopped reports whether all threads of a child process are stopped by a
// signal. The test fails if the process has gone.
func Stopped(t testing.TB, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has gone (%v)", pid, err)
	}
	for _, stat := range threads {
		b, err := os.ReadFile(stat)
		if err != nil {
			return false // that thread has ended: look again
		}
		_, state, _ := strings.Cut(string(b), ") ")
		switch {
		case strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X"):
			t.Fatalf("process %d has ended, and is not stopped", pid)
		case !strings.HasPrefix(state, "T"):
			return false
		}
	}
	return true
}

// Continue undoes Stop.
func (p *Proc) Continue() { p.signal(syscall.SIGCONT) }

func (p *Proc) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%v to role %q: %v", sig, p.role, err)
	}
}

// Say writes a line to the process's standard input.
func (p *Proc) Say(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.t.Fatalf("write to role %q: %v", p.role, err)
	}
}

// Deadline bounds every wait for a process. It is generous: tests assert no
// upper bounds, they only must not hang.
const Deadline = 2 * time.Minute

// Line returns the next line that the process writes. The test fails if there
// is none.
func (p *Proc) Line() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			<-p.done
			p.t.Fatalf("role %q ended (%v) without another line\n%s", p.role, p.err, p.log.String())
		}
		return line
	case <-time.After(Deadline):
		p.t.Fatalf("role %q is silent\n%s", p.role, p.log.String())
	}
	return ""
}

// Expect reads lines up to one that begins with prefix, and returns its rest.
func (p *Proc) Expect(prefix string) string {
	p.t.Helper()
	for {
		if rest, ok := strings.CutPrefix(p.Line(), prefix); ok {
			return rest
		}
	}
}

// Wait waits until the process ends, drops what it still writes, and returns
// how it ended.
func (p *Proc) Wait() error {
	p.t.Helper()
	_ = p.in.Close()
	deadline := time.After(Deadline)
	for {
		select {
		case _, ok := <-p.lines:
			if !ok {
				<-p.done
				return p.err
			}
		case <-deadline:
			p.t.Fatalf("role %q does not end\n%s", p.role, p.log.String())
		}
	}
}

// Success waits until the process ends, and fails the test unless it ended
// well.
func (p *Proc) Success() {
	p.t.Helper()
	if err := p.Wait(); err != nil {
		p.t.Fatalf("role %q: %v\n%s", p.role, err, p.log.String())
	}
}

// Killed waits until the process ends and says whether SIGKILL ended it, which
// at a crash point is what it should; the test fails if it ended otherwise
// than well or so.
func (p *Proc) Killed() bool {
	p.t.Helper()
	err := p.Wait()
	if killed(err) {
		return true
	}
	if err != nil {
		p.t.Fatalf("role %q: %v\n%s", p.role, err, p.log.String())
	}
	return false
}

// Failed returns how a process ended that was killed, unless it was that which
// ended it.
func (p *Proc) Failed() error {
	<-p.done
	if p.err == nil || killed(p.err) {
		return nil
	}
	return fmt.Errorf("role %q: %w\n%s", p.role, p.err, p.log.String())
}

func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// Stderr returns the end of what the process wrote to standard error.
func (p *Proc) Stderr() string { return p.log.String() }

const tailSize = 64 << 10

// tail keeps the last tailSize bytes that are written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, b...)
	if len(l.b) > tailSize {
		l.b = append([]byte(nil), l.b[len(l.b)-tailSize:]...)
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}
