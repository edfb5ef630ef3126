package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
)

type callFlags struct {
	stream   bool
	count    int
	parallel int
	timeout  time.Duration
}

func newCall(g *global) *cobra.Command {
	f := callFlags{}
	c := &cobra.Command{
		Use:   "call SERVICE [REQUEST]",
		Short: "Call a service and print its reply",
		Long: `Call a service with the request, or with what standard input has, and print the
reply. With --count, make that many calls with the same request and print how they
went and how long they took, in place of the replies.

With --stream, take several replies and print each as a line when it comes, until
the server has no more; --timeout, if given, is for each of them. With --count a call
takes as long as its last reply.

The status is 1 if a call was not answered.`,
		Example: `  ringbus call up hello
  ringbus call log --stream ERROR
  ringbus call thumbnails < photo.jpg > small.png
  ringbus call up hello --count 100000 --parallel 32 --json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 2 {
				return misused(c, "one request at a time, not %q", args[1:])
			}
			return oneService(c, args[:min(len(args), 1)])
		},
		RunE: func(c *cobra.Command, args []string) error {
			if f.count < 0 || f.parallel < 1 || f.timeout < 0 {
				return misused(c, "--count and --timeout cannot be negative, and --parallel must be at least 1")
			}
			if f.stream && !c.Flags().Changed("timeout") {
				f.timeout = 0
			}
			return g.call(c.Context(), args, &f)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.BoolVar(&f.stream, "stream", false, "take several replies, a line each")
	fs.IntVar(&f.count, "count", 0, "make `n` calls and print figures")
	fs.IntVar(&f.parallel, "parallel", 1, "have up to `n` calls outstanding")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Second, "give each call up after this `time`; 0: never")
	return c
}

func (g *global) call(ctx context.Context, args []string, f *callFlags) error {
	var request []byte
	var err error
	if len(args) > 1 {
		request = []byte(args[1])
	} else if request, err = io.ReadAll(os.Stdin); err != nil {
		return err
	}
	node, err := g.open()
	if err != nil {
		return err
	}
	client, err := node.Client(args[0], nil)
	if err != nil {
		return errors.Join(err, node.Close())
	}
	switch {
	case f.count > 0 || g.json:
		err = g.measure(ctx, client, request, f)
	case f.stream:
		err = printReplies(ctx, client, request, f.timeout)
	default:
		err = once(ctx, client, request, f.timeout)
	}
	return errors.Join(err, client.Close(), node.Close())
}

func limited(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// once makes one call and prints the reply.
func once(ctx context.Context, c *ringbus.Client, request []byte, d time.Duration) error {
	limit, cancel := limited(ctx, d)
	defer cancel()
	reply := make([]byte, c.MaxReply())
	n, err := c.Call(limit, request, reply)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("service %q has not answered in %v", c.Name(), d)
	case err != nil:
		return explained(c, err)
	}
	reply = reply[:n]
	if !bytes.HasSuffix(reply, []byte("\n")) && isTerminal(os.Stdout) {
		reply = append(reply, '\n')
	}
	_, err = os.Stdout.Write(reply)
	return err
}

// explained says what would help.
func explained(c *ringbus.Client, err error) error {
	if errors.Is(err, ringbus.ErrNoService) {
		return fmt.Errorf("%w: \"ringbus serve %s --exec COMMAND\" would", err, c.Name())
	}
	return err
}

// isTerminal says whether people look at f.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// figures are how many calls went, as JSON.
type figures struct {
	Service   string  `json:"service"`
	Calls     int64   `json:"calls"`
	Answered  int64   `json:"answered"`
	NoService int64   `json:"no_service"` // nobody served
	Gone      int64   `json:"gone"`       // the server went with the call
	Late      int64   `json:"late"`       // not answered in time
	Failed    int64   `json:"failed"`     // answered with an error
	Replies   int64   `json:"replies"`    // of those that were answered, or began to be
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	Latency   latency `json:"latency_us"` // of those that were answered
	Err       string  `json:"error,omitempty"`
}

type latency struct {
	Min  float64 `json:"min"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// measure makes many calls and prints figures.
func (g *global) measure(ctx context.Context, c *ringbus.Client, request []byte, f *callFlags) error {
	n := figures{Service: c.Name()}
	var mu sync.Mutex
	var next atomic.Int64
	var workers sync.WaitGroup
	all := newHistogram()
	start := time.Now()
	for range f.parallel {
		workers.Go(func() {
			mine, h := figures{}, newHistogram()
			reply := make([]byte, c.MaxReply())
			for next.Add(1) <= int64(max(f.count, 1)) && ctx.Err() == nil {
				mine.one(ctx, c, request, reply, f, h)
			}
			mu.Lock()
			defer mu.Unlock()
			n.add(mine)
			all.Merge(h)
		})
	}
	workers.Wait()
	n.Seconds = time.Since(start).Seconds()
	n.PerSecond = float64(n.Calls) / n.Seconds
	us := func(q float64) float64 { return float64(all.ValueAtQuantile(q)) / 1e3 }
	n.Latency = latency{float64(all.Min()) / 1e3, us(50), us(90), us(99), us(99.9), float64(all.Max()) / 1e3}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	var err error
	if g.json {
		err = printJSON(n)
	} else {
		fmt.Printf("%d calls of %s in %.3f s, %.0f a second: %d answered, %d without a server, %d with one that went, %d late, %d failed; %d replies\n",
			n.Calls, n.Service, n.Seconds, n.PerSecond, n.Answered, n.NoService, n.Gone, n.Late, n.Failed, n.Replies)
		fmt.Printf("answered in µs: min %.1f, p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n",
			n.Latency.Min, n.Latency.P50, n.Latency.P90, n.Latency.P99, n.Latency.P999, n.Latency.Max)
	}
	if err == nil && n.Answered < n.Calls {
		if n.Err != "" {
			fmt.Fprintln(os.Stderr, "ringbus:", n.Err)
		}
		return errSaid
	}
	return err
}

func newHistogram() *hdr.Histogram { return hdr.New(1, int64(time.Hour), 3) }

// one makes one call and counts how it went.
func (n *figures) one(ctx context.Context, c *ringbus.Client, request, reply []byte, f *callFlags, h *hdr.Histogram) {
	start := time.Now()
	var err error
	if f.stream {
		err = eachReply(ctx, c, request, f.timeout, func([]byte) error {
			n.Replies++
			return nil
		})
	} else {
		limit, cancel := limited(ctx, f.timeout)
		_, err = c.Call(limit, request, reply)
		cancel()
	}
	n.Calls++
	if err == nil && !f.stream {
		n.Replies++
	}
	switch {
	case err == nil:
		n.Answered++
		_ = h.RecordValue(max(1, time.Since(start).Nanoseconds()))
		return
	case errors.Is(err, ringbus.ErrNoService):
		n.NoService++
	case errors.Is(err, ringbus.ErrPeerDied):
		n.Gone++
	case errors.Is(err, context.DeadlineExceeded):
		n.Late++
	default:
		n.Failed++
	}
	n.Err = err.Error()
}

func (n *figures) add(m figures) {
	n.Calls += m.Calls
	n.Answered += m.Answered
	n.NoService += m.NoService
	n.Gone += m.Gone
	n.Late += m.Late
	n.Failed += m.Failed
	n.Replies += m.Replies
	if m.Err != "" {
		n.Err = m.Err
	}
}
