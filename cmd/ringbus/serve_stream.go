package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/ringbus/ringbus"
)

// shell is the command that answers a request. At our end, or when nobody wants
// the answer any more, it ends with all that it has started.
func shell(ctx context.Context, r *ringbus.Request, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	// The client may change the request while we read it.
	cmd.Stdin = bytes.NewReader(bytes.Clone(r.Data()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what goes on with our pipes all the same
	return cmd
}

// withLine adds the last line of what the command said.
func (t *tail) withLine(err error) error {
	if line := t.last(); err != nil && line != "" {
		return fmt.Errorf("%w: %s", err, line)
	}
	return err
}

// answerLines runs the command for one request, whose replies are the lines that it
// writes, and says whether it went well.
func answerLines(ctx context.Context, r *ringbus.Request, command string) bool {
	wanted := r.Context(ctx)
	// A line that cannot be sent ends the command too.
	running, stop := context.WithCancel(wanted)
	defer stop()
	cmd := shell(running, r, command)
	said := tail{}
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_ = r.Fail(err)
		return false
	}
	sent := sendLines(ctx, r, out)
	if sent != nil {
		stop()
	}
	err = said.withLine(cmd.Wait())
	switch {
	case wanted.Err() != nil && ctx.Err() == nil:
		return r.End() == nil // nobody is interested in the rest
	case sent != nil:
		err = sent
	}
	if err != nil {
		_ = r.Fail(err)
		return false
	}
	return r.End() == nil
}

// sendLines sends each line as a reply.
func sendLines(ctx context.Context, r *ringbus.Request, from io.Reader) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			// A line that is too long is an error in its place, also at the client.
			var size *ringbus.CallSizeError
			if e := r.Send(ctx, bytes.TrimSuffix(line, []byte("\n"))); e != nil && !errors.As(e, &size) {
				return e
			}
		}
		if err != nil {
			return nil // the command's end; how it ended it says itself
		}
	}
}
