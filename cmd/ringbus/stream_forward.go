package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	streams "github.com/ringbus/ringbus/stream"
)

type forwardFlags struct{ listen, to, from, dial string }

func newStreamForward(g *global) *cobra.Command {
	f := forwardFlags{}
	c := &cobra.Command{
		Use:   "forward --listen ADDRESS --to NAME | forward --from NAME --dial ADDRESS",
		Short: "Relay TCP or Unix-socket connections over the bus",
		Long: `Listen at an address and relay each connection to NAME on the bus, or listen at
NAME on the bus and relay each connection to an address. An address is
tcp:HOST:PORT or unix:PATH. What ends on one side, in one direction or with an
error, ends so on the other. It runs until it is interrupted.`,
		Example: `  ringbus stream forward --from web --dial tcp:localhost:8000
  ringbus stream forward --listen tcp:localhost:9000 --to web
  curl http://localhost:9000/`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(c, "forward takes no arguments, not %q", args)
			}
			return f.check(c)
		},
		RunE: func(c *cobra.Command, _ []string) error { return g.forward(c.Context(), &f) },
	}
	l := c.Flags()
	l.SortFlags = false
	l.StringVar(&f.listen, "listen", "", "listen at this `address`: tcp:HOST:PORT or unix:PATH")
	l.StringVar(&f.to, "to", "", "and relay to this `name` on the bus")
	l.StringVar(&f.from, "from", "", "listen at this `name` on the bus")
	l.StringVar(&f.dial, "dial", "", "and relay to this `address`")
	return c
}

func (f *forwardFlags) check(c *cobra.Command) error {
	out := f.listen != "" || f.to != ""
	in := f.from != "" || f.dial != ""
	name, address := f.to, f.listen
	if in {
		name, address = f.from, f.dial
	}
	if out == in || name == "" || address == "" {
		return misused(c, "say either --listen and --to, or --from and --dial")
	}
	if err := streamName(c, name); err != nil {
		return err
	}
	network, at, ok := strings.Cut(address, ":")
	if !ok || at == "" || network != "tcp" && network != "unix" {
		return misused(c, "%q is no address: tcp:HOST:PORT and unix:PATH are", address)
	}
	return nil
}

// forward is the verb stream forward.
func (g *global) forward(ctx context.Context, f *forwardFlags) error {
	node, err := g.open()
	if err != nil {
		return err
	}
	defer node.Close()
	var l net.Listener
	var dial func() (net.Conn, error)
	if f.from != "" {
		network, at, _ := strings.Cut(f.dial, ":")
		dial = func() (net.Conn, error) { return new(net.Dialer).DialContext(ctx, network, at) }
		l, err = streams.Listen(node, f.from)
	} else {
		network, at, _ := strings.Cut(f.listen, ":")
		dial = func() (net.Conn, error) { return streams.Dial(ctx, node, f.to) }
		l, err = new(net.ListenConfig).Listen(ctx, network, at)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "ringbus: listening at %v\n", l.Addr())
	return errors.Join(serve(ctx, l, dial), node.Close())
}

// serve relays what l accepts until ctx ends.
func serve(ctx context.Context, l net.Listener, dial func() (net.Conn, error)) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		all.Go(func() {
			d, err := dial()
			if err != nil {
				fmt.Fprintf(os.Stderr, "ringbus: %v\n", err)
				reset(c)
				return
			}
			relay(ctx, c, d)
		})
	}
}

// relay copies both ways until both have ended, or one has failed.
func relay(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() { reset(a); reset(b) })
	defer stop()
	var all sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		all.Go(func() {
			_, err := io.Copy(struct{ io.Writer }{way[1]}, struct{ io.Reader }{way[0]})
			if err != nil { // which both sides must hear of
				reset(a)
				reset(b)
				return
			}
			if w, ok := way[1].(interface{ CloseWrite() error }); ok {
				_ = w.CloseWrite()
			}
		})
	}
	all.Wait()
	_ = a.Close()
	_ = b.Close()
}

// reset closes a connection so that the other end gets an error where it can.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	if s, ok := c.(*streams.Conn); ok {
		_ = s.Abort()
		return
	}
	_ = c.Close()
}
