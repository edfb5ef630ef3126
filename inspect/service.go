package inspect

import (
	"fmt"
	"time"

	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/segment"
)

// A Service is one service with its servers, and the links of its clients.
type Service struct {
	Name       string    `json:"name"`
	Created    time.Time `json:"created"`
	Memory     int64     `json:"memory"` // bytes of the segment, with the links'
	Depth      int       `json:"depth"`  // calls that a client may have outstanding with a server
	MaxRequest int       `json:"max_request"`
	MaxReply   int       `json:"max_reply"`
	Servers    []Server  `json:"servers"`
	Links      []Link    `json:"links"`
	Err        string    `json:"error,omitempty"` // why there is no more to say
}

// A Server is one server of a service.
type Server struct {
	Slot   int    `json:"slot"`
	Node   string `json:"node"`
	Pid    int    `json:"pid"`
	Status string `json:"status"` // of the node
}

// A Link is one client's link with a server.
type Link struct {
	Number int    `json:"number"`
	State  string `json:"state"`
	Node   string `json:"node"` // the client's
	Pid    int    `json:"pid"`
	Status string `json:"status"`
	Server int    `json:"server"` // its slot
}

// Service returns the service of the given name, if the bus has it.
func (b Bus) Service(name string) (Service, bool) {
	for _, s := range b.Services {
		if s.Name == name {
			return s, true
		}
	}
	return Service{}, false
}

func (v *view) service(a segment.AreaInfo) Service {
	s := Service{Name: a.Key.Name, Created: a.Created, Memory: a.Size, Servers: []Server{}, Links: []Link{}}
	for _, l := range v.areas {
		if l.Key.Kind == segment.KindCall && l.Key.Sub != 0 && l.Key.Name == s.Name && l.Key.Sub == segment.LinkSub(int(l.Key.Sub>>1&255), a.Index, a.Gen) {
			s.Memory += l.Size
		}
	}
	if a.Err != nil {
		s.Err = a.Err.Error()
		return s
	}
	t, err := v.table(a)
	if err != nil {
		s.Err = err.Error()
		return s
	}
	c, _, err := t.Config()
	if err != nil {
		s.Err = err.Error()
	}
	s.Depth, s.MaxRequest, s.MaxReply = c.Depth, c.MaxRequest, c.MaxReply
	for _, p := range t.Servers() {
		node, pid, status := v.who(p.Owner)
		s.Servers = append(s.Servers, Server{p.Slot, node, pid, status})
	}
	for _, l := range t.Links() {
		node, pid, status := v.who(l.Client)
		s.Links = append(s.Links, Link{l.Number, l.State, node, pid, status, l.Server})
	}
	return s
}

// table opens the service's area.
func (v *view) table(a segment.AreaInfo) (*calls.Table, error) {
	b, err := v.seg.AreaBytes(a.Index, a.Gen)
	if err != nil {
		return nil, err
	}
	return calls.Open(b)
}

func (c *checker) service(a segment.AreaInfo) {
	where := fmt.Sprintf("service %q", a.Key.Name)
	t, err := c.table(a)
	if err != nil {
		c.add(false, where, "%v", err)
		return
	}
	if _, _, err := t.Config(); err != nil {
		c.add(false, where, "%v", err)
	}
	for _, s := range t.Verify(func(uint32) bool { return false }) {
		c.add(false, where, "%s", s)
	}
	for _, s := range t.Servers() {
		c.owner(where, fmt.Sprintf("server slot %d", s.Slot), s.Owner)
	}
	for _, l := range t.Links() {
		if l.State != "left" { // that is its server's to free
			c.owner(where, fmt.Sprintf("link %d", l.Number), l.Client)
		}
	}
}
