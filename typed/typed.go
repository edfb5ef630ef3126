// Package typed sends and receives Go values in place of bytes, in shared
// memory and without an encoding: the value that a publisher fills is the value
// that a subscriber reads.
//
// A type must be the same bytes for every reader: numbers of a fixed size,
// bool, arrays and structs of them. A type with a pointer in it, a string, a
// slice, a map, an int is refused, and the error names the field. All who use a
// topic through this package must give their values the same layout (sizes,
// offsets, kinds and names of fields); who comes with another one gets a
// [ringbus.MismatchError].
//
// The bytes come from another process. A hostile one can send any: a bool that
// is neither true nor false, a NaN, an index out of range; and it can change
// them while they are read. Copy the value, then check, then use it, where
// that matters.
package typed

import (
	"context"
	"fmt"
	"iter"
	"reflect"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
)

// layout checks T and returns its size in bytes and its fingerprint.
func layout[T any]() (size int, print uint64, err error) {
	t := reflect.TypeFor[T]()
	if err := check(t, t, ""); err != nil {
		return 0, 0, fmt.Errorf("type for shared memory: %w", err)
	}
	return int(t.Size()), fingerprint(t), nil
}

// Publisher sends values of type T. As a [ringbus.Publisher], it is for one
// goroutine at a time.
type Publisher[T any] struct {
	pub  *ringbus.Publisher
	size int
}

// NewPublisher opens a topic for sending values of type T. Of the options
// MaxMessage and Type are set here.
func NewPublisher[T any](node *ringbus.Node, topic string, o *ringbus.PublisherOptions) (*Publisher[T], error) {
	size, print, err := layout[T]()
	if err != nil {
		return nil, err
	}
	var options ringbus.PublisherOptions
	if o != nil {
		options = *o
	}
	options.MaxMessage, options.Type = max(size, 1), print
	pub, err := node.Publisher(topic, &options)
	if err != nil {
		return nil, err
	}
	return &Publisher[T]{pub, size}, nil
}

// Send sends a copy of *v.
func (p *Publisher[T]) Send(v *T) error { return p.pub.Send(mem.Bytes(v)) }

// SendContext is Send that stops waiting when ctx is done.
func (p *Publisher[T]) SendContext(ctx context.Context, v *T) error {
	return p.pub.SendContext(ctx, mem.Bytes(v))
}

// Loan lends a zero T in the topic's memory. Sending it copies nothing (but
// for values of at most 104 bytes, which travel inside the ring).
func (p *Publisher[T]) Loan() (Loan[T], error) {
	l, err := p.pub.Loan(p.size)
	if err != nil {
		return Loan[T]{}, err
	}
	clear(l.Data())
	return Loan[T]{l}, nil
}

// Publisher returns the publisher of bytes below.
func (p *Publisher[T]) Publisher() *ringbus.Publisher { return p.pub }

// Close closes the publisher.
func (p *Publisher[T]) Close() error { return p.pub.Close() }

// Loan is a T in the topic's memory, lent to its publisher until Send or
// Discard.
type Loan[T any] struct{ loan ringbus.Loan }

// Value is the lent value. It must not be used after Send or Discard.
func (l Loan[T]) Value() *T { return mem.Value[T](l.loan.Data()) }

// Send sends the value and ends the loan.
func (l Loan[T]) Send() error { return l.loan.Send() }

// SendContext is Send that stops waiting when ctx is done.
func (l Loan[T]) SendContext(ctx context.Context) error { return l.loan.SendContext(ctx) }

// Discard ends the loan without sending.
func (l Loan[T]) Discard() { l.loan.Discard() }

// Subscriber receives values of type T. As a [ringbus.Subscriber], it is for
// one goroutine at a time.
type Subscriber[T any] struct {
	sub  *ringbus.Subscriber
	size int
}

// NewSubscriber opens a topic for receiving values of type T. Of the options
// Type is set here.
func NewSubscriber[T any](node *ringbus.Node, topic string, o *ringbus.SubscriberOptions) (*Subscriber[T], error) {
	size, print, err := layout[T]()
	if err != nil {
		return nil, err
	}
	var options ringbus.SubscriberOptions
	if o != nil {
		options = *o
	}
	options.Type = print
	sub, err := node.Subscriber(topic, &options)
	if err != nil {
		return nil, err
	}
	return &Subscriber[T]{sub, size}, nil
}

// SizeError says that a message has another size than T. Whoever sent it does
// not use this package, or not for this type.
type SizeError struct {
	Topic string
	Have  int // bytes
	Want  int // bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("message of %d bytes on topic %q, whose values have %d", e.Have, e.Topic, e.Want)
}

// Receive returns the next value, and waits for it. A message of another size
// is skipped with a [SizeError].
func (s *Subscriber[T]) Receive(ctx context.Context) (Message[T], error) {
	m, err := s.sub.Receive(ctx)
	if err != nil {
		return Message[T]{}, err
	}
	if n := len(m.Data()); n != s.size {
		m.Release()
		return Message[T]{}, &SizeError{Topic: s.sub.Topic(), Have: n, Want: s.size}
	}
	return Message[T]{m}, nil
}

// Messages ranges over the values as they come, as [ringbus.Subscriber.Messages].
func (s *Subscriber[T]) Messages(ctx context.Context) iter.Seq2[Message[T], error] {
	return func(yield func(Message[T], error) bool) {
		for m, err := range s.sub.Messages(ctx) {
			if err == nil {
				if n := len(m.Data()); n != s.size {
					err = &SizeError{Topic: s.sub.Topic(), Have: n, Want: s.size}
				}
			}
			if !yield(Message[T]{m}, err) || err != nil {
				return
			}
		}
	}
}

// Subscriber returns the subscriber of bytes below.
func (s *Subscriber[T]) Subscriber() *ringbus.Subscriber { return s.sub }

// Close closes the subscriber.
func (s *Subscriber[T]) Close() error { return s.sub.Close() }

// Message is a received value, lent to its subscriber until Release. Its other
// methods are those of [ringbus.Message].
type Message[T any] struct{ ringbus.Message }

// Value is the value, in the topic's memory. It must not be written, nor used
// after Release.
func (m Message[T]) Value() *T { return mem.Value[T](m.Data()) }
