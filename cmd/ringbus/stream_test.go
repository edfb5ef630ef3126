package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
)

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

// union is what several commands have printed, sorted, and how many lines came
// twice.
func union(commands ...*command) (lines []string, twice int) {
	for _, c := range commands {
		lines = append(lines, strings.Split(strings.TrimSuffix(c.out.String(), "\n"), "\n")...)
	}
	slices.Sort(lines)
	n := len(lines)
	lines = slices.DeleteFunc(slices.Compact(lines), func(s string) bool { return s == "" })
	return lines, n - len(lines)
}

func TestStreamReachesEachReaderWholeAndIsSharedInAGroup(t *testing.T) {
	dir := shmtest.Dir(t)
	all := start(t, dir, nil, "stream", "recv", "s")
	raw := start(t, dir, nil, "stream", "recv", "s", "--raw")
	var group []*command
	for range 3 {
		group = append(group, start(t, dir, nil, "stream", "recv", "s", "--group", "g"))
	}
	text := numbers(100_000)
	call(t, dir, strings.NewReader(text), "stream", "send", "s", "--wait", "5").status(0).last(fmt.Sprintf("sent=100000 bytes=%d", len(text)-100_000))
	if all.status(0).out.String() != text {
		t.Error("a reader got something else than was sent")
	}
	if raw.status(0).out.String() != strings.ReplaceAll(text, "\n", "") {
		t.Error("--raw printed something else than was sent")
	}
	for _, c := range group {
		c.status(0)
	}
	if lines, twice := union(group...); len(lines) != 100_000 || twice != 0 {
		t.Errorf("the group got %d lines, %d of them twice", len(lines), twice)
	}
	clean(t, dir)
	for verb, want := range map[string]string{"ls": "STREAM", "info s": "largest message"} {
		if c := call(t, dir, nil, strings.Fields(verb)...).status(0); !strings.Contains(c.out.String(), want) {
			t.Errorf("%s prints %s", verb, c.out.String())
		}
	}
	call(t, dir, nil, "stream", "rm", "s").status(0)
	tidy(t, dir)
}

func TestKilledReaderOfAGroupIsMadeGoodByTheOthers(t *testing.T) {
	dir := shmtest.Dir(t)
	var group []*command
	for range 3 {
		group = append(group, start(t, dir, nil, "stream", "recv", "s", "--group", "g"))
	}
	p, in := open(t, dir, "stream", "send", "s", "--wait", "3")
	_, err := io.WriteString(in, numbers(50_000))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the victim prints", func() bool { return len(group[0].out.String()) > 0 })
	group[0].kill()
	for i := 50_000; i < 60_000; i++ {
		fmt.Fprintln(in, i)
	}
	in.Close()
	p.status(0)
	marked := 0
	for _, c := range group[1:] {
		c.status(0)
		marked += strings.Count(c.errs.String(), "delivered again")
	}
	lines, twice := union(group...)
	if len(lines) != 60_000 || twice > marked {
		t.Errorf("%d lines, want 60000; %d twice, %d marked", len(lines), twice, marked)
	}
	call(t, dir, nil, "doctor").status(0) // nobody may have had a reason to notice
	clean(t, dir)
	tidy(t, dir)
}

func TestReaderFailsIfTheWriterIsKilled(t *testing.T) {
	dir := shmtest.Dir(t)
	r := start(t, dir, nil, "stream", "recv", "s")
	p, in := open(t, dir, "stream", "send", "s")
	fmt.Fprintln(in, "last words")
	eventually(t, "they were heard", func() bool { return r.out.String() == "last words\n" })
	p.kill()
	in.Close()
	r.status(1).says("writer died")
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
	tidy(t, dir)
}

// freeAddress is one that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// dialUntil dials until somebody listens.
func dialUntil(t *testing.T, address string) net.Conn {
	t.Helper()
	var c net.Conn
	eventually(t, "somebody listens at "+address, func() (ok bool) {
		var err error
		c, err = net.Dial("tcp", address)
		return err == nil
	})
	_ = c.SetDeadline(time.Now().Add(shmtest.Deadline))
	return c
}

func TestForwardRelaysAndTellsOfADeath(t *testing.T) {
	dir := shmtest.Dir(t)
	echo, err := net.Listen("unix", t.TempDir()+"/echo")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	at := freeAddress(t)
	from := func() *command {
		return start(t, dir, nil, "stream", "forward", "--from", "echo", "--dial", "unix:"+echo.Addr().String())
	}
	to := func() *command {
		return start(t, dir, nil, "stream", "forward", "--listen", "tcp:"+at, "--to", "echo")
	}
	listens := func(c *command) {
		t.Helper()
		eventually(t, "it listens", func() bool { return strings.Contains(c.errs.String(), "listening") })
	}
	there, here := from(), to()
	listens(there)
	listens(here)
	data := noise(3 << 20)
	exchange := func() {
		t.Helper()
		c := dialUntil(t, at)
		defer c.Close()
		go func() {
			_, _ = c.Write(data)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		if back, err := io.ReadAll(c); err != nil || !bytes.Equal(back, data) {
			t.Errorf("%d bytes came back of %d: %v", len(back), len(data), err)
		}
	}
	exchange()
	for _, victim := range []**command{&there, &here} {
		c := dialUntil(t, at)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		(*victim).kill()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a relay died, and its connection goes on")
		} else if victim == &there && err == io.EOF {
			t.Error("a relay's death looks like an orderly end")
		}
		c.Close()
		if victim == &there {
			*victim = from()
		} else {
			*victim = to()
		}
		listens(*victim)
		exchange()
	}
	for _, c := range []*command{there, here} {
		c.signal(os.Interrupt)
		c.status(130)
	}
	if c := call(t, dir, nil, "ls"); c.out.String() != "" {
		t.Errorf("there is something left: %s", c.out.String())
	}
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
	tidy(t, dir)
}
