package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestWrongUseEndsWithTwo(t *testing.T) {
	dir := shmtest.Dir(t)
	for _, c := range []struct{ args, says string }{
		{"", "say what to do"},
		{"fly", `no verb "fly"`},
		{"--fly", "unknown flag"},
		{"pub", "which topic"},
		{"pub a b", "one topic at a time"},
		{"pub t --chunk 5x", "no size"},
		{"pub t --chunk 0", "no size"},
		{"pub t --chunk 2G", "1GiB"},
		{"pub t --chunk 64k --max-message 1k", "larger than --max-message"},
		{"pub t --chunk 64k --file x", "choose one"},
		{"pub t --wait -1", "negative"},
		{"pub t --rate NaN", "negative"},
		{"pub t --depth many", "invalid argument"},
		{"pub ../t", "component"},
		{"sub", "which topic"},
		{"sub a b", "one topic at a time"},
		{"sub t --raw --json", "choose one"},
		{"sub t --history -1", "negative"},
		{"sub t --slow soon", "invalid argument"},
		{"sub t --name a:b", "--name"},
		{"sub t --bus a:b", "--bus"},
		{"sub t --mode rw", "--mode"},
		{"vm doorbell --vectors 0", "--vectors"},
		{"vm doorbell --vectors 65", "--vectors"},
		{"vm doorbell --clients 0", "--clients"},
		{"vm doorbell --socket-mode rw", "--socket-mode"},
		{"vm doorbell x", "no arguments"},
		{"ls t", "no arguments"},
		{"info a b", "one argument"},
		{"rm", "--whole-bus"},
		{"rm t --whole-bus", "takes no topics"},
		{"rm t --force", "--force is for --whole-bus"},
		{"doctor a b", "one argument"},
		{"evict", "which nodes"},
		{"evict 1 --kernel 2", "not both"},
		{"evict --kernel mine", "no kernel's id"},
		{"journal", "say what to do: append"},
		{"journal fly", `no verb "fly"`},
		{"journal append", "which journal"},
		{"journal append a b", "one journal at a time"},
		{"journal append ../a", "component"},
		{"journal append a --level loud", `"loud" is no level`},
		{"journal append a --level 99999", "no level"},
		{"journal append a --keep 0", "no size"},
		{"journal append a --keep 64G", "32GiB at most"},
		{"journal append a --when-full wait", "overwrite and reject are"},
		{"journal append a --key " + strings.Repeat("k", 256), "255 is the limit"},
		{"journal tail", "which journal"},
		{"journal tail a b", "one journal at a time"},
		{"journal tail a -n -1", "negative"},
		{"journal tail a -n 1 --since 1m", "choose one"},
		{"journal tail a --since soon", "no time"},
		{"journal tail a --after x", "invalid argument"},
		{"journal tail a --raw --json", "choose one"},
		{"journal tail a --image x --file y", "choose one"},
		{"journal tail a --image x -f", "nothing follows"},
		{"journal tail a --file x --hold", "only reads"},
		{"journal tail a --level loud", "no level"},
		{"journal level", "which journal"},
		{"journal level a b c", "a journal and a level"},
		{"journal level a loud", `"loud" is no level`},
		{"journal info", "which journal"},
		{"journal info --image x --file y", "choose one"},
		{"journal rm", "which journals"},
		{"journal run", "which journal"},
		{"journal run -- ls", "which journal"},
		{"journal run a", "which program"},
		{"journal run a --", "which program"},
		{"journal run a ls", "which program"},
		{"journal run a b -- ls", "one journal at a time"},
		{"demo --rounds -1", "negative"},
		{"demo x", "no arguments"},
		{"version x", "no arguments"},
		{"vm", "say what to do: args, run or doorbell"},
		{"vm fly", `no verb "fly" of vm`},
		{"vm args x", "no arguments"},
		{"vm args --libvirt --json", "choose one"},
		{"vm run", "which command"},
		{"vm run --", "which command"},
		{"vm run ls", "ringbus vm run -- ls"},
		{"vm run ls -- x", "behind --"},
		{"vm run --cpus 0 -- x", "at least 1"},
		{"vm run --timeout -1s -- x", "not negative"},
		{"vm run --file a=b -- x", "absolute name"},
	} {
		call(t, dir, nil, strings.Fields(c.args)...).status(2).says("ringbus: ").says(c.says).says("--help")
	}
}

