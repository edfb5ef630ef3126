package inspect_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/segment"
)

func TestMain(m *testing.M) { shmtest.Main(m, nil) }

// bus makes a bus with a topic that has a publisher, two subscribers and three
// messages, and opens it a second time for looking at it only.
func bus(t *testing.T) (*ringbus.Node, *segment.Segment) {
	t.Helper()
	dir := shmtest.Dir(t)
	node, err := ringbus.Open("b", &ringbus.Options{Dir: dir, Name: "me"})
	if err != nil {
		t.Fatal(err)
	}
	seg, err := inspect.Open("b", &segment.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, err := range []error{node.Close(), seg.Close(), segment.Remove("b", &segment.Options{Dir: dir})} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	for _, mode := range []ringbus.Mode{ringbus.Reliable, ringbus.Latest} {
		if _, err := node.Subscriber("t", &ringbus.SubscriberOptions{Mode: mode}); err != nil {
			t.Fatal(err)
		}
	}
	pub, err := node.Publisher("t", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := pub.Send(make([]byte, 200)); err != nil {
			t.Fatal(err)
		}
	}
	return node, seg
}

func TestLookShowsWhoIsWhere(t *testing.T) {
	_, seg := bus(t)
	if !seg.ReadOnly() {
		t.Error("the segment can be written")
	}
	b := inspect.Look(seg)
	topic, ok := b.Topic("t")
	if !ok || len(b.Topics) != 1 || len(b.Nodes) != 1 || b.Nodes[0].Name != "me" || b.Nodes[0].Status != "alive" {
		t.Fatalf("%+v", b)
	}
	if len(topic.Lanes) != 1 || !topic.Lanes[0].Publishing() || topic.Lanes[0].Publisher != "me" || topic.Messages != 3 || topic.Err != "" {
		t.Errorf("%+v", topic)
	}
	if len(topic.Subscribers) != 2 {
		t.Fatalf("%+v", topic.Subscribers)
	}
	for i, mode := range []string{"reliable", "latest"} {
		if s := topic.Subscribers[i]; s.Mode != mode || s.Node != "me" || s.Lag != 3 || s.Lost != 0 || len(s.Places) != 1 {
			t.Errorf("%s subscriber: %+v", mode, s)
		}
	}
	if _, ok := b.Topic("u"); ok {
		t.Error("there is a topic u")
	}
	if p := inspect.Verify(seg); len(p) > 0 {
		t.Errorf("a bus in use has problems: %v", p)
	}
}

// journals adds a journal with two records, one that is being written, and a
// reader that lags by one.
func journals(t *testing.T, node *ringbus.Node) {
	t.Helper()
	w, err := journal.NewWriter(node, "j", &journal.Options{Mode: journal.Reject, Size: 64 << 10, Level: slog.LevelWarn})
	if err != nil {
		t.Fatal(err)
	}
	r, err := journal.NewReader(node, "j", &journal.ReaderOptions{Hold: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "three"} {
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.TryRead(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Reserve(t.Context(), 200, 200, nil); err != nil {
		t.Fatal(err)
	}
	if err := journal.SetLevel(node, "j", slog.LevelWarn); err != nil {
		t.Fatal(err)
	}
}

func TestLookShowsAJournal(t *testing.T) {
	node, seg := bus(t)
	journals(t, node)
	b := inspect.Look(seg)
	j, ok := b.Journal("j")
	if !ok || len(b.Journals) != 1 || j.Err != "" || j.Size != 64<<10 || j.Mode != "reject" || !j.Checksum || j.Memory < j.Size {
		t.Fatalf("%+v", j)
	}
	if j.Records != 2 || j.Bytes != 8 || j.Written != 2 || j.Head != 512 || j.Tail != 516 || j.Oldest == nil || j.Newest.Before(*j.Oldest) {
		t.Errorf("%+v", j)
	}
	if j.Level == nil || *j.Level != slog.LevelWarn {
		t.Errorf("level %v", j.Level)
	}
	pid := b.Nodes[0].Pid
	if want := []inspect.Reader{{Node: "me", Pid: pid, Status: "alive", Holds: true, Position: 513, Lag: 1}}; !slices.Equal(j.Readers, want) {
		t.Errorf("readers %+v, want %+v", j.Readers, want)
	}
	want := inspect.Unfinished{Position: 514, Writer: "me", Pid: pid, Status: "alive", Size: 256}
	if u, ok := j.Stuck(); !ok || u != want || len(j.Unfinished) != 1 {
		t.Errorf("unfinished %+v, want %+v", j.Unfinished, want)
	}
	if p := inspect.Verify(seg); len(p) > 0 {
		t.Errorf("a journal in use has problems: %v", p)
	}
	if _, ok := b.Journal("t"); ok {
		t.Error("a topic is a journal")
	}
}

func TestVerifyFindsWhatAPeerGarbled(t *testing.T) {
	for _, c := range []struct {
		what string
		kind segment.Kind
		at   int
		word uint64
		says string
	}{
		{"the topic's tag", segment.KindTopic, 0x00, 1, "corrupt topic tag"},
		{"the topic's config", segment.KindTopic, 0x08, 1<<63 | 77, "config"},
		{"the lane's tag", segment.KindLane, 0x00, 1, "corrupt lane tag"},
		{"the lane's owner", segment.KindLane, 0x40, 7, "owner word"},
		{"the lane's limit", segment.KindLane, 0x80, 1 << 60, "limit"},
		{"the journal's tag", segment.KindJournal, 0x00, 1, "corrupt journal tag"},
		{"the journal's version", segment.KindJournal, 0x00, 9<<56 | 0x4E52554F4A52, "journal of version 9, this program knows 1"},
		{"the journal's config", segment.KindJournal, 0x08, 1, "corrupt journal config"},
		{"the journal's tail", segment.KindJournal, 0x40, 1 << 50, "tail"},
		{"the journal's head", segment.KindJournal, 0x80, 7, "head 0 is not a position"},
		{"a reader of nobody", segment.KindJournal, 0x200, 2, "reader entry 0"},
		{"a reader of somebody gone", segment.KindJournal, 0x280, 0xABCDE<<8 | 2, "reader entry 1 belongs to"},
		{"a waiter of nobody", segment.KindJournal, 0x2200, 9, "waiter entry 0"},
		{"a record's state", segment.KindJournal, 0x4000, 1<<36 | 2, "state word of position 512"},
		{"a record of somebody gone", segment.KindJournal, 0x4000, 1<<36 | 1<<23 | 0xABCDE<<3 | 1, "busy record in cell 0 belongs to"},
		{"a record's length", segment.KindJournal, 0x7000, 1 << 62, "record at position 512 does not hold together"},
		{"a record's data", segment.KindJournal, 0x7000 + 40, 1, "1 of its records do not hold together"},
	} {
		t.Run(c.what, func(t *testing.T) {
			node, seg := bus(t)
			journals(t, node)
			for _, a := range seg.Areas() {
				if a.Key.Kind == c.kind {
					w := mem.U64(node.Segment().Bytes()[a.Offset:], c.at)
					good := w.Swap(c.word)
					defer w.Store(good)
				}
			}
			found := inspect.Verify(seg)
			if len(found) == 0 || !strings.Contains(found[0].String(), c.says) || found[0].Repairable {
				t.Errorf("found %v, want %q", found, c.says)
			}
			inspect.Look(seg)
		})
	}
}
