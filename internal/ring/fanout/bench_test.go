package fanout

import (
	"fmt"
	"testing"
)

// These run both ends on one goroutine: what the instructions cost, without the
// way of a line between two CPUs, which ./bench measures.

// benchSizes are: in one line of an entry, in both, in a descriptor.
var benchSizes = []int{8, 64, 4 << 10}

func benchConfig(size int) Config {
	return Config{Depth: 256, MaxMessage: size, Holds: 12, Loans: 2}
}

func BenchmarkSend(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			x := newRig(b, benchConfig(size)).tx()
			msg := make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				x.Send(msg, 0)
			}
		})
	}
}

func BenchmarkSendLoan(b *testing.B) {
	x := newRig(b, benchConfig(4<<10)).tx()
	b.ReportAllocs()
	for b.Loop() {
		d, _, ok := x.Loan()
		if !ok || !x.SendLoan(d, 4<<10, 0) {
			b.Fatal("no loan or no room")
		}
	}
}

// BenchmarkReceive is a burst sent and then received.
func BenchmarkReceive(b *testing.B) {
	const burst = 128
	for _, mode := range []Mode{ModeReliable, ModeLatest} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%v/%d", mode, size), func(b *testing.B) {
				r := newRig(b, benchConfig(size))
				x, sub := r.tx(), r.rx(mode, 1, 0)
				msgs := make([][]byte, burst)
				for i := range msgs {
					msgs[i] = make([]byte, size)
				}
				b.ReportAllocs()
				b.SetBytes(burst * int64(size))
				for b.Loop() {
					for sent := 0; sent < burst; {
						sent += x.SendBatch(msgs[sent:], 0)
					}
					rec := &sub.recs[0]
					for range burst {
						if st := sub.Poll(rec); st != Got {
							b.Fatal(st)
						}
						sub.Released(rec.Pos)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/msg")
			})
		}
	}
}
