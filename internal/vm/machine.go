package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/ringbus/ringbus/internal/sys"
)

// Config says what a guest is and does. Bus and Args must be there.
type Config struct {
	Bus  Bus
	Args []string // the command; in the guest its first word is looked up in /bin
	Env  []string // besides PATH, HOME, TMPDIR and RINGBUS_BUS=ivshmem:

	Stdin  io.Reader // nil: none
	Stdout io.Writer // nil: dropped
	Stderr io.Writer

	Files   []File
	Modules []string // of the kernel, with parameters
	Program string   // the first process; empty: this program, which must call Init
	Kernel  string   // as FindKernel takes it
	Append  []string // more words for the kernel
	QEMU    []string // more arguments for QEMU

	Memory  int64     // in bytes; 0: 256 MiB, and more for large files
	CPUs    int       // 0: 1
	Accel   string    // as QEMU's -accel; empty: what works
	Verbose io.Writer // where the kernel's messages go; nil: kept for when something goes wrong
}

// A Machine is a guest that runs. It ends with the process that started it.
type Machine struct {
	cmd     *exec.Cmd
	link    *link
	files   [3]*os.File // ours: link, console, monitor
	console tail
	monitor *monitor

	hello  chan struct{} // closed when the guest speaks
	exited chan struct{} // closed when QEMU has ended
	ended  chan struct{} // closed when status and err are valid
	status int
	err    error

	credit chan int
}

// errNoHello is what goes wrong with a guest that never spoke.
var errNoHello = errors.New("the guest ended before it could run anything")

// start starts a guest under one kind of acceleration.
func (c *Config) start(k Kernel, accel string) (*Machine, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, fmt.Errorf("%w: install it, as root on Debian or Ubuntu: apt-get install qemu-system-x86", err)
	}
	root, err := c.fileSystem(k)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	sized := *c
	if st, err := root.Stat(); err != nil {
		return nil, err
	} else if sized.Memory == 0 {
		sized.Memory = max(256<<20, 160<<20+3*st.Size())
	}
	sized.CPUs = max(1, c.CPUs)
	args, err := sized.arguments(k, accel)
	if err != nil {
		return nil, err
	}
	m := &Machine{
		cmd: exec.Command(qemu, args...), hello: make(chan struct{}), exited: make(chan struct{}),
		ended: make(chan struct{}), credit: make(chan int, window),
	}
	if c.Verbose != nil {
		m.console.also = c.Verbose
	}
	if err := m.launch(root); err != nil {
		return nil, fmt.Errorf("start %s: %w", qemu, err)
	}
	go m.listen(c)
	return m, nil
}

// launch starts QEMU with our sockets. It is killed when this process ends,
// whatever ends it, and does not get the signals of our terminal.
func (m *Machine) launch(root *os.File) error {
	var theirs [3]*os.File
	defer func() {
		for _, f := range theirs {
			if f != nil {
				_ = f.Close()
			}
		}
	}()
	for i, name := range []string{"link", "console", "monitor"} {
		var err error
		if m.files[i], theirs[i], err = sys.SocketPair(name); err != nil {
			m.close()
			return err
		}
	}
	m.link = newLink(m.files[0])
	m.monitor = newMonitor(m.files[2])
	m.cmd.ExtraFiles = []*os.File{theirs[0], theirs[1], theirs[2], root}
	m.cmd.Stdout, m.cmd.Stderr = &m.console, &m.console
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() { // the kernel ties the death signal to the thread that started the process
		runtime.LockOSThread()
		err := m.cmd.Start()
		started <- err
		if err == nil {
			_ = m.cmd.Wait()
			close(m.exited)
		}
	}()
	if err := <-started; err != nil {
		m.close()
		return err
	}
	go func() { _, _ = io.Copy(&m.console, m.files[1]) }()
	return nil
}

