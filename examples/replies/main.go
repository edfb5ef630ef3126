// Replies asks a service for several replies to one request, and leaves when it has
// enough; the server hears of that. Other processes can serve it too.
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

// From is where to begin to count, Number what comes back.
type (
	From   struct{ N int64 }
	Number struct{ N int64 }
)

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
	done := make(chan error, 1)
	go func() {
		done <- typed.ServeStream(ctx, node, "count", func(ctx context.Context, from *From, send func(*Number) error) error {
			for n := from.N; ; n++ {
				if err := send(&Number{n}); err != nil {
					return err // nobody wants more
				}
			}
		})
	}()
	defer func() {
		stop()
		<-done // the context's error
	}()
	count, err := typed.NewClient[From, Number](node, "count")
	if err != nil {
		return err
	}
	for {
		err := first(ctx, count, 3)
		if !errors.Is(err, ringbus.ErrNoService) { // not yet: an error at once
			return err
		}
		runtime.Gosched()
	}
}

// first prints the first so many numbers.
func first(ctx context.Context, count *typed.Client[From, Number], n int) error {
	for number, err := range count.Stream(ctx, &From{N: 40}) {
		if err != nil {
			return err
		}
		fmt.Println(number.N)
		if n--; n == 0 {
			break
		}
	}
	return nil
}
