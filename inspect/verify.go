package inspect

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/segment"
)

// A Problem is one violation of the format's invariants.
type Problem struct {
	Where string `json:"where"`
	What  string `json:"what"`
	// Repairable says that recovery, or removing an orphan, puts it right.
	Repairable bool `json:"repairable"`
}

func (p Problem) String() string { return p.Where + ": " + p.What }

// Verify checks every invariant of the segment and of all that is in it: topics,
// journals, IO queues, streams and services. It returns what is wrong; on a bus in
// use only what stays wrong for three looks.
func Verify(seg *segment.Segment) []Problem {
	var out []Problem
	for _, p := range seg.Verify() {
		out = append(out, Problem{p.Where, p.What, p.Repairable})
	}
	found := verify(seg)
	for range 2 {
		if len(found) == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
		now := verify(seg)
		found = slices.DeleteFunc(found, func(p Problem) bool { return !slices.Contains(now, p) })
	}
	return append(out, found...)
}

// Orphans returns the keys of lanes whose topic is gone, and of links whose
// service is: whoever removed it died over them. They can be removed by any node.
func Orphans(seg *segment.Segment) []segment.Key {
	return newView(seg).orphans()
}

func (v *view) orphans() []segment.Key {
	parents, services := make(map[uint32]bool), make(map[uint32]bool)
	for _, a := range v.areas {
		switch {
		case a.Key.Kind == segment.KindTopic:
			parents[segment.LaneSub(0, a.Index, a.Gen)] = true
		case a.Key.Kind == segment.KindCall && a.Key.Sub == 0:
			services[segment.LinkSub(0, a.Index, a.Gen)] = true
		}
	}
	var out []segment.Key
	for _, a := range v.areas {
		if a.Key.Kind == segment.KindLane && a.State == segment.EntryReady && !parents[a.Key.Sub&^15] {
			out = append(out, a.Key)
		}
		if a.Key.Kind == segment.KindCall && a.Key.Sub != 0 && a.State == segment.EntryReady && !services[a.Key.Sub&^(255<<1)] {
			out = append(out, a.Key)
		}
	}
	return out
}

func verify(seg *segment.Segment) []Problem {
	defer runtime.KeepAlive(seg)
	c := checker{view: newView(seg)}
	for _, a := range c.areas {
		if a.State != segment.EntryReady || a.Err != nil {
			continue
		}
		switch a.Key.Kind {
		case segment.KindTopic:
			c.topic(a)
		case segment.KindJournal:
			c.journal(a)
		case segment.KindQueue:
			c.queue(a)
		case segment.KindStream:
			c.stream(a)
		case segment.KindCall:
			if a.Key.Sub == 0 {
				c.service(a)
			}
		}
	}
	for _, k := range c.orphans() {
		if k.Kind == segment.KindCall {
			c.add(true, fmt.Sprintf("service %q", k.Name), "link %d is left of a service that was removed", k.Sub>>1&255)
			continue
		}
		c.add(true, fmt.Sprintf("topic %q", k.Name), "lane %d is left of a topic that was removed", k.Sub&15)
	}
	return c.found
}

// checker collects what one look at all topics finds.
type checker struct {
	*view
	found []Problem
}

func (c *checker) add(repairable bool, where, format string, args ...any) {
	c.found = append(c.found, Problem{where, fmt.Sprintf(format, args...), repairable})
}

func (c *checker) topic(a segment.AreaInfo) {
	where := fmt.Sprintf("topic %q", a.Key.Name)
	ring, err := c.ring(a)
	if err != nil {
		c.add(false, where, "%v", err)
		return
	}
	for _, s := range ring.Verify() {
		c.add(false, where, "%s", s)
	}
	for _, s := range ring.Subscribers() {
		c.owner(where, fmt.Sprintf("subscriber slot %d", s.Slot), s.Owner)
	}
	config, ok, err := ring.Config()
	if err != nil {
		return // Verify has said so
	}
	for k := range fanout.MaxLanes {
		l, there, err := c.lane(ring, k, config)
		switch {
		case !there:
			continue
		case !ok:
			c.add(false, where, "lane %d is there, but no config", k)
			continue
		case err != nil:
			c.add(false, where, "lane %d: %v", k, err)
			continue
		}
		for _, s := range l.Verify(ring) {
			c.add(false, where, "%s", s)
		}
		if state, owner := l.State(); state == fanout.LaneOpen || state == fanout.LaneOpening {
			c.owner(where, fmt.Sprintf("lane %d", k), owner)
		}
	}
}

// owner reports what belongs to a node that is dead or gone. Recovery finds
// what a dead node has by the node's slot, so that once the slot is free
// nothing may be left.
func (c *checker) owner(where, what string, o uint32) {
	n, there := c.owners[segment.Owner(o)]
	switch {
	case !there:
		c.add(false, where, "%s belongs to %v, which is gone", what, segment.Owner(o))
	case n.Status == segment.Dead:
		c.add(true, where, "%s belongs to node %d %q, which is dead and not recovered yet", what, n.Slot, n.Name)
	}
}
