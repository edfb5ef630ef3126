package inspect_test

import (
	"strings"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest"
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
	} {
		t.Run(c.what, func(t *testing.T) {
			node, seg := bus(t)
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
