package virtio

import (
	"context"
	"errors"

	"github.com/ringbus/ringbus/internal/ring/virtq"
)

// Buffer is a piece of the driver's memory, by its address.
type Buffer struct {
	Addr uint64
	Len  uint32
}

// Used is a chain that came back.
type Used struct {
	Token uint64 // what Add was given
	Len   uint32 // bytes of the reply
}

// DriverQueue is the driver's side of a virtqueue. One goroutine at a time uses
// it. It lasts until Detach.
type DriverQueue struct {
	config  QueueConfig
	drv     *virtq.Driver
	scratch []virtq.Buffer
}

// NewDriverQueue makes the driver's side of a queue that no device uses yet, and
// clears the memory of its rings.
func NewDriverQueue(m *Memory, c QueueConfig) (*DriverQueue, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	drv, err := virtq.NewDriver(m.m, c.ring())
	if err != nil {
		return nil, err
	}
	drv.DisableCall() // until somebody sleeps
	return &DriverQueue{config: c, drv: drv}, nil
}

// Size is the number of entries of the ring.
func (q *DriverQueue) Size() int { return q.config.Size }

// InFlight is the number of chains that have not come back.
func (q *DriverQueue) InFlight() int { return q.drv.InFlight() }

// Add offers a chain: buffers that the device reads, then buffers that it
// writes. The device sees it after the next Kick; token comes back with it. The
// error is ErrFull if there is no room now, TooLongError if there never is.
//
// Whether the chain goes into an indirect table: if that was agreed on and it has
// three buffers or more, or the ring is short of entries. Request and reply side
// by side in the ring cost the device half a line, a table costs it another
// one.
func (q *DriverQueue) Add(readable, writable []Buffer, token uint64) error {
	q.scratch = q.scratch[:0]
	for _, b := range readable {
		q.scratch = append(q.scratch, virtq.Buffer(b))
	}
	for _, b := range writable {
		q.scratch = append(q.scratch, virtq.Buffer(b))
	}
	n := len(readable)
	return stopped(q.drv.Add(q.scratch[:n], q.scratch[n:], token))
}

// Kick shows the device all that was added, at once, and notifies it if it wants
// that.
func (q *DriverQueue) Kick() error {
	notify, err := q.drv.Kick()
	if err == nil && notify {
		err = q.config.Notify()
	}
	return stopped(err)
}

// NotificationData is what a notification says where
// FeatureNotificationData was agreed on, of the queue with the given number.
func (q *DriverQueue) NotificationData(queue uint16) uint32 { return q.drv.NotificationData(queue) }

// Reap takes a chain that came back; ok is false if there is none.
func (q *DriverQueue) Reap() (u Used, ok bool, err error) {
	v, ok, err := q.drv.Reap()
	return Used(v), ok, stopped(err)
}

// Wait waits until there is a chain for Reap, or ctx is done.
func (q *DriverQueue) Wait(ctx context.Context) error {
	spin := q.config.policy().Begin()
	for {
		if more, err := q.drv.Waiting(); more || err != nil {
			return stopped(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if spin.Next() {
			continue
		}
		var err error
		if !q.drv.EnableCall() {
			err = q.config.Wait(ctx)
		}
		q.drv.DisableCall()
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Detach takes back the chains in flight when the queue or its device was reset.
// The queue cannot be used after that.
func (q *DriverQueue) Detach(f func(token uint64)) { q.drv.Detach(f) }

func stopped(err error) error {
	if errors.Is(err, virtq.ErrDetached) {
		return ErrStopped
	}
	return err
}
