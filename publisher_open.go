package ringbus

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/segment"
)

// agree finds out, or decides, what the topic is like.
func (t *topic) agree(o *PublisherOptions) (fanout.Config, error) {
	want, err := o.config(t.name)
	if err != nil {
		return want, err
	}
	have, ok, err := t.ring.Config()
	if err == nil && !ok {
		have, err = t.ring.Agree(want)
	}
	if err != nil {
		return have, fmt.Errorf("topic %q: %w", t.name, err)
	}
	for _, f := range []struct {
		name             string
		asked            bool
		have, want, fits any
	}{
		{"depth", o.Depth != 0, have.Depth, want.Depth, nil},
		{"max-message", o.MaxMessage != 0, have.MaxMessage, want.MaxMessage, nil},
		{"loans", o.Loans != 0, have.Loans, want.Loans, nil},
		{"latest-only", o.LatestOnly, have.LatestOnly, true, nil},
	} {
		if f.asked && f.have != f.want {
			return have, &MismatchError{Topic: t.name, Field: f.name, Have: f.have, Want: f.want}
		}
	}
	if room := have.Depth - have.Chunk(); o.History > room {
		return have, &MismatchError{Topic: t.name, Field: "history", Have: room, Want: o.History}
	}
	if o.Holds > have.Holds {
		return have, &MismatchError{Topic: t.name, Field: "holds", Have: have.Holds, Want: o.Holds}
	}
	return have, nil
}

// Sizes at which the defaults change, in bytes.
const (
	defaultMessage = 16 << 10
	largeMessage   = 64 << 10
	ringBudget     = 16 << 20 // payload bytes of a default ring
	holdBudget     = 64 << 20 // and of what is held beyond it
)

// config fills in the defaults.
func (o *PublisherOptions) config(name string) (fanout.Config, error) {
	for _, f := range []struct {
		name  string
		value int
	}{{"depth", o.Depth}, {"max-message", o.MaxMessage}, {"history", o.History}, {"holds", o.Holds}, {"loans", o.Loans}} {
		if f.value < 0 {
			return fanout.Config{}, fmt.Errorf("topic %q: %s is negative: %d", name, f.name, f.value)
		}
	}
	c := fanout.Config{Depth: o.Depth, MaxMessage: o.MaxMessage, Holds: o.Holds, Loans: o.Loans, LatestOnly: o.LatestOnly}
	if c.MaxMessage == 0 {
		c.MaxMessage = defaultMessage
	}
	if c.Depth == 0 {
		c.Depth = min(256, max(8, ringBudget/c.MaxMessage))
	}
	if c.Depth > fanout.MaxDepth || o.History > fanout.MaxDepth {
		return c, fmt.Errorf("topic %q: depth is limited to %d messages", name, fanout.MaxDepth)
	}
	c.Depth = 1 << bits.Len(uint(c.Depth-1))
	// A quarter of the ring may be in the act of being overwritten.
	for c.Depth-c.Chunk() < o.History {
		c.Depth *= 2
	}
	switch {
	case c.MaxMessage <= defaultMessage: // 64 subscribers with their defaults
		c.Holds, c.Loans = orDefault(c.Holds, 192), orDefault(c.Loans, 4)
	case c.MaxMessage <= largeMessage:
		c.Holds, c.Loans = orDefault(c.Holds, 96), orDefault(c.Loans, 4)
	default:
		c.Holds, c.Loans = orDefault(c.Holds, min(24, max(12, holdBudget/c.MaxMessage))), orDefault(c.Loans, 2)
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("topic %q: %w", name, err)
	}
	return c, nil
}

func orDefault(v, d int) int {
	if v == 0 {
		return d
	}
	return v
}

// takeLane finds a lane for a publisher of this node: the one that a
// publisher of the same name left, else a new one, else any that is free.
func (t *topic) takeLane(c fanout.Config) (*fanout.Tx, error) {
	for range 2 * fanout.MaxLanes { // others may be quicker
		named, free, fresh := -1, -1, -1
		for k := fanout.MaxLanes - 1; k >= 0; k-- {
			if _, _, ok := t.ring.LaneRef(k); !ok {
				fresh = k
				continue
			}
			l, err := t.lane(k, c)
			if err != nil {
				return nil, err
			}
			if !t.vacant(l) {
				t.closeLane(k)
				continue
			}
			if name, _ := l.Name(); name == t.node.Name() {
				named = k
			}
			free = k
		}
		k := named
		if k < 0 && fresh >= 0 {
			tx, err := t.takeFresh(fresh, c)
			if tx != nil || err != nil && (free < 0 || !outOfSpace(err)) {
				return tx, err
			}
			if err == nil {
				continue
			}
		}
		if k < 0 {
			k = free
		}
		if k < 0 {
			return nil, fmt.Errorf("topic %q: %w", t.name, ErrTooManyPublishers)
		}
		if tx, err := t.take(k, c); tx != nil || err != nil {
			return tx, err
		}
	}
	return nil, fmt.Errorf("topic %q: %w", t.name, ErrTooManyPublishers)
}

// take takes lane k, unless somebody else just did.
func (t *topic) take(k int, c fanout.Config) (*fanout.Tx, error) {
	l, err := t.lane(k, c)
	if err != nil {
		return nil, err
	}
	return t.openTx(k, l), nil
}

// takeFresh makes lane k and takes it, unless somebody else just did.
func (t *topic) takeFresh(k int, c fanout.Config) (*fanout.Tx, error) {
	l, err := t.makeLane(k, c)
	if err != nil {
		return nil, fmt.Errorf("topic %q: lane %d: %w", t.name, k, err)
	}
	if !t.vacant(l) {
		// Its maker has it, but may not have told anybody: it is not free, and
		// the table must know it before we look for the next.
		t.ring.AddLane(k, t.lanes[k].Index(), t.lanes[k].Gen())
		t.closeLane(k)
		return nil, nil
	}
	return t.openTx(k, l), nil
}

func (t *topic) openTx(k int, l *fanout.Lane) *fanout.Tx {
	area := t.lanes[k]
	tx, ok := fanout.OpenTx(t.ring, l, uint32(t.node.node.Owner()), t.node.Name(), area.Index(), area.Gen(), t.node.ring)
	if !ok {
		t.closeLane(k)
		return nil
	}
	for i := range t.lanes {
		if i != k {
			t.closeLane(i)
		}
	}
	return tx
}

// vacant reports whether nobody has l, after burying an owner that is dead.
func (t *topic) vacant(l *fanout.Lane) bool {
	state, owner := l.State()
	switch state {
	case fanout.LaneNew, fanout.LaneClosed, fanout.LaneDead:
		return true
	case fanout.LaneRetired:
		return false
	}
	o := segment.Owner(owner)
	if t.node.node.Status(o) != segment.Dead {
		return false
	}
	t.node.node.RecoverOwner(o)
	// A lane that was never announced is not found by recovery.
	l.Bury(owner, t.node.node.Foreign(o))
	state, _ = l.State()
	return state == fanout.LaneDead
}

func outOfSpace(err error) bool {
	var space *segment.SpaceError
	return errors.As(err, &space)
}
