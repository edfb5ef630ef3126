package ringbus

import (
	"encoding/binary"
	"fmt"

	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/internal/ring/virtq"
	"github.com/ringbus/ringbus/segment"
)

// servedLink is a link with one client. Service.mu guards it.
type servedLink struct {
	v       *Service
	served  calls.Served
	area    *segment.Area
	dev     *virtq.Device
	free    []*Request
	streams []*Request // by the number of the stream; nil until there is one
	out     int        // requests taken and not answered
}

// link opens the area of a new link.
func (v *Service) link(s calls.Served) (*servedLink, error) {
	area, err := v.node.node.OpenEntry(s.Index, s.Gen)
	if err != nil {
		return nil, err
	}
	l := &servedLink{v: v, served: s, area: area}
	// What the client has put into the table is to be the area of this link.
	if area.Key() != v.linkKey(s.Link) || uint64(area.Size()) < v.shape.size {
		area.Close()
		return nil, fmt.Errorf("service %q: link %d has area %v", v.name, s.Link, area.Key())
	}
	m, err := virtq.NewMemory(virtq.Region{Addr: 0, Bytes: area.Bytes()[:v.shape.size]})
	if err == nil {
		l.dev, err = virtq.NewDevice(m, v.shape.ring, virtq.State{})
	}
	if err != nil {
		area.Close()
		return nil, err
	}
	return l, nil
}

// gone says whether nobody waits for answers any more.
func (l *servedLink) gone() bool { return l.dev.Err() != nil || l.v.server.Ended(l.served) }

// ended lets go of the link if it ended and nothing of it is out.
func (l *servedLink) ended() bool {
	if !l.gone() {
		return false
	}
	if l.out > 0 {
		for _, r := range l.streams {
			if r != nil {
				r.cancel()
			}
		}
		return false // the last answer comes back here, by way of news
	}
	l.letGo()
	return true
}

// letGo ends the use of the link's area, which is never used again if requests are
// out, in somebody's hands.
func (l *servedLink) letGo() {
	l.area.Close()
	s := l.v.server
	switch {
	case l.out > l.v.ready.of(l):
		s.Retire(l.served, l.v.node.ring)
	case s.Ended(l.served):
		s.Drop(l.served)
	default:
		s.Refuse(l.served, l.v.node.ring)
	}
}

// pop takes a request, nil if there is none, and what comes before it of streams. A
// client that breaks its queue is let go of.
func (l *servedLink) pop() *Request {
	for range 2 * l.v.config.Depth {
		if l.gone() {
			return nil
		}
		if len(l.free) == 0 {
			l.free = append(l.free, &Request{l: l})
		}
		r := l.free[len(l.free)-1]
		ok, err := l.dev.Pop(&r.chain)
		if err != nil {
			l.v.fresh = false // relink
			return nil
		}
		if !ok {
			return nil
		}
		l.free = l.free[:len(l.free)-1]
		switch kind, n := r.begin(); kind {
		case kindCall:
			l.out++
			return r
		case kindStream:
			if l.open(r, n) {
				l.out++
				return r
			}
		case kindRoom:
			if s := l.stream(n); s != nil && !s.canceled {
				s.rooms.put(r)
				l.v.wake(&s.waiter)
				continue
			}
			r.header(statusUnused, 0)
			l.back(r, callHeader)
			continue
		case kindCancel:
			if s := l.stream(n); s != nil {
				s.cancel()
			}
		}
		// What no client of ours makes comes back as it is.
		l.back(r, 0)
	}
	return nil
}

// back gives a chain back with so many bytes written.
func (l *servedLink) back(r *Request, written int) {
	l.push(r, written)
	l.call()
}

func (l *servedLink) push(r *Request, written int) {
	r.data, r.room = nil, nil
	_ = l.dev.Push(&r.chain, uint64(written)) // a client that broke the queue is none
	l.free = append(l.free, r)
}

// call shows the client what was pushed.
func (l *servedLink) call() {
	if notify, _ := l.dev.Call(); notify {
		l.v.node.ring(l.v.server.Client(l.served))
	}
}

// open begins stream n, whose request is r.
func (l *servedLink) open(r *Request, n uint32) bool {
	if l.streams == nil {
		l.streams = make([]*Request, l.v.config.Depth)
	}
	if n >= uint32(len(l.streams)) || l.streams[n] != nil {
		return false
	}
	l.streams[n] = r
	r.streams, r.number, r.canceled, r.reserved = true, n, false, nil
	return true
}

// stream is the request of stream n, nil if that has ended.
func (l *servedLink) stream(n uint32) *Request {
	if n >= uint32(len(l.streams)) {
		return nil
	}
	return l.streams[n]
}

// begin looks at what was popped: its kind, 0 if it is nothing that we know, and
// the stream.
func (r *Request) begin() (kind, stream uint32) {
	c, limit := &r.chain, r.l.v.config.MaxRequest
	if len(c.Readable) != 1 || len(c.Readable[0]) < callHeader || len(c.Readable[0]) > callHeader+limit {
		return 0, 0
	}
	h := binary.LittleEndian.Uint64(c.Readable[0])
	kind, stream = uint32(h), uint32(h>>32)
	if kind == kindCancel {
		return kind, stream
	}
	if len(c.Writable) != 1 || len(c.Writable[0]) < callHeader {
		return 0, 0
	}
	r.data, r.room, r.streams = c.Readable[0][callHeader:], c.Writable[0], false
	return kind, stream
}

// fifo is a queue of requests.
type fifo struct{ first, last *Request }

func (q *fifo) put(r *Request) {
	r.next = nil
	if q.first == nil {
		q.first = r
	} else {
		q.last.next = r
	}
	q.last = r
}

// take takes the first one, nil if there is none.
func (q *fifo) take() *Request {
	r := q.first
	if r != nil {
		q.first, r.next = r.next, nil
	}
	return r
}

// of counts those of link l.
func (q *fifo) of(l *servedLink) (n int) {
	for r := q.first; r != nil; r = r.next {
		if r.l == l {
			n++
		}
	}
	return n
}
