// Calls serves a service, and calls it. Request and reply are Go values in shared
// memory; other processes can serve it too, and share the calls.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"runtime"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/typed"
)

// Goal is where to go, Path how to get there.
type Goal struct{ X, Y float64 }

// Path is a list of points.
type Path struct {
	Points [8]Goal
	Len    int64
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	node, err := ringbus.Open("demo", nil)
	if err != nil {
		return err
	}
	defer node.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		done <- typed.Serve(ctx, node, "plan", func(goal *Goal, path *Path) error {
			path.Points[0], path.Len = *goal, 1
			return nil
		})
	}()
	plan, err := typed.NewClient[Goal, Path](node, "plan")
	if err != nil {
		return err
	}
	path, err := plan.Call(ctx, &Goal{X: 3, Y: 4})
	for errors.Is(err, ringbus.ErrNoService) { // not yet: an error at once
		runtime.Gosched()
		path, err = plan.Call(ctx, &Goal{X: 3, Y: 4})
	}
	if err != nil {
		return err
	}
	fmt.Printf("%+v\n", path.Points[:path.Len])
	stop()
	<-done // the context's error
	return nil
}
