package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	streams "github.com/ringbus/ringbus/stream"
)

type streamSendFlags struct {
	chunk  size
	max    size
	wait   int
	turns  bool
	groups int
}

func newStreamSend(g *global) *cobra.Command {
	f := streamSendFlags{}
	c := &cobra.Command{
		Use:   "send STREAM",
		Short: "Send standard input",
		Long: `Send what standard input has: one message per line, without its end, or, with
--chunk, the raw bytes in messages of up to that size. Where another writer has
the stream, wait for its end, or, with --turns, for the end of its message.

By default the first message waits for a reader. At the end, standard error says
how many messages and bytes went out.`,
		Example: `  seq 1000000 | ringbus stream send work
  ringbus stream send film --chunk 256k < film.raw`,
		Args: oneStream,
		RunE: func(c *cobra.Command, args []string) error {
			if f.wait < 0 || f.groups < 0 {
				return misused(c, "--wait and --groups cannot be negative")
			}
			return g.streamSend(c.Context(), args[0], &f)
		},
	}
	l := c.Flags()
	l.SortFlags = false
	l.Var(&f.chunk, "chunk", "send raw bytes, in messages of up to this `size`")
	l.IntVar(&f.wait, "wait", 1, "wait until `n` readers are there")
	l.BoolVar(&f.turns, "turns", false, "let other writers send between two messages")
	l.Var(&f.max, "max-message", "`size` of the largest message, and of the stream, if it is made now (default 1MiB)")
	l.IntVar(&f.groups, "groups", 0, "how many groups the stream may have, if it is made now (default 4)")
	return c
}

// streamSend is the verb stream send.
func (g *global) streamSend(ctx context.Context, name string, f *streamSendFlags) error {
	node, err := g.open()
	if err != nil {
		return err
	}
	defer node.Close()
	w, err := streams.NewWriter(node, name, &streams.Options{Size: int(f.max), Groups: f.groups, Turns: f.turns})
	if err != nil {
		return err
	}
	if f.wait > 0 {
		if err := w.WaitReaders(ctx, f.wait); err != nil {
			return err
		}
	}
	in, err := newInput(ctx, os.Stdin)
	if err != nil {
		return err
	}
	defer in.close()
	s := streamSender{ctx: ctx, w: w}
	if f.chunk > 0 {
		err = s.chunks(in, min(int(f.chunk), w.MaxMessage()))
	} else {
		err = s.lines(in)
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if cerr := node.Close(); err == nil {
		err = cerr
	}
	if g.json {
		_ = json.NewEncoder(os.Stderr).Encode(map[string]uint64{"sent": s.sent, "bytes": s.bytes})
	} else {
		fmt.Fprintf(os.Stderr, "sent=%d bytes=%d\n", s.sent, s.bytes)
	}
	return err
}

type streamSender struct {
	ctx         context.Context
	w           *streams.Writer
	sent, bytes uint64
}

func (s *streamSender) one(b []byte) error {
	if err := s.w.Send(s.ctx, b); err != nil {
		return err
	}
	s.sent, s.bytes = s.sent+1, s.bytes+uint64(len(b))
	return nil
}

func (s *streamSender) lines(r io.Reader) error {
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 64<<10), s.w.MaxMessage()+1)
	for scan.Scan() {
		if err := s.one(scan.Bytes()); err != nil {
			return err
		}
	}
	if errors.Is(scan.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than the stream's messages, %d bytes: make it with a larger --max-message, or use --chunk", s.sent+1, s.w.MaxMessage())
	}
	return scan.Err()
}

func (s *streamSender) chunks(r io.Reader, most int) error {
	b := make([]byte, most)
	for {
		n, err := r.Read(b)
		if n > 0 {
			if err := s.one(b[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
