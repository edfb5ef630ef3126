package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
)

type pubFlags struct {
	chunk      size
	maxMessage size
	files      []string
	wait       int
	rate       float64
	latest     bool
	depth      int
	history    int
	timestamps bool
}

func newPub(g *global) *cobra.Command {
	p := pubFlags{}
	c := &cobra.Command{
		Use:   "pub TOPIC [--chunk SIZE | --file FILE...]",
		Short: "Send standard input, or files, as messages",
		Long: `Send what standard input has: one message per line, or, with --chunk, the raw
bytes cut into messages of that size. Or send each --file as one message.

At the end, standard error says how many messages and bytes went out. What was
sent stays for subscribers that come later and ask for history.`,
		Example: `  echo hello | ringbus pub greetings
  ringbus pub --wait 3 --chunk 64k video < film.raw
  ringbus pub pictures --file a.jpg --file b.jpg
  ringbus pub pictures --file *.jpg
  seq 1000000 | ringbus pub numbers --rate 1000 --latest`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 && len(p.files) > 0 { // --file *.jpg
				return nil
			}
			return oneTopic(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			p.files = append(p.files, args[1:]...)
			if err := p.check(c, args[0]); err != nil {
				return err
			}
			return g.publish(c.Context(), args[0], &p)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.Var(&p.chunk, "chunk", "cut raw bytes into messages of this `size`: 65536, 64k, 1MiB")
	f.StringArrayVar(&p.files, "file", nil, "send this `file` as one message; may be repeated")
	f.IntVar(&p.wait, "wait", 0, "wait until `n` subscribers are there")
	f.Float64Var(&p.rate, "rate", 0, "send at most `n` messages a second")
	f.BoolVar(&p.latest, "latest", false, "the topic is latest-only: no subscriber may hold publishers back")
	f.IntVar(&p.depth, "depth", 0, "the topic keeps `n` messages (default 256, fewer for large ones)")
	f.Var(&p.maxMessage, "max-message", "`size` limit of the topic's messages (default --chunk, or the largest file, or 16k)")
	f.IntVar(&p.history, "history", 0, "the last `n` messages must always be there for late subscribers")
	f.BoolVar(&p.timestamps, "timestamps", true, "messages carry the time when they were sent")
	return c
}

func (p *pubFlags) check(c *cobra.Command, topic string) error {
	if p.chunk > 0 && len(p.files) > 0 {
		return misused(c, "--chunk cuts standard input and --file sends files: choose one")
	}
	if p.wait < 0 || p.depth < 0 || p.history < 0 || p.rate < 0 || math.IsNaN(p.rate) {
		return misused(c, "--wait, --rate, --depth and --history cannot be negative")
	}
	if p.chunk > 1<<30 || p.maxMessage > 1<<30 {
		return misused(c, "messages are limited to 1GiB")
	}
	if p.maxMessage > 0 && p.chunk > p.maxMessage {
		return misused(c, "--chunk %d is larger than --max-message %d", p.chunk, p.maxMessage)
	}
	return topicName(c, topic)
}

// publish is the verb pub.
func (g *global) publish(ctx context.Context, topic string, p *pubFlags) error {
	least := int64(p.chunk)
	if len(p.files) > 0 {
		var err error
		if least, err = largest(p.files); err != nil {
			return err
		}
	}
	node, err := g.open()
	if err != nil {
		return err
	}
	defer node.Close()
	pub, err := openPublisher(node, topic, p, int(least))
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	s := &sender{ctx: ctx, pub: pub, pace: pacer{rate: p.rate}}
	if p.wait > 0 {
		err = pub.WaitSubscribers(ctx, p.wait)
	}
	if err == nil {
		err = s.send(p)
	}
	if cerr := node.Close(); err == nil {
		err = cerr
	}
	s.summary(g.json)
	return err
}

func (s *sender) send(p *pubFlags) error {
	if len(p.files) > 0 {
		return s.files(p.files)
	}
	in, err := newInput(s.ctx, os.Stdin)
	if err != nil {
		return err
	}
	defer in.close()
	if p.chunk > 0 {
		return s.chunks(in, int(p.chunk))
	}
	return s.lines(in)
}

func (s *sender) summary(asJSON bool) {
	if asJSON {
		_ = json.NewEncoder(os.Stderr).Encode(map[string]uint64{"sent": s.sent, "bytes": s.bytes})
		return
	}
	fmt.Fprintf(os.Stderr, "sent=%d bytes=%d\n", s.sent, s.bytes)
}

// largest is the size of the largest of files.
func largest(files []string) (int64, error) {
	most := int64(0)
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		if info.IsDir() {
			return 0, fmt.Errorf("%s is a directory: name its files", name)
		}
		most = max(most, info.Size())
	}
	if most > 1<<30 {
		return 0, fmt.Errorf("a message is limited to 1GiB and the largest file has %s: send it with --chunk from standard input", human(most))
	}
	return most, nil
}

// openPublisher opens a publisher for messages of up to least bytes. A topic
// that takes more already does as well, unless --max-message asks for a limit.
func openPublisher(node *ringbus.Node, topic string, p *pubFlags, least int) (*ringbus.Publisher, error) {
	o := &ringbus.PublisherOptions{
		Depth: p.depth, History: p.history, LatestOnly: p.latest, Timestamps: p.timestamps,
		MaxMessage: max(int(p.maxMessage), least),
	}
	pub, err := node.Publisher(topic, o)
	var other *ringbus.MismatchError
	if p.maxMessage != 0 || !errors.As(err, &other) || other.Field != "max-message" {
		return pub, err
	}
	if have, ok := other.Have.(int); ok && have >= least {
		o.MaxMessage = 0
		return node.Publisher(topic, o)
	}
	return nil, fmt.Errorf("%w; send smaller messages, or remove the topic with \"ringbus rm %s\"", err, topic)
}

// files sends each file as one message.
func (s *sender) files(names []string) error {
	for _, name := range names {
		if err := s.file(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 { // a pipe, or a file of /proc
		b, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		return s.one(b)
	}
	n, err := s.fill(f, int(info.Size()))
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%s became shorter while it was read: %d of %d bytes", name, n, info.Size())
	}
	return err
}
