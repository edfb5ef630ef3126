package doorbell

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
)

func TestPeersRingOneAnotherAndHearWhoGoes(t *testing.T) {
	h := serve(t, socketIn(t.TempDir()), memory(t), Options{Vectors: 3})
	a, hearA := connect(t, h.path)
	b, hearB := connect(t, h.path)
	c, err := Dial(t.Context(), h.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Peer{a, b, c} {
		until(t, "acquainted", func() bool {
			return p.Vectors(a.ID()) == 3 && p.Vectors(b.ID()) == 3 && p.Vectors(c.ID()) == 3
		})
	}
	for v := range uint16(3) {
		if !a.Ring(b.ID(), v) || !b.Ring(a.ID(), v) {
			t.Fatal("not rung")
		}
		hearA.expect(t, v)
		hearB.expect(t, v)
	}
	a.Ring(a.ID(), 2)
	hearA.expect(t, 2)
	st, err := sys.StatFile(a.Memory())
	if err != nil || st.Size != memorySize {
		t.Errorf("the memory is %+v, %v", st, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "told that it has gone", func() bool { return a.Vectors(c.ID()) == 0 && b.Vectors(c.ID()) == 0 })
	if a.Ring(c.ID(), 0) || c.Ring(a.ID(), 0) {
		t.Error("who has gone was rung, or rings")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestOneServerForASocket(t *testing.T) {
	dir, mem := shmtest.Dir(t), memory(t)
	file := filepath.Join(dir, "memory")
	if err := os.WriteFile(file, make([]byte, memorySize), 0o600); err != nil {
		t.Fatal(err)
	}
	server := shmtest.Start(t, "server", nil, socketIn(dir), file)
	server.Expect("serving")
	if _, err := Listen(socketIn(dir), mem, nil); !errors.Is(err, ErrServed) {
		t.Fatalf("beside a live server: %v", err)
	}
	connect(t, socketIn(dir))
	server.Kill()
	if _, err := os.Stat(socketIn(dir)); err != nil {
		t.Fatalf("the killed server left no socket: %v", err)
	}
	h := serve(t, socketIn(dir), mem, Options{Mode: 0o660})
	st, err := os.Stat(h.path)
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("the socket is %v, %v", st, err)
	}
	connect(t, h.path)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close the socket is still there: %v", err)
	}
}

func TestWhatIsNoSocketOfADeadServerIsLeftAlone(t *testing.T) {
	dir, mem := t.TempDir(), memory(t)
	path := socketIn(dir)
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, mem, nil); err == nil {
		t.Fatal("a file was replaced")
	}
	if b, err := os.ReadFile(path); string(b) != "mine" {
		t.Fatalf("the file is %q, %v", b, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", path) // another program, without our lock
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := Listen(path, mem, nil); !errors.Is(err, ErrServed) {
		t.Fatalf("beside another program: %v", err)
	}
}

func TestMemoryThatIsNoBARIsRefused(t *testing.T) {
	f, err := sys.Memfd("doorbell-test", 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Listen(socketIn(t.TempDir()), f, nil); err == nil {
		t.Error("3 MiB were served")
	}
	for _, o := range []Options{{Vectors: -1}, {Vectors: 65}, {MaxClients: 1 << 16}} {
		if _, err := Listen(socketIn(t.TempDir()), memory(t), &o); err == nil {
			t.Errorf("%+v was served", o)
		}
	}
	if _, err := Listen(filepath.Join(t.TempDir(), string(make([]byte, 108))), memory(t), nil); err == nil {
		t.Error("a path that is too long was served")
	}
}

// peer is a process that is a client and has the memory mapped.
func peer(t *testing.T, path string) (*shmtest.Proc, uint16) {
	t.Helper()
	p := shmtest.Start(t, "peer", nil, path)
	id, err := strconv.ParseUint(p.Expect("id "), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return p, uint16(id)
}

func TestGoneIsWhoDiedNotWhoDisconnected(t *testing.T) {
	mem, _ := mapped(t)
	h := serve(t, socketIn(t.TempDir()), mem, Options{})
	killed, id := peer(t, h.path)
	left, other := peer(t, h.path)
	stopped, _ := peer(t, h.path)
	stopped.Stop()
	left.Say("disconnect")
	left.Expect("disconnected")
	h.event(Left, 1)
	killed.Kill()
	if e := h.event(Gone, 1); e.ID != id || e.Pid != killed.Pid() {
		t.Errorf("gone is %+v, want id %d of process %d", e, id, killed.Pid())
	}
	left.Kill()
	if e := h.event(Gone, 2); e.ID != other {
		t.Errorf("gone is %+v, want id %d", e, other)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.gone) != 2 {
		t.Errorf("gone are %v", h.gone)
	}
}

func TestDeathThatNoServerSawIsSeenByTheNext(t *testing.T) {
	mem, _ := mapped(t)
	dir := shmtest.Dir(t)
	file := filepath.Join(dir, "memory")
	if err := os.WriteFile(file, make([]byte, memorySize), 0o600); err != nil {
		t.Fatal(err)
	}
	server := shmtest.Start(t, "server", nil, socketIn(dir), file)
	server.Expect("serving")
	lives, keeps := peer(t, socketIn(dir))
	dies, id := peer(t, socketIn(dir))
	server.Kill()
	dies.Kill()
	h := serve(t, socketIn(dir), mem, Options{})
	if e := h.event(Gone, 1); e.ID != id {
		t.Errorf("gone is %+v, want id %d", e, id)
	}
	for range 3 {
		if p, _ := connect(t, h.path); p.ID() == keeps {
			t.Errorf("id %d was given away", keeps)
		}
	}
	lives.Kill()
	if e := h.event(Gone, 2); e.ID != keeps {
		t.Errorf("gone is %+v, want id %d", e, keeps)
	}
}

func TestGoneIsSaidUntilItIsHeeded(t *testing.T) {
	mem, _ := mapped(t)
	said := make(chan uint16, 100)
	h := serve(t, socketIn(t.TempDir()), mem, Options{Gone: func(id uint16) bool {
		said <- id
		return len(said) == 3
	}})
	p, id := peer(t, h.path)
	p.Kill()
	if e := h.event(Gone, 1); e.ID != id || len(said) != 3 {
		t.Errorf("%+v after %d times", e, len(said))
	}
}

func TestDamagedNotesAreAnErrorAndThoseOfAnotherBootNothing(t *testing.T) {
	dir, mem := t.TempDir(), memory(t)
	notes := socketIn(dir) + ".peers"
	boot, err := sys.BootID()
	if err != nil {
		t.Fatal(err)
	}
	head := idsHead + "\nboot " + boot + "\n"
	for _, b := range []string{"", "garbage", idsHead + "\n", head, head + "next 70000\n", head + "next 1\n1 2\n", head + "next 1\n1 -2 3\n"} {
		if err := os.WriteFile(notes, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Listen(socketIn(dir), mem, nil); err == nil {
			t.Errorf("served with the notes %q", b)
			_ = s.Close()
		}
	}
	if err := os.WriteFile(notes, []byte(idsHead+"\nboot another\nnext 7\n3 1 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := serve(t, socketIn(dir), mem, Options{})
	if p, _ := connect(t, h.path); p.ID() != 0 {
		t.Errorf("id %d", p.ID())
	}
}

// silent connects and never reads.
func silent(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.UnixConn)
}

func TestHostileClientsHurtNobody(t *testing.T) {
	h := serve(t, socketIn(t.TempDir()), memory(t), Options{Vectors: 8, MaxClients: 12})
	a, hear := connect(t, h.path)
	for range 4 {
		silent(t, h.path)
	}
	h.event(Joined, 5)
	for i := range 40 { // each is news for those who do not read
		c, err := Dial(t.Context(), h.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "acquainted", func() bool { return a.Vectors(c.ID()) == 8 && c.Vectors(a.ID()) == 8 })
		if !c.Ring(a.ID(), uint16(i%8)) {
			t.Fatal("not rung")
		}
		hear.expect(t, uint16(i%8))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		h.event(Left, i+1)
	}
	loud := silent(t, h.path)
	if _, err := loud.Write([]byte("what is your name?")); err != nil {
		t.Fatal(err)
	}
	if e := h.event(Left, 41); e.Why == "" {
		t.Errorf("a client that talks left as %+v", e)
	}
	half := silent(t, h.path)
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	h.event(Left, 42)
	for range 20 {
		silent(t, h.path)
	}
	if e := h.event(Refused, 1); e.Why == "" {
		t.Errorf("refused is %+v", e)
	}
	a.Ring(a.ID(), 7)
	hear.expect(t, 7)
}

func TestCloseEndsWhileClientsDoNotRead(t *testing.T) {
	h := serve(t, socketIn(t.TempDir()), memory(t), Options{Vectors: MaxVectors})
	for range 10 {
		silent(t, h.path)
	}
	h.event(Joined, 10)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
