package ioqueue

import (
	"errors"
	"fmt"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/sys"
)

// Errors that callers branch on. All are matched with [errors.Is].
var (
	// ErrClosed: the queue or its node was closed.
	ErrClosed = ringbus.ErrClosed
	// ErrFenced: this node was taken for dead, or evicted. Open the bus again.
	ErrFenced = ringbus.ErrFenced
	// ErrFull: there are Depth ops already, and Options say not to wait.
	ErrFull = errors.New("ioqueue is full")
	// ErrInterrupted: the executor died, or gave up, over the op, and it is not
	// known whether the op was carried out.
	ErrInterrupted = errors.New("op was interrupted: it is not known whether it was carried out")
	// ErrSuspect: the executor is a node of another kernel that gives no sign of
	// life. It may be at the device, so nobody takes over before there is
	// evidence: "ringbus evict", or its hypervisor. The op stays where it is.
	ErrSuspect = errors.New("the executor gives no sign of life, and may be at the device")
	// ErrBroken: the queue's memory was garbled. Remove the queue.
	ErrBroken = errors.New("ioqueue is garbled: remove it")
	// ErrNoTicket: the ticket's op was waited for, cancelled or forgotten before.
	ErrNoTicket = errors.New("the ticket's op is over")
)

// MismatchError says that a queue exists with another value of a parameter that
// all its parties must agree on. Leave the field zero to take what is there.
type MismatchError struct {
	Queue string
	Field string
	Have  any // what the queue has
	Want  any // what the caller asked for
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("ioqueue %q has %s %v, not %v", e.Queue, e.Field, e.Have, e.Want)
}

// SizeError says that an op's bytes, those for the device and those wanted back
// together, are more than the queue takes.
type SizeError struct {
	Queue string
	Size  int
	Max   int
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("op of %d bytes in ioqueue %q, whose limit is %d: create the queue with a larger MaxData", e.Size, e.Queue, e.Max)
}

// DeviceError is the answer of a device that completed an op with a negative
// result. By convention that is an error number of the operating system, which
// errors.Is finds in it.
type DeviceError struct{ Result int }

func (e *DeviceError) Error() string { return "device: " + sys.Errno(-e.Result).Error() }

// Unwrap returns the error number.
func (e *DeviceError) Unwrap() error { return sys.Errno(-e.Result) }
