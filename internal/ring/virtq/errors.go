package virtq

import (
	"errors"
	"fmt"
)

// ErrFull says that the ring has no room for the chain until some are reaped.
var ErrFull = errors.New("virtqueue full")

// ErrDetached says that the driver gave the queue up ([Driver.Detach]).
var ErrDetached = errors.New("virtqueue detached")

// TooLongError says that a chain has more buffers than the queue can ever take.
type TooLongError struct{ Have, Max int }

func (e *TooLongError) Error() string {
	return fmt.Sprintf("chain of %d buffers: this queue takes at most %d", e.Have, e.Max)
}

// LayoutError says that a queue cannot be as it is described.
type LayoutError struct {
	Field string
	Have  uint64
	Want  string
}

func (e *LayoutError) Error() string {
	return fmt.Sprintf("virtqueue %s %#x: must be %s", e.Field, e.Have, e.Want)
}

// BrokenError says what the other side did that no driver or device may do.
// The queue is of no use any more: all further calls return the same error.
type BrokenError struct {
	Field string // which of its words
	Have  uint64 // what it holds
	Want  string // what it may hold
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("virtqueue broken by the other side: %s is %#x, must be %s", e.Field, e.Have, e.Want)
}
