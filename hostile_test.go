package ringbus_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/segment"
)

// laneOf returns the memory of topic's lane 0.
func laneOf(t *testing.T, n *ringbus.Node, topic string) []byte {
	t.Helper()
	for _, a := range n.Segment().Areas() {
		if a.Key.Kind == segment.KindLane && a.Key.Name == topic {
			b, err := n.Segment().AreaBytes(a.Index, a.Gen)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatalf("topic %q has no lane", topic)
	return nil
}

// What a publisher garbles is its own message: its subscriber is told, and goes
// on with the next one.
func TestGarbledMessageIsAnErrorAndNoMore(t *testing.T) {
	for what, info := range map[string]uint64{
		"a descriptor that is none":           1000<<32 | 0xFFFFFE<<8,
		"a length beyond the descriptor":      5000<<32 | 1<<8,
		"an inline length beyond the entry":   105<<32 | 0xFFFFFF<<8,
		"a length that is none in any regard": 0xFFFFFFFF<<32 | 1<<8,
	} {
		for _, mode := range []ringbus.Mode{ringbus.Reliable, ringbus.Latest} {
			t.Run(fmt.Sprintf("%s, mode %d", what, mode), func(t *testing.T) {
				n, pub, first := pair(t, 1)
				if err := first.Close(); err != nil {
					t.Fatal(err)
				}
				sub, err := n.Subscriber("t", &ringbus.SubscriberOptions{Mode: mode})
				if err != nil {
					t.Fatal(err)
				}
				for i := range uint64(3) {
					if err := pub.Send(mixed(i)); err != nil {
						t.Fatal(err)
					}
				}
				mem.U64(laneOf(t, n, "t"), 0x4000+1*0x80+8).Store(info) // entry 1 (docs/format.md)
				for i := range uint64(3) {
					m, err := sub.Receive(soon(t))
					if i == 1 {
						if err == nil || !strings.Contains(err.Error(), `topic "t": lane 0: corrupt entry's`) {
							t.Errorf("got %v", err)
						}
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if m.Sequence() != i {
						t.Errorf("got message %d, want %d", m.Sequence(), i)
					}
					m.Release()
				}
			})
		}
	}
}

func TestLaneThatDisagreesWithItsTopicIsRefused(t *testing.T) {
	n, pub, sub := pair(t, 1)
	if err := errors.Join(pub.Close(), sub.Close()); err != nil {
		t.Fatal(err)
	}
	depth := mem.U32(laneOf(t, n, "t"), 0x08)
	depth.Store(1 << 19)
	for what, err := range map[string]error{
		"publisher":  second(n.Publisher("t", nil)),
		"subscriber": second(n.Subscriber("t", nil)),
	} {
		if err == nil || !strings.Contains(err.Error(), "lane 0: corrupt lane depth: 0x80000") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	depth.Store(16)
	if _, err := n.Publisher("t", nil); err != nil {
		t.Error(err)
	}
}

func TestBusThatIsFullSaysSoAndGoesOn(t *testing.T) {
	seg, err := segment.FromBytes(mem.Alloc(4<<20), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Close()
	node := func(name string) *ringbus.Node {
		n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	one, two := node("one"), node("two")
	_, err = one.Publisher("huge", &ringbus.PublisherOptions{Depth: 8, MaxMessage: 1 << 20})
	var space *segment.SpaceError
	if !errors.As(err, &space) || space.Need <= space.Free || space.Free == 0 {
		t.Fatalf("got %v", err)
	}
	for _, figure := range []int64{space.Need, space.Free} {
		if !strings.Contains(err.Error(), fmt.Sprint(figure)) {
			t.Errorf("%q does not say %d", err, figure)
		}
	}
	if err := one.Remove("huge"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	// One lane has room. Who comes when it is free takes it, whatever its name.
	o := &ringbus.PublisherOptions{Depth: 16, MaxMessage: 90 << 10, Holds: 4, Loans: 1}
	first, err := one.Publisher("large", o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Publisher("large", o); !errors.As(err, &space) {
		t.Fatalf("got %v", err)
	}
	if err := errors.Join(first.Send(nil), first.Close()); err != nil {
		t.Fatal(err)
	}
	sub, err := two.Subscriber("large", &ringbus.SubscriberOptions{Hold: 1, History: 1})
	if err != nil {
		t.Fatal(err)
	}
	take := func(who string) { // each message has its own sender
		m, err := sub.Receive(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		if m.Publisher() != who {
			t.Errorf("message %d is from %q, want %q", m.Sequence(), m.Publisher(), who)
		}
		m.Release()
	}
	take("one")
	next, err := two.Publisher("large", o)
	if err != nil {
		t.Fatal(err)
	}
	if next.Sequence() != 1 {
		t.Errorf("it begins at %d", next.Sequence())
	}
	if err := next.Send(nil); err != nil {
		t.Fatal(err)
	}
	take("two")
}

func TestNodeIsCalledAfterItsProgramByDefault(t *testing.T) {
	seg, err := segment.FromBytes(mem.Alloc(busSize), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Close()
	n, err := ringbus.Attach(seg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.Name() == "" || segment.CheckName(n.Name()) != nil {
		t.Errorf("it is called %q", n.Name())
	}
	if _, err := ringbus.Attach(seg, &ringbus.Options{Name: "a b"}); err == nil {
		t.Error("a name with a blank was accepted")
	}
}
