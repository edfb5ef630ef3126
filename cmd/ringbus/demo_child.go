package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
)

const demoTopic = "files"

// part is what a process of the demo is told.
type part struct {
	root    string
	list    string // file with the names to send
	rounds  int
	wait    int
	options ringbus.PublisherOptions
	history int
	ledger  string // file to keep the ledger in
}

func newDemoPub(g *global) *cobra.Command {
	p := part{}
	c := &cobra.Command{
		Use: "demo-pub", Hidden: true, Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error { return g.demoPub(c.Context(), &p) },
	}
	f := c.Flags()
	f.StringVar(&p.root, "root", "", "")
	f.StringVar(&p.list, "list", "", "")
	f.IntVar(&p.rounds, "rounds", 1, "")
	f.IntVar(&p.wait, "wait", 0, "")
	f.IntVar(&p.options.Depth, "depth", 0, "")
	f.IntVar(&p.options.MaxMessage, "max-message", 0, "")
	f.IntVar(&p.options.Holds, "holds", 0, "")
	f.IntVar(&p.options.Loans, "loans", 0, "")
	return c
}

func newDemoSub(g *global) *cobra.Command {
	p := part{}
	c := &cobra.Command{
		Use: "demo-sub", Hidden: true, Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error { return g.demoSub(c.Context(), &p) },
	}
	c.Flags().IntVar(&p.history, "history", 0, "")
	c.Flags().StringVar(&p.ledger, "ledger", "", "")
	return c
}

// pubReport is what a publisher of the demo says at its end.
type pubReport struct {
	First uint64 `json:"first"` // sequence of the first message that it sent
	Next  uint64 `json:"next"`
	Bytes uint64 `json:"bytes"`
}

// demoPub sends the files. It begins where whoever had its name before stopped,
// which the topic knows.
func (g *global) demoPub(ctx context.Context, p *part) error {
	names, err := readLines(p.list)
	if err != nil {
		return err
	}
	node, err := g.open()
	if err != nil {
		return err
	}
	defer node.Close()
	p.options.Timestamps = true
	pub, err := node.Publisher(demoTopic, &p.options)
	if err != nil {
		return err
	}
	if err := pub.WaitSubscribers(ctx, p.wait); err != nil {
		return err
	}
	r := pubReport{First: pub.Sequence()}
	total := uint64(len(names)) * uint64(p.rounds)
	for r.Next = r.First; r.Next < total; r.Next++ {
		n, err := sendFile(ctx, pub, p.root, names[r.Next%uint64(len(names))], r.Next)
		if err != nil {
			return err
		}
		r.Bytes += uint64(n)
	}
	var last [demoHead]byte
	binary.LittleEndian.PutUint64(last[:], total)
	if err := pub.SendContext(ctx, last[:]); err != nil {
		return err
	}
	return errors.Join(node.Close(), json.NewEncoder(os.Stdout).Encode(r))
}

// sendFile reads a file into the topic's own memory and sends it.
func sendFile(ctx context.Context, pub *ringbus.Publisher, root, name string, number uint64) (int, error) {
	info, err := os.Stat(root + "/" + name)
	if err != nil {
		return 0, err
	}
	loan, err := pub.Loan(messageSize(name, info.Size()))
	if err != nil {
		return 0, err
	}
	data := loan.Data()
	if err := readMessage(data, root, name, number); err != nil {
		loan.Discard()
		return 0, err
	}
	return len(data), loan.SendContext(ctx)
}

func readLines(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		out = append(out, scan.Text())
	}
	return out, scan.Err()
}

// subReport is what a subscriber of the demo says at its end.
type subReport struct {
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

// demoSub receives the files and keeps its ledger.
func (g *global) demoSub(ctx context.Context, p *part) error {
	book, err := os.Create(p.ledger)
	if err != nil {
		return err
	}
	defer book.Close()
	node, err := g.open()
	if err != nil {
		return err
	}
	defer node.Close()
	sub, err := node.Subscriber(demoTopic, &ringbus.SubscriberOptions{Mode: ringbus.Reliable, History: p.history})
	if err != nil {
		return err
	}
	var l ledger
	buf := make([]byte, 0, 256)
	latency := hdrhistogram.New(1, int64(time.Minute), 3)
	for msg, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		now := time.Now()
		data := msg.Data()
		if len(data) < demoHead {
			return fmt.Errorf("message %d has %d bytes only", msg.Sequence(), len(data))
		}
		if binary.LittleEndian.Uint32(data[8:]) == 0 {
			break // the last one
		}
		_ = latency.RecordValue(max(1, now.Sub(msg.Time()).Nanoseconds()))
		l.enter(msg, now)
		if err := l.save(book, buf); err != nil {
			return err
		}
	}
	r := subReport{
		P50: time.Duration(latency.ValueAtQuantile(50)), P99: time.Duration(latency.ValueAtQuantile(99)),
		Max: time.Duration(latency.Max()),
	}
	return errors.Join(node.Close(), json.NewEncoder(os.Stdout).Encode(r))
}

// enter adds a message to the ledger.
func (l *ledger) enter(msg ringbus.Message, now time.Time) {
	data, seq := msg.Data(), msg.Sequence()
	if l.Begin == 0 {
		l.First, l.Next, l.Begin = seq, seq, now.UnixNano()
	}
	if seq != l.Next || binary.LittleEndian.Uint64(data) != seq {
		l.Wrong++
	}
	l.Next, l.End = seq+1, now.UnixNano()
	l.Lost += msg.Lost()
	l.Bytes += uint64(len(data))
	l.add(sha256.Sum256(data[8:]))
}
