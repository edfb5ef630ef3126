package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
)

// areaOf is where the first journal of a bus file lies in it.
func areaOf(t *testing.T, path string) int64 {
	t.Helper()
	seg, err := segment.OpenImage(path)
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Close()
	for _, a := range seg.Areas() {
		if a.Key.Kind == segment.KindJournal {
			return a.Offset
		}
	}
	t.Fatalf("%s has no journal", path)
	return 0
}

// damage writes bytes into the area of the journal of a bus file.
func damage(t *testing.T, path string, at int64, b ...byte) {
	t.Helper()
	off := areaOf(t, path) + at
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(b, off)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Where a journal of 4 MiB has what: see docs/format.md.
const (
	roomAt  = 0x80
	stateAt = 0x4000
	cellAt  = 0xC4000
)

func TestImagesThatAreCutShortOrDamaged(t *testing.T) {
	dir, other := shmtest.Dir(t), t.TempDir()
	appendTo(t, dir, numbered(100))
	p := unfinishedRecord(t, dir, "stuck") // appends one more, and leaves the next unfinished
	appendTo(t, dir, "behind\n")
	p.Kill()
	all := numbered(100) + "before\nbehind\n"
	without := func(from, to int) string {
		lines := strings.SplitAfter(all, "\n")
		return strings.Join(append(lines[:from:from], lines[to:]...), "")
	}
	garbage := func(n int) []byte { return noise(n) }
	for i, c := range []struct {
		what   string
		change func(file string)
		status int
		prints string
		says   string
	}{
		{"as it was left", func(string) {}, 0, all, `unfinished: the record of "stuck" at position 32869, 128 B`},
		{"records cut off", func(f string) { cutShort(t, f, cellAt+50*128) }, 1, without(50, 102), "52 times"},
		{"a record's data", func(f string) { damage(t, f, cellAt+10*128+40, 'X') }, 1, without(10, 11), "1 times the journal was damaged"},
		{"a record's header", func(f string) { damage(t, f, cellAt+10*128, garbage(32)...) }, 1, without(10, 11), "corrupt=1"},
		{"all state words of ten records", func(f string) { damage(t, f, stateAt+10*8, garbage(80)...) }, 1, without(10, 20), "corrupt=1"},
		{"the state word of the first", func(f string) { damage(t, f, stateAt, 7, 0, 0, 0, 0x10) }, 1, without(0, 1), "corrupt=1"},
		{"the room word", func(f string) { damage(t, f, roomAt, garbage(8)...) }, 1, all, "corrupt=1"},
		{"a tag of another version", func(f string) { damage(t, f, 7, 9) }, 1, "", "journal of version 9, this program knows 1"},
		{"a config of another version", func(f string) { damage(t, f, 8, 9) }, 1, "", "journal of version 9"},
		{"no journal's tag", func(f string) { damage(t, f, 0, garbage(8)...) }, 1, "", "corrupt journal tag"},
		{"everything behind the tables cut off", func(f string) { truncate(t, f, 0xC0000) }, 1, "", "corrupt journal tag: 0x0"},
		{"the tables cut off", func(f string) { truncate(t, f, 0x21000) }, 1, "", "no journal"},
		{"half of the superblock cut off", func(f string) { truncate(t, f, 100) }, 1, "", "at least 4096 bytes"},
		{"another version of the bus", func(f string) { write(t, f, 0x0C, 9) }, 1, "", "version"},
		{"no bus", func(f string) { write(t, f, 0, garbage(64)...) }, 1, "", "magic"},
	} {
		t.Run(c.what, func(t *testing.T) {
			file := filepath.Join(other, fmt.Sprint(i))
			if err := copyFile(file, filepath.Join(dir, "default")); err != nil {
				t.Fatal(err)
			}
			c.change(file)
			r := call(t, dir, nil, "journal", "tail", "--data", "--image", file, "app").status(c.status).says(c.says)
			if got := r.out.String(); got != c.prints {
				t.Errorf("it printed %q\nwant %q\n%s", got, c.prints, r.errs.String())
			}
			info := call(t, dir, nil, "journal", "info", "--image", file, "app", "--json")
			if c.status == 0 {
				j := decode[inspect.Journal](info.status(0))
				if len(j.Unfinished) != 1 || j.Unfinished[0].Writer != "stuck" || j.Unfinished[0].Status != "dead" || j.Unfinished[0].Pid != p.Pid() || j.Records != 102 {
					t.Errorf("%+v", j)
				}
			} else {
				info.wait() // it must end
			}
		})
	}
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
	tidy(t, dir)
}

func TestImageThatIsAPipe(t *testing.T) {
	dir := shmtest.Dir(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"tail", "--image"}, {"tail", "--file"}, {"info", "--image"}, {"info", "--file"}} {
		call(t, dir, nil, append([]string{"journal"}, append(args, fifo, "app")...)...).status(1).says("regular file")
	}
	call(t, dir, nil, "journal", "tail", "--image", fifo).status(1).says("file is a pipe, want a regular file")
	call(t, dir, nil, "journal", "tail", "--image", dir).status(1).says("file is a directory, want a regular file")
}

