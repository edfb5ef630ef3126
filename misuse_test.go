package ringbus_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/ringbus/ringbus"
)

// pair is a node with a publisher and a subscriber of topic t.
func pair(t *testing.T, hold int) (*ringbus.Node, *ringbus.Publisher, *ringbus.Subscriber) {
	t.Helper()
	n, err := onHeap(t)("node")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	pub, err := n.Publisher("t", small())
	if err != nil {
		t.Fatal(err)
	}
	sub, err := n.Subscriber("t", &ringbus.SubscriberOptions{Hold: hold})
	if err != nil {
		t.Fatal(err)
	}
	return n, pub, sub
}

// received sends a message of size bytes and receives it.
func received(t *testing.T, pub *ringbus.Publisher, sub *ringbus.Subscriber, size int) ringbus.Message {
	t.Helper()
	if err := pub.Send(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	m, err := sub.Receive(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMistakesOfTheCallerPanicInWords(t *testing.T) {
	for _, size := range []int{10, 1000} {
		_, pub, sub := pair(t, 2)
		released := received(t, pub, sub, size)
		released.Release()
		reused := received(t, pub, sub, size) // the same place, another loan
		lent := func() ringbus.Loan {
			l, err := pub.Loan(size)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		sent, dropped := lent(), lent()
		if err := sent.Send(); err != nil {
			t.Fatal(err)
		}
		dropped.Discard()
		open := lent()
		for _, c := range []struct {
			name, want string
			f          func()
		}{
			{"Release twice", "message released twice", released.Release},
			{"Data after Release", "Data of a message that was released", func() { released.Data() }},
			{"Lost after Release", "Lost of a message that was released", func() { released.Lost() }},
			{"Sequence after Release", "Sequence of a message that was released", func() { released.Sequence() }},
			{"Time after Release", "Time of a message that was released", func() { released.Time() }},
			{"Publisher after Release", "Publisher of a message that was released", func() { released.Publisher() }},
			{"Release of nothing", "message that was never received", ringbus.Message{}.Release},
			{"Data of nothing", "Data of a message that was released", func() { ringbus.Message{}.Data() }},
			{"Data of a loan after Send", "Data of a loan that has ended", func() { sent.Data() }},
			{"Truncate after Send", "Truncate of a loan that has ended", func() { sent.Truncate(1) }},
			{"Send twice", "Send of a loan that has ended", func() { _ = sent.Send() }},
			{"Discard after Send", "Discard of a loan that has ended", sent.Discard},
			{"Send after Discard", "Send of a loan that has ended", func() { _ = dropped.Send() }},
			{"Discard twice", "Discard of a loan that has ended", dropped.Discard},
			{"Send of no loan", "Send of a loan that was never made", func() { _ = ringbus.Loan{}.Send() }},
			{"Loan of less than nothing", "Loan of -1 bytes", func() { _, _ = pub.Loan(-1) }},
			{"Truncate to more", "out of range", func() { open.Truncate(size + 1) }},
			{"Select of nothing", "Select of no subscribers", func() { _, _ = ringbus.Select(soon(t)) }},
		} {
			if v := panics(c.f); !strings.Contains(fmt.Sprint(v), c.want) {
				t.Errorf("%s panicked with %v, want %q", c.name, v, c.want)
			}
		}
		reused.Data()
		reused.Release() // which nobody did by mistake
		open.Discard()
		received(t, pub, sub, size).Release() // of the loan that was sent
	}
}

func TestSubscribersOfTwoNodesCannotBeSelected(t *testing.T) {
	_, _, one := pair(t, 1)
	_, _, two := pair(t, 1)
	if v := panics(func() { _, _ = ringbus.Select(soon(t), one, two) }); !strings.Contains(fmt.Sprint(v), "different nodes") {
		t.Errorf("panicked with %v", v)
	}
}

func TestMessagesThatAreTooLargeAreRefused(t *testing.T) {
	_, pub, _ := pair(t, 1)
	big := make([]byte, 1025)
	for what, err := range map[string]error{
		"Send":      pub.Send(big),
		"SendBatch": second(pub.SendBatch([][]byte{nil, big})),
		"Loan":      second(pub.Loan(1025)),
	} {
		var size *ringbus.SizeError
		if !errors.As(err, &size) || *size != (ringbus.SizeError{Topic: "t", Size: 1025, Max: 1024}) {
			t.Errorf("%s: got %v", what, err)
		}
		if !strings.Contains(fmt.Sprint(err), "1025 bytes") || !strings.Contains(fmt.Sprint(err), "1024") {
			t.Errorf("%s: %q does not say both sizes", what, err)
		}
	}
	if pub.Sequence() != 0 {
		t.Errorf("%d messages of a batch with one that is too large were sent", pub.Sequence())
	}
}

// A limit below what fits into the ring anyway is that.
func TestMessagesThatFitIntoTheRingAreNeverTooLarge(t *testing.T) {
	n, _, _ := pair(t, 1)
	pub, err := n.Publisher("tiny", &ringbus.PublisherOptions{MaxMessage: 1})
	if err != nil {
		t.Fatal(err)
	}
	if pub.MaxMessage() != 104 {
		t.Errorf("messages of up to %d bytes", pub.MaxMessage())
	}
	if err := pub.Send(make([]byte, 104)); err != nil {
		t.Error(err)
	}
	var size *ringbus.SizeError
	if err := pub.Send(make([]byte, 105)); !errors.As(err, &size) || size.Max != 104 {
		t.Errorf("got %v", err)
	}
}

func TestNamesAndOptionsAreChecked(t *testing.T) {
	n, _, _ := pair(t, 1)
	for _, name := range []string{"", "a b", "ä", "a\x00", "a:b", strings.Repeat("a", 129)} {
		if _, err := n.Publisher(name, nil); err == nil || !strings.Contains(err.Error(), "name") {
			t.Errorf("publisher on %q: %v", name, err)
		}
		if _, err := n.Subscriber(name, nil); err == nil || !strings.Contains(err.Error(), "name") {
			t.Errorf("subscriber of %q: %v", name, err)
		}
		if err := n.Remove(name); err == nil {
			t.Errorf("%q was removed", name)
		}
	}
	if err := n.Remove("nobody/knows.it_at-all"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for field, o := range map[string]ringbus.PublisherOptions{
		"depth": {Depth: -1}, "max-message": {MaxMessage: -1}, "history": {History: -1}, "holds": {Holds: -1}, "loans": {Loans: -1},
		"depth ": {Depth: 1<<20 + 1}, "max-message ": {MaxMessage: 1<<30 + 1}, "holds ": {Holds: 512}, "loans ": {Loans: 256},
	} {
		if _, err := n.Publisher("new", &o); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(field)) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []ringbus.SubscriberOptions{{Hold: 17}, {Hold: -1}, {History: -1}, {Mode: 3}, {Mode: -1}} {
		if _, err := n.Subscriber("t", &o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestClosedNodeRefusesAll(t *testing.T) {
	n, pub, sub := pair(t, 1)
	m := received(t, pub, sub, 1000)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	_, pubErr := n.Publisher("t", nil)
	_, subErr := n.Subscriber("t", nil)
	for what, err := range map[string]error{
		"Publisher": pubErr, "Subscriber": subErr, "Send": pub.Send(nil),
		"Receive": second(sub.Receive(soon(t))), "Recover": second(n.Recover()), "Remove": n.Remove("t"),
		"WaitSubscribers": pub.WaitSubscribers(soon(t), 1),
	} {
		if !closed(err) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if panics(func() { m.Data() }) == nil {
		t.Error("the loan outlived its node")
	}
}

// What failed must leave nothing behind: as often as one likes.
func TestRefusalsLeakNothing(t *testing.T) {
	n, pub, sub := pair(t, 1)
	before := n.Segment().Usage()
	for range 300 {
		if _, err := n.Publisher("t", &ringbus.PublisherOptions{Depth: 64}); err == nil {
			t.Fatal("a depth of 64 was accepted")
		}
		if _, err := n.Subscriber("t", &ringbus.SubscriberOptions{Hold: 17}); err == nil {
			t.Fatal("17 holds were accepted")
		}
		other, err := n.Subscriber("t", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := n.Segment().Usage(); after != before {
		t.Errorf("%+v became %+v", before, after)
	}
	if n := pub.Subscribers(); n != 1 {
		t.Errorf("%d subscribers are left", n)
	}
	received(t, pub, sub, 1000).Release()
}

// A node may be closed while other goroutines open things on it.
func TestNodeIsClosedWhileItOpens(t *testing.T) {
	open := onHeap(t)
	keeper, err := open("keeper")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		n, err := open("node")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 4)
		for i := range 4 {
			go func() {
				var err error
				for err == nil {
					if i%2 == 0 {
						_, err = n.Publisher(fmt.Sprintf("t/%d", i), &ringbus.PublisherOptions{Depth: 2, MaxMessage: 200})
					} else {
						_, err = n.Subscriber(fmt.Sprintf("t/%d", i-1), nil)
					}
					if errors.Is(err, ringbus.ErrTooManyPublishers) || errors.Is(err, ringbus.ErrTooManySubscribers) {
						err = nil
					}
				}
				ended <- err
			}()
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if err := <-ended; !closed(err) {
				t.Fatalf("ended by %v", err)
			}
		}
	}
	for _, p := range keeper.Segment().Verify() {
		t.Error(p)
	}
	for _, topic := range []string{"t/0", "t/2"} { // nothing is open any more
		if err := keeper.Remove(topic); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	if err := keeper.Close(); err != nil {
		t.Error(err)
	}
}
