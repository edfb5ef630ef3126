package typed_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ringbustest"
	"github.com/ringbus/ringbus/typed"
)

func TestServeStreamAndStream(t *testing.T) {
	bus := ringbustest.New(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended, stopped := make(chan error, 1), make(chan error, 1)
	server, node := bus.Node("server"), bus.Node("client")
	ready := make(chan struct{})
	go func() {
		close(ready)
		ended <- typed.ServeStream(ctx, server, "walk", func(ctx context.Context, q *goal, send func(*goal) error) error {
			if q.X < 0 {
				return errors.New("behind us")
			}
			var at goal
			for ; at.X < q.X; at.X++ {
				if err := send(&at); err != nil {
					stopped <- errors.Join(err, ctx.Err())
					return err
				}
			}
			return nil
		})
	}()
	<-ready
	walk, err := typed.NewClient[goal, goal](node, "walk")
	if err != nil {
		t.Fatal(err)
	}
	steps := func(to float64) (n int, err error) {
		for at, err := range walk.Stream(ctx, &goal{X: to}) {
			if err != nil {
				return n, err
			}
			if at.X != float64(n) {
				t.Errorf("step %d is at %v", n, at.X)
			}
			n++
			if n == 100 {
				break
			}
		}
		return n, nil
	}
	n, err := steps(30)
	for errors.Is(err, ringbus.ErrNoService) { // the server is not there yet
		n, err = steps(30)
	}
	if n != 30 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := steps(0); n != 0 || err != nil {
		t.Error(n, err)
	}
	var failed *ringbus.ServiceError
	if n, err := steps(-1); n != 0 || !errors.As(err, &failed) || failed.Text != "behind us" {
		t.Error(n, err)
	}
	if n, err := steps(1e9); n != 100 || err != nil {
		t.Error(n, err)
	}
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("nobody wants more: %v", err)
	}
	if at, err := walk.Call(ctx, &goal{X: 5}); err != nil || at.X != 4 {
		t.Errorf("one reply: %v, %v", at, err)
	}
	if _, err := walk.Call(ctx, &goal{X: 0}); !errors.As(err, &failed) {
		t.Errorf("none: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("serve: %v", err)
	}
}
