package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ringbus/ringbus"
)

// patience ends a context when nothing has come for so long; 0: never.
func patience(ctx context.Context, d time.Duration) (_ context.Context, came func(), stop func()) {
	if d == 0 {
		return ctx, func() {}, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() { timer.Reset(d) }, func() {
		timer.Stop()
		cancel(nil)
	}
}

// eachReply calls f for the replies of one call. Replies that are too large are
// told and left out; the error then is the first of them.
func eachReply(ctx context.Context, c *ringbus.Client, request []byte, d time.Duration, f func([]byte) error) (err error) {
	limit, came, stop := patience(ctx, d)
	defer stop()
	for b, e := range c.Stream(limit, request) {
		var size *ringbus.CallSizeError
		switch {
		case errors.As(e, &size):
			fmt.Fprintln(os.Stderr, "ringbus:", e)
			err = errSaid
		case e != nil && ctx.Err() == nil && limit.Err() != nil:
			return context.Cause(limit)
		case e != nil:
			return e
		default:
			if e := f(b); e != nil {
				return e
			}
		}
		came()
	}
	return err
}

// printReplies prints the replies of one call, each with a line end.
func printReplies(ctx context.Context, c *ringbus.Client, request []byte, d time.Duration) error {
	err := eachReply(ctx, c, request, d, func(b []byte) error {
		b = bytes.Clone(b)
		if !bytes.HasSuffix(b, []byte("\n")) {
			b = append(b, '\n')
		}
		_, err := os.Stdout.Write(b)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("service %q has sent nothing for %v", c.Name(), d)
	}
	return explained(c, err)
}
