package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
)

// unfinishedRole appends "before" to the journal app, reserves a record, and
// leaves it unfinished until it is told to finish it.
func unfinishedRole(args []string) error {
	node, err := ringbus.Open("default", &ringbus.Options{Dir: args[0], Name: args[1]})
	if err != nil {
		return err
	}
	w, err := journal.NewWriter(node, "app", nil)
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte("before")); err != nil {
		return err
	}
	r, err := w.Reserve(context.Background(), 10, 10, nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	shmtest.Listen(func(string) bool { return false })
	if err := r.Commit(copy(r.Data(), "at last")); err != nil {
		return err
	}
	return node.Close()
}

// unfinished starts a process that has a record unfinished.
func unfinishedRecord(t *testing.T, dir, name string) *shmtest.Proc {
	t.Helper()
	p := shmtest.Start(t, "unfinished", nil, dir, name)
	p.Expect("ready")
	return p
}

// appendTo appends the text's lines to the journal app.
func appendTo(t *testing.T, dir, text string, args ...string) *command {
	t.Helper()
	return call(t, dir, strings.NewReader(text), append([]string{"journal", "append", "app"}, args...)...).status(0)
}

// tailOf is what "journal tail --data app" prints.
func tailOf(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return call(t, dir, nil, append([]string{"journal", "tail", "--data", "app"}, args...)...).status(0).out.String()
}

// journalOf describes the journal app.
func journalOf(t *testing.T, dir string) inspect.Journal {
	t.Helper()
	return decode[inspect.Journal](call(t, dir, nil, "journal", "info", "app", "--json").status(0))
}

// records reads what "journal tail --json" prints.
func records(t *testing.T, text string) (out []record) {
	t.Helper()
	for line := range strings.Lines(text) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, r)
	}
	return out
}

func TestEachLineIsARecord(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "one\n\ntwo\n", "--name", "first").last("appended=3 bytes=6 silenced=0")
	appendTo(t, dir, "warned\n", "--level", "warn", "--key", "k", "--name", "second", "--no-time")
	appendTo(t, dir, "no newline \xff", "--json").last(`{"appended":1,"bytes":12,"silenced":0}`)
	appendTo(t, dir, "")
	c := call(t, dir, nil, "journal", "tail", "app", "--json").status(0)
	got := records(t, c.out.String())
	if len(got) != 5 {
		t.Fatalf("%d records: %s", len(got), c.out.String())
	}
	for i, want := range []struct{ writer, level, key, data string }{
		{"first", "INFO", "", "one"}, {"first", "INFO", "", ""}, {"first", "INFO", "", "two"}, {"second", "WARN", "k", "warned"}, {"append", "INFO", "", ""},
	} {
		r := got[i]
		if r.Writer != want.writer || r.Level != want.level || r.Key != want.key || r.Sequence != uint64(i) || r.Lost != 0 || (r.Time == nil) != (i == 3) {
			t.Errorf("record %d: %+v, want %+v", i, r, want)
		}
		if i < 4 && (r.Data == nil || *r.Data != want.data || r.Length != len(want.data)) || i == 4 && (r.Base64 == nil || *r.Base64 != "bm8gbmV3bGluZSD/") {
			t.Errorf("record %d: %+v, want %q", i, r, want.data)
		}
	}
	c.last(`{"records":5,"bytes":24,"lost":0,"lost_bytes":0,"tombs":0,"holes":0,"corrupt":0,"unfinished":[]}`)
	clean(t, dir)
	tidy(t, dir)
}

