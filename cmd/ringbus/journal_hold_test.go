package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// numbered are n lines with their numbers.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

func TestAReaderThatHoldsMakesWritersWait(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "", "--keep", "32k", "--when-full", "reject")
	r := start(t, dir, nil, "journal", "tail", "-f", "--hold", "--data", "app", "--name", "slow")
	eventually(t, "it reads", func() bool { return len(journalOf(t, dir).Readers) == 1 })
	r.stop()
	const n = 2000
	w := start(t, dir, strings.NewReader(numbered(n)), "journal", "append", "app", "--name", "stuck")
	var j inspect.Journal // as it was when the writer was asleep: it looks again from time to time
	eventually(t, "the writer waits", func() bool {
		j = journalOf(t, dir)
		return len(j.Waiting) == 1
	})
	if j.Mode != "reject" || j.Records != 256 || len(j.Readers) != 1 || !j.Readers[0].Holds || j.Readers[0].Lag != 256 || j.Readers[0].Node != "slow" || j.Waiting[0].Node != "stuck" {
		t.Errorf("%+v", j)
	}
	for _, want := range []string{"reject: nothing goes", "slow", "256 ", "WAITS FOR READERS", "stuck"} {
		// A writer that waits looks again from time to time, and is not asleep then.
		eventually(t, "info says "+want, func() bool {
			return strings.Contains(call(t, dir, nil, "info", "app").status(0).out.String(), want)
		})
	}
	call(t, dir, strings.NewReader("x\n"), "journal", "append", "app", "--no-wait").status(1).says("is full").says("[slow]")
	i := start(t, dir, strings.NewReader("x\n"), "journal", "append", "app")
	eventually(t, "it waits too", func() bool { return len(journalOf(t, dir).Waiting) == 2 })
	i.signal(os.Interrupt)
	i.status(130).last("appended=0 bytes=0 silenced=0")
	r.signal(syscall.SIGCONT)
	w.status(0)
	eventually(t, "all were printed", func() bool { return r.out.String() == numbered(n) })
	r.signal(os.Interrupt)
	r.status(130)
	if j := journalOf(t, dir); j.Refused == 0 || j.Written != n {
		t.Errorf("%+v", j)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestAReaderThatIsKilledHoldsNobody(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "", "--keep", "32k", "--when-full", "reject")
	r := start(t, dir, nil, "journal", "tail", "-f", "--hold", "app")
	eventually(t, "it reads", func() bool { return len(journalOf(t, dir).Readers) == 1 })
	r.stop()
	w := start(t, dir, strings.NewReader(numbered(1000)), "journal", "append", "app")
	eventually(t, "the writer waits", func() bool { return len(journalOf(t, dir).Waiting) == 1 })
	r.kill()
	w.status(0).last("appended=1000 bytes=2890 silenced=0")
	clean(t, dir)
	tidy(t, dir)
}

func TestAReaderThatWasLappedSaysWhatItLost(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "", "--keep", "32k")
	text := start(t, dir, nil, "journal", "tail", "-f", "app", "--data", "--hold")
	objects := start(t, dir, nil, "journal", "tail", "-f", "app", "--json")
	eventually(t, "they read", func() bool { return len(journalOf(t, dir).Readers) == 2 })
	text.says("--hold holds nothing")
	text.stop()
	objects.stop()
	const n = 5000
	appendTo(t, dir, numbered(n))
	for _, c := range []*command{text, objects} {
		c.signal(syscall.SIGCONT)
	}
	last := fmt.Sprintln(n - 1)
	eventually(t, "both are at the end", func() bool {
		return strings.HasSuffix(text.out.String(), last) && strings.Contains(objects.out.String(), fmt.Sprintf(`"data":"%d"`, n-1))
	})
	lost := uint64(0)
	all := records(t, objects.out.String())
	for _, r := range all {
		lost += r.Lost
	}
	if lost+uint64(len(all)) != n || lost < n-256 {
		t.Errorf("%d lost and %d read of %d", lost, len(all), n)
	}
	text.signal(os.Interrupt)
	text.status(130).says("went before they were read")
	read := strings.Count(text.out.String(), "\n")
	text.last(fmt.Sprintf("records=%d bytes=%d lost=%d tombs=0 holes=0 corrupt=0 unfinished=0", read, len(text.out.String())-read, n-read))
	objects.signal(os.Interrupt)
	objects.status(130)
	var s tailSum
	if err := jsonLine(objects.errs.String(), &s); err != nil || s.Lost != lost || s.LostBytes == 0 || s.Records != uint64(len(all)) {
		t.Errorf("%+v, %v", s, err)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestPositionsThatAreGone(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "first\n", "--keep", "32k")
	first := records(t, call(t, dir, nil, "journal", "tail", "app", "--json").out.String())[0].Position
	appendTo(t, dir, numbered(1000))
	after := []string{"journal", "tail", "app", "--after", fmt.Sprint(first)}
	c := call(t, dir, nil, append(after, "--data")...).status(0).says(fmt.Sprintf("position %d is gone", first))
	if want := journalOf(t, dir).Records; strings.Count(c.out.String(), "\n") != int(want) || !strings.HasSuffix(c.out.String(), "\n999\n") {
		t.Errorf("%d lines, want %d", strings.Count(c.out.String(), "\n"), want)
	}
	call(t, dir, nil, append(after, "--json")...).status(0).says(`{"notice":"journal`)
	clean(t, dir)
	tidy(t, dir)
}

