package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/segment"
)

type serveFlags struct {
	exec       string
	stream     bool
	parallel   int
	maxRequest size
	maxReply   size
}

func newServe(g *global) *cobra.Command {
	s := serveFlags{}
	c := &cobra.Command{
		Use:   "serve SERVICE --exec COMMAND",
		Short: "Answer the calls of a service with a command",
		Long: `Answer calls: for each, run the shell command with the request as its standard
input; what it writes to standard output is the reply. If it fails, the caller
gets an error with the last line of its standard error.

With --stream, each line of the output is a reply of its own, at once, to callers that
want several (ringbus call --stream). When a caller has enough, or has gone, the
command is killed. Callers that want one reply get the whole output.

Any number of servers may serve one service; they share the calls. At the end,
standard error says how many calls were answered.`,
		Example: `  ringbus serve up --exec 'tr a-z A-Z'
  ringbus serve log --exec 'tail -f app.log | grep --line-buffered "$(cat)"' --stream --parallel 8
  ringbus serve thumbnails --exec 'convert - -resize 64x64 png:-' --parallel 4 \
      --max-request 16MiB --max-reply 64k`,
		Args: oneService,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case s.exec == "":
				return misused(c, "say with which command: --exec 'tr a-z A-Z'")
			case s.parallel < 1:
				return misused(c, "--parallel must be at least 1")
			case s.maxRequest > 1<<30-1 || s.maxReply > 1<<30-1:
				return misused(c, "requests and replies are smaller than 1GiB")
			}
			return g.serve(c.Context(), args[0], &s)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&s.exec, "exec", "", "shell `command` that answers")
	f.BoolVar(&s.stream, "stream", false, "each line of the output is a reply, at once")
	f.IntVar(&s.parallel, "parallel", 1, "answer up to `n` calls at once")
	f.Var(&s.maxRequest, "max-request", "`size` limit of requests (default 4k, or what the service has)")
	f.Var(&s.maxReply, "max-reply", "`size` limit of replies")
	return c
}

// oneService wants the name of a service as the only argument.
func oneService(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return misused(c, "say which service")
	case len(args) > 1:
		return misused(c, "one service at a time, not %d: %q", len(args), args)
	}
	return serviceName(c, args[0])
}

func serviceName(c *cobra.Command, name string) error {
	if err := segment.CheckName(name); err != nil {
		return misused(c, "service: %w", err)
	}
	return nil
}

// servedCalls is what a server did, as JSON.
type servedCalls struct {
	Service string `json:"service"`
	Done    int64  `json:"done"`
	Failed  int64  `json:"failed"`
}

func (g *global) serve(ctx context.Context, name string, s *serveFlags) error {
	node, err := g.open()
	if err != nil {
		return err
	}
	service, err := node.Service(name, &ringbus.ServiceOptions{MaxRequest: int(s.maxRequest), MaxReply: int(s.maxReply)})
	if err != nil {
		return errors.Join(err, node.Close())
	}
	var running sync.WaitGroup
	var done, failed atomic.Int64
	places := make(chan struct{}, s.parallel)
	for r, e := range service.Requests(ctx) {
		if e != nil {
			err = e
			break
		}
		// The loop goes on, so that streams get on, and end, while others wait here.
		running.Go(func() {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-ctx.Done():
				_ = r.Fail(errors.New("the server was stopped"))
				failed.Add(1)
				return
			}
			how := answer
			if s.stream && r.Streams() {
				how = answerLines
			}
			if how(ctx, r, s.exec) {
				done.Add(1)
			} else {
				failed.Add(1)
			}
		})
	}
	running.Wait()
	if errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	if e := errors.Join(service.Close(), node.Close()); e != nil {
		err = errors.Join(err, e)
	}
	n := servedCalls{name, done.Load(), failed.Load()}
	if g.json {
		return errors.Join(err, printJSON(n))
	}
	fmt.Fprintf(os.Stderr, "ringbus: %d calls answered, %d failed\n", n.Done, n.Failed)
	return err
}

// answer runs the command for one request and says whether it went well.
func answer(ctx context.Context, r *ringbus.Request, command string) bool {
	cmd := shell(ctx, r, command)
	var out bytes.Buffer
	said := tail{}
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := said.withLine(cmd.Run()); err != nil {
		_ = r.Fail(err)
		return false
	}
	return r.Reply(out.Bytes()) == nil
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-4096):]
	return len(b), nil
}

// last is the last line that is not empty.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return lines[len(lines)-1]
}

var _ io.Writer = (*tail)(nil)
