//go:build invariants || race

package ringbus_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
)

// In these builds a slice that is kept beyond its loan shows it.

func TestEndedLoansArePoisoned(t *testing.T) {
	poison := bytes.Repeat([]byte{0xDB}, 1000)
	for _, size := range []int{10, 1000} {
		_, pub, sub := pair(t, 1)
		m := received(t, pub, sub, size)
		kept := m.Data()
		if !bytes.Equal(kept, make([]byte, size)) {
			t.Errorf("the message is %x", kept)
		}
		m.Release()
		if !bytes.Equal(kept, poison[:size]) {
			t.Errorf("a released message of %d bytes reads %x", size, kept)
		}
		l, err := pub.Loan(size)
		if err != nil {
			t.Fatal(err)
		}
		mine := l.Data()
		l.Discard()
		if !bytes.Equal(mine, poison[:size]) {
			t.Errorf("a discarded loan of %d bytes reads %x", size, mine)
		}
	}
}

func TestTwoGoroutinesInOneEndpointPanic(t *testing.T) {
	n, pub, sub := pair(t, 1)
	ctx, cancel := context.WithCancel(soon(t))
	for range pub.Depth() {
		if err := pub.Send(nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Publisher("idle", nil); err != nil {
		t.Fatal(err)
	}
	idle, err := n.Subscriber("idle", nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- pub.SendContext(ctx, nil) }()
	go func() { ended <- second(idle.Receive(ctx)) }()
	until(t, "both sleep", func() bool {
		subs, _ := sleepers(n.Segment(), "idle")
		_, pubs := sleepers(n.Segment(), "t")
		return subs == 1 && pubs == 1
	})
	for what, f := range map[string]func(){
		"Publisher":  func() { _, _ = pub.Loan(1) },
		"Subscriber": func() { _, _, _ = idle.TryReceive() },
	} {
		if v := panics(f); !strings.Contains(fmt.Sprint(v), what+" used by two goroutines at once") {
			t.Errorf("%s panicked with %v", what, v)
		}
	}
	cancel()
	<-ended
	<-ended
	for m, err := range sub.Messages(soon(t)) { // which was used by one only
		if err != nil {
			t.Fatal(err)
		}
		if m.Sequence() == uint64(pub.Depth())-1 {
			break
		}
	}
}
