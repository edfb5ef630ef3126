//go:build !race

package guests

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/ringbus/ringbus/ioqueue"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/stream"
)

// journalAppend appends N records.
func journalAppend(p *player) (string, error) {
	w, err := journal.NewWriter(p.node, p.Name, &journal.Options{Size: 1 << 20})
	if err != nil {
		return "", err
	}
	defer w.Close()
	for i := range p.N {
		if _, err := w.Append(p.ctx, fmt.Appendf(nil, "%s %d", p.node.Name(), i), nil); err != nil {
			return "", fmt.Errorf("record %d: %w", i, err)
		}
	}
	return "", nil
}

// journalRead reads N records of two writers, each one's in order, and returns a
// checksum of the order of all.
func journalRead(p *player) (string, error) {
	r, err := journal.NewReader(p.node, p.Name, nil)
	if err != nil {
		return "", err
	}
	defer r.Close()
	next := map[string]int{}
	order := crc32.NewIEEE()
	n := 0
	for rec, err := range r.Tail(p.ctx) {
		if err != nil {
			return "", fmt.Errorf("record %d: %w", n, err)
		}
		if want := fmt.Sprintf("%s %d", rec.Writer, next[rec.Writer]); string(rec.Data) != want || rec.Sequence != uint64(n) {
			return "", fmt.Errorf("record %d (sequence %d) is %q, want %q", n, rec.Sequence, rec.Data, want)
		}
		next[rec.Writer]++
		_, _ = order.Write(rec.Data)
		if n++; n == p.N {
			break
		}
	}
	return fmt.Sprintf("%d writers, order %#x", len(next), order.Sum32()), nil
}

// streamServe accepts one connection and sends back what it gets.
func streamServe(p *player) (string, error) {
	l, err := stream.Listen(p.node, p.Name)
	if err != nil {
		return "", err
	}
	defer l.Close()
	p.say("listening")
	c, err := l.Accept()
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	n, err := io.Copy(c, c)
	if err == nil && n != int64(p.N) {
		err = fmt.Errorf("%d bytes came, want %d", n, p.N)
	}
	return "", err
}

// streamDial sends N bytes and wants them back.
func streamDial(p *player) (string, error) {
	c, err := stream.Dial(p.ctx, p.node, p.Name)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	sent := make([]byte, p.N)
	_, _ = rand.Read(sent)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		failed <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err = errors.Join(err, <-failed); err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("%d bytes came back, and not those %d that were sent", len(got), len(sent))
	}
	return "", err
}

// queueExecute carries out N ops: it answers each with its data, upper case.
func queueExecute(p *player) (string, error) {
	q, err := ioqueue.Open(p.node, p.Name, &ioqueue.Options{Depth: 16, MaxData: 256})
	if err != nil {
		return "", err
	}
	defer q.Close()
	p.say("executing")
	done := 0
	for r, err := range q.Ops(p.ctx) {
		if err != nil {
			return "", fmt.Errorf("op %d: %w", done, err)
		}
		n := copy(r.Into, bytes.ToUpper(r.Data))
		r.Complete(int32(n))
		if done++; done == p.N {
			break
		}
	}
	return "", nil
}

// queueSubmit submits N ops.
func queueSubmit(p *player) (string, error) {
	q, err := ioqueue.Open(p.node, p.Name, &ioqueue.Options{Depth: 16, MaxData: 256})
	if err != nil {
		return "", err
	}
	defer q.Close()
	for i := range p.N {
		into := make([]byte, 32)
		ticket, err := q.Submit(p.ctx, ioqueue.Op{Code: 100, Data: fmt.Appendf(nil, "op %d", i), Into: into})
		if err != nil {
			return "", fmt.Errorf("submit op %d: %w", i, err)
		}
		n, err := ticket.Wait(p.ctx)
		if want := fmt.Sprintf("OP %d", i); err != nil || n != len(want) || string(into[:n]) != want {
			return "", fmt.Errorf("op %d returned %d, %q (%w)", i, n, into[:max(0, min(n, 32))], err)
		}
	}
	return "", nil
}

// callsServe answers N calls.
func callsServe(p *player) (string, error) {
	s, err := p.node.Service(p.Name, nil)
	if err != nil {
		return "", err
	}
	defer s.Close()
	p.say("serving")
	done := 0
	for r, err := range s.Requests(p.ctx) {
		if err != nil {
			return "", fmt.Errorf("request %d: %w", done, err)
		}
		if err := r.Reply(bytes.ToUpper(r.Data())); err != nil {
			return "", err
		}
		if done++; done == p.N {
			break
		}
	}
	return "", nil
}

// callsCall makes N calls.
func callsCall(p *player) (string, error) {
	c, err := p.node.Client(p.Name, nil)
	if err != nil {
		return "", err
	}
	defer c.Close()
	for i := range p.N {
		b := make([]byte, 32)
		n, err := c.Call(p.ctx, fmt.Appendf(nil, "call %d", i), b)
		if want := fmt.Sprintf("CALL %d", i); err != nil || string(b[:n]) != want {
			return "", fmt.Errorf("call %d returned %q (%w)", i, b[:n], err)
		}
	}
	return "", nil
}

// busGarble writes random bytes over all of the bus, N times, from its end to its
// beginning, so that what is found last is what everybody looks at first.
func busGarble(p *player) (string, error) {
	b := p.node.Segment().Bytes()
	for range p.N {
		for at := len(b) - 4096; at >= 0; at -= 4096 {
			if p.ctx.Err() != nil {
				return "", p.ctx.Err()
			}
			_, _ = rand.Read(b[at : at+4096])
		}
		p.say("garbled")
	}
	return "", nil
}