func TestTailShowsWhatIsAskedFor(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "a\nb\n", "--name", "ann", "--key", "x")
	between := time.Now()
	appendTo(t, dir, "c\nd\n", "--name", "bob", "--level", "error")
	all := records(t, call(t, dir, nil, "journal", "tail", "app", "--json").status(0).out.String())
	for args, want := range map[string]string{
		"":                                      "a\nb\nc\nd\n",
		"-n 3":                                  "b\nc\nd\n",
		"-n 0":                                  "",
		"-n 9":                                  "a\nb\nc\nd\n",
		"-n 1 --writer ann":                     "b\n",
		"--writer bob":                          "c\nd\n",
		"--key x":                               "a\nb\n",
		"--key y":                               "",
		"--level error":                         "c\nd\n",
		"--level error+1":                       "",
		"--level 8 --count 1":                   "c\n",
		"--since 1h":                            "a\nb\nc\nd\n",
		"--after 0":                             "a\nb\nc\nd\n",
		fmt.Sprint("--after ", all[1].Position): "c\nd\n",
		fmt.Sprint("--after ", all[3].Position): "",
		"--since " + between.Format(time.RFC3339Nano): "c\nd\n",
	} {
		if got := tailOf(t, dir, strings.Fields(args)...); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	if got := call(t, dir, nil, "journal", "tail", "app", "--raw").status(0).out.String(); got != "abcd" {
		t.Errorf("raw: %q", got)
	}
	c := call(t, dir, nil, "journal", "tail", "app", "-n", "3").status(0)
	lines := strings.Split(c.out.String(), "\n")
	if len(lines) != 4 || !strings.HasSuffix(lines[0], " INFO  ann x: b") || !strings.HasSuffix(lines[1], " ERROR bob: c") || !strings.HasPrefix(lines[0], "2") {
		t.Errorf("%q", c.out.String())
	}
	c.last("records=3 bytes=3 lost=0 tombs=0 holes=0 corrupt=0 unfinished=0")
	call(t, dir, nil, "journal", "tail", "app", "--after", fmt.Sprint(all[3].Position+1)).status(1).says("no record starts at position")
	file := dir + "/default"
	for _, args := range []string{"--file " + file, "--file " + file + " app", "--image " + file, "--image " + file + " app"} {
		c := call(t, dir, nil, strings.Fields("journal tail --data "+args)...).status(0)
		if c.out.String() != "a\nb\nc\nd\n" {
			t.Errorf("%s: %q", args, c.out.String())
		}
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestTailFollowsAJournalThatIsNotThereYet(t *testing.T) {
	dir := shmtest.Dir(t)
	one := start(t, dir, nil, "journal", "tail", "-f", "app", "--name", "one")
	eventually(t, "it waits", func() bool { return one.errs.String() != "" })
	two := start(t, dir, nil, "journal", "tail", "--follow", "--json", "app", "--name", "two")
	const n = 500
	var writers []*command
	for i := range 3 {
		var b strings.Builder
		for k := range n {
			fmt.Fprintln(&b, i, k)
		}
		writers = append(writers, start(t, dir, strings.NewReader(b.String()), "journal", "append", "app"))
	}
	for _, w := range writers {
		w.status(0)
	}
	for _, c := range []*command{one, two} {
		eventually(t, "all were printed", func() bool { return strings.Count(c.out.String(), "\n") == 3*n })
	}
	one.signal(os.Interrupt)
	two.signal(syscall.SIGTERM)
	one.status(130).last(fmt.Sprintf("records=%d bytes=%d lost=0 tombs=0 holes=0 corrupt=0 unfinished=0", 3*n, 3*(10*3+90*4+400*5)))
	two.status(143)
	if said := strings.Count(one.errs.String(), "waiting for it"); said != 1 {
		t.Errorf("it said %d times that it waits: %s", said, one.errs.String())
	}
	next := [3]int{}
	for i, line := range strings.Split(strings.TrimSpace(one.out.String()), "\n") {
		var w, k int
		_, text, _ := strings.Cut(line, "append: ")
		if _, err := fmt.Sscan(text, &w, &k); err != nil || k != next[w] {
			t.Fatalf("line %d: %q after %v", i, line, next)
		}
		next[w]++
	}
	if f := start(t, dir, nil, "journal", "tail", "-f", "app", "--count", fmt.Sprint(3*n), "--data"); f.status(0).out.String() != tailOf(t, dir) {
		t.Error("who follows reads other records than who does not")
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestLevelSilencesAllWriters(t *testing.T) {
	dir := shmtest.Dir(t)
	w, in := open(t, dir, "journal", "append", "app")
	fmt.Fprintln(in, "a")
	eventually(t, "it is there", func() bool { return strings.Contains(call(t, dir, nil, "ls").out.String(), "app") })
	level := func(want string, args ...string) {
		t.Helper()
		c := call(t, dir, nil, append([]string{"journal", "level", "app"}, args...)...).status(0)
		if c.out.String() != want {
			t.Errorf("level %q: %q, want %q", args, c.out.String(), want)
		}
	}
	level("off\n")
	level("", "warn")
	level("WARN\n")
	fmt.Fprintln(in, "b")
	appendTo(t, dir, "c\n", "--level", "error").last("appended=1 bytes=1 silenced=0")
	appendTo(t, dir, "d\n", "--level", "debug").last("appended=0 bytes=0 silenced=1")
	in.Close()
	w.status(0).last("appended=1 bytes=1 silenced=1")
	if l := decode[levelOf](call(t, dir, nil, "journal", "level", "app", "--json").status(0)); l.Level == nil || *l.Level != 4 {
		t.Errorf("%+v", l)
	}
	level("", "--", "-4")
	level("DEBUG\n")
	level("", "off")
	level("off\n")
	appendTo(t, dir, "e\n", "--level", "debug")
	if got := tailOf(t, dir); got != "a\nc\ne\n" {
		t.Errorf("%q", got)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestJournalAndTopicOfOneName(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "x\n")
	call(t, dir, nil, "rm", "app").status(1).says(`no topic "app"`).says("ringbus journal rm app")
	call(t, dir, nil, "info", "app").status(0)
	call(t, dir, strings.NewReader("m\n"), "pub", "app").status(0)
	call(t, dir, strings.NewReader("m\n"), "pub", "other").status(0)
	if l := decode[listed](call(t, dir, nil, "ls", "--json").status(0)); len(l.Topics) != 2 || len(l.Journals) != 1 || l.Journals[0].Records != 1 {
		t.Errorf("%+v", l)
	}
	for args, want := range map[string]string{"ls": "JOURNAL", "info": "journals 1", "journal info app": "ever        1 records of 1 B", "doctor": "2 topics, 1 journals"} {
		if out := call(t, dir, nil, strings.Fields(args)...).status(0).out.String(); !strings.Contains(out, want) {
			t.Errorf("%s: %q", args, out)
		}
	}
	c := call(t, dir, nil, "info", "app").status(0).says(`also a journal "app"`)
	if !strings.Contains(c.out.String(), "PUBLISHER") {
		t.Errorf("info of both: %s", c.out.String())
	}
	call(t, dir, nil, "rm", "app").status(0).says(`the journal "app" stays`)
	if got := tailOf(t, dir); got != "x\n" {
		t.Errorf("%q", got)
	}
	f := start(t, dir, nil, "journal", "tail", "-f", "app")
	eventually(t, "it reads", func() bool { return len(journalOf(t, dir).Readers) == 1 })
	call(t, dir, nil, "journal", "rm", "app").status(1).says("in use").says("tail")
	f.kill()
	done := decode[map[string][]string](call(t, dir, nil, "journal", "rm", "app", "--json").status(0))
	if len(done["journals"]) != 1 || done["journals"][0] != "app" {
		t.Errorf("removed %v", done)
	}
	call(t, dir, nil, "journal", "rm", "app").status(1).says(`no journal "app"`)
	call(t, dir, nil, "journal", "tail", "other").status(1).says(`no journal "other"`).says("ringbus sub other")
	clean(t, dir)
	tidy(t, dir)
}
