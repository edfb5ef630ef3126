package inspect

import (
	"fmt"
	"runtime"
	"time"

	"github.com/ringbus/ringbus/internal/ring/mpsc"
	"github.com/ringbus/ringbus/segment"
)

// A Queue is one IO queue with all that have to do with it.
type Queue struct {
	Name      string      `json:"name"`
	Created   time.Time   `json:"created"`
	Memory    int64       `json:"memory"` // bytes of the segment
	Depth     int         `json:"depth"`
	MaxData   int         `json:"max_data"`
	Executor  string      `json:"executor,omitempty"`        // the node that has control; empty: nobody has
	Pid       int         `json:"executor_pid,omitempty"`    //
	Status    string      `json:"executor_status,omitempty"` // alive, suspect or dead
	Left      bool        `json:"left,omitempty"`            // a dead executor left control, and nobody came yet
	Taken     uint64      `json:"taken"`                     // ops that ever came to an executor
	Takeovers uint64      `json:"takeovers"`                 // times that control was taken from a dead executor
	Queued    int         `json:"queued"`                    // ops that wait for an executor
	Issued    int         `json:"issued"`                    // ops at the device
	Finished  int         `json:"finished"`                  // ops whose submitter has not asked yet
	Lost      int         `json:"lost"`                      // places that evicted nodes may still write into
	Waiting   int64       `json:"waiting_ns"`                // how long the oldest queued op has waited
	Longest   int64       `json:"longest_ns"`                // the longest that an op ever waited to be taken
	Members   []Submitter `json:"members"`
	Err       string      `json:"error,omitempty"` // why there is no more to say
}

// A Submitter is what one node slot of the bus has to do with a queue. Counts
// are of all nodes that were ever in the slot.
type Submitter struct {
	Slot      int    `json:"slot"`
	Node      string `json:"node,omitempty"` // who is in the slot now
	Pid       int    `json:"pid,omitempty"`
	Submitted uint64 `json:"submitted"`
	Executed  uint64 `json:"executed"`
	Here      int    `json:"here"` // its ops that are in the queue, at the device or finished
}

func (v *view) queueOf(a segment.AreaInfo) (*mpsc.Queue, error) {
	b, err := v.seg.AreaBytes(a.Index, a.Gen)
	if err != nil {
		return nil, err
	}
	return mpsc.Open(b)
}

func (v *view) queue(a segment.AreaInfo) Queue {
	defer runtime.KeepAlive(v.seg)
	out := Queue{Name: a.Key.Name, Created: a.Created, Memory: a.Size, Members: []Submitter{}}
	q, err := v.queueOf(a)
	if err != nil {
		out.Err = err.Error()
		return out
	}
	if q.Broken() {
		out.Err = "an executor found the queue garbled: remove it"
	}
	s := q.Inspect()
	out.Depth, out.MaxData = s.Config.Depth, s.Config.Size
	out.Left, out.Taken, out.Takeovers = s.Left, s.Taken, s.Takeovers
	out.Queued, out.Issued, out.Finished, out.Lost, out.Longest = s.Queued, s.Issued, s.Finished, s.Lost, s.Longest
	if s.Oldest > 0 {
		out.Waiting = max(0, time.Now().UnixNano()-s.Oldest)
	}
	if s.Executor != 0 {
		n := v.owners[segment.Owner(s.Executor)]
		out.Executor, out.Pid, out.Status = n.Name, n.Pid, v.status(s.Executor).String()
		if n.Name == "" {
			out.Executor = segment.Owner(s.Executor).String()
		}
	}
	slots := make(map[int]segment.NodeInfo)
	for _, n := range v.nodes {
		slots[n.Slot] = n
	}
	for _, m := range s.Members {
		n := slots[m.Slot]
		out.Members = append(out.Members, Submitter{m.Slot, n.Name, n.Pid, m.Submitted, m.Executed, m.Here})
	}
	return out
}

// Queue returns the IO queue of the given name, if the bus has it.
func (b Bus) Queue(name string) (Queue, bool) {
	for _, q := range b.Queues {
		if q.Name == name {
			return q, true
		}
	}
	return Queue{}, false
}

// queue checks one IO queue.
func (c *checker) queue(a segment.AreaInfo) {
	where := fmt.Sprintf("ioqueue %q", a.Key.Name)
	q, err := c.queueOf(a)
	if err != nil {
		c.add(false, where, "%v", err)
		return
	}
	for _, s := range q.Verify() {
		c.add(false, where, "%s", s)
	}
	s := q.Inspect()
	if s.Executor != 0 {
		c.owner(where, "control", s.Executor)
	}
	for _, m := range s.Members {
		if m.Owner != 0 {
			c.owner(where, fmt.Sprintf("an op (of %d)", m.Here), m.Owner)
		}
	}
}
