// Ioqueue writes and reads a file through a queue that other processes may share:
// whoever finds nobody at the file does what is queued, its own and the others'.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ioqueue"
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
	q, err := ioqueue.Open(node, "disk", nil) // made by whoever comes first
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "ioqueue-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	disk := ioqueue.NewFile(f)
	if _, err := q.Do(ctx, ioqueue.Op{Code: ioqueue.Write, Offset: 5, Data: []byte("world"), Repeatable: true}, disk); err != nil {
		return err
	}
	ticket, err := q.Submit(ctx, ioqueue.Op{Code: ioqueue.Write, Data: []byte("hello")}) // and somebody will do it
	if err != nil {
		return err
	}
	got := make([]byte, 10)
	n, err := q.Do(ctx, ioqueue.Op{Code: ioqueue.Read, Into: got}, disk) // in this order
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", got[:n])
	_, err = ticket.Wait(ctx)
	return err
}
