package segment

import (
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/internal/ring/mpsc"
	"github.com/ringbus/ringbus/internal/ring/multilog"
	"github.com/ringbus/ringbus/internal/wake"
)

// sweepRings removes from every ring what the dead node o had there: its
// lanes, cursors, loans. The caller holds o's slot, so that nobody else does
// this for o at the same time; it may have been begun before by somebody who
// died over it. Only areas that o had open can hold anything of it, and none
// of these is removed as long as o's use bits stand.
func (s *Segment) sweepRings(o Owner) {
	for i := range entryCount {
		if !s.uses(o, i) {
			continue
		}
		area := s.ready(i)
		if area == nil {
			continue
		}
		switch s.key(i).Kind {
		case KindTopic: // with its lanes: whoever uses one has the topic open too
			s.sweepTopic(area, o)
		case KindJournal:
			s.sweepJournal(area, o)
		case KindQueue:
			s.sweepQueue(area, o)
		case KindStream:
			s.sweepStream(area, o)
		case KindCall:
			if s.key(i).Sub == 0 { // with its links: whoever uses one has the service open too
				s.sweepService(area, o)
			}
		}
	}
}

// evicted reports whether o is a node of another kernel: it is swept because an
// operator said so, and may still write.
func (s *Segment) evicted(o Owner) bool {
	return mem.U64(s.b, slotOff(o.Slot())+nodeKernel).Load() != s.kernel
}

// sweepJournal is sweepRings for one journal.
func (s *Segment) sweepJournal(area []byte, o Owner) {
	if l, err := multilog.Open(area); err == nil {
		l.Recover(uint32(o), s.evicted(o), func(b wake.Bell) { wake.Ring(b, bells{s}) })
	}
}

// sweepQueue is sweepRings for one IO queue.
func (s *Segment) sweepQueue(area []byte, o Owner) {
	if q, err := mpsc.Open(area); err == nil {
		q.Recover(uint32(o), s.evicted(o), func(b wake.Bell) { wake.Ring(b, bells{s}) })
	}
}

// sweepStream is sweepRings for a stream, a listener or a connection.
func (s *Segment) sweepStream(area []byte, o Owner) {
	ring := func(b wake.Bell) { wake.Ring(b, bells{s}) }
	if r, err := cells.Open(area); err == nil {
		r.Recover(uint32(o), s.evicted(o), ring)
	}
	if b, err := cells.OpenBacklog(area); err == nil {
		b.Recover(uint32(o), ring)
	}
	if c, err := cells.OpenConn(area); err == nil {
		c.Recover(uint32(o), s.evicted(o), ring)
	}
}

// sweepService is sweepRings for one service.
func (s *Segment) sweepService(area []byte, o Owner) {
	if t, err := calls.Open(area); err == nil {
		t.Recover(uint32(o), s.evicted(o), func(b wake.Bell) { wake.Ring(b, bells{s}) })
	}
}

// ready returns the bytes of entry i's area, or nil if it has none or a peer
// has garbled it: there is nothing to trust in it then.
func (s *Segment) ready(i int) []byte {
	e := s.entry(i)
	if e.state() != EntryReady && e.state() != EntryRemoving {
		return nil
	}
	off, size, err := s.extent(i, e)
	if err != nil {
		return nil
	}
	return s.b[off : off+size : off+size]
}

// sweepTopic is sweepRings for one topic.
func (s *Segment) sweepTopic(area []byte, o Owner) {
	t, err := fanout.OpenTopic(area)
	if err != nil {
		return
	}
	c, ok, err := t.Config()
	lane := func(k int) *fanout.Lane {
		if index, gen, found := t.LaneRef(k); ok && err == nil && found && index < entryCount && s.entry(index).gen() == gen {
			if area := s.ready(index); area != nil {
				if l, err := fanout.OpenLane(area, k, c); err == nil {
					return l
				}
			}
		}
		return nil
	}
	t.Recover(uint32(o), s.evicted(o), lane, func(b wake.Bell) { wake.Ring(b, bells{s}) })
}

// NameOf returns the name of o's node; if it is gone, the owner in figures.
func (n *Node) NameOf(o Owner) string { return n.s.NameOf(o) }

// Foreign reports whether o is a node of another kernel, whose death only an
// operator or its hypervisor can tell.
func (n *Node) Foreign(o Owner) bool {
	w := n.s.load(o.Slot())
	return w.state() == NodeLive && w.owner(o.Slot()) == o && w.tag() != n.s.tag
}
