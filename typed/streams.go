package typed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
)

// Stream sends a copy of *q to one of the servers and yields copies of its
// replies, all in the same R: each lasts until the loop turns. For errors, and how
// the server hears that nobody wants more, see [ringbus.Client.Stream].
func (c *Client[Q, R]) Stream(ctx context.Context, q *Q) iter.Seq2[*R, error] {
	return func(yield func(*R, error) bool) {
		r := new(R)
		size := len(mem.Bytes(r))
		for b, err := range c.client.Stream(ctx, mem.Bytes(q)) {
			if err == nil && len(b) != size {
				err = fmt.Errorf("service %q: reply of %d bytes, not %d", c.client.Name(), len(b), size)
			}
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			copy(mem.Bytes(r), b)
			if !yield(r, nil) {
				return
			}
		}
	}
}

// ServeStream serves a service with several replies to each request until ctx is
// done, which is its error then, or the node closes, with nil for the default
// options: see [ServeStreamOptions].
func ServeStream[Q, R any](ctx context.Context, node *ringbus.Node, service string, f func(ctx context.Context, q *Q, send func(*R) error) error) error {
	return ServeStreamOptions(ctx, node, service, nil, f)
}

// ServeStreamOptions serves a service until ctx is done, which is its error then,
// or the node closes. f is called for each request on a goroutine of its own, and
// sends as many replies as it likes; send waits while the client has no room. *q is
// a copy, send takes one. When the client wants no more replies, or has gone, the
// context of f ends, and send returns context.Canceled. An error of f is the
// client's [ringbus.ServiceError] after the replies. Of the options MaxRequest,
// MaxReply and the types are set here.
//
// A request by Call takes one reply: its client gets the last of those that f sends.
func ServeStreamOptions[Q, R any](ctx context.Context, node *ringbus.Node, service string, o *ringbus.ServiceOptions, f func(ctx context.Context, q *Q, send func(*R) error) error) error {
	options, err := types[Q, R](o)
	if err != nil {
		return err
	}
	s, err := node.Service(service, options)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	for req, e := range s.Requests(ctx) {
		if e != nil {
			err = e
			break
		}
		running.Go(func() { stream(ctx, req, f) })
	}
	running.Wait()
	return errors.Join(err, s.Close())
}

// stream answers one request. That the service was closed meanwhile is what its
// loop says.
func stream[Q, R any](ctx context.Context, req *ringbus.Request, f func(context.Context, *Q, func(*R) error) error) {
	q, last, sent := new(Q), *new(R), false
	if b := mem.Bytes(q); len(req.Data()) != len(b) {
		_ = req.Fail(fmt.Errorf("request of %d bytes, not %d", len(req.Data()), len(b)))
		return
	}
	copy(mem.Bytes(q), req.Data())
	send := func(r *R) error { return req.Send(ctx, mem.Bytes(r)) }
	if !req.Streams() {
		send = func(r *R) error {
			last, sent = *r, true
			return nil
		}
	}
	err := f(req.Context(ctx), q, send)
	switch {
	case err != nil:
		_ = req.Fail(err)
	case sent:
		_ = req.Reply(mem.Bytes(&last))
	case !req.Streams():
		_ = req.Fail(errors.New("no reply"))
	default:
		_ = req.End()
	}
}