// cutShort cuts a bus file off at a place in the area of its journal.
func cutShort(t *testing.T, path string, at int64) {
	t.Helper()
	truncate(t, path, areaOf(t, path)+at)
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// write writes bytes at an offset of a file.
func write(t *testing.T, path string, at int, b ...byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, int64(at)); err != nil {
		t.Fatal(err)
	}
}

func TestFilesThatAreNoImages(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, nil, "journal", "tail", "--image", filepath.Join(dir, "none")).status(1).says("no such file")
	call(t, dir, nil, "journal", "tail", "--image", dir).status(1).says("a regular file")
	call(t, dir, nil, "journal", "info", "--file", filepath.Join(dir, "none"), "app").status(1).says("no such file")
	call(t, dir, strings.NewReader("x\n"), "pub", "t").status(0)
	file := filepath.Join(dir, "default")
	call(t, dir, nil, "journal", "tail", "--image", file).status(1).says("there is no journal on this bus")
	for _, name := range []string{"one", "two"} {
		call(t, dir, strings.NewReader("x\n"), "journal", "append", name).status(0)
	}
	call(t, dir, nil, "journal", "tail", "--image", file).status(1).says(`say which journal of ["one" "two"]`)
	call(t, dir, nil, "journal", "tail", "--file", file, "three").status(1).says(`no journal "three" on this bus, but ["one" "two"]`)
	call(t, dir, nil, "journal", "info", "--image", file, "three").status(1).says(`no journal "three"`)

	f := start(t, dir, nil, "journal", "tail", "-f", "--file", file, "one", "--data")
	call(t, dir, strings.NewReader("y\n"), "journal", "append", "one").status(0)
	eventually(t, "who only reads follows", func() bool { return f.out.String() == "x\ny\n" })
	if j := decode[inspect.Journal](call(t, dir, nil, "journal", "info", "one", "--json").status(0)); len(j.Readers) != 0 {
		t.Errorf("who only reads is seen: %+v", j.Readers)
	}
	call(t, dir, nil, "journal", "tail", "--image", file, "one").status(0).last("records=2 bytes=2 lost=0 tombs=0 holes=0 corrupt=0 unfinished=0")
	f.kill()
	in := start(t, dir, nil, "journal", "tail", "-f", "one")
	eventually(t, "it reads", func() bool { return in.out.String() != "" })
	call(t, dir, nil, "journal", "tail", "--image", file, "one").status(0).says("processes use " + file)
	in.signal(os.Interrupt)
	in.status(130)
	clean(t, dir)
	tidy(t, dir)
}

