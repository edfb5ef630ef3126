package inspect

import (
	"fmt"
	"runtime"
	"time"

	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/segment"
)

// A Stream is one stream with all that read it.
type Stream struct {
	Name     string         `json:"name"`
	Created  time.Time      `json:"created"`
	Memory   int64          `json:"memory"`   // bytes of the segment
	Size     int64          `json:"size"`     // bytes that its largest message may have
	Messages uint64         `json:"messages"` // ever written
	Kept     int64          `json:"kept"`     // bytes of cells that were written and not overwritten
	Writer   string         `json:"writer,omitempty"`
	Pid      int            `json:"pid,omitempty"`
	Status   string         `json:"status,omitempty"` // of the writer's node
	Ended    string         `json:"ended,omitempty"`  // closed or dead: how the last writer ended
	Retired  bool           `json:"retired"`          // its writer was evicted; nobody may write to it again
	Blocked  uint64         `json:"blocked"`          // times a writer had to wait for room
	Readers  []StreamReader `json:"readers"`
	Groups   []Group        `json:"groups"`
	Err      string         `json:"error,omitempty"` // why there is no more to say
}

// A StreamReader is one reader of a stream, or a writer that waits for its turn.
type StreamReader struct {
	Slot   int    `json:"slot"`
	Node   string `json:"node"`
	Pid    int    `json:"pid"`
	Status string `json:"status"`
	Kind   string `json:"kind"` // writer, hold, lapped or shared
	Group  string `json:"group,omitempty"`
	Lag    int64  `json:"lag"` // bytes of cells that it has not passed
	Lost   uint64 `json:"lost"`
	Fenced bool   `json:"fenced"`
}

// A Group is one group of readers that share a stream's messages.
type Group struct {
	Name       string `json:"name"`
	Readers    int    `json:"readers"`
	Unclaimed  int64  `json:"unclaimed"`  // bytes of cells
	Unfinished int64  `json:"unfinished"` // bytes of cells, the unclaimed included
}

// A Listener is a name at which a node accepts connections.
type Listener struct {
	Name        string `json:"name"`
	Node        string `json:"node"`
	Pid         int    `json:"pid"`
	Status      string `json:"status"`
	Connections int    `json:"connections"` // that there are, waiting ones included
	Memory      int64  `json:"memory"`      // bytes of the segment, of all of them
}

// Stream returns the stream of the given name, if the bus has it.
func (b Bus) Stream(name string) (Stream, bool) {
	for _, s := range b.Streams {
		if s.Name == name {
			return s, true
		}
	}
	return Stream{}, false
}

var streamKinds = map[cells.Mode]string{
	cells.ModeWriter: "writer", cells.ModeHold: "hold", cells.ModeLapped: "lapped", cells.ModeShared: "shared",
}

func (v *view) stream(a segment.AreaInfo) Stream {
	defer runtime.KeepAlive(v.seg)
	s := Stream{Name: a.Key.Name, Created: a.Created, Memory: a.Size, Readers: []StreamReader{}, Groups: []Group{}}
	r, err := v.cells(a)
	if err != nil {
		s.Err = err.Error()
		return s
	}
	in := r.Inspect()
	s.Size, s.Messages, s.Kept = int64(in.Config.MaxMessage()), in.Messages, int64(in.Kept)*cells.CellSize
	s.Retired, s.Blocked, s.Ended = in.Retired, in.Blocked, map[int]string{cells.EndClosed: "closed", cells.EndDead: "dead"}[in.Ended]
	if in.Writer != 0 {
		s.Writer, s.Pid, s.Status = v.who(in.Writer)
	}
	for _, x := range in.Slots {
		if x.Owner == in.Writer && x.Mode == cells.ModeWriter {
			continue
		}
		node, pid, status := v.who(x.Owner)
		s.Readers = append(s.Readers, StreamReader{
			Slot: x.Slot, Node: node, Pid: pid, Status: status, Kind: streamKinds[x.Mode], Group: x.Group,
			Lag: int64(min(x.Lag, uint64(in.Config.Cells))) * cells.CellSize, Lost: x.Lost, Fenced: x.Fenced,
		})
	}
	for _, g := range in.Groups {
		s.Groups = append(s.Groups, Group{g.Name, g.Readers, int64(g.Unclaimed) * cells.CellSize, int64(g.Unfinished) * cells.CellSize})
	}
	return s
}

func (v *view) cells(a segment.AreaInfo) (*cells.Ring, error) {
	b, err := v.seg.AreaBytes(a.Index, a.Gen)
	if err != nil {
		return nil, err
	}
	return cells.Open(b)
}

// listeners describes the listeners, and counts what they have accepted.
func (v *view) listeners() []Listener {
	defer runtime.KeepAlive(v.seg)
	out := []Listener{}
	at := make(map[string]int)
	for _, a := range v.areas {
		if a.Key.Kind != segment.KindStream || a.Key.Sub != segment.Ephemeral {
			continue
		}
		l := Listener{Name: a.Key.Name, Memory: a.Size}
		if b, err := v.seg.AreaBytes(a.Index, a.Gen); err == nil {
			if log, err := cells.OpenBacklog(b); err == nil && log.Listener() != 0 {
				l.Node, l.Pid, l.Status = v.who(log.Listener())
			}
		}
		at[l.Name] = len(out)
		out = append(out, l)
	}
	for _, a := range v.areas {
		if i, ok := at[a.Key.Name]; ok && a.Key.Kind == segment.KindStream && a.Key.Sub > segment.Ephemeral {
			out[i].Connections++
			out[i].Memory += a.Size
		}
	}
	return out
}

// stream checks a stream, or the two rings of a connection.
func (c *checker) stream(a segment.AreaInfo) {
	b, err := c.seg.AreaBytes(a.Index, a.Gen)
	if err != nil {
		return // it is gone
	}
	where := fmt.Sprintf("stream %q", a.Key.Name)
	var rings []*cells.Ring
	switch {
	case a.Key.Sub == segment.Ephemeral:
		if _, err = cells.OpenBacklog(b); err != nil {
			c.add(false, fmt.Sprintf("listener %q", a.Key.Name), "%v", err)
		}
		return
	case a.Key.Sub > segment.Ephemeral:
		where = fmt.Sprintf("connection %d to %q", a.Key.Sub&^uint32(segment.Ephemeral), a.Key.Name)
		var conn *cells.Conn
		if conn, err = cells.OpenConn(b); err == nil {
			rings = conn.Rings[:]
		}
	default:
		var r *cells.Ring
		if r, err = cells.Open(b); err == nil {
			rings = append(rings, r)
		}
	}
	if err != nil {
		c.add(false, where, "%v", err)
		return
	}
	for _, r := range rings {
		for _, s := range r.Verify() {
			c.add(false, where, "%s", s)
		}
		for _, s := range r.Inspect().Slots {
			c.owner(where, fmt.Sprintf("slot %d", s.Slot), s.Owner)
		}
	}
}
