package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// answered waits until the service up answers.
func answered(t *testing.T, dir string) {
	t.Helper()
	eventually(t, "the service answers", func() bool { return call(t, dir, nil, "call", "up", "x").wait() == 0 })
}

func TestServeAndCall(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, nil, "call", "up", "hello").status(1).says("nobody serves")
	serve := start(t, dir, nil, "serve", "up", "--exec", "tr a-z A-Z", "--parallel", "2")
	answered(t, dir)
	if got := call(t, dir, nil, "call", "up", "hello").status(0).out.String(); got != "HELLO" {
		t.Errorf("reply %q", got)
	}
	if got := call(t, dir, strings.NewReader("from a pipe\n"), "call", "up").status(0).out.String(); got != "FROM A PIPE\n" {
		t.Errorf("reply %q", got)
	}
	call(t, dir, nil, "call", "up", strings.Repeat("x", 5000)).status(1).says("request of 5000 bytes")
	n := decode[figures](call(t, dir, nil, "call", "up", "hello", "--count", "20", "--parallel", "4", "--json").status(0))
	if n.Calls != 20 || n.Answered != 20 || n.Latency.Min <= 0 || n.Latency.P50 < n.Latency.Min ||
		n.Latency.Max < n.Latency.P999 || n.Seconds <= 0 || n.PerSecond <= 0 {
		t.Errorf("%+v", n)
	}
	if got := call(t, dir, nil, "ls").status(0).out.String(); !strings.Contains(got, "SERVICE") || !strings.Contains(got, "up") {
		t.Errorf("ls: %s", got)
	}
	serve.signal(syscall.SIGINT)
	serve.status(130).says("calls answered")
	clean(t, dir)
}

func TestCommandsThatFail(t *testing.T) {
	dir := shmtest.Dir(t)
	serve := start(t, dir, nil, "serve", "up", "--exec",
		`read x; echo "$x"; case $x in bad) echo no such thing >&2; exit 3;; long) head -c 9999 /dev/zero;; slow) sleep 60;; esac`)
	answered(t, dir)
	call(t, dir, nil, "call", "up", "bad\n").status(1).says(`service "up": exit status 3: no such thing`)
	call(t, dir, nil, "call", "up", "long\n").status(1).says("reply of 10004 bytes")
	call(t, dir, nil, "call", "up", "slow\n", "--timeout", "20ms").status(1).says("not answered in 20ms")
	serve.signal(syscall.SIGTERM) // and with it what it has started
	serve.status(143)
}

// Many calls while one of two servers is killed: each has an answer, or is told.
func TestCallsWhileAServerIsKilled(t *testing.T) {
	dir := shmtest.Dir(t)
	serve := func() *command { return start(t, dir, nil, "serve", "up", "--exec", "cat", "--parallel", "4") }
	victim := serve()
	answered(t, dir)
	other := serve()
	eventually(t, "both serve", func() bool { return strings.Contains(call(t, dir, nil, "ls").out.String(), "up       2") })
	calls := start(t, dir, nil, "call", "up", "hello", "--count", "600", "--parallel", "32", "--json")
	time.AfterFunc(100*time.Millisecond, func() { _ = victim.cmd.Process.Kill() })
	calls.wait()
	n := decode[figures](calls)
	if n.Calls != 600 || n.Answered+n.Gone+n.NoService != 600 || n.Answered < 300 {
		t.Errorf("%+v", n)
	}
	other.signal(syscall.SIGINT)
	other.status(130)
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
}

func TestWrongUseOfCalls(t *testing.T) {
	dir := shmtest.Dir(t)
	for _, c := range []struct{ args, says string }{
		{"serve", "which service"},
		{"serve a b --exec cat", "one service at a time"},
		{"serve up", "with which command"},
		{"serve ../up --exec cat", "component"},
		{"serve up --exec cat --parallel 0", "at least 1"},
		{"serve up --exec cat --max-reply 1G", "1GiB"},
		{"call", "which service"},
		{"call a b c", "one request at a time"},
		{"call a b --count -1", "negative"},
		{"call a b --parallel 0", "at least 1"},
		{"call a b --timeout soon", "invalid argument"},
	} {
		call(t, dir, nil, strings.Fields(c.args)...).status(2).says(c.says)
	}
}