func TestARecordThatIsNotFinishedIsNamed(t *testing.T) {
	dir := shmtest.Dir(t)
	p := unfinishedRecord(t, dir, "sleepy")
	appendTo(t, dir, "behind\n")
	c := call(t, dir, nil, "journal", "tail", "app", "--data").status(0)
	c.says(`unfinished: the record of "sleepy" at position `).last("records=1 bytes=6 lost=0 tombs=0 holes=0 corrupt=0 unfinished=1")
	if c.out.String() != "before\n" {
		t.Errorf("%q", c.out.String())
	}
	var s tailSum
	c = call(t, dir, nil, "journal", "tail", "app", "--json").status(0)
	if err := jsonLine(c.errs.String(), &s); err != nil || len(s.Unfinished) != 1 || s.Unfinished[0].Writer != "sleepy" || s.Unfinished[0].Size != 128 {
		t.Errorf("%+v, %v", s, err)
	}
	f := start(t, dir, nil, "journal", "tail", "-f", "app", "--data", "--name", "reader")
	eventually(t, "it says who keeps it waiting", func() bool { return strings.Contains(f.errs.String(), `waiting for "sleepy"`) })
	pid := p.Pid()
	want := fmt.Sprintf("readers wait for sleepy (process %d, alive)", pid)
	for _, args := range []string{"info app", "journal info app", "info"} {
		if out := call(t, dir, nil, strings.Fields(args)...).status(0).out.String(); !strings.Contains(out, want) {
			t.Errorf("%s: %s", args, out)
		}
	}
	if j := journalOf(t, dir); len(j.Unfinished) != 1 || j.Unfinished[0].Writer != "sleepy" || j.Unfinished[0].Status != "alive" || j.Unfinished[0].Pid != pid {
		t.Errorf("%+v", j.Unfinished)
	}
	p.Kill()
	eventually(t, "it goes on", func() bool { return f.out.String() == "before\nbehind\n" })
	f.signal(os.Interrupt)
	f.status(130).says("never finished").last("records=2 bytes=12 lost=0 tombs=1 holes=0 corrupt=0 unfinished=0")

	p = unfinishedRecord(t, dir, "late")
	f = start(t, dir, nil, "journal", "tail", "-f", "--data", "-n", "0", "app")
	eventually(t, "it says who", func() bool { return strings.Contains(f.errs.String(), `waiting for "late"`) })
	p.Say("finish")
	p.Success()
	eventually(t, "it is finished", func() bool { return f.out.String() == "at last\n" })
	f.kill()
	if j := journalOf(t, dir); j.Tombs != 1 || j.Records != 4 {
		t.Errorf("%+v", j)
	}
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
	tidy(t, dir)
}

func TestTheDoctorFindsADamagedJournal(t *testing.T) {
	dir := shmtest.Dir(t)
	appendTo(t, dir, "x\n")
	damage(t, dir+"/default", 0, 1)
	c := call(t, dir, nil, "doctor").status(1)
	if out := c.out.String(); !strings.Contains(out, `WRONG     journal "app": corrupt journal tag`) {
		t.Errorf("it wrote %s", out)
	}
	for _, args := range []string{"journal tail app", "journal append app", "journal level app", "journal level app warn"} {
		call(t, dir, strings.NewReader(""), strings.Fields(args)...).status(1).says("corrupt journal tag")
	}
	if j := decode[inspect.Journal](call(t, dir, nil, "journal", "info", "app", "--json").status(0)); !strings.Contains(j.Err, "corrupt journal tag") {
		t.Errorf("%+v", j)
	}
	call(t, dir, nil, "journal", "rm", "app").status(0)
	clean(t, dir)
	tidy(t, dir)
}

// A journal may be large: who waits looks at the record that it waits for only,
// and not at those behind, of which one is garbled here.
func TestATailThatWaitsDoesNotWalkTheJournal(t *testing.T) {
	dir := shmtest.Dir(t)
	p := unfinishedRecord(t, dir, "slow")
	appendTo(t, dir, "behind\n")
	f := start(t, dir, nil, "journal", "tail", "-f", "--data", "app")
	eventually(t, "it has come to what is unfinished", func() bool { return f.out.String() == "before\n" })
	damage(t, filepath.Join(dir, "default"), stateAt+2*8, 7)
	if out := call(t, dir, nil, "journal", "info", "app").out.String(); !strings.Contains(out, "corrupt state word") {
		t.Errorf("it is not garbled: %s", out)
	}
	eventually(t, "it says who keeps it waiting", func() bool { return strings.Contains(f.errs.String(), `waiting for "slow"`) })
	f.signal(os.Interrupt)
	f.status(130)
	p.Kill()
}
