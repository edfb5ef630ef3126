//go:build invariants && !race

package ringbus_test

import (
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/ringbustest"
)

// Close may come from another goroutine while Send is in the middle of an
// entry. The lane must not be given to a successor, which would write the same
// entry, before that Send is through.
func TestCloseWaitsForTheSendThatIsInside(t *testing.T) {
	bus := ringbustest.New(t)
	node := bus.Node("pub")
	pub, err := node.Publisher("t", nil)
	if err != nil {
		t.Fatal(err)
	}
	inside, goOn := make(chan struct{}), make(chan struct{})
	invariant.SetHook(func(point string) {
		if point == "fanout.P5" {
			close(inside)
			<-goOn
		}
	})
	t.Cleanup(func() { invariant.SetHook(nil) })
	sent, closed := make(chan error, 1), make(chan error, 1)
	go func() { sent <- pub.Send([]byte("half")) }()
	<-inside
	go func() { closed <- pub.Close() }()
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
		if state := laneState(node); state != fanout.LaneOpen {
			t.Fatalf("the lane is in state %d while its publisher writes an entry", state)
		}
	}
	close(goOn)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if state := laneState(node); state != fanout.LaneClosed {
		t.Fatalf("the lane is in state %d after Close", state)
	}
}

// laneState is the state of the only lane of topic t.
func laneState(node *ringbus.Node) int {
	return look(node.Segment(), "t").lanes[0].State
}
