package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestServeAndCallStreams(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, nil, "call", "up", "hello", "--stream").status(1).says("nobody serves")
	serve := start(t, dir, nil, "serve", "up", "--stream", "--parallel", "2", "--exec",
		`read n; case $n in bad) echo one; echo no such thing >&2; exit 3;; long) echo a; head -c 9999 /dev/zero; echo; echo b;;
		slow) echo a; sleep 60;; *) seq $n;; esac`)
	eventually(t, "the service is there", func() bool { return strings.Contains(call(t, dir, nil, "ls").out.String(), "up") })
	if got := call(t, dir, strings.NewReader("3\n"), "call", "up", "--stream").status(0).out.String(); got != "1\n2\n3\n" {
		t.Errorf("replies %q", got)
	}
	if got := call(t, dir, nil, "call", "up", "5\n").status(0).out.String(); got != "1\n2\n3\n4\n5\n" {
		t.Errorf("all in one reply: %q", got)
	}
	if got := call(t, dir, nil, "call", "up", "0\n", "--stream").status(0).out.String(); got != "" {
		t.Errorf("no replies: %q", got)
	}
	bad := call(t, dir, nil, "call", "up", "bad\n", "--stream").status(1).says("exit status 3: no such thing")
	if got := bad.out.String(); got != "one\n" {
		t.Errorf("replies before the error: %q", got)
	}
	long := call(t, dir, nil, "call", "up", "long\n", "--stream").status(1).says("reply of 9999 bytes")
	if got := long.out.String(); got != "a\nb\n" {
		t.Errorf("replies around the large one: %q", got)
	}
	slow := call(t, dir, nil, "call", "up", "slow\n", "--stream", "--timeout", "20ms").status(1).says("sent nothing for 20ms")
	if got := slow.out.String(); got != "a\n" {
		t.Errorf("replies before the silence: %q", got)
	}
	n := decode[figures](call(t, dir, nil, "call", "up", "10\n", "--stream", "--count", "20", "--parallel", "4", "--json").status(0))
	if n.Calls != 20 || n.Answered != 20 || n.Replies != 200 {
		t.Errorf("%+v", n)
	}
	serve.signal(syscall.SIGINT)
	serve.status(130).says("calls answered")
	clean(t, dir)
}

// Who goes away in the middle of a stream ends the command that answers, also one
// that writes nothing.
func TestTheCommandEndsWithItsCaller(t *testing.T) {
	dir := shmtest.Dir(t)
	serve := start(t, dir, nil, "serve", "wait", "--stream", "--exec", `read x; case $x in s*) echo a; sleep 1000;; *) yes;; esac`, "--json")
	eventually(t, "the service is there", func() bool { return strings.Contains(call(t, dir, nil, "ls").out.String(), "wait") })
	for _, what := range []string{"silent\n", "loud\n"} {
		caller := start(t, dir, nil, "call", "wait", what, "--stream")
		eventually(t, "a reply", func() bool { return caller.out.String() != "" })
		_ = caller.cmd.Process.Kill()
	}
	// There is one place at a time: this one waits for both commands.
	last := start(t, dir, nil, "call", "wait", "loud\n", "--stream")
	eventually(t, "the next one's turn", func() bool { return last.out.String() != "" })
	last.signal(syscall.SIGINT)
	last.status(130)
	serve.signal(syscall.SIGINT)
	serve.status(130)
	clean(t, dir)
}

// Streams while one of two servers is killed: each comes to its end, or says that
// its server has gone.
func TestStreamsWhileAServerIsKilled(t *testing.T) {
	dir := shmtest.Dir(t)
	serve := func() *command {
		return start(t, dir, nil, "serve", "up", "--stream", "--exec", "seq 20", "--parallel", "4")
	}
	victim := serve()
	answered(t, dir)
	other := serve()
	eventually(t, "both serve", func() bool { return strings.Contains(call(t, dir, nil, "ls").out.String(), "up       2") })
	calls := start(t, dir, nil, "call", "up", "x", "--stream", "--count", "300", "--parallel", "16", "--json")
	time.AfterFunc(100*time.Millisecond, func() { _ = victim.cmd.Process.Kill() })
	calls.wait()
	n := decode[figures](calls)
	if n.Calls != 300 || n.Answered+n.Gone+n.NoService != 300 || n.Answered < 150 || n.Replies < 20*n.Answered {
		t.Errorf("%+v", n)
	}
	other.signal(syscall.SIGINT)
	other.status(130)
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
}
