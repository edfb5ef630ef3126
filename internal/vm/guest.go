package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringbus/ringbus/internal/sys"
)

// Files in the guest.
const (
	initFile   = "/init"
	orderFile  = "/ringbus.json"
	linkPort   = "/dev/ttyS0"
	moduleFile = "/lib/modules/%02d-%s"
)

// order is what the guest is to do.
type order struct {
	Args    []string
	Env     []string
	Modules []loadable
}

type loadable struct{ File, Parameters string }

// IsInit says whether this process is the first one of a guest; it has then to
// call [Init] and nothing else.
func IsInit() bool { return os.Getpid() == 1 && os.Args[0] == initFile }

// Init is the first process of a guest. It does not return: when it has nothing
// more to do the guest ends.
func Init() {
	if err := guest(); err != nil {
		// The kernel's console is all there is to say it on.
		if f, ferr := os.OpenFile("/dev/console", os.O_WRONLY, 0); ferr == nil {
			fmt.Fprintf(f, "ringbus: the guest cannot go on: %v\n", err)
			_ = sys.DrainTerminal(f)
		}
	}
	_ = sys.Restart()
	select {}
}

func guest() error {
	for _, m := range [][2]string{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/dev/shm"}, {"tmpfs", "/run"}} {
		if err := sys.Mount(m[0], m[1]); err != nil {
			return err
		}
	}
	port, err := sys.RawTerminal(linkPort)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(port, magic); err != nil {
		return err
	}
	l := newLink(port)
	if err := obey(l); err != nil {
		_ = l.send(frameFailed, []byte(err.Error()))
	}
	return sys.DrainTerminal(port)
}

// obey reads the order, prepares the guest, and runs the command.
func obey(l *link) error {
	text, err := os.ReadFile(orderFile)
	if err != nil {
		return err
	}
	var o order
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	for _, m := range o.Modules {
		if err := sys.LoadModule(m.File, m.Parameters); err != nil {
			return err
		}
	}
	if err := sys.LinkUp("lo"); err != nil {
		return err
	}
	for _, e := range o.Env {
		if name, value, ok := strings.Cut(e, "="); ok {
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
	}
	return perform(l, &o)
}

// perform runs the command and sends how it ended.
func perform(l *link, o *order) error {
	cmd := exec.Command(o.Args[0], o.Args[1:]...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = frames{l, frameOutput}, frames{l, frameErrors}
	cmd.WaitDelay = time.Second // for children of its that have its output
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := l.send(frameHello, nil); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			names, _ := filepath.Glob("/bin/*")
			err = fmt.Errorf("there is no %q in the guest, which has %s: add files with --file", o.Args[0], strings.Join(names, ", "))
		}
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go feed(ctx, l, in, cmd.Process)
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return err
	}
	return l.sendNumber(frameExit, uint32(statusOf(cmd.ProcessState)))
}

// statusOf is the exit status as a shell has it.
func statusOf(p *os.ProcessState) int {
	if ws, ok := p.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return p.ExitCode()
}

// feed hands on what the host sends: input and signals.
func feed(ctx context.Context, l *link, in io.WriteCloser, p *os.Process) {
	input := make(chan []byte, window) // never full: the host keeps to the window
	go func() {
		defer func() { _ = in.Close() }()
		for b := range input {
			_, _ = in.Write(b) // a command that has closed its input has seen enough
			if ctx.Err() != nil || l.sendNumber(frameGrant, uint32(len(b))) != nil {
				return
			}
		}
	}()
	end := sync.OnceFunc(func() { close(input) })
	defer end()
	_ = l.sendNumber(frameGrant, window)
	var buf [frameMax]byte
	for ended := false; ; {
		kind, b, err := l.receive(&buf)
		if err != nil {
			return
		}
		switch {
		case kind == frameSignal:
			if n, err := number(b); err == nil {
				_ = p.Signal(syscall.Signal(n))
			}
		case ended:
		case kind == frameInput:
			select {
			case input <- append([]byte(nil), b...):
			default: // more than was granted
				return
			}
		case kind == frameEnd:
			ended = true
			end()
		}
	}
}
