package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
)

// sh is "journal run app -- sh -c SCRIPT".
func sh(t *testing.T, dir, script string, flags ...string) *command {
	t.Helper()
	return start(t, dir, nil, slices.Concat([]string{"journal", "run", "app"}, flags, []string{"--", "sh", "-c", script})...)
}

// have waits until the journal ends with a line.
func have(t *testing.T, dir, line string) {
	t.Helper()
	eventually(t, "it printed "+line, func() bool {
		c := call(t, dir, nil, "journal", "tail", "--data", "app")
		return strings.HasSuffix("\n"+c.out.String(), "\n"+line+"\n")
	})
}

func TestRunAppendsBothStreams(t *testing.T) {
	dir := shmtest.Dir(t)
	c := sh(t, dir, `echo out; echo err >&2; printf half; exit 3`, "--stderr-level", "warn").status(3)
	if c.out.String()+c.errs.String() != "" {
		t.Errorf("it printed %q and %q", c.out.String(), c.errs.String())
	}
	var got []string
	for _, r := range records(t, call(t, dir, nil, "journal", "tail", "app", "--json").status(0).out.String()) {
		got = append(got, r.Writer+" "+r.Key+" "+r.Level+" "+*r.Data)
	}
	slices.Sort(got) // the streams are two pipes
	if want := []string{"sh stderr WARN err", "sh stdout INFO half", "sh stdout INFO out"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := tailOf(t, dir, "--key", "stdout"); got != "out\nhalf\n" {
		t.Errorf("stdout: %q", got)
	}
	c = sh(t, dir, `echo out; echo err >&2; printf half`, "--tee", "--name", "me").status(0)
	if c.out.String() != "out\nhalf" || c.errs.String() != "err\n" {
		t.Errorf("it printed %q and %q", c.out.String(), c.errs.String())
	}
	if got := tailOf(t, dir, "--writer", "me", "--key", "stderr"); got != "err\n" {
		t.Errorf("stderr of me: %q", got)
	}
	in := start(t, dir, strings.NewReader("1\n2\n"), "journal", "run", "app", "--name", "in", "--", "cat").status(0)
	if got := tailOf(t, dir, "--writer", "in"); got != "1\n2\n" {
		t.Errorf("of its input: %q, %s", got, in.errs.String())
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestRunEndsAsTheProgramDoes(t *testing.T) {
	dir := shmtest.Dir(t)
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, dir, `exit 0`).status(0)
	sh(t, dir, `exit 250`).status(250)
	sh(t, dir, `echo last words; kill -KILL $$`).status(137)
	have(t, dir, "last words")
	sh(t, dir, `kill -SEGV $$`).status(139)
	call(t, dir, nil, "journal", "run", "app", "--", "no-such-program").status(127).says("not found")
	call(t, dir, nil, "journal", "run", "app", "--", text+"/x").status(126).says("run ")
	call(t, dir, nil, "journal", "run", "app", "--", text).status(126).says("permission denied")
	clean(t, dir)
	tidy(t, dir)
}

func TestRunPassesSignalsOn(t *testing.T) {
	// Under nohup SIGHUP is ignored, and would be so in every program started from here.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	dir := shmtest.Dir(t)
	for name, want := range map[string]struct {
		sig    syscall.Signal
		status int
	}{"INT": {syscall.SIGINT, 4}, "TERM": {syscall.SIGTERM, 5}, "HUP": {syscall.SIGHUP, 6}, "USR1": {syscall.SIGUSR1, 7}} {
		c := sh(t, dir, fmt.Sprintf(`trap "echo got %s; exit %d" %s; echo ready %s; while :; do sleep 0.01; done`, name, want.status, name, name))
		have(t, dir, "ready "+name)
		c.signal(want.sig)
		c.status(want.status)
		have(t, dir, "got "+name)
	}
	c := sh(t, dir, `trap "" TERM; echo deaf; read x; echo heard`) // its input is empty
	c.status(0)
	c = sh(t, dir, `echo asleep; exec sleep 1000`)
	have(t, dir, "asleep")
	c.signal(syscall.SIGTERM)
	c.status(143)
	clean(t, dir)
	tidy(t, dir)
}

// The program must find signals as it would without us.
func TestRunLeavesSIGPIPEAlone(t *testing.T) {
	dir := shmtest.Dir(t)
	sh(t, dir, `sh -c 'yes; echo $? >&2' | head -n 1`).status(0)
	if got := tailOf(t, dir, "--key", "stderr"); got != "141\n" && got != "" { // the inner shell may die of it too
		t.Errorf("yes ended with %q", got)
	}
	c := sh(t, dir, `echo said; kill -PIPE $$; echo alive`).status(141)
	if got := tailOf(t, dir, "-n", "1"); got != "said\n" {
		t.Errorf("%q, %s", got, c.errs.String())
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestRunReadsToTheEndOfWhatTheProgramStarted(t *testing.T) {
	dir := shmtest.Dir(t)
	pid := filepath.Join(t.TempDir(), "pid")
	c := sh(t, dir, `(while kill -0 $$ 2>&-; do sleep 0.01; done; echo late) & echo now; exit 9`)
	c.status(9)
	have(t, dir, "late")
	c = sh(t, dir, `sleep 1000 & echo $! > `+pid+`; echo parent ends; exit 9`)
	eventually(t, "it says that it waits", func() bool { return strings.Contains(c.errs.String(), "sh has ended") })
	c.signal(syscall.SIGTERM)
	c.status(9)
	b, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Errorf("what the program started was ended: %v", err)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestRunThatIsKilledEndsTheProgram(t *testing.T) {
	dir := shmtest.Dir(t)
	c := sh(t, dir, `echo $$; exec sleep 1000`)
	var child int
	eventually(t, "it says who it is", func() bool {
		out := call(t, dir, nil, "journal", "tail", "--data", "app").out.String()
		n, _ := fmt.Sscan(out, &child)
		return n == 1
	})
	c.kill()
	eventually(t, "the program has ended", func() bool { return errors.Is(syscall.Kill(child, 0), syscall.ESRCH) || zombie(child) })
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
	tidy(t, dir)
}

func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, ok := strings.Cut(string(b), ") ")
	return err != nil || ok && state[0] == 'Z'
}

func TestRunOfALotAtOnce(t *testing.T) {
	dir := shmtest.Dir(t)
	c := sh(t, dir, `seq -f %0100.0f 100000`, "--keep", "32M", "--tee").status(0) // 10.1 MB
	want := c.out.String()
	if strings.Count(want, "\n") != 100000 {
		t.Fatalf("it printed %d lines", strings.Count(want, "\n"))
	}
	if got := tailOf(t, dir); got != want {
		t.Errorf("%d bytes of %d", len(got), len(want))
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestRunCutsLongLines(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "", "--keep", "16M")
	line := strings.Repeat("0123456789abcdeé", 140000) // 2.4 MB
	c := start(t, dir, strings.NewReader(line+"\nnext\n\n"+line), "journal", "run", "app", "--", "cat").status(0)
	c.says(" bytes and was cut into several records")
	var got []string
	for _, r := range records(t, call(t, dir, nil, "journal", "tail", "app", "--json").status(0).out.String()) {
		if r.Data == nil {
			t.Fatalf("a character was cut: %d bytes at %d", r.Length, r.Position)
		}
		got = append(got, *r.Data)
	}
	if len(got) == 8 {
		got = []string{strings.Join(got[:3], ""), got[3], got[4], strings.Join(got[5:], "")}
	}
	if want := []string{line, "next", "", line}; !slices.Equal(got, want) {
		t.Errorf("%d records: %d bytes", len(got), len(strings.Join(got, "")))
	}
	c = call(t, dir, strings.NewReader("x\n"+line), "journal", "append", "app").status(1)
	c.says("line 2 is longer than the journal's records, which are limited to 1048").says("appended=1")
	c = call(t, dir, strings.NewReader(line), "journal", "append", "small", "--keep", "32k").status(1)
	c.says("limited to 163").says("set --keep")
	clean(t, dir)
	tidy(t, dir)
}

// A full journal, which a reader holds, stops the program, and a signal ends
// both.
func TestRunWaitsForReadersThatHold(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "", "--keep", "32k", "--when-full", "reject")
	r := start(t, dir, nil, "journal", "tail", "-f", "--hold", "--data", "app")
	eventually(t, "it reads", func() bool { return len(journalOf(t, dir).Readers) == 1 })
	r.stop()
	c := sh(t, dir, `exec yes`)
	eventually(t, "it waits", func() bool { return len(journalOf(t, dir).Waiting) == 1 })
	c.signal(syscall.SIGTERM)
	c.status(143).says("lines were not appended")
	c = sh(t, dir, `echo one; echo two`, "--no-wait").status(1)
	c.says("2 lines were not appended").says("is full")
	r.kill()
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
	tidy(t, dir)
}

func TestLinesAreCutWhereTheyMustBe(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"\n", []string{""}},
		{"a", []string{"a"}},
		{"a\n\nb", []string{"a", "", "b"}},
		{"12345678\n", []string{"12345678"}},
		{"123456789\n", []string{"12345678+", "9"}},
		{"1234567812345678\n\nx\n", []string{"12345678+", "12345678", "", "x"}},
		{"1234567812345678", []string{"12345678+", "12345678"}},
		{"1234567é90", []string{"1234567+", "é90"}},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff", []string{"\xff\xff\xff\xff\xff\xff\xff\xff+", "\xff"}},
		{"\x80\x80\x80\x80\x80\x80\x80\x80\x80", []string{"\x80\x80\x80\x80\x80\x80\x80\x80+", "\x80"}},
	} {
		for _, size := range []int{1, 3, 100} {
			var got []string
			err := eachLine(bufio.NewReaderSize(&slow{strings.NewReader(c.in), size}, 16), 8, func(line []byte, more bool) error {
				text := string(line)
				if more {
					text += "+"
				}
				got = append(got, text)
				return nil
			})
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q by %d: %q, want %q (%v)", c.in, size, got, c.want, err)
			}
		}
	}
}

// slow reads a few bytes at a time.
type slow struct {
	r    *strings.Reader
	size int
}

func (s *slow) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), s.size)]) }

