package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// noise is n bytes that look like nothing.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestChunksReachThreeSubscribersUnchanged(t *testing.T) {
	dir := shmtest.Dir(t)
	data := noise(5<<20 + 4321)
	var subs []*command
	for i := range 3 {
		subs = append(subs, start(t, dir, nil, "sub", "video", "--raw", "--until-close", "--name", fmt.Sprint("s", i)))
	}
	n := (len(data) + 65535) / 65536
	call(t, dir, bytes.NewReader(data), "pub", "video", "--chunk", "65536", "--wait", "3").status(0).
		last(fmt.Sprintf("sent=%d bytes=%d", n, len(data)))
	for _, s := range subs {
		s.status(0).last(fmt.Sprintf("received=%d lost=0 bytes=%d", n, len(data)))
		if sha256.Sum256([]byte(s.out.String())) != sha256.Sum256(data) {
			t.Error("a subscriber wrote other bytes than were sent")
		}
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestSmallChunksAreCutExactly(t *testing.T) {
	dir := shmtest.Dir(t)
	for i, size := range []int{1, 104, 105, 4096} {
		topic := fmt.Sprint("t", i)
		data := noise(size*7 + 1)
		s := start(t, dir, nil, "sub", topic, "--json", "--until-close")
		call(t, dir, bytes.NewReader(data), "pub", topic, "--chunk", fmt.Sprint(size), "--wait", "1").status(0)
		rest := (len(data)-1)%size + 1
		last := fmt.Sprintf(`{"bytes":%d,"lost":0,"received":%d}`, len(data), (len(data)+size-1)/size)
		s.status(0).last(last)
		if !strings.Contains(s.out.String(), fmt.Sprintf(`"length":%d,`, rest)) {
			t.Errorf("chunks of %d: no message of %d bytes at the end: %s", size, rest, brief(s.out.String()))
		}
	}
	tidy(t, dir)
}

func TestLines(t *testing.T) {
	dir := shmtest.Dir(t)
	for i, in := range []string{"", "\n", "one", "one\n", "one\n\ntwo\n", strings.Repeat("x", 16384) + "\ny\n", strings.Repeat("line\n", 100000)} {
		topic := fmt.Sprint("t", i)
		s := start(t, dir, nil, "sub", topic, "--until-close")
		call(t, dir, strings.NewReader(in), "pub", topic, "--wait", "1").status(0)
		want := in
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if got := s.status(0).out.String(); got != want {
			t.Errorf("sent %q, received %q", brief(in), brief(got))
		}
	}
	c := call(t, dir, strings.NewReader("short\n"+strings.Repeat("x", 20000)+"\n"), "pub", "long").status(1).says("line 2").says("--max-message")
	if !strings.Contains(c.errs.String(), "sent=1 bytes=5\n") {
		t.Errorf("the line before the long one was not sent: %s", c.errs.String())
	}
	tidy(t, dir)
}

func TestLinesGoOutAsTheyCome(t *testing.T) {
	dir := shmtest.Dir(t)
	s := start(t, dir, nil, "sub", "talk", "--until-close")
	p, in := open(t, dir, "pub", "talk", "--wait", "1")
	for i := range 5 {
		fmt.Fprintf(in, "line %d\n", i)
		eventually(t, "the line is printed", func() bool { return strings.HasSuffix(s.out.String(), fmt.Sprintf("line %d\n", i)) })
	}
	in.Close()
	p.status(0)
	s.status(0).last("received=5 lost=0 bytes=30")
	tidy(t, dir)
}

func TestFiles(t *testing.T) {
	dir, files := shmtest.Dir(t), t.TempDir()
	var args []string
	var want []byte
	for i, n := range []int{0, 3, 70000, 1 << 20} {
		name := filepath.Join(files, fmt.Sprint("f", i))
		if err := os.WriteFile(name, noise(n), 0o600); err != nil {
			t.Fatal(err)
		}
		args, want = append(args, name), append(want, noise(n)...)
	}
	s := start(t, dir, nil, "sub", "files", "--raw", "--count", "8")
	// Once per argument, and as a shell expands --file *.
	once := []string{"pub", "files", "--wait", "1"}
	for _, a := range args {
		once = append(once, "--file", a)
	}
	call(t, dir, nil, once...).status(0).last(fmt.Sprintf("sent=4 bytes=%d", len(want)))
	call(t, dir, nil, append([]string{"pub", "files", "--file"}, args...)...).status(0)
	s.status(0).last(fmt.Sprintf("received=8 lost=0 bytes=%d", 2*len(want)))
	if s.out.String() != string(want)+string(want) {
		t.Error("the files came out differently")
	}
	call(t, dir, nil, "pub", "files", "--file", files).status(1).says("is a directory")
	call(t, dir, nil, "pub", "files", "--file", filepath.Join(files, "none")).status(1).says("no such file")
	// Larger than the topic that is there.
	big := filepath.Join(files, "big")
	if err := os.WriteFile(big, noise(1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, dir, nil, "pub", "files", "--file", big).status(1).says("max-message 1048576, not 1048577").says("ringbus rm files")
	tidy(t, dir)
}

func TestCountAndHistory(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, strings.NewReader("a\nb\nc\nd\n"), "pub", "t", "--name", "early").status(0)
	s := call(t, dir, nil, "sub", "t", "--history", "3", "--count", "2").status(0).last("received=2 lost=0 bytes=2")
	if got := s.out.String(); got != "b\nc\n" {
		t.Errorf("the last 3 messages begin with %q", got)
	}
	s = call(t, dir, nil, "sub", "t", "--history", "100", "--until-close").status(0).last("received=4 lost=0 bytes=4")
	if got := s.out.String(); got != "a\nb\nc\nd\n" {
		t.Errorf("all messages are %q", got)
	}
	tidy(t, dir)
}

func TestSlowLatestSubscriberLosesExactlyTheRestAndSlowsNobody(t *testing.T) {
	dir := shmtest.Dir(t)
	const n = 50000
	slow := start(t, dir, nil, "sub", "t", "--latest", "--slow", "2ms", "--until-close", "--json")
	fast := start(t, dir, nil, "sub", "t", "--until-close")
	var in strings.Builder
	for i := range n {
		fmt.Fprintln(&in, i)
	}
	call(t, dir, strings.NewReader(in.String()), "pub", "t", "--wait", "2").status(0)
	fast.status(0).last(fmt.Sprintf("received=%d lost=0 bytes=%d", n, in.Len()-n))
	if fast.out.String() != in.String() {
		t.Error("the fast subscriber got something else")
	}
	slow.status(0)
	var sum struct{ Received, Lost, Bytes uint64 }
	if err := jsonLine(slow.errs.String(), &sum); err != nil {
		t.Fatal(err)
	}
	if sum.Received+sum.Lost != n || sum.Lost == 0 {
		t.Errorf("received %d and lost %d, which is not %d with some lost", sum.Received, sum.Lost, n)
	}
	next, told := uint64(0), uint64(0)
	for line := range strings.Lines(slow.out.String()) {
		var o object
		if err := jsonLine(line, &o); err != nil {
			t.Fatal(err)
		}
		if o.Sequence != next+o.Lost || o.Data == nil || *o.Data != fmt.Sprint(o.Sequence) {
			t.Fatalf("after sequence %d: %s", next-1, line)
		}
		next, told = o.Sequence+1, told+o.Lost
	}
	if next != n || told != sum.Lost {
		t.Errorf("ended at %d of %d; the messages tell of %d lost, the end of %d", next, n, told, sum.Lost)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestMessagesAsJSON(t *testing.T) {
	dir := shmtest.Dir(t)
	before := time.Now()
	call(t, dir, strings.NewReader("<&é\"\n\xff\xfe\n"), "pub", "t", "--name", "me").status(0)
	s := call(t, dir, nil, "sub", "t", "--history", "9", "--until-close", "--json").status(0)
	lines := strings.SplitAfter(s.out.String(), "\n")
	var a, b object
	if err := jsonLine(lines[0], &a); err != nil {
		t.Fatal(err)
	}
	if err := jsonLine(lines[1], &b); err != nil {
		t.Fatal(err)
	}
	if a.Publisher != "me" || a.Sequence != 0 || a.Length != 5 || a.Data == nil || *a.Data != "<&é\"" || a.Base64 != nil {
		t.Errorf("text: %s", lines[0])
	}
	if b.Sequence != 1 || b.Length != 2 || b.Data != nil || b.Base64 == nil || *b.Base64 != "//4=" {
		t.Errorf("bytes: %s", lines[1])
	}
	if a.Time == nil || a.Time.Before(before.Add(-time.Minute)) || a.Time.After(time.Now().Add(time.Minute)) {
		t.Errorf("time: %s", lines[0])
	}
	call(t, dir, strings.NewReader("x\n"), "pub", "u", "--timestamps=false").status(0)
	if s = call(t, dir, nil, "sub", "u", "--history", "1", "--count", "1", "--json").status(0); strings.Contains(s.out.String(), `"time"`) {
		t.Errorf("a message without time: %s", s.out.String())
	}
	tidy(t, dir)
}

func TestRateIsNotExceeded(t *testing.T) {
	dir := shmtest.Dir(t)
	begin := time.Now()
	call(t, dir, strings.NewReader(strings.Repeat("x\n", 51)), "pub", "t", "--rate", "200").status(0).last("sent=51 bytes=51")
	if took := time.Since(begin); took < 250*time.Millisecond {
		t.Errorf("51 messages at 200 a second took only %v", took)
	}
	tidy(t, dir)
}

func TestLatestOnlyTopicWaitsForNobody(t *testing.T) {
	dir := shmtest.Dir(t)
	s := start(t, dir, nil, "sub", "t", "--slow", "1h")
	eventually(t, "the subscriber is there", func() bool { return len(topicOf(t, dir, "t").Subscribers) == 1 })
	call(t, dir, io.LimitReader(zeros{}, 1000*100), "pub", "t", "--latest", "--chunk", "100", "--wait", "1").status(0)
	s.kill()
	if c := topicOf(t, dir, "t").Config; c == nil || !c.LatestOnly {
		t.Errorf("the topic's config is %+v", c)
	}
	tidy(t, dir)
}

// zeros reads as zeros for ever.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
