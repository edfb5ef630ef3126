package ringbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/virtq"
)

// Request is one call of a client's. Its memory is shared with the client, which
// may change it while it is read: read each byte once, or copy. It lasts until it
// is answered, and is used again for another call after that: keep no slice of
// it. One goroutine at a time uses it.
//
// Who calls by [Client.Stream] takes several replies: Send them, or fill in place
// what Reserve gives and Commit it. Then the request is answered all the same, by
// End, or by Reply or Return with the last reply, or by Fail.
type Request struct {
	l     *servedLink
	chain virtq.Chain
	data  []byte
	room  []byte   // header and reply
	next  *Request // in a fifo

	// Of a stream. Service.mu guards them.
	streams  bool
	canceled bool
	number   uint32
	rooms    fifo     // for replies
	reserved *Request // of them that which Reserve gave
	waiter   waiter   // for room
	stop     context.CancelFunc
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
// CallSizeError that says how much is needed, and so does the caller. It is an
// error if the service was closed meanwhile, and none if the client has gone.
func (r *Request) Reply(b []byte) error {
	r.check()
	if r.l.v.over.Load() {
		return r.l.v.closedErr()
	}
	if room := len(r.room) - callHeader; len(b) > room {
		err := &CallSizeError{r.l.v.name, "reply", len(b), room}
		return errors.Join(r.answer(statusLarge, len(b), 0), err)
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
	if r.l.v.over.Load() {
		return r.l.v.closedErr()
	}
	n := copy(r.room[callHeader:], err.Error())
	return r.answer(statusFailed, n, n)
}

// header writes what is before a reply.
func (r *Request) header(status uint32, size int) {
	binary.LittleEndian.PutUint64(r.room, uint64(status)|uint64(size)<<32)
	binary.LittleEndian.PutUint64(r.room[8:], 0)
}

// answer gives the chain back with written bytes behind the header. A client that
// has gone meanwhile is no error.
func (r *Request) answer(status uint32, size, written int) error {
	l, v := r.l, r.l.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over.Load() {
		return v.closedErr()
	}
	if r.streams {
		r.close()
	}
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
	r.header(status, size)
	invariant.Point("ringbus.answer")
	l.push(r, callHeader+written)
	l.call()
	v.out--
	if l.out--; l.out == 0 && l.gone() {
		// Who ranges over the requests lets go of the link.
		v.fresh = false
		if v.asleep {
			v.ring(v.bell)
		}
	}
	return nil
}