func TestNodesAreCalledAsTheirPrograms(t *testing.T) {
	for program, want := range map[string]string{
		"/usr/bin/make": "make", "./my prog": "my-prog", "..": "run", "": "run", "é": "-", "a.b_c": "a.b_c", strings.Repeat("x", 300): strings.Repeat("x", 128),
	} {
		if got := nodeNameOf(program); got != want {
			t.Errorf("%q: %q, want %q", program, got, want)
		}
	}
}

func TestRecordsForPeople(t *testing.T) {
	at := time.Date(2026, 11, 20, 17, 30, 1, 2000, time.Local)
	r := journal.Record{Time: at, Level: slog.LevelError, Writer: "w", Key: "k k", Data: []byte("a\x1b[31m\tb\nc\n")}
	for _, c := range []struct {
		style style
		want  string
	}{
		{style{}, "2026-11-20 17:30:01.000002 ERROR w \"k k\": a\x1b[31m\tb\n    c\n"},
		{style{safe: true}, "2026-11-20 17:30:01.000002 ERROR w \"k k\": a\\x1b[31m\tb\n    c\n"},
		{style{color: true, safe: true}, "\x1b[2m2026-11-20 17:30:01.000002\x1b[0m \x1b[31mERROR\x1b[0m \x1b[36mw \"k k\"\x1b[0m: a\\x1b[31m\tb\n    c\n"},
	} {
		var b strings.Builder
		w := bufio.NewWriter(&b)
		if err := errors.Join(c.style.line(w, r), w.Flush()); err != nil || b.String() != c.want {
			t.Errorf("%+v: %q, want %q", c.style, b.String(), c.want)
		}
	}
	var b strings.Builder
	w := bufio.NewWriter(&b)
	s := style{color: true}
	if err := errors.Join(s.line(w, journal.Record{}), w.Flush()); err != nil || b.String() != "\x1b[2m-\x1b[0m INFO  \x1b[36m\"\"\x1b[0m: \n" {
		t.Errorf("%q", b.String())
	}
}

