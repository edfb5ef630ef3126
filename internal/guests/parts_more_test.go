//go:build !race

package guests

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ioqueue"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/stream"
)

func init() {
	maps.Copy(parts, map[string]part{
		"calls.until": callsUntil, "queue.until": queueUntil, "stream.until": streamUntil, "noise": noise,
	})
}

// callsUntil makes calls until the server has gone.
func callsUntil(p *player) (string, error) {
	c, err := p.node.Client(p.Name, nil)
	if err != nil {
		return "", err
	}
	defer c.Close()
	for i := 0; ; i++ {
		_, err := c.Call(p.ctx, []byte("call"), make([]byte, 32))
		switch {
		case errors.Is(err, ringbus.ErrPeerDied), errors.Is(err, ringbus.ErrNoService) && i > 0:
			return "", nil
		case err != nil:
			return "", fmt.Errorf("call %d: %w", i, err)
		case i == 0:
			p.say("once")
		}
		time.Sleep(time.Millisecond)
	}
}

// queueUntil submits ops until their executor is gone and one is interrupted, or
// this submitter has become the one who would execute.
func queueUntil(p *player) (string, error) {
	q, err := ioqueue.Open(p.node, p.Name, &ioqueue.Options{Depth: 16, MaxData: 256})
	if err != nil {
		return "", err
	}
	defer q.Close()
	for i := 0; ; i++ {
		ctx, cancel := context.WithTimeout(p.ctx, 15*time.Second)
		ticket, err := q.Submit(ctx, ioqueue.Op{Code: 100, Data: []byte("op")})
		if err == nil {
			_, err = ticket.Wait(ctx)
		}
		cancel()
		switch {
		case errors.Is(err, ioqueue.ErrInterrupted), errors.Is(err, ioqueue.ErrSuspect):
			return "interrupted", nil
		case errors.Is(err, context.DeadlineExceeded) && i > 0:
			ticket.Cancel()
			return "nobody executes", nil
		case err != nil:
			return "", fmt.Errorf("op %d: %w", i, err)
		case i == 0:
			p.say("once")
		}
		time.Sleep(time.Millisecond)
	}
}

// streamUntil speaks on a connection until the other end is gone.
func streamUntil(p *player) (string, error) {
	c, err := stream.Dial(p.ctx, p.node, p.Name)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	for i := 0; ; i++ {
		var b [64]byte
		_, err := c.Write(b[:])
		if err == nil {
			_, err = c.Read(b[:])
		}
		switch {
		case err != nil && i > 0 && !errors.Is(err, context.DeadlineExceeded) && p.ctx.Err() == nil:
			return err.Error(), nil
		case err != nil:
			return "", err
		case i == 0:
			p.say("once")
		}
		time.Sleep(time.Millisecond)
	}
}

// noise uses every pattern for N milliseconds, whatever becomes of that, and says
// how often each one failed.
func noise(p *player) (string, error) {
	failed := map[string]int{}
	uses := map[string]func(context.Context, *player) error{
		"topic": noisyTopic, "journal": noisyJournal, "call": noisyCall, "stream": noisyStream, "queue": noisyQueue,
	}
	end := time.Now().Add(time.Duration(p.N) * time.Millisecond)
	for i := 0; time.Now().Before(end); i++ {
		for name, use := range uses {
			ctx, cancel := context.WithTimeout(p.ctx, 50*time.Millisecond)
			if use(ctx, p) != nil {
				failed[name]++
			}
			cancel()
		}
		if i == 0 {
			p.say("once")
		}
	}
	var out string
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		out += fmt.Sprintf("%s failed %d times; ", name, failed[name])
	}
	return out, nil
}

func noisyTopic(ctx context.Context, p *player) error {
	pub, err := p.node.Publisher(p.Name, &ringbus.PublisherOptions{Depth: 16, MaxMessage: 32 << 10})
	if err != nil {
		return err
	}
	defer pub.Close()
	sub, err := p.node.Subscriber(p.Name, &ringbus.SubscriberOptions{History: 4})
	if err != nil {
		return err
	}
	defer sub.Close()
	for i := range 20 {
		if err := pub.SendContext(ctx, message(i)); err != nil {
			return err
		}
		m, err := sub.Receive(ctx)
		if err != nil {
			return err
		}
		m.Release()
	}
	return nil
}

func noisyJournal(ctx context.Context, p *player) error {
	w, err := journal.NewWriter(p.node, p.Name, &journal.Options{Size: 1 << 18})
	if err != nil {
		return err
	}
	defer w.Close()
	r, err := journal.NewReader(p.node, p.Name, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	for range 20 {
		if _, err := w.Append(ctx, make([]byte, 300), nil); err != nil {
			return err
		}
		if _, _, err := r.TryRead(); err != nil {
			return err
		}
	}
	return nil
}

func noisyCall(ctx context.Context, p *player) error {
	c, err := p.node.Client(p.Name, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := p.node.Service(p.Name, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	go func() {
		for r, err := range s.Requests(ctx) {
			if err != nil {
				return
			}
			_ = r.Reply(r.Data())
		}
	}()
	for range 5 {
		if _, err := c.Call(ctx, []byte("call"), make([]byte, 64)); err != nil {
			return err
		}
	}
	return nil
}

func noisyStream(ctx context.Context, p *player) error {
	w, err := stream.NewWriter(p.node, p.Name+"/"+p.node.Name(), &stream.Options{Size: 1 << 16})
	if err != nil {
		return err
	}
	defer w.Close()
	r, err := stream.NewReader(p.node, p.Name+"/"+p.node.Name(), nil)
	if err != nil {
		return err
	}
	defer r.Close()
	for range 10 {
		if err := w.Send(ctx, make([]byte, 500)); err != nil {
			return err
		}
		if _, err := r.Receive(ctx); err != nil {
			return err
		}
	}
	return nil
}

func noisyQueue(ctx context.Context, p *player) error {
	q, err := ioqueue.Open(p.node, p.Name, &ioqueue.Options{Depth: 16, MaxData: 256})
	if err != nil {
		return err
	}
	defer q.Close()
	dev := ioqueue.DeviceFunc(func(ops []ioqueue.Request) {
		for i := range ops {
			ops[i].Complete(0)
		}
	})
	for range 10 {
		if _, err := q.Do(ctx, ioqueue.Op{Code: 100, Data: []byte("op")}, dev); err != nil {
			return err
		}
	}
	return nil
}
