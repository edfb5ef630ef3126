package ringbus_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/segment"
)

// kernels is one bus as several kernels see it, with a node of each.
func kernels(t *testing.T, count int, suspect time.Duration) []*ringbus.Node {
	t.Helper()
	b := mem.Alloc(16 << 20)
	var out []*ringbus.Node
	for i := range count {
		s, err := segment.FromBytes(b, &segment.Options{Kernel: uint64(i + 1), SuspectAfter: suspect})
		if err != nil {
			t.Fatal(err)
		}
		n, err := ringbus.Attach(s, &ringbus.Options{Name: fmt.Sprintf("kernel-%d", i+1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(); err != nil && !errors.Is(err, ringbus.ErrFenced) {
				t.Error(err)
			}
			_ = s.Close()
		})
		out = append(out, n)
	}
	return out
}

// Nobody's futex reaches the other kernel: each message is one that a sleeper finds
// by looking. Both sleep at once.
func TestTopicBetweenKernelsThatSleep(t *testing.T) {
	nodes := kernels(t, 2, 0)
	ctx := soon(t)
	sleepy := ringbus.Wait{Spin: -1}
	open := func(n *ringbus.Node, in, out string) (*ringbus.Subscriber, *ringbus.Publisher) {
		sub, err := n.Subscriber(in, &ringbus.SubscriberOptions{Wait: sleepy})
		if err != nil {
			t.Fatal(err)
		}
		pub, err := n.Publisher(out, &ringbus.PublisherOptions{Depth: 4, Wait: sleepy})
		if err != nil {
			t.Fatal(err)
		}
		return sub, pub
	}
	asked, answer := open(nodes[1], "ask", "answer")
	answered, ask := open(nodes[0], "answer", "ask")
	done := make(chan error, 1)
	const rounds = 200
	go func() {
		for range rounds {
			m, err := asked.Receive(ctx)
			if err != nil {
				done <- err
				return
			}
			err = answer.Send(m.Data())
			m.Release()
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range rounds {
		if err := ask.Send(fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
		m, err := answered.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data()) != fmt.Sprint(i) {
			t.Fatalf("round %d: %q", i, m.Data())
		}
		m.Release()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A publisher that waits for room hears of it across kernels, too.
func TestPublisherWaitsForASubscriberOfAnotherKernel(t *testing.T) {
	nodes := kernels(t, 2, 0)
	ctx := soon(t)
	sub, err := nodes[1].Subscriber("t", nil)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := nodes[0].Publisher("t", &ringbus.PublisherOptions{Depth: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.WaitSubscribers(ctx, 1); err != nil {
		t.Fatal(err)
	}
	const count = 100
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < count && err == nil; i++ {
			err = pub.SendContext(ctx, []byte{byte(i)})
		}
		sent <- err
	}()
	for i := range count {
		m, err := sub.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Data()[0] != byte(i) || m.Lost() != 0 {
			t.Fatalf("message %d is %d, lost %d", i, m.Data()[0], m.Lost())
		}
		m.Release()
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestCallsBetweenKernels(t *testing.T) {
	nodes := kernels(t, 2, 0)
	ctx := soon(t)
	service, err := nodes[1].Service("up", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for r, err := range service.Requests(ctx) {
			if err != nil {
				return
			}
			_ = r.Reply(r.Data())
		}
	}()
	client, err := nodes[0].Client("up", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		want := fmt.Sprint(i)
		reply := make([]byte, 8)
		n, err := client.Call(ctx, []byte(want), reply)
		if err != nil || string(reply[:n]) != want {
			t.Fatalf("call %d: %q, %v", i, reply[:n], err)
		}
	}
}
