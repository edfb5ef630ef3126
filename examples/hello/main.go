// Hello sends itself a message over a bus. Other processes of the same user
// that open the bus "demo" would see it too.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/ringbus/ringbus"
)

func main() {
	if err := hello(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func hello(ctx context.Context) error {
	node, err := ringbus.Open("demo", nil) // made by whoever comes first
	if err != nil {
		return err
	}
	defer node.Close()
	sub, err := node.Subscriber("greetings", nil)
	if err != nil {
		return err
	}
	pub, err := node.Publisher("greetings", nil) // here or in another process
	if err != nil {
		return err
	}
	if err := pub.Send([]byte("hello, world")); err != nil {
		return err
	}
	msg, err := sub.Receive(ctx)
	if err != nil {
		return err
	}
	defer msg.Release()
	fmt.Printf("%s\n", msg.Data())
	return nil
}
