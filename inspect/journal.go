package inspect

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/ringbus/ringbus/internal/ring/multilog"
	"github.com/ringbus/ringbus/segment"
)

// A Journal is one journal with all that read it, and what is being written.
type Journal struct {
	Name         string       `json:"name"`
	Created      time.Time    `json:"created"`
	Memory       int64        `json:"memory"`   // bytes of the segment
	Size         int64        `json:"size"`     // bytes of records that it keeps, headers included
	Mode         string       `json:"mode"`     // overwrite or reject
	Checksum     bool         `json:"checksum"` // records carry one
	Level        *slog.Level  `json:"level"`    // the filter that writers share; nil if there is none
	Head         uint64       `json:"head"`     // position of the oldest record
	Tail         uint64       `json:"tail"`     // of the next one
	Records      uint64       `json:"records"`  // finished ones that are there
	Bytes        uint64       `json:"bytes"`    // of data in them
	Oldest       *time.Time   `json:"oldest"`   // when the first of them was written, if that is recorded
	Newest       *time.Time   `json:"newest"`
	Written      uint64       `json:"written"` // finished, ever
	WrittenBytes uint64       `json:"written_bytes"`
	Tombs        uint64       `json:"tombs"`      // records whose writers died over them, ever
	Holes        uint64       `json:"holes"`      // records taken away from writers that stood still, ever
	Refused      uint64       `json:"refused"`    // appends that found the journal full, ever
	OutOfUse     int64        `json:"out_of_use"` // bytes kept for writers that stand still, or were evicted
	Readers      []Reader     `json:"readers"`
	Waiting      []Waiting    `json:"waiting"`
	Unfinished   []Unfinished `json:"unfinished"`      // the first one is what all readers wait for
	Err          string       `json:"error,omitempty"` // why there is no more to say
}

// A Reader is a registered reader of a journal.
type Reader struct {
	Node      string `json:"node"`
	Pid       int    `json:"pid"`
	Status    string `json:"status"`   // of the node
	Holds     bool   `json:"holds"`    // no record goes that it did not read
	Asleep    bool   `json:"asleep"`   // it waits for a record
	Position  uint64 `json:"position"` // of its next record; if it does not hold, as it was when it slept last
	Lag       uint64 `json:"lag"`      // finished records from there on
	Lost      uint64 `json:"lost"`     // records that went before it read them
	LostBytes uint64 `json:"lost_bytes"`
}

// Waiting is a writer that sleeps until readers have made room.
type Waiting struct {
	Node   string `json:"node"`
	Pid    int    `json:"pid"`
	Status string `json:"status"`
}

// Unfinished is a record that is being written.
type Unfinished struct {
	Position uint64 `json:"position"`
	Writer   string `json:"writer"` // name of the writer's node
	Pid      int    `json:"pid"`
	Status   string `json:"status"` // of the node
	Size     int    `json:"size"`   // bytes that it takes
}

// OpenImage opens a copy of the file of a bus whose processes are all dead; it
// may be cut short.
func OpenImage(path string) (*segment.Segment, error) { return segment.OpenImage(path) }

// Journal returns the journal of the given name, if the bus has it.
func (b Bus) Journal(name string) (Journal, bool) {
	for _, j := range b.Journals {
		if j.Name == name {
			return j, true
		}
	}
	return Journal{}, false
}

// Stuck returns the record that readers wait for, if its writer is not known
// dead.
func (j Journal) Stuck() (Unfinished, bool) {
	if len(j.Unfinished) == 0 || j.Unfinished[0].Status == segment.Dead.String() {
		return Unfinished{}, false
	}
	return j.Unfinished[0], true
}

func (v *view) journal(a segment.AreaInfo) Journal {
	defer runtime.KeepAlive(v.seg)
	j := Journal{
		Name: a.Key.Name, Created: a.Created, Memory: a.Size,
		Readers: []Reader{}, Waiting: []Waiting{}, Unfinished: []Unfinished{},
	}
	l, err := v.log(a)
	if err != nil {
		j.Err = err.Error()
		return j
	}
	in, err := l.Info()
	if err != nil {
		j.Err = err.Error()
	}
	j.describe(in)
	for _, r := range in.Readers {
		node, pid, status := v.who(r.Owner)
		j.Readers = append(j.Readers, Reader{node, pid, status, r.Holds, r.Asleep, r.Position, r.Lag, r.Lost, r.LostBytes})
	}
	for _, o := range in.Waiting {
		node, pid, status := v.who(o)
		j.Waiting = append(j.Waiting, Waiting{node, pid, status})
	}
	for _, c := range in.Open {
		node, pid, status := v.who(c.Owner)
		j.Unfinished = append(j.Unfinished, Unfinished{c.Position, node, pid, status, c.Size})
	}
	return j
}

// describe takes the figures from in.
func (j *Journal) describe(in multilog.Info) {
	j.Size, j.Mode, j.Checksum = int64(in.Cells)*multilog.CellSize, in.Mode.String(), in.Checksum
	j.Head, j.Tail, j.Records, j.Bytes = in.Head, in.Tail, in.Records, in.Bytes
	j.Written, j.WrittenBytes = in.Given+in.Records, in.GivenBytes+in.Bytes
	j.Tombs, j.Holes, j.Refused, j.OutOfUse = in.Tombs, in.Holes, in.Refused, int64(in.OutOfUse)*multilog.CellSize
	if in.Level != multilog.NoLevel {
		level := slog.Level(in.Level)
		j.Level = &level
	}
	if in.Oldest != 0 {
		oldest, newest := time.Unix(0, in.Oldest), time.Unix(0, in.Newest)
		j.Oldest, j.Newest = &oldest, &newest
	}
}

// log opens the journal's area. Of an image that is cut short or damaged, what
// is there is taken.
func (v *view) log(a segment.AreaInfo) (*multilog.Log, error) {
	b, err := v.seg.Find(a.Key)
	if err != nil {
		return nil, err
	}
	return multilog.Open(b)
}

// who describes the node of an owner.
func (v *view) who(o uint32) (name string, pid int, status string) {
	n := v.owners[segment.Owner(o)]
	if n.Name == "" {
		n.Name = segment.Owner(o).String()
	}
	return n.Name, n.Pid, v.status(o).String()
}

// journal checks a journal's invariants, and reads all its records.
func (c *checker) journal(a segment.AreaInfo) {
	where := fmt.Sprintf("journal %q", a.Key.Name)
	l, err := c.log(a)
	if err != nil {
		c.add(false, where, "%v", err)
		return
	}
	for _, s := range l.Verify() {
		c.add(false, where, "%s", s)
	}
	rx := l.NewRx(multilog.Peers{Status: func(o uint32) multilog.Status { return multilog.Status(c.status(o)) }})
	var rec multilog.Record
	in, _ := l.Info()
	for rx.Pos < in.Tail { // whoever appends meanwhile is not chased
		found, err := rx.Next(&rec, true)
		if err != nil {
			c.add(false, where, "%v", err)
		}
		if err != nil || found == multilog.End || found == multilog.Unfinished {
			break
		}
	}
	if rx.Corrupt > 0 {
		c.add(false, where, "%d of its records do not hold together", rx.Corrupt)
	}
	l.Held(func(what string, owner uint32) { c.owner(where, what, owner) })
}
