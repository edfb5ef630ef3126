package ringbus

import (
	"encoding/binary"
	"fmt"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/internal/ring/virtq"
	"github.com/ringbus/ringbus/segment"
)

// servedLink is a link with one client. Service.mu guards it.
type servedLink struct {
	v      *Service
	served calls.Served
	area   *segment.Area
	dev    *virtq.Device
	free   []*Request
	out    int
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

// ended lets go of the link if it ended and nothing of it is out.
func (l *servedLink) ended() bool {
	if !l.v.server.Ended(l.served) && l.dev.Err() == nil {
		return false
	}
	if l.out > 0 {
		return false // the last answer comes back here, by way of news
	}
	l.letGo()
	return true
}

func (l *servedLink) letGo() {
	l.area.Close()
	if l.v.server.Ended(l.served) {
		l.v.server.Drop(l.served)
	} else {
		l.v.server.Refuse(l.served, l.v.node.ring)
	}
}

// pop takes a request, nil if there is none. A client that breaks its queue is
// let go of.
func (l *servedLink) pop() *Request {
	if l.dev.Err() != nil || l.v.server.Ended(l.served) {
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
	l.out++
	if !r.begin(l.v.config.MaxRequest) {
		// No client of ours makes such a chain. It gets it back as it is.
		_ = l.dev.Push(&r.chain, 0)
		_, _ = l.dev.Call()
		l.out--
		l.free = append(l.free, r)
		return nil
	}
	return r
}

// Request is one call of a client's. Its memory is shared with the client, which
// may change it while it is read: read each byte once, or copy. It lasts until it
// is answered, and is used again for another call after that: keep no slice of
// it. One goroutine at a time uses it.
type Request struct {
	l     *servedLink
	chain virtq.Chain
	data  []byte
	room  []byte // header and reply
}

func (r *Request) begin(limit int) bool {
	c := &r.chain
	if len(c.Readable) != 1 || len(c.Writable) != 1 || len(c.Readable[0]) < callHeader || len(c.Writable[0]) < callHeader ||
		len(c.Readable[0]) > callHeader+limit {
		return false
	}
	r.data, r.room = c.Readable[0][callHeader:], c.Writable[0]
	return binary.LittleEndian.Uint32(c.Readable[0]) == kindCall
}

func (r *Request) check() {
	if !r.chain.Live() {
		panic("ringbus: Request used after it was answered")
	}
}

// Data is the request, in shared memory.
func (r *Request) Data() []byte {
	r.check()
	return r.data
}

// Room is memory of the client's for the reply. Who fills it in place calls
// Return.
func (r *Request) Room() []byte {
	r.check()
	return r.room[callHeader:]
}

// Reply answers with a copy of b. If there is no room for it, the client gets a
// CallSizeError that says how much is needed, and so does the caller.
func (r *Request) Reply(b []byte) error {
	r.check()
	if room := len(r.room) - callHeader; len(b) > room {
		err := &CallSizeError{r.l.v.name, "reply", len(b), room}
		if e := r.answer(statusLarge, len(b), 0); e != nil {
			return e
		}
		return err
	}
	return r.answer(statusDone, len(b), copy(r.room[callHeader:], b))
}

// Return answers with the first n bytes of Room.
func (r *Request) Return(n int) error {
	r.check()
	if n < 0 || n > len(r.room)-callHeader {
		panic(fmt.Sprintf("ringbus: Return of %d bytes, with room for %d", n, len(r.room)-callHeader))
	}
	return r.answer(statusDone, n, n)
}

// Fail answers with an error: the client gets a ServiceError with its text, as
// much of it as there is room for.
func (r *Request) Fail(err error) error {
	r.check()
	n := copy(r.room[callHeader:], err.Error())
	return r.answer(statusFailed, n, n)
}

// answer gives the chain back with written bytes behind the header. A client that
// has gone meanwhile is no error.
func (r *Request) answer(status, size, written int) error {
	l, v := r.l, r.l.v
	binary.LittleEndian.PutUint64(r.room, uint64(status)|uint64(size)<<32)
	binary.LittleEndian.PutUint64(r.room[8:], 0)
	v.mu.Lock()
	r.data, r.room = nil, nil
	notify := false
	invariant.Point("ringbus.answer")
	if err := l.dev.Push(&r.chain, uint64(callHeader+written)); err == nil {
		notify, _ = l.dev.Call()
	}
	l.free = append(l.free, r)
	l.out--
	gone := l.out == 0 && (l.dev.Err() != nil || v.server.Ended(l.served))
	if gone {
		v.fresh = false
	}
	bell := v.server.Client(l.served)
	v.mu.Unlock()
	if notify {
		v.node.ring(bell)
	}
	if gone {
		v.node.ring(v.server.Bell()) // whoever ranges over the requests lets go of the link
	}
	v.answered()
	return nil
}
