//go:build invariants || race

package fanout

import (
	"testing"

	"github.com/ringbus/ringbus/internal/invariant"
)

// A subscriber that finds a new lane before its publisher has looked at the
// claims joins by itself, is held up in the middle of that, and must still get
// the lane's first messages, with which the publisher fills the ring meanwhile.
func TestSubscriberThatJoinsAsTheLaneOpensMissesNothing(t *testing.T) {
	for _, mode := range []Mode{ModeReliable, ModeLatest} {
		r := newRig(t, smallConfig())
		s, err := r.topic.Join(subOwner, mode, 1)
		if err != nil {
			t.Fatal(err)
		}
		// A2: the publisher has made the lane visible and not yet looked at the
		// claims. J2a: the subscriber has its cursor; the publisher goes on.
		visible, joined, sent := make(chan struct{}), make(chan struct{}), make(chan struct{})
		invariant.SetHook(func(point string) {
			switch point {
			case "fanout.A2":
				close(visible)
				<-joined
			case "fanout.J2a":
				close(joined)
				<-sent
			}
		})
		t.Cleanup(func() { invariant.SetHook(nil) })
		var n uint64
		go func() {
			x := r.tx()
			for n < 8 && x.Send(numbered(n, 16), 0) {
				n++
			}
			close(sent)
		}()
		<-visible
		rx, err := OpenRx(s, r.lane, 0, true, r.ring)
		if err != nil {
			t.Fatal(err)
		}
		invariant.SetHook(nil)
		if n != 8 {
			t.Fatalf("the publisher could send %d messages of 8", n)
		}
		sub := &reader{Rx: rx, recs: make([]Record, 1)}
		for want := range n {
			if got, st, err := sub.next(); st != Got || err != nil || got != want {
				t.Fatalf("mode %d: got %d, %v, %v, want %d", mode, got, st, err, want)
			}
		}
	}
}