func (m *Machine) close() {
	for _, f := range m.files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// listen hears what the guest says until it ends.
func (m *Machine) listen(c *Config) {
	defer close(m.ended)
	m.status, m.err = m.hear(c)
	_ = m.cmd.Process.Kill() // all has been said, and there is nothing that it could lose
	<-m.exited
	m.close()
	if m.err != nil {
		m.err = m.explain(m.err)
	}
}

// hear returns the exit status of the guest's command.
func (m *Machine) hear(c *Config) (int, error) {
	if err := m.link.begin(); err != nil {
		return 0, errNoHello
	}
	var buf [frameMax]byte
	for {
		kind, b, err := m.link.receive(&buf)
		if err != nil {
			return 0, fmt.Errorf("the guest ended before its command did")
		}
		switch kind {
		case frameHello:
			if m.greeted() {
				return 0, fmt.Errorf("the guest began twice")
			}
			close(m.hello)
			go m.feed(c.Stdin)
		case frameOutput, frameErrors:
			if w := map[byte]io.Writer{frameOutput: c.Stdout, frameErrors: c.Stderr}[kind]; w != nil {
				if _, err := w.Write(b); err != nil {
					return 0, err
				}
			}
		case frameGrant:
			n, err := number(b)
			if err != nil || n > window {
				return 0, fmt.Errorf("the guest grants %d bytes of input, the limit is %d", n, window)
			}
			select {
			case m.credit <- int(n):
			default:
				return 0, fmt.Errorf("the guest grants more input than it was sent")
			}
		case frameExit:
			n, err := number(b)
			return int(n & 0xff), err
		case frameFailed:
			return 0, fmt.Errorf("in the guest: %s", b)
		default:
			return 0, fmt.Errorf("the guest sent a frame of kind %q", kind)
		}
	}
}

func (m *Machine) greeted() bool {
	select {
	case <-m.hello:
		return true
	default:
		return false
	}
}

// explain adds what the kernel and QEMU had to say.
func (m *Machine) explain(err error) error {
	if said := m.console.String(); said != "" && m.console.also == nil {
		return fmt.Errorf("%w; its kernel and QEMU said:\n%s", err, said)
	}
	return err
}

// feed sends input as far as the guest grants it.
func (m *Machine) feed(r io.Reader) {
	buf := make([]byte, frameMax/4)
	for credit := 0; r != nil; {
		n, err := r.Read(buf)
		for credit < n {
			select {
			case more := <-m.credit:
				credit += more
			case <-m.ended:
				return
			}
		}
		credit -= n
		if n > 0 && m.link.send(frameInput, buf[:n]) != nil {
			return
		}
		if err != nil {
			break
		}
	}
	_ = m.link.send(frameEnd, nil)
}

// Pid returns QEMU's process id.
func (m *Machine) Pid() int { return m.cmd.Process.Pid }

// Hello is closed when the guest has booted and is about to run its command.
func (m *Machine) Hello() <-chan struct{} { return m.hello }

// Ended is closed when the guest is no more.
func (m *Machine) Ended() <-chan struct{} { return m.ended }

// Wait waits until the guest is no more and returns the exit status of its
// command, 128 and the signal's number if a signal ended that.
func (m *Machine) Wait() (int, error) {
	<-m.ended
	return m.status, m.err
}

// Signal sends a signal to the command in the guest.
func (m *Machine) Signal(sig syscall.Signal) error {
	if !m.greeted() {
		return errNoHello
	}
	return m.link.sendNumber(frameSignal, uint32(sig))
}

// Kill ends QEMU by SIGKILL, and waits until the guest is no more.
func (m *Machine) Kill() {
	_ = m.cmd.Process.Kill()
	<-m.ended
}

// Stop stops the guest's CPUs; Continue lets them go on, as if no time had passed.
func (m *Machine) Stop() error { return m.monitor.do("stop") }

// Continue undoes Stop.
func (m *Machine) Continue() error { return m.monitor.do("cont") }
