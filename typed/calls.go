package typed

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
)

// Client calls a service whose requests are values of type Q and whose replies
// are values of type R. As a [ringbus.Client], it may be used by any number of
// goroutines at once.
type Client[Q, R any] struct{ client *ringbus.Client }

// types checks Q and R and puts their sizes and fingerprints into the options.
func types[Q, R any](o *ringbus.ServiceOptions) (*ringbus.ServiceOptions, error) {
	request, q, err := layout[Q]()
	if err != nil {
		return nil, err
	}
	reply, r, err := layout[R]()
	if err != nil {
		return nil, err
	}
	var options ringbus.ServiceOptions
	if o != nil {
		options = *o
	}
	options.MaxRequest, options.MaxReply = max(request, 1), max(reply, 1)
	options.RequestType, options.ReplyType = q, r
	return &options, nil
}

// NewClient opens a service for calls, with nil for the default options: see
// [NewClientOptions].
func NewClient[Q, R any](node *ringbus.Node, service string) (*Client[Q, R], error) {
	return NewClientOptions[Q, R](node, service, nil)
}

// NewClientOptions opens a service for calls. Of the options MaxRequest, MaxReply
// and the types are set here.
func NewClientOptions[Q, R any](node *ringbus.Node, service string, o *ringbus.ServiceOptions) (*Client[Q, R], error) {
	options, err := types[Q, R](o)
	if err != nil {
		return nil, err
	}
	c, err := node.Client(service, options)
	if err != nil {
		return nil, err
	}
	return &Client[Q, R]{c}, nil
}

// Call sends a copy of *q to one of the servers and returns a copy of its reply.
// For errors see [ringbus.Client.Call].
func (c *Client[Q, R]) Call(ctx context.Context, q *Q) (*R, error) {
	r := new(R)
	if err := c.CallInto(ctx, q, r); err != nil {
		return nil, err
	}
	return r, nil
}

// CallInto is Call that copies the reply to *r and allocates nothing.
func (c *Client[Q, R]) CallInto(ctx context.Context, q *Q, r *R) error {
	b := mem.Bytes(r)
	n, err := c.client.Call(ctx, mem.Bytes(q), b)
	if err == nil && n != len(b) {
		err = fmt.Errorf("service %q: reply of %d bytes, not %d", c.client.Name(), n, len(b))
	}
	return err
}

// Client returns the client of bytes below.
func (c *Client[Q, R]) Client() *ringbus.Client { return c.client }

// Close closes the client.
func (c *Client[Q, R]) Close() error { return c.client.Close() }

// Serve serves a service until ctx is done, which is its error then, or the node
// closes, with nil for the default options: see [ServeOptions].
func Serve[Q, R any](ctx context.Context, node *ringbus.Node, service string, f func(q *Q, r *R) error) error {
	return ServeOptions(ctx, node, service, nil, f)
}

// ServeOptions serves a service until ctx is done, which is its error then, or
// the node closes. f is called for one request at a time; *q and *r are memory
// that is shared with the client, until f returns: it may change *q while f reads
// it. *r begins as zero. An error of f is the client's [ringbus.ServiceError].
// Of the options MaxRequest, MaxReply and the types are set here.
func ServeOptions[Q, R any](ctx context.Context, node *ringbus.Node, service string, o *ringbus.ServiceOptions, f func(q *Q, r *R) error) error {
	options, err := types[Q, R](o)
	if err != nil {
		return err
	}
	s, err := node.Service(service, options)
	if err != nil {
		return err
	}
	return errors.Join(serve(ctx, s, f), s.Close())
}

func serve[Q, R any](ctx context.Context, s *ringbus.Service, f func(q *Q, r *R) error) error {
	var zeroQ Q
	var zeroR R
	request, reply := len(mem.Bytes(&zeroQ)), len(mem.Bytes(&zeroR))
	for req, err := range s.Requests(ctx) {
		if err != nil {
			return err
		}
		if n := len(req.Data()); n != request || len(req.Room()) < reply {
			err = fmt.Errorf("request of %d bytes, not %d", n, request)
		} else {
			room := req.Room()[:reply]
			clear(room)
			err = f(mem.Value[Q](req.Data()), mem.Value[R](room))
		}
		if err != nil {
			err = req.Fail(err)
		} else {
			err = req.Return(reply)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
