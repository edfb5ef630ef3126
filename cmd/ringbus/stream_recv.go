package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"

	streams "github.com/ringbus/ringbus/stream"
)

type streamRecvFlags struct {
	group  string
	raw    bool
	lapped bool
	oldest bool
	follow bool
	count  uint64
}

func newStreamRecv(g *global) *cobra.Command {
	f := streamRecvFlags{}
	c := &cobra.Command{
		Use:   "recv STREAM [--group NAME]",
		Short: "Print what a stream's writer sends",
		Long: `Print each message as a line, or, with --raw, its bytes and nothing else, until
the writer has closed. It is a failure if the writer died instead.

With --group the readers of that group share the messages: each is printed by
one of them. A message is done when it is printed; what a reader had and did not
print when it was killed, another one prints. It may have been printed already:
then standard error says "delivered again", with its number.

Without a group, a reader that is too slow holds the writer back, or, with
--lapped, loses messages; standard error says how many at the end.`,
		Example: `  ringbus stream recv work --group g
  ringbus stream recv film --raw > film.raw`,
		Args: func(c *cobra.Command, args []string) error {
			if f.group != "" && f.lapped {
				return misused(c, "--lapped is for readers without a --group")
			}
			return oneStream(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error { return g.streamRecv(c.Context(), args[0], &f) },
	}
	l := c.Flags()
	l.SortFlags = false
	l.StringVar(&f.group, "group", "", "share the messages with the others of this group")
	l.BoolVar(&f.raw, "raw", false, "write the payload bytes and nothing else")
	l.BoolVar(&f.oldest, "oldest", false, "begin with the oldest message that is still there")
	l.BoolVar(&f.lapped, "lapped", false, "never hold the writer back; lose messages when too slow")
	l.BoolVar(&f.follow, "follow", false, "do not end with the writer; wait for the next one")
	l.Uint64Var(&f.count, "count", 0, "end after `n` messages")
	return c
}

// streamRecv is the verb stream recv.
func (g *global) streamRecv(ctx context.Context, name string, f *streamRecvFlags) error {
	node, err := g.open()
	if err != nil {
		return err
	}
	defer node.Close()
	r, err := streams.NewReader(node, name, &streams.ReaderOptions{Group: f.group, Lapped: f.lapped, Oldest: f.oldest, Follow: f.follow})
	if err != nil {
		return err
	}
	p := &streamPrinter{ctx: ctx, r: r, raw: f.raw, json: g.json, most: f.count, out: bufio.NewWriterSize(os.Stdout, 64<<10)}
	if f.group != "" {
		err = p.share()
	} else {
		err = p.all()
	}
	if ferr := p.out.Flush(); err == nil {
		err = ferr
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	lost := r.Lost()
	if cerr := node.Close(); err == nil {
		err = cerr
	}
	if g.json {
		_ = json.NewEncoder(os.Stderr).Encode(map[string]uint64{"received": p.received, "lost": lost, "redelivered": p.again, "bytes": p.bytes})
	} else {
		fmt.Fprintf(os.Stderr, "received=%d lost=%d redelivered=%d bytes=%d\n", p.received, lost, p.again, p.bytes)
	}
	return err
}

// streamPrinter writes what a reader of a stream receives.
type streamPrinter struct {
	ctx                    context.Context
	r                      *streams.Reader
	out                    *bufio.Writer
	raw, json              bool
	most                   uint64
	received, again, bytes uint64
}

func (p *streamPrinter) enough() bool { return p.most > 0 && p.received >= p.most }

// soon is a context that has ended: a look at what is there already.
var soon = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// all prints every message; what was printed is flushed when nothing is waiting.
func (p *streamPrinter) all() error {
	for !p.enough() {
		if p.received%64 == 0 && p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		m, err := p.r.Receive(soon)
		if errors.Is(err, context.Canceled) {
			if err = p.out.Flush(); err == nil {
				m, err = p.r.Receive(p.ctx)
			}
		}
		if err != nil {
			return err
		}
		if err := p.print(m.Data, m.Number, false); err != nil {
			return err
		}
	}
	return nil
}

// share prints what the group gives to us. A batch is done when it is flushed.
func (p *streamPrinter) share() error {
	var batch []*streams.Claim
	done := func() error {
		if err := p.out.Flush(); err != nil {
			return err
		}
		for _, c := range batch {
			if err := c.Done(); err != nil {
				return err
			}
		}
		batch = batch[:0]
		return nil
	}
	for !p.enough() {
		ctx := p.ctx
		if len(batch) > 0 {
			ctx = soon
		}
		c, err := p.r.Claim(ctx)
		if len(batch) > 0 && errors.Is(err, context.Canceled) {
			if err := done(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return errors.Join(done(), err)
		}
		if c.Redelivered() {
			p.again++
			fmt.Fprintf(os.Stderr, "ringbus: delivered again: message %d\n", c.Number())
		}
		if err := p.print(c.Data(), c.Number(), c.Redelivered()); err != nil {
			return err
		}
		if batch = append(batch, c); len(batch) == 64 || p.enough() {
			if err := done(); err != nil {
				return err
			}
		}
	}
	return nil
}

// streamObject is a message as JSON.
type streamObject struct {
	Number      uint64  `json:"number"`
	Length      int     `json:"length"`
	Redelivered bool    `json:"redelivered"`
	Data        *string `json:"data,omitempty"`
	Base64      *string `json:"data_base64,omitempty"`
}

func (p *streamPrinter) print(b []byte, number uint64, again bool) error {
	p.received, p.bytes = p.received+1, p.bytes+uint64(len(b))
	if p.json && !p.raw {
		o := streamObject{Number: number, Length: len(b), Redelivered: again}
		text := string(b)
		if utf8.ValidString(text) {
			o.Data = &text
		} else {
			text = base64.StdEncoding.EncodeToString(b)
			o.Base64 = &text
		}
		e := json.NewEncoder(p.out)
		e.SetEscapeHTML(false)
		return e.Encode(o)
	}
	_, err := p.out.Write(b)
	if !p.raw && err == nil {
		err = p.out.WriteByte('\n')
	}
	return err
}
