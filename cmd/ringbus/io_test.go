package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// random writes a file of n random bytes.
func random(t *testing.T, n int) (name string, content []byte) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{1})
	content = make([]byte, n)
	_, _ = rng.Read(content)
	name = filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, content
}

// striper starts the writer of one of four stripes.
func striper(t *testing.T, dir, in, out string, k int) *command {
	t.Helper()
	f, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return start(t, dir, f, "io", "write", "--queue", "disk", "--device", out, "--stripe", fmt.Sprintf("%d/4", k), "--block", "4k", "--offset", "100")
}

// queueNow is what io info says of queue disk, if it is there.
func queueNow(t *testing.T, dir string) (q inspect.Queue, ok bool) {
	t.Helper()
	c := call(t, dir, nil, "io", "info", "disk", "--json")
	if c.wait() != 0 {
		return q, false
	}
	return decode[inspect.Queue](c), true
}

// Four processes write one file in stripes through one queue; one of them is
// killed at any time, several times over, and started again.
func TestStripesOfFourProcesses(t *testing.T) {
	const size = 24<<20 + 1234
	in, content := random(t, size)
	for _, kills := range []int{0, 6} {
		t.Run(fmt.Sprintf("%d kills", kills), func(t *testing.T) {
			dir := shmtest.Dir(t)
			out := filepath.Join(t.TempDir(), "out")
			var all [4]*command
			for k := range all {
				all[k] = striper(t, dir, in, out, k)
			}
			for n := range kills {
				taken := uint64(n+1) * size / 4096 / uint64(kills+2)
				eventually(t, "they are on their way", func() bool {
					q, ok := queueNow(t, dir)
					return ok && q.Taken >= taken
				})
				k := n % 4
				_ = all[k].cmd.Process.Kill()
				if got := all[k].wait(); got != -int(syscall.SIGKILL) && got != 0 {
					t.Fatalf("stripe %d ended with status %d: %s", k, got, all[k].errs.String())
				}
				all[k] = striper(t, dir, in, out, k)
			}
			written := 0
			for k := range all {
				all[k].status(0)
				n := 0
				if _, err := fmt.Sscanf(all[k].errs.String(), "written=%d", &n); err != nil {
					t.Error(all[k].errs.String())
				}
				written += n
			}
			if want := (size + 4095) / 4096; written != want {
				t.Errorf("%d blocks were written, want %d", written, want)
			}
			have, err := os.ReadFile(out)
			if err != nil || !bytes.Equal(have[:100], make([]byte, 100)) || !bytes.Equal(have[100:], content) {
				t.Errorf("the file of %d bytes is not what was written (%v)", len(have), err)
			}
			if out := call(t, dir, nil, "doctor").status(0).out.String(); !strings.Contains(out, "1 IO queues\nclean\n") {
				t.Errorf("doctor says %q", out)
			}
			if q, _ := queueNow(t, dir); q.Executor != "" || q.Left || q.Queued+q.Issued+q.Finished+q.Lost != 0 {
				t.Errorf("left behind: %+v", q)
			}
			c := call(t, dir, nil, "io", "read", "--queue", "disk", "--device", out, "--offset", "100").status(0)
			if !bytes.Equal([]byte(c.out.String()), content) {
				t.Error("it is read otherwise")
			}
			call(t, dir, nil, "io", "rm", "disk").status(0)
			tidy(t, dir)
		})
	}
}

func TestIOForPeople(t *testing.T) {
	dir := shmtest.Dir(t)
	out := filepath.Join(t.TempDir(), "out")
	if c := call(t, dir, strings.NewReader("0123456789"), "io", "write", "--queue", "q", "--device", out, "--block", "3").status(0); c.errs.String() != "written=4 bytes=10\n" {
		t.Errorf("write says %q", c.errs.String())
	}
	for args, want := range map[string]string{
		"": "0123456789", "--offset 4": "456789", "--offset 4 --length 5": "45678", "--offset 10": "", "--length 1 --flight 1": "0",
	} {
		c := call(t, dir, nil, append([]string{"io", "read", "--queue", "q", "--device", out, "--block", "2"}, strings.Fields(args)...)...).status(0)
		if c.out.String() != want {
			t.Errorf("%q reads %q, want %q", args, c.out.String(), want)
		}
	}
	if c := call(t, dir, strings.NewReader("x"), "io", "write", "--queue", "q", "--device", out, "--block", "3", "--json").status(0); !strings.Contains(c.errs.String(), `"bytes":1`) {
		t.Errorf("write says %q", c.errs.String())
	}
	for args, want := range map[string][]string{
		"io info q": {"depth      64 ops", "max-data   3 B", "executor   none", "SUBMITTED"},
		"ls":        {"IO QUEUE", "q"},
		"info":      {"queues   1"},
		"doctor":    {"1 IO queues", "clean"},
	} {
		got := call(t, dir, nil, strings.Fields(args)...).status(0).out.String()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s has no %q:\n%s", args, w, got)
			}
		}
	}
	for _, verb := range []string{"write", "read", "info", "rm"} {
		c := call(t, dir, nil, "io", verb, "--help").status(0)
		if got := c.out.String(); !strings.Contains(got, "Examples:\n") || !strings.Contains(got, "ringbus io "+verb) {
			t.Errorf("help of %s:\n%s", verb, got)
		}
	}
	tidy(t, dir)
}

func TestIOMisused(t *testing.T) {
	dir := shmtest.Dir(t)
	out := filepath.Join(t.TempDir(), "out")
	for args, says := range map[string]string{
		"io":                 "write, read, info or rm",
		"io eat":             `no verb "eat"`,
		"io write --queue q": "--queue and --device are needed",
		"io read --device x": "--queue and --device are needed",
		"io write --queue q --device x --stripe 4/4":  "no stripe",
		"io write --queue q --device x --stripe 1/4x": "no stripe",
		"io write --queue q --device x --block 17M":   "--block must be",
		"io write --queue q --device x --flight 0":    "--flight must be",
		"io read --queue q --device x --offset -1":    "negative",
		"io read --queue q! --device x":               "q!",
		"io info":                                     "say which queue",
		"io rm a b":                                   "say which queue",
	} {
		call(t, dir, nil, strings.Fields(args)...).status(statusUsage).says(says)
	}
	call(t, dir, nil, "io", "read", "--queue", "q", "--device", out).status(1).says("no such file")
	call(t, dir, nil, "io", "rm", "q").status(1).says("there is no bus")
	call(t, dir, strings.NewReader("abc"), "io", "write", "--queue", "q", "--device", out, "--block", "4").status(0)
	call(t, dir, nil, "io", "info", "r").status(1).says(`there is no IO queue "r"`)
	call(t, dir, nil, "io", "rm", "r").status(1).says(`there is no IO queue "r"`)
	call(t, dir, nil, "io", "read", "--queue", "q", "--device", out, "--block", "5").status(1).says("io rm q")
	tidy(t, dir)
}
