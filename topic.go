package ringbus

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/segment"
)

// topic is one endpoint's view of a topic and of the lanes it has open.
type topic struct {
	node  *Node
	name  string
	area  *segment.Area
	ring  *fanout.Topic
	lanes [fanout.MaxLanes]*segment.Area
}

// openTopic opens the topic, or creates it.
func (n *Node) openTopic(name string) (*topic, error) {
	if err := segment.CheckName(name); err != nil {
		return nil, fmt.Errorf("topic %q: %w", name, err)
	}
	if err := n.host.Err(); err != nil {
		return nil, err
	}
	area, _, err := n.node.Create(background, segment.Key{Kind: segment.KindTopic, Name: name}, fanout.TopicSize, fanout.FormatTopic)
	if err != nil {
		return nil, fmt.Errorf("topic %q: %w", name, err)
	}
	ring, err := fanout.OpenTopic(area.Bytes())
	if err != nil {
		area.Close()
		return nil, fmt.Errorf("topic %q: %w", name, err)
	}
	return &topic{node: n, name: name, area: area, ring: ring}, nil
}

// agreeType makes sure that all who care give the messages the same layout.
func (t *topic) agreeType(want uint64) error {
	if want == 0 {
		return nil
	}
	if have := t.ring.AgreeType(want); have != want {
		return &MismatchError{Topic: t.name, Field: "type", Have: fmt.Sprintf("%#x", have), Want: fmt.Sprintf("%#x", want)}
	}
	return nil
}

// lane opens lane k, which the topic's table names.
func (t *topic) lane(k int, c fanout.Config) (*fanout.Lane, error) {
	index, gen, ok := t.ring.LaneRef(k)
	if !ok {
		return nil, fs.ErrNotExist
	}
	if t.lanes[k] == nil {
		area, err := t.node.node.OpenEntry(index, gen)
		if err != nil {
			return nil, fmt.Errorf("topic %q: lane %d: %w", t.name, k, err)
		}
		t.lanes[k] = area
	}
	l, err := fanout.OpenLane(t.lanes[k].Bytes(), k, c)
	if err != nil {
		return nil, fmt.Errorf("topic %q: lane %d: %w", t.name, k, err)
	}
	return l, nil
}

// known returns lane k for a slot that is given back, or nil if it cannot be
// opened: then there is nothing of the slot in it that counts.
func (t *topic) known(k int) *fanout.Lane {
	c, ok, err := t.ring.Config()
	if err != nil || !ok {
		return nil
	}
	l, err := t.lane(k, c)
	if err != nil {
		return nil
	}
	return l
}

// makeLane creates lane k, or opens it if somebody else just did.
func (t *topic) makeLane(k int, c fanout.Config) (*fanout.Lane, error) {
	key := segment.Key{Kind: segment.KindLane, Sub: segment.LaneSub(k, t.area.Index(), t.area.Gen()), Name: t.name}
	area, _, err := t.node.node.Create(background, key, fanout.LaneSize(c), func(b []byte) error {
		return fanout.FormatLane(b, k, c)
	})
	if err != nil {
		return nil, err
	}
	t.lanes[k] = area
	return fanout.OpenLane(area.Bytes(), k, c)
}

func (t *topic) closeLane(k int) {
	if t.lanes[k] != nil {
		t.lanes[k].Close()
		t.lanes[k] = nil
	}
}

func (t *topic) close() {
	for k := range t.lanes {
		t.closeLane(k)
	}
	t.area.Close()
}

// removeTopic removes a topic, which nobody may have open, and then its lanes,
// which nobody can have open without it. Lanes that were left by a remover
// that died are removed as well.
func removeTopic(n *segment.Node, name string) error {
	err := n.Remove(segment.Key{Kind: segment.KindTopic, Name: name})
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return fmt.Errorf("remove topic %q: %w", name, err)
	}
	parents := make(map[uint32]bool)
	areas := n.Segment().Areas()
	for _, a := range areas {
		if a.Key.Kind == segment.KindTopic {
			parents[segment.LaneSub(0, a.Index, a.Gen)] = true
		}
	}
	for _, a := range areas {
		if a.Key.Kind != segment.KindLane || a.Key.Name != name || parents[a.Key.Sub&^15] {
			continue
		}
		missing = false
		if err := n.Remove(a.Key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove topic %q: lane %d: %w", name, a.Key.Sub&15, err)
		}
	}
	if missing {
		return fmt.Errorf("remove topic %q: %w", name, fs.ErrNotExist)
	}
	return nil
}
