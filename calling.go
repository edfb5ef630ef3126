package ringbus

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/internal/ring/virtq"
	"github.com/ringbus/ringbus/segment"
)

// ServiceOptions says what a service's calls are like. Whoever comes first
// decides, client or server. The zero value of every field is useful.
type ServiceOptions struct {
	// MaxRequest is the largest request in bytes. 0: 4096, or what the service has.
	MaxRequest int
	// MaxReply is the largest reply in bytes. 0: 4096, or what the service has.
	MaxReply int
	// Depth is how many calls one client may have outstanding with one server. It is
	// rounded up to a power of two; 0: 128, or what the service has.
	Depth int
	// RequestType and ReplyType are fingerprints of the layouts of requests and
	// replies; package typed sets them. 0: none.
	RequestType uint64
	ReplyType   uint64 // see RequestType
	// Window is how many replies of one of a client's streams may be under way; then
	// the server waits. 0: 16; fewer where there are few free places.
	Window int
	// Wait is how to wait for the other side.
	Wait Wait
}

const (
	defaultCall  = 4096
	defaultDepth = 128
	callHeader   = 16 // bytes before a request and before a reply
)

// What is before a request: kind 4, stream 4, reserved 8. Before a reply: status
// 4, size 4, reserved 8. A stream is known by the number of its request's place.
const (
	kindCall   = 1
	kindStream = 2 // several replies are welcome
	kindRoom   = 3 // there is room for one more of the stream's
	kindCancel = 4 // no more of the stream's are wanted

	statusDone   = 0 // size bytes follow
	statusFailed = 1 // size bytes of text follow
	statusLarge  = 2 // the reply would have had size bytes
	statusEnd    = 3 // of a stream's request: there are no more
	statusUnused = 4 // of a stream's room: nothing follows
)

// config fills in the defaults.
func (o *ServiceOptions) config(name string) (calls.Config, error) {
	for _, f := range []struct {
		name  string
		value int
	}{{"max-request", o.MaxRequest}, {"max-reply", o.MaxReply}, {"depth", o.Depth}, {"window", o.Window}} {
		if f.value < 0 {
			return calls.Config{}, fmt.Errorf("service %q: %s is negative: %d", name, f.name, f.value)
		}
	}
	c := calls.Config{
		Depth:      orDefault(o.Depth, defaultDepth),
		MaxRequest: orDefault(o.MaxRequest, defaultCall), MaxReply: orDefault(o.MaxReply, defaultCall),
	}
	if c.Depth <= calls.MaxDepth {
		c.Depth = 1 << bits.Len(uint(c.Depth-1))
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("service %q: %w", name, err)
	}
	return c, nil
}

// service is one endpoint's view of a service.
type service struct {
	node   *Node
	name   string
	area   *segment.Area
	table  *calls.Table
	config calls.Config
	shape  linkShape
}

// openService opens the service, or creates it, and agrees on what it is like.
func (n *Node) openService(name string, o *ServiceOptions) (s *service, err error) {
	if err := segment.CheckName(name); err != nil {
		return nil, fmt.Errorf("service %q: %w", name, err)
	}
	if err := n.host.Err(); err != nil {
		return nil, err
	}
	want, err := o.config(name)
	if err != nil {
		return nil, err
	}
	area, _, err := n.node.Create(background, segment.Key{Kind: segment.KindCall, Name: name}, calls.Size, calls.Format)
	if err != nil {
		return nil, fmt.Errorf("service %q: %w", name, err)
	}
	defer func() {
		if err != nil {
			area.Close()
		}
	}()
	s = &service{node: n, name: name, area: area}
	if s.table, err = calls.Open(area.Bytes()); err == nil {
		s.config, err = s.table.Agree(want)
	}
	if err != nil {
		return nil, fmt.Errorf("service %q: %w", name, err)
	}
	s.shape = shapeOf(s.config)
	return s, s.matches(o, want)
}

// matches says whether the service is what was asked for.
func (s *service) matches(o *ServiceOptions, want calls.Config) error {
	for _, f := range []struct {
		name       string
		asked      bool
		have, want int
	}{
		{"max-request", o.MaxRequest != 0, s.config.MaxRequest, want.MaxRequest},
		{"max-reply", o.MaxReply != 0, s.config.MaxReply, want.MaxReply},
		{"depth", o.Depth != 0, s.config.Depth, want.Depth},
	} {
		if f.asked && f.have != f.want {
			return &ServiceMismatchError{s.name, f.name, f.have, f.want}
		}
	}
	if o.RequestType == 0 && o.ReplyType == 0 {
		return nil
	}
	request, reply := s.table.AgreeTypes(o.RequestType, o.ReplyType)
	if request != o.RequestType {
		return &ServiceMismatchError{s.name, "request type", fmt.Sprintf("%#x", request), fmt.Sprintf("%#x", o.RequestType)}
	}
	if reply != o.ReplyType {
		return &ServiceMismatchError{s.name, "reply type", fmt.Sprintf("%#x", reply), fmt.Sprintf("%#x", o.ReplyType)}
	}
	return nil
}

// linkShape is where things are in a link's area: a virtqueue, then a place for
// the request and the reply of each call.
type linkShape struct {
	ring     virtq.Config
	requests uint64
	replies  uint64
	request  uint64 // bytes from one to the next
	reply    uint64
	size     uint64
}

// linkFeatures are those of every link's virtqueue.
const linkFeatures = virtq.Version1 | virtq.RingPacked | virtq.EventIdx

func shapeOf(c calls.Config) (s linkShape) {
	ring, end := virtq.Layout(0, 2*c.Depth, linkFeatures, 0)
	s.ring = ring
	s.request = mem.Align(uint64(c.MaxRequest)+callHeader, mem.Line)
	s.reply = mem.Align(uint64(c.MaxReply)+callHeader, mem.Line)
	s.requests = end
	s.replies = s.requests + uint64(c.Depth)*s.request
	s.size = mem.Align(s.replies+uint64(c.Depth)*s.reply, 8)
	return s
}

// linkKey is the key of link k's area.
func (s *service) linkKey(k int) segment.Key {
	return segment.Key{Kind: segment.KindCall, Sub: segment.LinkSub(k, s.area.Index(), s.area.Gen()), Name: s.name}
}

// bury ends what a dead owner had in the service, also what its node's recovery
// does not find any more because it came late.
func (s *service) bury(owner uint32) {
	o := segment.Owner(owner)
	s.node.node.RecoverOwner(o)
	s.table.Recover(owner, s.node.node.Foreign(o), s.node.ring)
}

// removeService removes a service, which nobody may have open, and then its
// links.
func removeService(n *segment.Node, name string) error {
	err := n.Remove(segment.Key{Kind: segment.KindCall, Name: name})
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return fmt.Errorf("remove service %q: %w", name, err)
	}
	for _, a := range n.Segment().Areas() {
		if a.Key.Kind != segment.KindCall || a.Key.Name != name || a.Key.Sub == 0 {
			continue
		}
		missing = false
		if err := n.Remove(a.Key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove service %q: link %d: %w", name, a.Key.Sub>>1&255, err)
		}
	}
	if missing {
		return fmt.Errorf("remove service %q: %w", name, fs.ErrNotExist)
	}
	return nil
}

// RemoveService removes the service from the bus and gives its memory back. It is
// an error if any node has it open.
func (n *Node) RemoveService(name string) error { return removeService(n.node, name) }
