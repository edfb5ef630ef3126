package ringbus

import (
	"errors"
	"fmt"
	"os"

	"github.com/ringbus/ringbus/segment"
)

// Errors that callers branch on. All are matched with [errors.Is].
var (
	// ErrClosed: the node, publisher, subscriber or loan was closed.
	ErrClosed = os.ErrClosed
	// ErrFull: a reliable subscriber is Depth messages behind and the
	// publisher was told not to wait. The error names who holds it back.
	ErrFull = errors.New("topic is full")
	// ErrFenced: this node was taken for dead, or evicted, and its slots may
	// have been given to others. Open the bus again.
	ErrFenced = segment.ErrFenced
	// ErrTooManyHeld: the subscriber holds as many messages as it asked for.
	ErrTooManyHeld = errors.New("too many messages held")
	// ErrTooManyLoans: the publisher has as many loans open as it asked for.
	ErrTooManyLoans = errors.New("too many loans open")
	// ErrTooManyPublishers: the topic has 16 live publishers.
	ErrTooManyPublishers = errors.New("topic has 16 publishers already")
	// ErrNoService: nobody serves the service.
	ErrNoService = errors.New("nobody serves")
	// ErrPeerDied: the server has gone, dead or closed, while it had the call. Whether
	// it did what was asked is not known.
	ErrPeerDied = errors.New("the server has gone with the call in flight")
	// ErrOneReply: the caller of this request does not take several replies.
	ErrOneReply = errors.New("the caller takes one reply")
	// ErrTooManyServers: the service has 64 live servers.
	ErrTooManyServers = errors.New("service has 64 servers already")
	// ErrTooManyClients: the service has 256 links between clients and servers.
	ErrTooManyClients = errors.New("service has 256 links already")
	// ErrTooManySubscribers: the topic has 64 live subscribers.
	ErrTooManySubscribers = errors.New("topic has 64 subscribers already")
)

// MismatchError says that a topic exists with another value of a parameter
// that all its parties must agree on. Leave the field zero to take what is
// there, or remove the topic.
type MismatchError struct {
	Topic string
	Field string
	Have  any // what the topic has
	Want  any // what the caller asked for
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("topic %q has %s %v, not %v", e.Topic, e.Field, e.Have, e.Want)
}

// SizeError says that a message is larger than the topic's messages may be.
type SizeError struct {
	Topic string
	Size  int // bytes asked for
	Max   int // bytes allowed
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("message of %d bytes on topic %q, whose limit is %d: create the topic with a larger MaxMessage", e.Size, e.Topic, e.Max)
}

// FullError is the error behind [ErrFull].
type FullError struct {
	Topic    string
	Depth    int
	Blockers []string // the nodes whose subscribers hold the publisher back
}

func (e *FullError) Error() string {
	if len(e.Blockers) == 0 {
		return fmt.Sprintf("topic %q is full: its subscribers hold more messages than they may", e.Topic)
	}
	return fmt.Sprintf("topic %q is full: %v did not yet receive the last %d messages", e.Topic, e.Blockers, e.Depth)
}

// Is makes a FullError match [ErrFull].
func (e *FullError) Is(target error) bool { return target == ErrFull }

// ServiceMismatchError says that a service exists with another value of a
// parameter that all its parties must agree on. Leave the field zero to take what
// is there, or remove the service.
type ServiceMismatchError struct {
	Service string
	Field   string
	Have    any // what the service has
	Want    any // what the caller asked for
}

func (e *ServiceMismatchError) Error() string {
	return fmt.Sprintf("service %q has %s %v, not %v", e.Service, e.Field, e.Have, e.Want)
}

// CallSizeError says that a request or a reply is larger than there is room for.
type CallSizeError struct {
	Service string
	What    string // "request" or "reply"
	Size    int    // bytes that are needed
	Max     int    // bytes that there are
}

func (e *CallSizeError) Error() string {
	return fmt.Sprintf("%s of %d bytes at service %q, with room for %d", e.What, e.Size, e.Service, e.Max)
}

// HeldError says that a client or a service was closed while some of its calls or
// requests were still somebody's. They must not be used any more. What they were in
// is not used again, so that a late write harms nobody; it is lost to the bus.
type HeldError struct {
	Service string
	What    string // "calls", which were not released, or "requests", which were not answered
	N       int    // how many
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("service %q: closed with %d %s still held", e.Service, e.N, e.What)
}

// ServiceError is the error with which a server answered a call.
type ServiceError struct {
	Service string
	Text    string
}

func (e *ServiceError) Error() string { return fmt.Sprintf("service %q: %s", e.Service, e.Text) }
