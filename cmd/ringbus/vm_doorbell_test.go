package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/ivshmem/doorbell"
)

// happened returns the events of one kind that a server has printed.
func happened(t *testing.T, c *command, what doorbell.What) []doorbell.Event {
	t.Helper()
	var out []doorbell.Event
	for line := range strings.Lines(c.out.String()) {
		var e doorbell.Event
		if !strings.HasSuffix(line, "\n") {
			break
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.What == what {
			out = append(out, e)
		}
	}
	return out
}

func serving(t *testing.T, dir string, args ...string) *command {
	t.Helper()
	c := start(t, dir, nil, append([]string{"vm", "doorbell", "--json"}, args...)...)
	eventually(t, "it serves", func() bool { return strings.Contains(c.errs.String(), "serving") })
	return c
}

func TestDoorbellServerIsFoundReplacedAndEnds(t *testing.T) {
	dir := shmtest.Dir(t)
	socket := filepath.Join(t.TempDir(), "s")
	server := serving(t, dir, "--size", "64MiB", "--socket", socket)
	call(t, dir, nil, "vm", "doorbell").status(1).says("a server is at work")
	call(t, dir, nil, "vm", "doorbell", "--bus", "other", "--size", "64MiB", "--socket", socket).status(1).says("a server is at work")
	sub := start(t, dir, nil, "sub", "--count", "2", "t")
	eventually(t, "the subscriber is a client", func() bool {
		return slices.ContainsFunc(happened(t, server, doorbell.Joined), func(e doorbell.Event) bool { return e.Pid == sub.cmd.Process.Pid })
	})
	server.kill()
	call(t, dir, strings.NewReader("1\n"), "pub", "--wait", "1", "t").status(0) // nobody serves
	server = serving(t, dir, "--socket", socket)
	eventually(t, "the subscriber is back", func() bool { return len(happened(t, server, doorbell.Joined)) > 0 })
	call(t, dir, strings.NewReader("2\n"), "pub", "--wait", "1", "t").status(0)
	if sub.status(0); sub.out.String() != "1\n2\n" {
		t.Errorf("received %q", sub.out.String())
	}
	eventually(t, "both have gone", func() bool { return len(happened(t, server, doorbell.Gone)) >= 2 })
	server.signal(syscall.SIGTERM)
	server.status(0)
	clean(t, dir)
	tidy(t, dir)
	call(t, dir, nil, "rm", "--bus", "other", "--whole-bus").status(0)
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDoorbellServerRefusesWhatIsNoBAR(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, nil, "vm", "doorbell", "--size", "3MiB").status(1).says("power of two")
	tidy(t, dir)
}
