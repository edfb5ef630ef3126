// Package inspect is a read-only model of a bus: its nodes, its topics and how
// far each publisher and subscriber is, its journals with their readers and
// what is being written, and its IO queues. It maps the bus without the right to
// write and joins nothing, so that it can disturb nobody, and works as well on
// a file that everybody left.
//
// What it returns are copies, each number as it was at one moment. On a bus in
// use, numbers that were read one after the other need not fit together.
package inspect

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/ringbus/ringbus/segment"
)

// Open opens the bus of the given name to be looked at; it must exist. The
// caller closes the segment.
func Open(bus string, o *segment.Options) (*segment.Segment, error) {
	return segment.Open(bus, readOnly(o))
}

// OpenFile is Open for a bus file that may lie anywhere.
func OpenFile(path string, o *segment.Options) (*segment.Segment, error) {
	return segment.OpenFile(path, readOnly(o))
}

func readOnly(o *segment.Options) *segment.Options {
	var r segment.Options
	if o != nil {
		r = *o
	}
	r.ReadOnly, r.MustExist, r.Size = true, true, 0
	return &r
}

// A Bus is what a segment holds.
type Bus struct {
	Path     string    `json:"path"`
	ID       string    `json:"id"`
	Created  time.Time `json:"created"`
	Size     int64     `json:"size"` // bytes
	Used     int64     `json:"used"` // bytes that areas take
	Free     int64     `json:"free"` // bytes that areas can be made of
	Longest  int64     `json:"longest_free"`
	Nodes    []Node    `json:"nodes"`
	Topics   []Topic   `json:"topics"`
	Journals []Journal `json:"journals"`
	Queues   []Queue   `json:"queues"`

	Streams   []Stream   `json:"streams"`
	Listeners []Listener `json:"listeners"`
	Services  []Service  `json:"services"`
}

// A Node is a participant of the bus that has not left; if its status is dead,
// nobody has recovered it yet.
type Node struct {
	Slot    int       `json:"slot"`
	Name    string    `json:"name"`
	Pid     int       `json:"pid"`
	UID     int       `json:"uid"`
	Status  string    `json:"status"`  // alive, suspect or dead
	Foreign bool      `json:"foreign"` // of another kernel
	Kernel  string    `json:"kernel"`  // which one; times that the node tells are by its clock
	Joined  time.Time `json:"joined"`
	Areas   int       `json:"areas"` // areas that it has open
}

// Look describes the bus in seg.
func Look(seg *segment.Segment) Bus {
	v := newView(seg)
	u := seg.Usage()
	id := seg.ID()
	b := Bus{
		Path: seg.Path(), ID: hex.EncodeToString(id[:]), Created: seg.Created(), Size: seg.Size(),
		Used: int64(u.Blocks-u.Free) * u.Block, Free: int64(u.Free) * u.Block, Longest: int64(u.Run) * u.Block,
		Nodes: []Node{}, Topics: []Topic{}, Journals: []Journal{}, Queues: []Queue{}, Services: []Service{}, Streams: []Stream{}, Listeners: v.listeners(),
	}
	for _, n := range v.nodes {
		b.Nodes = append(b.Nodes, node(n))
	}
	for _, a := range v.areas {
		if a.State != segment.EntryReady && a.State != segment.EntryRemoving {
			continue
		}
		switch a.Key.Kind {
		case segment.KindTopic:
			b.Topics = append(b.Topics, v.topic(a))
		case segment.KindJournal:
			b.Journals = append(b.Journals, v.journal(a))
		case segment.KindQueue:
			b.Queues = append(b.Queues, v.queue(a))
		case segment.KindStream:
			if a.Key.Sub == 0 {
				b.Streams = append(b.Streams, v.stream(a))
			}
		case segment.KindCall:
			if a.Key.Sub == 0 {
				b.Services = append(b.Services, v.service(a))
			}
		}
	}
	return b
}

func node(n segment.NodeInfo) Node {
	return Node{
		Slot: n.Slot, Name: n.Name, Pid: n.Pid, UID: n.UID, Status: n.Status.String(),
		Foreign: n.Foreign, Kernel: fmt.Sprintf("%016x", n.Kernel), Joined: n.Joined, Areas: len(n.Areas),
	}
}

// Topic returns the topic of the given name, if the bus has it.
func (b Bus) Topic(name string) (Topic, bool) {
	for _, t := range b.Topics {
		if t.Name == name {
			return t, true
		}
	}
	return Topic{}, false
}

// view is one look at a segment's tables.
type view struct {
	seg    *segment.Segment
	nodes  []segment.NodeInfo
	areas  []segment.AreaInfo
	owners map[segment.Owner]segment.NodeInfo
}

func newView(seg *segment.Segment) *view {
	v := &view{seg: seg, nodes: seg.Nodes(), areas: seg.Areas(), owners: make(map[segment.Owner]segment.NodeInfo)}
	for _, n := range v.nodes {
		v.owners[n.Owner] = n
	}
	return v
}

// status is the status of owner o's node; one that is in no slot is dead.
func (v *view) status(o uint32) segment.Status {
	if n, ok := v.owners[segment.Owner(o)]; ok {
		return n.Status
	}
	return segment.Dead
}
