package ringbus_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ringbus/ringbus"
)

// These run both ends on one goroutine: what the instructions cost, without the
// way of a line between two CPUs, which ./bench measures.

// ends is a publisher and a subscriber of one node.
type ends struct {
	pub *ringbus.Publisher
	sub *ringbus.Subscriber
}

// newEnds opens both ends of a topic for messages of up to size bytes. The bus
// is a file, because memory of a test's own is too small.
func newEnds(t testing.TB, size int, mode ringbus.Mode) ends {
	t.Helper()
	node, err := ringbus.Open("pair", options(t.TempDir(), "pair"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() })
	var p ends
	if p.pub, err = node.Publisher("topic", &ringbus.PublisherOptions{MaxMessage: size}); err != nil {
		t.Fatal(err)
	}
	if p.sub, err = node.Subscriber("topic", &ringbus.SubscriberOptions{Mode: mode}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p ends) receive(t testing.TB, ctx context.Context) {
	m, err := p.sub.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m.Release()
}

func BenchmarkSendReceive(b *testing.B) {
	for _, size := range []int{8, 64, 4 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p, msg := newEnds(b, size, ringbus.Reliable), make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if err := p.pub.Send(msg); err != nil {
					b.Fatal(err)
				}
				p.receive(b, context.Background())
			}
		})
	}
}

func BenchmarkLoanReceive(b *testing.B) {
	p := newEnds(b, 4<<10, ringbus.Reliable)
	b.ReportAllocs()
	for b.Loop() {
		loan, err := p.pub.Loan(4 << 10)
		if err != nil {
			b.Fatal(err)
		}
		if err := loan.Send(); err != nil {
			b.Fatal(err)
		}
		p.receive(b, context.Background())
	}
}

// BenchmarkBatchReceive is a batch of 64 sent, then received.
func BenchmarkBatchReceive(b *testing.B) {
	for _, size := range []int{8, 64} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p, msgs := newEnds(b, size, ringbus.Reliable), make([][]byte, 64)
			for i := range msgs {
				msgs[i] = make([]byte, size)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(msgs) * size))
			for b.Loop() {
				if _, err := p.pub.SendBatch(msgs); err != nil {
					b.Fatal(err)
				}
				for range msgs {
					p.receive(b, context.Background())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(msgs)), "ns/msg")
		})
	}
}