func TestWhatIsNotThereEndsWithOne(t *testing.T) {
	dir := shmtest.Dir(t)
	for _, args := range []string{"ls", "info", "info t", "rm t", "rm --whole-bus", "doctor",
		"journal tail j", "journal info j", "journal level j", "journal level j warn", "journal rm j"} {
		call(t, dir, nil, strings.Fields(args)...).status(1).says(`there is no bus "default"`)
	}
	call(t, dir, nil, "ls", "--buses").status(0).says("no buses")
	call(t, dir, strings.NewReader(""), "pub", "t").status(0)
	call(t, dir, nil, "info", "u").status(1).says(`there is no topic "u"`)
	call(t, dir, nil, "rm", "u").status(1).says(`there is no topic "u"`)
	for _, args := range []string{"tail u", "info u", "level u", "level u warn", "rm u"} {
		call(t, dir, nil, append([]string{"journal"}, strings.Fields(args)...)...).status(1).says(`there is no journal "u" on bus "default": "ringbus ls"`)
	}
	tidy(t, dir)
}

func TestEveryVerbHasHelpWithExamples(t *testing.T) {
	dir := shmtest.Dir(t)
	for _, verb := range []string{"pub", "sub", "ls", "info", "rm", "doctor", "demo", "version",
		"journal", "journal append", "journal run", "journal tail", "journal level", "journal info", "journal rm", "vm", "vm args", "vm run"} {
		c := call(t, dir, nil, append(strings.Fields(verb), "--help")...).status(0)
		if out := c.out.String(); !strings.Contains(out, "Examples:\n") || !strings.Contains(out[strings.Index(out, "Examples:"):], "ringbus "+verb) || !strings.Contains(out, "--bus name") {
			t.Errorf("help of %s:\n%s", verb, out)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]size{
		"1": 1, "65536": 65536, "64k": 65536, "64K": 65536, "64KiB": 65536, "64kB": 64000, "64KB": 64000,
		"1M": 1 << 20, "1MiB": 1 << 20, "1MB": 1e6, "3G": 3 << 30, "1TiB": 1 << 40, "7B": 7,
	} {
		var s size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%q is %d (%v), want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "k", "0", "-1", "1.5M", "1 M", "1m", "1X", "99999999999999999999", "9999999999T"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is %d, want an error", text, s)
		}
	}
}

