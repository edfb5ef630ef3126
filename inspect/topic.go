package inspect

import (
	"runtime"
	"time"

	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/segment"
)

// A Topic is one topic with all that publish on it and subscribe to it.
type Topic struct {
	Name        string       `json:"name"`
	Created     time.Time    `json:"created"`
	Config      *Config      `json:"config"`   // nil as long as no publisher has come
	Messages    uint64       `json:"messages"` // ever sent on the lanes there are
	Bytes       uint64       `json:"bytes"`    // counted once per batch
	Memory      int64        `json:"memory"`   // bytes of the segment
	Lanes       []Lane       `json:"lanes"`
	Subscribers []Subscriber `json:"subscribers"`
	Err         string       `json:"error,omitempty"` // why there is no more to say
}

// A Config is what all parties of a topic agreed on.
type Config struct {
	Depth      int  `json:"depth"`
	MaxMessage int  `json:"max_message"`
	Holds      int  `json:"holds"`
	Loans      int  `json:"loans"`
	LatestOnly bool `json:"latest_only"`
}

// A Lane is one publisher's part of a topic. It stays when the publisher is
// gone, with what it sent last.
type Lane struct {
	Number    int    `json:"number"`
	Publisher string `json:"publisher"` // name of the node that has or had it
	Pid       int    `json:"pid,omitempty"`
	State     string `json:"state"`            // new, opening, open, closed, dead or retired
	Status    string `json:"status,omitempty"` // of the node, if the lane is open
	Since     uint64 `json:"since"`            // the publisher's first position
	Messages  uint64 `json:"messages"`         // ever sent on the lane
	Bytes     uint64 `json:"bytes"`            // counted once per batch
	Blocked   uint64 `json:"blocked"`          // times the publisher had to wait for room
	Memory    int64  `json:"memory"`
}

// Publishing says whether a publisher has the lane that is not known dead.
func (l Lane) Publishing() bool {
	return l.Status != "" && l.Status != segment.Dead.String()
}

// A Subscriber is one subscriber of a topic.
type Subscriber struct {
	Slot   int     `json:"slot"`
	Node   string  `json:"node"`
	Pid    int     `json:"pid"`
	Status string  `json:"status"` // of the node
	Mode   string  `json:"mode"`   // reliable or latest
	Hold   int     `json:"hold"`   // messages that it may hold at once
	Lag    uint64  `json:"lag"`    // messages that it has not passed, of all lanes
	Held   int     `json:"held"`   // messages that it holds apart from its place
	Lost   uint64  `json:"lost"`
	Places []Place `json:"places"`
}

// A Place is how far a subscriber is in a lane. Subscribers say so in steps of
// up to a quarter of the depth.
type Place struct {
	Lane     int    `json:"lane"`
	Position uint64 `json:"position"`
	Lag      uint64 `json:"lag"`
	Held     int    `json:"held"`
	Fenced   bool   `json:"fenced"` // passed over, since it did not answer
}

var laneStates = [...]string{
	fanout.LaneNew: "new", fanout.LaneOpening: "opening", fanout.LaneOpen: "open",
	fanout.LaneClosed: "closed", fanout.LaneDead: "dead", fanout.LaneRetired: "retired",
}

func (v *view) topic(a segment.AreaInfo) Topic {
	defer runtime.KeepAlive(v.seg)
	t := Topic{Name: a.Key.Name, Created: a.Created, Memory: a.Size, Lanes: []Lane{}, Subscribers: []Subscriber{}}
	ring, err := v.ring(a)
	if err != nil {
		t.Err = err.Error()
		return t
	}
	c, ok, err := ring.Config()
	if err != nil {
		t.Err = err.Error()
		return t
	}
	if ok {
		t.Config = &Config{c.Depth, c.MaxMessage, c.Holds, c.Loans, c.LatestOnly}
	}
	subs := v.subscribers(ring, c.LatestOnly)
	for k := range fanout.MaxLanes {
		l, ok, err := v.lane(ring, k, c)
		if err != nil {
			t.Err = err.Error()
		}
		if !ok || err != nil {
			continue
		}
		st := l.Inspect(ring)
		t.Lanes = append(t.Lanes, v.describe(st))
		t.Messages, t.Bytes, t.Memory = t.Messages+st.Head, t.Bytes+st.Bytes, t.Memory+st.Size
		for _, c := range st.Subscribers {
			if s := subs[c.Slot]; s != nil {
				s.Places = append(s.Places, Place{k, c.Position, c.Lag, c.Held, c.Fenced})
				s.Lag, s.Held = s.Lag+c.Lag, s.Held+c.Held
			}
		}
	}
	for i := range fanout.MaxSlots {
		if s := subs[i]; s != nil {
			t.Subscribers = append(t.Subscribers, *s)
		}
	}
	return t
}

func (v *view) ring(a segment.AreaInfo) (*fanout.Topic, error) {
	b, err := v.seg.AreaBytes(a.Index, a.Gen)
	if err != nil {
		return nil, err
	}
	return fanout.OpenTopic(b)
}

// lane opens lane k; it is not ok if the topic has none of that number.
func (v *view) lane(t *fanout.Topic, k int, c fanout.Config) (l *fanout.Lane, ok bool, err error) {
	index, gen, ok := t.LaneRef(k)
	if !ok {
		return nil, false, nil
	}
	b, err := v.seg.AreaBytes(index, gen)
	if err == nil {
		l, err = fanout.OpenLane(b, k, c)
	}
	return l, true, err
}

func (v *view) subscribers(t *fanout.Topic, latestOnly bool) map[int]*Subscriber {
	subs := make(map[int]*Subscriber)
	for _, s := range t.Subscribers() {
		n := v.owners[segment.Owner(s.Owner)]
		mode := "reliable"
		if s.Mode == fanout.ModeLatest || s.Mode == fanout.ModeDefault && latestOnly {
			mode = "latest"
		}
		subs[s.Slot] = &Subscriber{
			Slot: s.Slot, Node: n.Name, Pid: n.Pid, Status: v.status(s.Owner).String(), Mode: mode,
			Hold: s.Records, Lost: s.Lost, Places: []Place{},
		}
	}
	return subs
}

func (v *view) describe(s fanout.LaneState) Lane {
	l := Lane{
		Number: s.Number, Publisher: s.Name, State: "unknown", Since: s.Since,
		Messages: s.Head, Bytes: s.Bytes, Blocked: s.Blocked, Memory: s.Size,
	}
	if s.State >= 0 && s.State < len(laneStates) {
		l.State = laneStates[s.State]
	}
	if s.State == fanout.LaneOpen || s.State == fanout.LaneOpening {
		l.Status, l.Pid = v.status(s.Owner).String(), v.owners[segment.Owner(s.Owner)].Pid
	}
	return l
}
