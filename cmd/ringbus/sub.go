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
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
)

type subFlags struct {
	raw        bool
	count      uint64
	untilClose bool
	latest     bool
	history    int
	slow       time.Duration
}

func newSub(g *global) *cobra.Command {
	s := subFlags{}
	c := &cobra.Command{
		Use:   "sub TOPIC",
		Short: "Print the messages of a topic",
		Long: `Print each message of a topic on a line of its own; with --raw its bytes and
nothing else; with --json an object with publisher, sequence, length, lost, time
and data (or data_base64, if it is not UTF-8).

A subscriber is reliable: publishers wait for it. With --latest it is passed
over when it is too slow, and says how many messages it lost. The last line on
standard error is received=N lost=N bytes=N.`,
		Example: `  ringbus sub greetings
  ringbus sub --raw --until-close video > film.raw
  ringbus sub --json --history 10 --count 10 events
  ringbus sub --latest --slow 100ms numbers   # fall behind, and see what is lost`,
		Args: oneTopic,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case s.raw && g.json:
				return misused(c, "--raw and --json: choose one")
			case s.history < 0 || s.slow < 0:
				return misused(c, "--history and --slow cannot be negative")
			}
			if err := topicName(c, args[0]); err != nil {
				return err
			}
			return g.subscribe(c.Context(), args[0], &s)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.BoolVar(&s.raw, "raw", false, "write the payload bytes and nothing else")
	f.Uint64Var(&s.count, "count", 0, "end after `n` messages")
	f.BoolVar(&s.untilClose, "until-close", false, "end when every publisher that was there has closed or died and all is received")
	f.BoolVar(&s.latest, "latest", false, "never hold publishers back; lose messages when too slow")
	f.IntVar(&s.history, "history", 0, "begin with up to `n` messages of each publisher that were sent before")
	f.DurationVar(&s.slow, "slow", 0, "hold each message for so `long`, to try out what happens")
	return c
}

// subscribe is the verb sub.
func (g *global) subscribe(ctx context.Context, topic string, f *subFlags) error {
	node, err := g.open()
	if err != nil {
		return err
	}
	defer node.Close()
	o := &ringbus.SubscriberOptions{History: f.history, UntilClose: f.untilClose}
	if f.latest {
		o.Mode = ringbus.Latest
	}
	sub, err := node.Subscriber(topic, o)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	p := &printer{ctx: ctx, sub: sub, out: bufio.NewWriterSize(os.Stdout, 256<<10), write: writeLine}
	switch {
	case f.raw:
		p.write = writeRaw
	case g.json:
		p.write = writeObject
	}
	err = p.run(f)
	if ferr := p.out.Flush(); err == nil {
		err = ferr
	}
	lost := sub.Lost()
	if cerr := node.Close(); err == nil {
		err = cerr
	}
	if g.json {
		_ = json.NewEncoder(os.Stderr).Encode(map[string]uint64{"received": p.received, "lost": lost, "bytes": p.bytes})
	} else {
		fmt.Fprintf(os.Stderr, "received=%d lost=%d bytes=%d\n", p.received, lost, p.bytes)
	}
	return err
}

// printer writes what a subscriber receives. What it has written is flushed
// when no message is waiting.
type printer struct {
	ctx      context.Context
	sub      *ringbus.Subscriber
	out      *bufio.Writer
	write    func(*bufio.Writer, ringbus.Message) error
	received uint64
	bytes    uint64
}

// run ends at the end of the topic, after so many messages, or when the
// context is done.
func (p *printer) run(f *subFlags) error {
	for f.count == 0 || p.received < f.count {
		if p.received%16 == 0 && p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		msg, ok, err := p.sub.TryReceive()
		if err == nil && !ok {
			if err = p.out.Flush(); err == nil {
				msg, err = p.sub.Receive(p.ctx)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p.received++
		p.bytes += uint64(len(msg.Data()))
		err = p.write(p.out, msg)
		if err == nil && f.slow > 0 {
			err = p.hold(f.slow)
		}
		msg.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// hold lets time pass while a message is lent.
func (p *printer) hold(d time.Duration) error {
	if err := p.out.Flush(); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func writeRaw(w *bufio.Writer, m ringbus.Message) error {
	_, err := w.Write(m.Data())
	return err
}

func writeLine(w *bufio.Writer, m ringbus.Message) error {
	_, _ = w.Write(m.Data()) // the writer keeps the error
	return w.WriteByte('\n')
}

// object is a message as JSON.
type object struct {
	Publisher string     `json:"publisher"`
	Sequence  uint64     `json:"sequence"`
	Length    int        `json:"length"`
	Lost      uint64     `json:"lost"`
	Time      *time.Time `json:"time,omitempty"`
	Data      *string    `json:"data,omitempty"`
	Base64    *string    `json:"data_base64,omitempty"`
}

func writeObject(w *bufio.Writer, m ringbus.Message) error {
	data := m.Data()
	o := object{Publisher: m.Publisher(), Sequence: m.Sequence(), Length: len(data), Lost: m.Lost()}
	if t := m.Time(); !t.IsZero() {
		o.Time = &t
	}
	text := string(data)
	if utf8.ValidString(text) {
		o.Data = &text
	} else {
		text = base64.StdEncoding.EncodeToString(data)
		o.Base64 = &text
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(o)
}
