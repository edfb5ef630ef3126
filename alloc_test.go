//go:build !race

package ringbus_test

import (
	"context"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/invariant"
)

// TestNoAllocationsPerMessage is not for race builds: the instrumentation
// allocates. In invariant builds a loan's shadow does; they only run it.
func TestNoAllocationsPerMessage(t *testing.T) {
	ctx := context.Background()
	for _, mode := range []ringbus.Mode{ringbus.Reliable, ringbus.Latest} {
		for _, size := range []int{0, 8, 64, 104, 105, 4 << 10} {
			p := newEnds(t, max(size, 1), mode)
			msg := make([]byte, size)
			msgs := [][]byte{msg, msg, msg, msg}
			send := func() {
				if err := p.pub.Send(msg); err != nil {
					t.Fatal(err)
				}
			}
			loan := func() {
				l, err := p.pub.Loan(size)
				if err != nil {
					t.Fatal(err)
				}
				copy(l.Data(), msg)
				if err := l.Send(); err != nil {
					t.Fatal(err)
				}
			}
			batch := func() {
				if _, err := p.pub.SendBatch(msgs); err != nil {
					t.Fatal(err)
				}
			}
			receive := func() { p.receive(t, ctx) }
			stop, end := context.WithCancel(ctx)
			defer end()
			for _, f := range []struct {
				what string
				run  func()
			}{
				{"Send, Receive, Release", func() { send(); receive() }},
				{"Loan, Send, Receive, Release", func() { loan(); receive() }},
				{"SendBatch, 4 times Receive and Release", func() { batch(); receive(); receive(); receive(); receive() }},
				{"Send, Receive with a context that can end", func() { send(); p.receive(t, stop) }},
			} {
				// Whole laps, so that every slow path that comes once in a lap is in.
				if n := testing.AllocsPerRun(2000, f.run); n != 0 && !invariant.Enabled {
					t.Errorf("mode %d, %d bytes: %s: %v allocations", mode, size, f.what, n)
				}
			}
			// The loop itself may allocate, its turns may not.
			short := testing.AllocsPerRun(10, func() { rangeOver(t, p.sub, send, 10) })
			long := testing.AllocsPerRun(10, func() { rangeOver(t, p.sub, send, 1000) })
			if short != long && !invariant.Enabled {
				t.Errorf("mode %d, %d bytes: Messages: %v allocations in 10 turns, %v in 1000", mode, size, short, long)
			}
		}
	}
}

// rangeOver receives n messages, each sent right before, in one range loop.
func rangeOver(t *testing.T, sub *ringbus.Subscriber, send func(), n int) {
	send()
	for _, err := range sub.Messages(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if n--; n == 0 {
			return
		}
		send()
	}
}
