package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// result is what the demo proves.
type result struct {
	Source    string   `json:"source"`
	Files     int      `json:"files"`
	Rounds    int      `json:"rounds"`
	Messages  uint64   `json:"messages"`
	Seconds   float64  `json:"seconds"`
	Processes []line   `json:"processes"`
	Doctor    *health  `json:"doctor"`
	Wrong     []string `json:"wrong"` // nothing, if all is well
}

// line is one life of one process.
type line struct {
	Name     string        `json:"name"`
	Killed   bool          `json:"killed"`
	First    uint64        `json:"first"` // sequence of its first message
	Messages uint64        `json:"messages"`
	Bytes    uint64        `json:"bytes"`
	GBs      float64       `json:"gb_per_second"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	Lost     uint64        `json:"lost"`
	Right    bool          `json:"sha256_ok"`
	Note     string        `json:"note,omitempty"`
}

func (p *play) result() *result {
	r := &result{
		Source: p.tree.root, Files: len(p.tree.names), Rounds: p.rounds, Messages: p.total,
		Seconds: p.took.Seconds(), Wrong: append([]string{}, p.wrong...),
	}
	r.publisher(p)
	for _, a := range p.readers {
		r.reader(p, a)
	}
	h, err := (&global{bus: "demo", dir: p.dir, name: "doctor"}).examine("", false)
	if err != nil {
		r.fail("doctor: %v", err)
	} else {
		r.Doctor = h
		for _, w := range h.Found {
			r.fail("doctor found %v", w)
		}
		for _, n := range h.Dead {
			r.fail("doctor found node %d %q dead and not recovered", n.Slot, n.Name)
		}
	}
	return r
}

func (r *result) fail(format string, args ...any) {
	r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...))
}

// publisher adds the lines of the publisher's lives. What a killed one sent
// follows from where its successor went on.
func (r *result) publisher(p *play) {
	from := p.total
	for i := len(p.publisher.lives) - 1; i >= 0; i-- {
		l := p.publisher.lives[i]
		n := line{Name: p.publisher.name, Killed: l.killed, Right: true}
		if !l.killed {
			var rep pubReport
			if err := json.Unmarshal(l.out.Bytes(), &rep); err != nil {
				r.fail("%s said %q", n.Name, l.out.String())
				return
			}
			n.First = rep.First
			if i > 0 {
				n.Note = fmt.Sprintf("went on with message %d", rep.First)
			}
			if rep.Next != p.total || i > 0 && rep.First == 0 {
				r.fail("the publisher sent messages %d to %d of %d", rep.First, rep.Next, p.total)
			}
		} else {
			n.Note = "killed"
		}
		n.Messages, from = from-n.First, n.First
		n.Bytes = p.tree.sent(n.First, n.First+n.Messages)
		n.GBs = float64(p.tree.sent(0, p.total)) / p.took.Seconds() / 1e9
		r.Processes = append([]line{n}, r.Processes...)
	}
}

// sent is the number of bytes of messages first to next-1.
func (t *tree) sent(first, next uint64) uint64 {
	n := uint64(len(t.sizes))
	total := (next/n - first/n) * uint64(t.bytes)
	for i := range first % n {
		total -= uint64(t.sizes[i])
	}
	for i := range next % n {
		total += uint64(t.sizes[i])
	}
	return total
}

// reader adds the lines of a reader's lives, and says what is wrong with them.
func (r *result) reader(p *play, a *actor) {
	before := uint64(0)
	for i, l := range a.lives {
		g, err := readLedger(l.ledger)
		if err != nil {
			r.fail("%s: %v", a.name, err)
			return
		}
		n := line{Name: a.name, Killed: l.killed, First: g.First, Messages: g.Messages(), Bytes: g.Bytes, Lost: g.Lost, Right: g.right(p.tree)}
		if s := time.Duration(g.End - g.Begin).Seconds(); s > 0 {
			n.GBs = float64(g.Bytes) / s / 1e9
		}
		switch {
		case l.killed:
			n.Note = "killed"
		case i == 0 && (g.First != 0 || g.Next != p.total):
			r.fail("%s received messages %d to %d of %d", n.Name, g.First, g.Next, p.total)
		case g.Next != p.total:
			r.fail("%s, started again, received messages up to %d of %d", n.Name, g.Next, p.total)
		case i > 0 && g.First > before:
			n.Note = fmt.Sprintf("back with message %d, missed %d while it was dead", g.First, g.First-before)
		case i > 0:
			n.Note = fmt.Sprintf("back with message %d, missed none (%d of them again)", g.First, before-g.First)
		}
		if !l.killed {
			var rep subReport
			if err := json.Unmarshal(l.out.Bytes(), &rep); err != nil {
				r.fail("%s said %q", n.Name, l.out.String())
			}
			n.P50, n.P99 = rep.P50, rep.P99
		}
		if g.Lost > 0 {
			r.fail("%s, which is reliable, lost %d messages", n.Name, g.Lost)
		}
		if !n.Right {
			r.fail("what %s received is not what the files have (%d messages out of place; did a file change meanwhile?)", n.Name, g.Wrong)
		}
		before = g.Next
		r.Processes = append(r.Processes, n)
	}
}

func (r *result) print() error {
	fmt.Printf("%d files of %s, %d times: %d messages in %.1f s\n\n", r.Files, r.Source, r.Rounds, r.Messages, r.Seconds)
	err := table(os.Stdout, "PROCESS\tMESSAGES\tBYTES\tGB/S\tP50\tP99\tLOST\tSHA-256\t", func(w io.Writer) {
		for _, n := range r.Processes {
			p50, p99, lost, right := "-", "-", "-", "-"
			if n.P50 > 0 {
				p50, p99 = short(n.P50), short(n.P99)
			}
			if strings.HasPrefix(n.Name, "reader") {
				lost, right = fmt.Sprint(n.Lost), "the same"
				if !n.Right {
					right = "DIFFERENT"
				}
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%.2f\t%s\t%s\t%s\t%s\t%s\n", n.Name, n.Messages, human(n.Bytes), n.GBs, p50, p99, lost, right, n.Note)
		}
	})
	fmt.Print("\nLatency is from send to receive, and so has the time in the queue, which is\nas full as the slowest reader makes it.\n")
	for _, w := range r.Wrong {
		fmt.Printf("WRONG: %s\n", w)
	}
	if len(r.Wrong) == 0 {
		fmt.Println("Nobody who lived lost anything; doctor: clean; all is removed.")
	}
	return err
}

// short writes a latency with three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return d.String()
	case d < time.Millisecond:
		return fmt.Sprintf("%.3gµs", float64(d)/1e3)
	}
	return fmt.Sprintf("%.3gms", float64(d)/1e6)
}