func TestListsAsJSON(t *testing.T) {
	dir := shmtest.Dir(t)
	if buses := decode[[]busLine](call(t, dir, nil, "ls", "--buses", "--json").status(0)); len(buses) != 0 {
		t.Errorf("buses of an empty directory: %+v", buses)
	}
	s := start(t, dir, nil, "sub", "a", "--name", "ear", "--latest")
	p, in := open(t, dir, "pub", "a", "--name", "mouth", "--wait", "1", "--depth", "64", "--max-message", "1k")
	fmt.Fprint(in, "one\ntwo\n")
	eventually(t, "both came", func() bool { return s.out.String() == "one\ntwo\n" })

	topics := decode[listed](call(t, dir, nil, "ls", "--json").status(0)).Topics
	topic := decode[inspect.Topic](call(t, dir, nil, "info", "a", "--json").status(0))
	bus := decode[inspect.Bus](call(t, dir, nil, "info", "--json").status(0))
	if len(topics) != 1 || len(bus.Topics) != 1 || topics[0].Name != "a" || bus.Topics[0].Name != "a" {
		t.Fatalf("topics %+v, bus %+v", topics, bus)
	}
	if want := (inspect.Config{Depth: 64, MaxMessage: 1024, Holds: 192, Loans: 4}); topic.Config == nil || *topic.Config != want {
		t.Errorf("config %+v, want %+v", topic.Config, want)
	}
	l := inspect.Lane{Publisher: "mouth", Pid: p.cmd.Process.Pid, State: "open", Status: "alive", Messages: 2}
	if len(topic.Lanes) == 1 {
		l.Memory, l.Bytes = topic.Lanes[0].Memory, topic.Lanes[0].Bytes
	}
	if diff := cmp.Diff([]inspect.Lane{l}, topic.Lanes); diff != "" {
		t.Errorf("lanes (-want +have):\n%s", diff)
	}
	sub := inspect.Subscriber{Node: "ear", Pid: s.cmd.Process.Pid, Status: "alive", Mode: "latest", Hold: 2, Places: []inspect.Place{{Position: 2}}}
	eventually(t, "info shows the subscriber at the end", func() bool {
		topic = decode[inspect.Topic](call(t, dir, nil, "info", "a", "--json").status(0))
		return len(topic.Subscribers) == 1 && len(topic.Subscribers[0].Places) == 1 && topic.Subscribers[0].Held == 0
	})
	topic.Subscribers[0].Places[0].Position, topic.Subscribers[0].Places[0].Lag, topic.Subscribers[0].Lag = 2, 0, 0
	if diff := cmp.Diff([]inspect.Subscriber{sub}, topic.Subscribers); diff != "" {
		t.Errorf("subscribers (-want +have):\n%s", diff)
	}
	if len(bus.Nodes) != 2 || bus.Used+bus.Free > bus.Size || bus.Used < topic.Memory || len(bus.ID) != 32 {
		t.Errorf("bus %+v", bus)
	}
	buses := decode[[]busLine](call(t, dir, nil, "ls", "--buses", "--json").status(0))
	if len(buses) != 1 || buses[0].Name != "default" || buses[0].Nodes != 2 || buses[0].Size != 256<<20 {
		t.Errorf("buses %+v", buses)
	}
	in.Close()
	p.status(0)
	s.kill()
	call(t, dir, nil, "doctor").status(0)
	done := decode[removed](call(t, dir, nil, "rm", "a", "--json").status(0))
	if len(done.Topics) != 1 || done.Topics[0] != "a" || done.Bus != "" {
		t.Errorf("removed %+v", done)
	}
	if topics := decode[listed](call(t, dir, nil, "ls", "--json").status(0)).Topics; len(topics) != 0 {
		t.Errorf("topics after rm: %+v", topics)
	}
	if b := decode[build](call(t, dir, nil, "version", "--json").status(0)); b.Go == "" || b.Platform == "" {
		t.Errorf("version %+v", b)
	}
	tidy(t, dir)
}

func TestForPeople(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, strings.NewReader("one\ntwo\n"), "pub", "a/b").status(0)
	for args, want := range map[string][]string{
		"ls":         {"TOPIC", "a/b", "2", "6 B"},
		"ls --buses": {"BUS", "default", "256 MiB"},
		"info":       {"memory", "topics   1", "NODE"},
		"info a/b":   {"depth        256 messages", "PUBLISHER", "closed", "SUBSCRIBER"},
		"doctor":     {"0 nodes, 1 topics, 0 journals, 0 streams", "clean"},
		"version":    {"ringbus ", "go1."},
	} {
		out := call(t, dir, nil, strings.Fields(args)...).status(0).out.String()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s has no %q:\n%s", args, w, out)
			}
		}
	}
	tidy(t, dir)
}

func TestNobodyRemovesWhatIsInUse(t *testing.T) {
	dir := shmtest.Dir(t)
	s := start(t, dir, nil, "sub", "t", "--name", "reader")
	eventually(t, "it is there", func() bool { return len(topicOf(t, dir, "t").Subscribers) == 1 })
	call(t, dir, nil, "rm", "t").status(1).says("in use").says("reader")
	call(t, dir, nil, "rm", "--whole-bus").status(1).says("in use").says("reader").says("--force")
	call(t, dir, nil, "rm", "--whole-bus", "--force").status(0)
	call(t, dir, nil, "ls").status(1).says("there is no bus")
	s.kill()
}