// The trial: eight programs write one journal, somebody follows it, and
// all are killed at once.
func TestEverybodyIsKilledAndTheImageHasWhatWasFinished(t *testing.T) {
	dir := shmtest.Dir(t)
	f := start(t, dir, nil, "journal", "tail", "-f", "--json", "app")
	stuck := unfinishedRecord(t, dir, "stuck") // what is behind it is not printed before that is dead
	var all []*command
	for i := range 8 {
		all = append(all, start(t, dir, nil, "journal", "run", "app", "--name", fmt.Sprint("w", i), "--", "sh", "-c",
			`i=0; while [ $i -lt 1500 ]; do echo $i; i=$((i+1)); done; exec sleep 1000`))
	}
	image := filepath.Join(dir, "default")
	// Each has begun; none need have come to its end. Who follows sees none of it yet.
	eventually(t, "all have written", func() bool {
		writers := map[string]bool{}
		for _, r := range records(t, call(t, dir, nil, "journal", "tail", "--image", image, "--json").out.String()) {
			writers[r.Writer] = true
		}
		return len(writers) == 1+8 && journalOf(t, dir).Records > 3000
	})
	before := journalOf(t, dir)
	stuck.Kill()
	for _, c := range all {
		_ = c.cmd.Process.Kill()
	}
	for _, c := range all {
		c.kill()
	}
	f.stop()
	f.kill()
	c := call(t, dir, nil, "journal", "tail", "--image", image, "--json").status(0)
	next, inImage := map[string]int{}, map[uint64]bool{}
	for _, r := range records(t, c.out.String()) {
		inImage[r.Position] = true
		if r.Writer == "stuck" {
			continue
		}
		if *r.Data != fmt.Sprint(next[r.Writer]) || r.Lost != 0 {
			t.Fatalf("%+v after %v", r, next)
		}
		next[r.Writer]++
	}
	if len(next) != 8 || uint64(len(inImage)) < before.Records {
		t.Errorf("%d records of %v, at least %d were there", len(inImage), next, before.Records)
	}
	whole := f.out.String()
	for _, r := range records(t, whole[:strings.LastIndexByte(whole, '\n')+1]) {
		if !inImage[r.Position] {
			t.Errorf("%+v was read, and is not in the image", r)
		}
	}
	var s tailSum
	if err := jsonLine(c.errs.String(), &s); err != nil || int(s.Records) != len(inImage) {
		t.Errorf("%+v, %v", s, err)
	}
	j := decode[inspect.Journal](call(t, dir, nil, "journal", "info", "--image", image, "--json").status(0))
	if int(s.Tombs) != len(s.Unfinished)+int(j.Tombs) || len(s.Unfinished)+int(j.Tombs) < 1 {
		t.Errorf("%+v, %+v", s, j)
	}
	// Whoever comes next takes back what they held, and writes on.
	appendTo(t, dir, "next\n")
	if out := tailOf(t, dir); !strings.HasSuffix(out, "\nnext\n") || strings.Count(out, "\n") != len(inImage)+1 {
		t.Errorf("%d lines of %d", strings.Count(out, "\n"), len(inImage)+1)
	}
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
	tidy(t, dir)
}

func TestTimesThatSinceUnderstands(t *testing.T) {
	now := time.Date(2026, 11, 20, 17, 30, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"":                       {},
		"10m":                    now.Add(-10 * time.Minute),
		"-1h30m":                 now.Add(-90 * time.Minute),
		"0s":                     now,
		"16:05":                  time.Date(2026, 11, 20, 16, 5, 0, 0, time.Local),
		"16:05:07":               time.Date(2026, 11, 20, 16, 5, 7, 0, time.Local),
		"2026-11-19":             time.Date(2026, 11, 19, 0, 0, 0, 0, time.Local),
		"2026-11-19 01:02":       time.Date(2026, 11, 19, 1, 2, 0, 0, time.Local),
		"2026-11-19 01:02:03":    time.Date(2026, 11, 19, 1, 2, 3, 0, time.Local),
		"2026-11-19T01:02:03.5Z": time.Date(2026, 11, 19, 1, 2, 3, 5e8, time.UTC),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "10", "25:00", "2026-13-01", "1d"} {
		if got, err := parseSince(text, now); err == nil {
			t.Errorf("%q is %v, want an error", text, got)
		}
	}
}
