package typed_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ringbustest"
	"github.com/ringbus/ringbus/typed"
)

type pose struct {
	X, Y, Z float64
	Frame   [16]byte
	Seq     uint32
}

type big struct {
	Head pose
	Body [4096]int32
}

func TestValuesArriveAsTheyWereSent(t *testing.T) {
	bus := ringbustest.New(t)
	sub, err := typed.NewSubscriber[pose](bus.Node("sub"), "pose", nil)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := typed.NewPublisher[pose](bus.Node("pub"), "pose", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		l, err := pub.Loan()
		if err != nil {
			t.Fatal(err)
		}
		if *l.Value() != (pose{}) {
			t.Fatalf("a loan is not zero: %+v", *l.Value())
		}
		l.Value().X, l.Value().Seq = float64(i)/2, uint32(i)
		if err := l.Send(); err != nil {
			t.Fatal(err)
		}
		m, err := sub.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v := *m.Value(); v != (pose{X: float64(i) / 2, Seq: uint32(i)}) {
			t.Fatalf("got %+v", v)
		}
		m.Release()
	}
}

func TestLargeValuesAreLentInPlace(t *testing.T) {
	bus := ringbustest.New(t)
	sub, err := typed.NewSubscriber[big](bus.Node("sub"), "big", nil)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := typed.NewPublisher[big](bus.Node("pub"), "big", &ringbus.PublisherOptions{Depth: 4})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := range int32(50) {
			v := &big{}
			for k := range v.Body {
				v.Body[k] = i
			}
			if err := pub.Send(v); err != nil {
				panic(err)
			}
		}
	}()
	want := int32(0)
	for m, err := range sub.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range m.Value().Body {
			if n != want {
				t.Fatalf("value %d has %d in it", want, n)
			}
		}
		if want++; want == 50 {
			break
		}
	}
}

type inner struct{ Tags []string }

func TestTypesWithPointersAreRefusedByField(t *testing.T) {
	node := ringbustest.New(t).Node("n")
	for _, c := range []struct {
		try   func() error
		field string
	}{
		{func() error { return refuse[struct{ Name string }](node) }, "Name"},
		{func() error { return refuse[struct{ A [3]inner }](node) }, "A[].Tags"},
		{func() error { return refuse[struct{ P *int32 }](node) }, "P"},
		{func() error { return refuse[struct{ N int }](node) }, "N"},
		{func() error { return refuse[struct{ M map[int32]bool }](node) }, "M"},
		{func() error { return refuse[struct{ F func() }](node) }, "F"},
		{func() error { return refuse[string](node) }, ""},
	} {
		err := c.try()
		var te *typed.TypeError
		if !errors.As(err, &te) || te.Field != c.field || !strings.Contains(fmt.Sprint(err), c.field) {
			t.Errorf("want a refusal of field %q, got %v", c.field, err)
		}
	}
}

func refuse[T any](n *ringbus.Node) error {
	_, err := typed.NewPublisher[T](n, "refused", nil)
	return err
}

func TestAnotherLayoutIsAMismatch(t *testing.T) {
	bus := ringbustest.New(t)
	if _, err := typed.NewPublisher[pose](bus.Node("pub"), "pose", nil); err != nil {
		t.Fatal(err)
	}
	type otherPose struct {
		X, Y, Z float64
		Frame   [16]byte
		Count   uint32
	}
	_, err := typed.NewSubscriber[otherPose](bus.Node("sub"), "pose", nil)
	var mismatch *ringbus.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Field != "type" {
		t.Fatalf("got %v", err)
	}
}

func TestAMessageOfAnotherSizeIsAnError(t *testing.T) {
	bus := ringbustest.New(t)
	sub, err := typed.NewSubscriber[pose](bus.Node("sub"), "pose", nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := bus.Node("raw").Publisher("pose", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Send([]byte("not a pose")); err != nil {
		t.Fatal(err)
	}
	_, err = sub.Receive(t.Context())
	var size *typed.SizeError
	if !errors.As(err, &size) || size.Have != 10 {
		t.Fatalf("got %v", err)
	}
}
