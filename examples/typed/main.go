// Typed sends Go values: no encoding, written and read in the topic's memory.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/typed"
)

// Pose is where a robot is. A pointer, a string or an int in it would be refused.
type Pose struct {
	X, Y, Heading float64
}

func main() {
	node, err := ringbus.Open("demo", nil)
	check(err)
	seen, err := typed.NewSubscriber[Pose](node, "pose", nil)
	check(err)
	poses, err := typed.NewPublisher[Pose](node, "pose", nil)
	check(err)

	pose, err := poses.Loan()
	check(err)
	*pose.Value() = Pose{X: 1.5, Y: 2, Heading: 0.25} // straight into the ring
	check(pose.Send())

	msg, err := seen.Receive(context.Background())
	check(err)
	fmt.Printf("%+v\n", *msg.Value())
	msg.Release()
	check(node.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
