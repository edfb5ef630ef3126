package typed_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ringbustest"
	"github.com/ringbus/ringbus/typed"
)

type goal struct {
	X, Y float64
}

type path struct {
	Points [4]goal
	Len    int32
	_      [4]byte
}

func TestServeAndCall(t *testing.T) {
	bus := ringbustest.New(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := bus.Node("server")
	go func() {
		ended <- typed.Serve(ctx, server, "plan", func(q *goal, p *path) error {
			if q.X < 0 {
				return errors.New("behind us")
			}
			p.Points[0], p.Len = *q, p.Len+1
			return nil
		})
	}()
	node := bus.Node("client")
	plan, err := typed.NewClient[goal, path](node, "plan")
	if err != nil {
		t.Fatal(err)
	}
	var got *path
	for deadline := time.Now().Add(30 * time.Second); ; {
		got, err = plan.Call(ctx, &goal{3, 4})
		if !errors.Is(err, ringbus.ErrNoService) || time.Now().After(deadline) {
			break // the server is there
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil || got.Len != 1 || got.Points[0] != (goal{3, 4}) {
		t.Fatalf("%+v, %v", got, err)
	}
	var p path
	for range 3 {
		if err := plan.CallInto(ctx, &goal{5, 6}, &p); err != nil || p.Len != 1 || p.Points[0].Y != 6 {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	var failed *ringbus.ServiceError
	if _, err := plan.Call(ctx, &goal{-1, 0}); !errors.As(err, &failed) || failed.Text != "behind us" {
		t.Errorf("failed: %v", err)
	}
	var mismatch *ringbus.ServiceMismatchError
	if _, err := typed.NewClient[goal, goal](node, "plan"); !errors.As(err, &mismatch) {
		t.Errorf("another reply: %v", err)
	}
	if _, err := typed.NewClient[[3]float64, path](node, "plan"); !errors.As(err, &mismatch) {
		t.Errorf("another request: %v", err)
	}
	type same struct{ A, B int64 }
	if _, err := typed.NewClient[same, path](node, "plan"); !errors.As(err, &mismatch) || mismatch.Field != "request type" {
		t.Errorf("a request of the same size: %v", err)
	}
	if _, err := typed.NewClient[string, path](node, "plan"); err == nil {
		t.Error("a string as a request")
	}
	if err := typed.Serve(ctx, node, "plan", func(*goal, *map[int]int) error { return nil }); err == nil {
		t.Error("a map as a reply")
	}
	if plan.Client().Name() != "plan" {
		t.Error(plan.Client().Name())
	}
	if err := plan.Close(); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("serve: %v", err)
	}
}