func TestOnATerminalDataControlsNothing(t *testing.T) {
	for data, want := range map[string]string{
		"":                              "",
		"plain, \u00e9\t\u4e16\n\ufffd": "plain, \u00e9\t\u4e16\n\ufffd",
		"\x1b]0;title\x07 \r\x7f":       `\x1b]0;title\x07 \x0d\x7f`,
		"in \x9b31m and \u009b31m":      `in \x9b31m and \u009b31m`,
		"\u202etxt.exe\u2028\u200b":     `\u202etxt.exe\u2028\u200b`,
		"\U000e0001 tag":                `\U000e0001 tag`,
	} {
		if got := harmless(data); got != want {
			t.Errorf("%q is printed as %q, want %q", data, got, want)
		}
		for _, tty := range []bool{false, true} {
			for flags, want := range map[*tailFlags]string{
				{data: true}: map[bool]string{false: data, true: want}[tty],
				{raw: true}:  data,
			} {
				var b strings.Builder
				w := bufio.NewWriter(&b)
				err := errors.Join(flags.printer(false, tty)(w, journal.Record{Data: []byte(data)}), w.Flush())
				if got := strings.TrimSuffix(b.String(), "\n"); err != nil || got != strings.TrimSuffix(want, "\n") {
					t.Errorf("%q on a terminal (%v): %q, want %q", data, tty, got, want)
				}
			}
		}
	}
}
