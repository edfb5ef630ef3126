//go:build !race

package guests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/vm"
	"github.com/ringbus/ringbus/segment"
)

// place is where parties play: a process of the host, or a guest.
type place struct {
	t     *testing.T
	name  string
	guest *vm.Machine // nil: the host
	in    io.WriteCloser
	end   func() string // ends it and returns what it wrote to standard error
	errs  *text
	kill  func() // ends it by SIGKILL

	lenient bool // it may end with an error, but not crash

	mu      sync.Mutex
	next    int
	waiting map[int]chan reply
	over    chan struct{} // closed when nothing more comes
}

// text is what was written so far.
type text struct {
	mu sync.Mutex
	b  []byte
}

func (x *text) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.b = append(x.b, b...)
	return len(b), nil
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return string(x.b)
}

// bus makes a bus in a directory of its own; it is the default one of processes
// that are started from now on.
func bus(t *testing.T, dir string, size int64) *segment.Segment {
	t.Helper()
	seg, err := segment.Open("guests", &segment.Options{Dir: dir, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := seg.Close(); err != nil {
			t.Error(err)
		}
	})
	return seg
}

func newPlace(t *testing.T, name string) *place {
	return &place{t: t, name: name, waiting: map[int]chan reply{}, over: make(chan struct{}), errs: &text{}}
}

// onHost starts an agent in a process of the host.
func onHost(t *testing.T, seg *segment.Segment, name string, env ...string) *place {
	t.Helper()
	p := newPlace(t, name)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), env...), asAgent+"="+seg.Path(), "RINGBUS_TEST_NAME="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = p.errs
	var out io.Reader
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	hello := p.expect(0)
	started, ended := make(chan error), make(chan error, 1)
	go func() { // the kernel ties the death signal to the thread that started the process
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			<-p.over
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
	var once sync.Once
	killed := false
	p.kill = func() {
		killed = true
		_ = cmd.Process.Kill()
		p.end()
	}
	p.end = func() string {
		once.Do(func() {
			_ = p.in.Close()
			if err := <-ended; err != nil && !killed && !(p.lenient && cmd.ProcessState.ExitCode() == 1) {
				t.Errorf("%s: %v\n%s", name, err, p.errs.String())
			}
		})
		return p.errs.String()
	}
	t.Cleanup(func() { p.end() })
	p.hear(hello, "here")
	return p
}

// inGuest boots a guest with an agent.
func inGuest(t *testing.T, seg *segment.Segment, name string, env ...string) *place {
	t.Helper()
	p := newPlace(t, name)
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	p.in = in
	c := &vm.Config{
		Bus: vm.Bus{Path: seg.Path(), Size: seg.Size()}, Program: program, Kernel: kernel, Accel: vm.Emulated,
		Args: []string{"ringbus"}, Env: append(env, asAgent+"=ivshmem:", "RINGBUS_TEST_NAME="+name),
		Stdin: stdin, Stdout: stdout, Stderr: p.errs,
	}
	hello := p.expect(0)
	go p.listen(out)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := c.Boot(ctx)
	if err != nil {
		_ = stdout.Close()
		t.Fatalf("%s: %v", name, err)
	}
	p.guest = m
	p.kill = func() {
		m.Kill()
		p.end()
	}
	var once sync.Once
	p.end = func() string {
		once.Do(func() {
			_ = in.Close()
			select {
			case <-m.Ended():
			case <-time.After(patience):
				t.Errorf("%s does not end", name)
				m.Kill()
			}
			_ = stdin.Close()
			_ = stdout.Close()
			<-p.over
		})
		return p.errs.String()
	}
	t.Cleanup(func() { p.end() })
	p.hear(hello, "here")
	return p
}

// listen hands out the replies.
func (p *place) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintf(p.errs, "%s\n", lines.Bytes())
			continue
		}
		p.mu.Lock()
		c := p.waiting[r.ID]
		p.mu.Unlock()
		if c != nil {
			c <- r
		}
	}
	close(p.over)
}

func (p *place) expect(id int) chan reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(chan reply, 1<<10)
	p.waiting[id] = c
	return c
}

// hear waits for a party to say something.
func (p *place) hear(c chan reply, what string) {
	p.t.Helper()
	select {
	case r := <-c:
		if r.Said != what {
			p.t.Fatalf("%s says %+v, want %q", p.name, r, what)
		}
	case <-p.over:
		p.t.Fatalf("%s is silent\n%s", p.name, p.errs.String())
	case <-time.After(patience + 10*time.Second):
		p.t.Fatalf("%s is silent\n%s", p.name, p.errs.String())
	}
}

// playing is a part that is played somewhere.
type playing struct {
	p    *place
	what string
	c    chan reply
}

// play begins a part.
func (p *place) play(part, name string, n int) *playing {
	p.t.Helper()
	p.mu.Lock()
	p.next++
	id := p.next
	p.mu.Unlock()
	c := p.expect(id)
	b, err := json.Marshal(request{ID: id, Part: part, Name: name, N: n})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, p.errs.String())
	}
	return &playing{p, part, c}
}

// said waits until the party says something.
func (y *playing) said(t *testing.T, what string) {
	t.Helper()
	for {
		r, ok := y.next(t)
		if !ok || r.Said == what {
			return
		}
		if r.Said == "" {
			t.Fatalf("%s: %s ended (%q, %s) before it said %q", y.p.name, y.what, r.Out, r.Err, what)
		}
	}
}

// result waits until the party has played, and returns what it found.
func (y *playing) result(t *testing.T) string {
	t.Helper()
	for {
		r, ok := y.next(t)
		switch {
		case !ok:
			return ""
		case r.Err != "":
			t.Errorf("%s: %s", y.p.name, r.Err)
			return r.Out
		case r.Said == "":
			return r.Out
		}
	}
}

func (y *playing) next(t *testing.T) (reply, bool) {
	t.Helper()
	select {
	case r := <-y.c:
		return r, true
	case <-y.p.over:
		t.Errorf("%s ended while it played %s\n%s", y.p.name, y.what, y.p.errs.String())
	case <-time.After(patience + 10*time.Second):
		t.Errorf("%s: %s does not end\n%s", y.p.name, y.what, y.p.errs.String())
	}
	return reply{}, false
}
