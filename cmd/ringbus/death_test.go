package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// jsonLine reads the last line of text.
func jsonLine(text string, v any) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return json.Unmarshal([]byte(lines[len(lines)-1]), v)
}

func TestKilledPublisherComesBackUnderItsName(t *testing.T) {
	dir := shmtest.Dir(t)
	s := start(t, dir, nil, "sub", "t", "--json", "--count", "30")
	for life := range 3 {
		p, in := open(t, dir, "pub", "t", "--name", "feed", "--wait", "1")
		for i := range 10 {
			fmt.Fprintf(in, "%d\n", 10*life+i)
		}
		eventually(t, "the messages are there", func() bool { return strings.Count(s.out.String(), "\n") == 10*(life+1) })
		if life == 2 {
			s.status(0) // or it might see the death, and tidy up
		}
		p.kill()
		in.Close()
	}
	next := 0
	for line := range strings.Lines(s.out.String()) {
		var o object
		if err := jsonLine(line, &o); err != nil {
			t.Fatal(err)
		}
		if o.Publisher != "feed" || o.Sequence != uint64(next) || o.Lost != 0 || *o.Data != fmt.Sprint(next) {
			t.Errorf("message %d is %s", next, line)
		}
		next++
	}
	if topic := topicOf(t, dir, "t"); len(topic.Lanes) != 1 {
		t.Errorf("three lives took %d lanes", len(topic.Lanes))
	}
	h := decode[health](call(t, dir, nil, "doctor", "--json").status(0))
	if len(h.Dead) != 1 || len(h.Repaired) == 0 || len(h.Remaining) != 0 {
		t.Errorf("doctor after a death that nobody saw: %+v", h)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestUntilCloseEndsWhenThePublisherIsKilled(t *testing.T) {
	dir := shmtest.Dir(t)
	s := start(t, dir, nil, "sub", "t", "--until-close")
	p, in := open(t, dir, "pub", "t", "--wait", "1")
	fmt.Fprintln(in, "last words")
	eventually(t, "they were heard", func() bool { return s.out.String() == "last words\n" })
	p.kill()
	s.status(0).last("received=1 lost=0 bytes=10")
	clean(t, dir)
	tidy(t, dir)
}

func TestUntilCloseDoesNotTakeTheDeadForAPublisherThatWasThere(t *testing.T) {
	dir := shmtest.Dir(t)
	for range 3 {
		leaveBehind(t, dir)
		s := start(t, dir, nil, "sub", "t", "--until-close")
		call(t, dir, strings.NewReader("y\n"), "pub", "t", "--wait", "1").status(0)
		s.status(0).last("received=1 lost=0 bytes=1")
	}
	tidy(t, dir)
}

func TestKilledSubscriberHoldsNobodyBackAndComesBack(t *testing.T) {
	dir := shmtest.Dir(t)
	stuck := start(t, dir, nil, "sub", "t", "--slow", "1h", "--name", "reader")
	lives := start(t, dir, nil, "sub", "t", "--until-close")
	p, in := open(t, dir, "pub", "t", "--wait", "2", "--depth", "64")
	const n = 10000
	go func() {
		w := bufio.NewWriter(in)
		for i := range n {
			fmt.Fprintln(w, i)
		}
		w.Flush()
	}()
	eventually(t, "the publisher waits for the one who is stuck", func() bool {
		topic := topicOf(t, dir, "t")
		return len(topic.Lanes) == 1 && topic.Lanes[0].Blocked > 0
	})
	stuck.kill()
	eventually(t, "it goes on", func() bool { return topicOf(t, dir, "t").Messages == n })
	again := start(t, dir, nil, "sub", "t", "--history", "5", "--until-close", "--name", "reader")
	eventually(t, "its history is there", func() bool { return strings.HasSuffix(again.out.String(), fmt.Sprintln(n-1)) })
	fmt.Fprintln(in, "end")
	in.Close()
	p.status(0)
	again.status(0)
	if want := fmt.Sprintf("%d\n%d\n%d\n%d\n%d\nend\n", n-5, n-4, n-3, n-2, n-1); again.out.String() != want {
		t.Errorf("the one who came back received %q", again.out.String())
	}
	lives.status(0)
	if got := strings.Count(lives.out.String(), "\n"); got != n+1 {
		t.Errorf("the one who lived received %d messages of %d", got, n+1)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestEverybodyKilledAndBackWithoutTidyingUp(t *testing.T) {
	dir := shmtest.Dir(t)
	for life := range 4 {
		a := start(t, dir, nil, "sub", "t", "--name", "a")
		b := start(t, dir, nil, "sub", "t", "--latest", "--name", "b")
		p, in := open(t, dir, "pub", "t", "--wait", "2", "--name", "p")
		fmt.Fprintln(in, "hello", life)
		eventually(t, "both heard it", func() bool {
			return a.out.String() == fmt.Sprintln("hello", life) && b.out.String() == a.out.String()
		})
		all := []*command{p, a, b}
		for i := range all { // in another order each time
			all[(i+life)%3].kill()
		}
		in.Close()
	}
	topic := topicOf(t, dir, "t")
	if topic.Messages != 4 || len(topic.Lanes) != 1 {
		t.Errorf("%d messages in %d lanes, want 4 in 1", topic.Messages, len(topic.Lanes))
	}
	call(t, dir, nil, "doctor").status(0)
	clean(t, dir)
	tidy(t, dir)
}

func TestStoppedSubscriberFindsItsMessagesWhenItGoesOn(t *testing.T) {
	dir := shmtest.Dir(t)
	const n = 5000
	reliable := start(t, dir, nil, "sub", "t", "--until-close")
	latest := start(t, dir, nil, "sub", "t", "--until-close", "--latest", "--json")
	other := start(t, dir, nil, "sub", "t", "--until-close")
	p, in := open(t, dir, "pub", "t", "--wait", "3", "--depth", "64")
	fmt.Fprintln(in, 0)
	eventually(t, "all run", func() bool {
		return reliable.out.String() != "" && latest.out.String() != "" && other.out.String() != ""
	})
	reliable.stop()
	latest.stop()
	var want strings.Builder
	for i := range n {
		fmt.Fprintln(&want, i)
	}
	go func() {
		_, _ = in.Write([]byte(want.String()[2:]))
		in.Close()
	}()
	eventually(t, "the publisher waits", func() bool {
		topic := topicOf(t, dir, "t")
		return len(topic.Lanes) == 1 && topic.Lanes[0].Blocked > 0
	})
	if sent := topicOf(t, dir, "t").Messages; sent > 65 {
		t.Errorf("%d messages were sent past a stopped reliable subscriber", sent)
	}
	reliable.signal(syscall.SIGCONT)
	p.status(0)
	latest.signal(syscall.SIGCONT)
	for _, s := range []*command{reliable, other} {
		if s.status(0); s.out.String() != want.String() {
			t.Errorf("a reliable subscriber received %d lines of %d", strings.Count(s.out.String(), "\n"), n)
		}
	}
	var sum struct{ Received, Lost uint64 }
	if err := jsonLine(latest.status(0).errs.String(), &sum); err != nil || sum.Received+sum.Lost != n || sum.Lost == 0 {
		t.Errorf("the latest one received %d and lost %d of %d (%v)", sum.Received, sum.Lost, n, err)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestInterruptedVerbsSayWhatTheyDid(t *testing.T) {
	dir := shmtest.Dir(t)
	s := start(t, dir, nil, "sub", "t")
	p, in := open(t, dir, "pub", "t", "--wait", "1")
	fmt.Fprintln(in, "x")
	eventually(t, "it is printed", func() bool { return s.out.String() == "x\n" })
	p.signal(os.Interrupt)
	p.status(130).last("sent=1 bytes=1")
	s.signal(syscall.SIGTERM)
	s.status(143).last("received=1 lost=0 bytes=1")
	in.Close()
	w := start(t, dir, nil, "pub", "t", "--wait", "5")
	eventually(t, "it waits", func() bool { return publishing(t, dir, "t") })
	w.signal(os.Interrupt)
	w.status(130).last("sent=0 bytes=0")
	clean(t, dir)
	tidy(t, dir)
}

func publishing(t *testing.T, dir, name string) bool {
	topic := topicOf(t, dir, name)
	return len(topic.Lanes) > 0 && topic.Lanes[0].State == "open"
}

func TestClosedStandardOutputEndsQuietly(t *testing.T) {
	dir := shmtest.Dir(t)
	s := prepare(t, dir, "sub", "t")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout = w
	s.start()
	w.Close()
	r.Close()
	p, in := open(t, dir, "pub", "t", "--wait", "1")
	fmt.Fprintln(in, "x")
	s.status(141).last("received=1 lost=0 bytes=1")
	if strings.Contains(s.errs.String(), "ringbus:") {
		t.Errorf("it complains: %s", s.errs.String())
	}
	in.Close()
	p.status(0)
	clean(t, dir)
	tidy(t, dir)
}
