package doorbell

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
)

// device is a real ivshmem-doorbell device of QEMU in a machine whose CPU stands,
// driven over QEMU's own test protocol (docs/devel/testing/qtest): what a guest's
// driver would do to its registers, we do.
type device struct {
	t    testing.TB
	cmd  *exec.Cmd
	conn net.Conn
	in   *bufio.Reader
	log  output
	done chan struct{}
	bar0 uint32
	bar1 uint32
}

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

// qemu starts QEMU with a device that is connected to the server at path.
func qemu(t testing.TB, path string, vectors int) *device {
	t.Helper()
	ln, err := net.Listen("unix", shmtest.Dir(t)+"/qtest")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d := &device{t: t, done: make(chan struct{})}
	d.cmd = exec.Command("qemu-system-x86_64", "-accel", "tcg", "-S", "-M", "q35", "-m", "16", "-nodefaults", "-display", "none",
		"-qtest", "unix:"+ln.Addr().String(), "-qtest-log", "none",
		"-chardev", "socket,id=iv,path="+path,
		"-device", fmt.Sprintf("ivshmem-doorbell,chardev=iv,vectors=%d,addr=5", vectors))
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("%v: these tests need QEMU (Debian: apt-get install qemu-system-x86)", err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.done)
	}()
	t.Cleanup(d.kill)
	go func() {
		<-d.done
		_ = ln.Close()
	}()
	if d.conn, err = ln.Accept(); err != nil {
		t.Fatalf("QEMU ended: %s", d.log.String())
	}
	t.Cleanup(func() { _ = d.conn.Close() })
	d.in = bufio.NewReader(d.conn)
	d.setUp()
	return d
}

// kill ends QEMU by SIGKILL.
func (d *device) kill() {
	_ = d.cmd.Process.Kill()
	<-d.done
}

// ask makes one request of QEMU's test protocol and returns what it answers.
func (d *device) ask(format string, args ...any) uint32 {
	d.t.Helper()
	_ = d.conn.SetDeadline(time.Now().Add(shmtest.Deadline))
	if _, err := fmt.Fprintf(d.conn, format+"\n", args...); err != nil {
		d.t.Fatal(err)
	}
	line, err := d.in.ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) == 0 || f[0] != "OK" {
		d.t.Fatalf("asked "+format+": %q, %v\n%s", append(args, line, err, d.log.String())...)
	}
	if len(f) < 2 {
		return 0
	}
	v, err := strconv.ParseUint(f[1], 0, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	return uint32(v)
}

func (d *device) config(reg uint32) uint32 {
	d.t.Helper()
	d.ask("outl 0xcf8 %#x", 0x80000000|5<<11|reg&^3)
	return d.ask("inl 0xcfc")
}

func (d *device) setConfig(reg, v uint32) {
	d.t.Helper()
	d.ask("outl 0xcf8 %#x", 0x80000000|5<<11|reg&^3)
	d.ask("outl 0xcfc %#x", v)
}

// setUp does what firmware and a driver do: addresses, memory and bus master
// enabled, MSI-X enabled with all vectors masked, so that they stay pending.
func (d *device) setUp() {
	d.t.Helper()
	if id := d.config(0); id != 0x11101af4 {
		d.t.Fatalf("no ivshmem device at 00:05.0, but %#x", id)
	}
	d.bar0, d.bar1 = 0xe0000000, 0xe0010000
	d.setConfig(0x10, d.bar0)
	d.setConfig(0x14, d.bar1)
	d.setConfig(0x18, 0)
	d.setConfig(0x1c, 8) // BAR 2 at 32 GiB
	d.setConfig(0x04, 6)
	for at := d.config(0x34) & 0xff; at != 0; {
		word := d.config(at)
		if word&0xff == 0x11 { // MSI-X: its control word is the upper half
			d.setConfig(at, word|1<<31|1<<30)
			return
		}
		at = word >> 8 & 0xff
	}
	d.t.Fatal("the device has no MSI-X")
}

// position reads the device's id.
func (d *device) position() uint16 { d.t.Helper(); return uint16(d.ask("readl %#x", d.bar0+8)) }

// ring writes the doorbell register.
func (d *device) ring(id, vector uint16) {
	d.t.Helper()
	d.ask("writel %#x %#x", d.bar0+12, uint32(id)<<16|uint32(vector))
}

// ringUntil rings a peer until it hears: QEMU may not know it yet, and says
// nothing of that.
func (d *device) ringUntil(p *Peer, vector uint16, ears ears) {
	d.t.Helper()
	until(d.t, "heard", func() bool {
		d.ring(p.ID(), vector)
		select {
		case v := <-ears:
			return v == vector
		case <-time.After(10 * time.Millisecond):
			return false
		}
	})
}

// pending reads which vectors wait to be heard.
func (d *device) pending() uint32 { d.t.Helper(); return d.ask("readl %#x", d.bar1+0x800) }

// peek reads a word of the shared memory, which is at 32 GiB.
func (d *device) peek(off uint32) uint32 {
	d.t.Helper()
	return d.ask("readl %#x", uint64(8)<<32+uint64(off))
}

// mapped is memory that this process has mapped, as whoever serves must.
func mapped(t testing.TB) (f *os.File, b []byte) {
	t.Helper()
	f = memory(t)
	b, err := sys.Map(f, memorySize, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Unmap(b) })
	return f, b
}

func TestDevicesOfQEMUAndHostProcessesRingOneAnother(t *testing.T) {
	mem, b := mapped(t)
	h := serve(t, socketIn(t.TempDir()), mem, Options{Vectors: 2})
	a, c := qemu(t, h.path, 2), qemu(t, h.path, 2)
	p, ears := connect(t, h.path)
	if a.position() == c.position() || a.position() == p.ID() {
		t.Fatalf("ids %d, %d and %d", a.position(), c.position(), p.ID())
	}
	b[100] = 0x5a
	if v := a.peek(100); v&0xff != 0x5a {
		t.Errorf("the device sees %#x in the memory", v)
	}
	until(t, "acquainted", func() bool { return p.Peers() == 3 && p.Vectors(c.position()) == 2 })
	for v := range uint16(2) {
		a.ringUntil(p, v, ears)
		if !p.Ring(a.position(), v) {
			t.Errorf("vector %d of the first device is unknown", v)
		}
		until(t, "heard by the first device", func() bool { return a.pending() == 1<<(v+1)-1 })
		until(t, "heard by the second device", func() bool {
			a.ring(c.position(), v)
			return c.pending() == 1<<(v+1)-1
		})
	}
	if p.Ring(a.position(), 2) || p.Ring(999, 0) {
		t.Error("rang what is not there")
	}
	a.ring(999, 0) // QEMU does not mind
	a.ring(p.ID(), 99)
	quiet(t, a)
}

// quiet checks that QEMU has not complained.
func quiet(t *testing.T, devices ...*device) {
	t.Helper()
	for _, d := range devices {
		if s := d.log.String(); s != "" {
			t.Errorf("QEMU says %s", s)
		}
	}
}

func TestKilledQEMUIsGoneAndAStoppedOneIsNot(t *testing.T) {
	mem, _ := mapped(t)
	h := serve(t, socketIn(t.TempDir()), mem, Options{Vectors: 1})
	a, c := qemu(t, h.path, 1), qemu(t, h.path, 1)
	p, _ := connect(t, h.path)
	until(t, "acquainted", func() bool { return p.Peers() == 3 })
	id, stays := a.position(), c.position()
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a.kill()
	if e := h.event(Gone, 1); e.ID != id || e.Pid != a.cmd.Process.Pid {
		t.Errorf("gone is %+v, want id %d", e, id)
	}
	until(t, "told", func() bool { return p.Vectors(id) == 0 })
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.ring(p.ID(), 0)
	if c.position() != stays || p.Vectors(stays) != 1 {
		t.Error("the stopped one is not there any more")
	}
	quiet(t, c)
}

// QEMU does not connect again: what it has learned stays, it rings and is rung
// without a server, and the next server watches its process.
func TestQEMUOutlivesItsServer(t *testing.T) {
	mem, _ := mapped(t)
	dir := shmtest.Dir(t)
	file := dir + "/memory"
	if err := os.WriteFile(file, make([]byte, memorySize), 0o600); err != nil {
		t.Fatal(err)
	}
	server := shmtest.Start(t, "server", nil, socketIn(dir), file)
	server.Expect("serving")
	a := qemu(t, socketIn(dir), 2)
	id := a.position()
	p, ears := connect(t, socketIn(dir))
	until(t, "acquainted", func() bool { return p.Vectors(id) == 2 && p.Vectors(p.ID()) == 2 })
	a.ringUntil(p, 0, ears)
	a.ringUntil(p, 1, ears)
	server.Kill()
	<-p.Lost()
	a.ringUntil(p, 1, ears)
	if !p.Ring(id, 0) {
		t.Error("the device is unknown without a server")
	}
	until(t, "heard", func() bool { return a.pending() == 1 })

	h := serve(t, socketIn(dir), mem, Options{Vectors: 2})
	other := qemu(t, socketIn(dir), 2)
	if other.position() == id || other.position() == p.ID() {
		t.Errorf("id %d was given away again", other.position())
	}
	back, _ := connect(t, socketIn(dir))
	if back.ID() != p.ID() {
		t.Errorf("our process came back with id %d, it had %d", back.ID(), p.ID())
	}
	a.kill()
	if e := h.event(Gone, 1); e.ID != id {
		t.Errorf("gone is %+v, want id %d", e, id)
	}
	quiet(t, other)
}
