// Zerocopy passes a camera's frames on: they are written into the topic's
// memory, and read there. The two ends may be in two processes.
package main

import (
	"context"
	"crypto/rand" // the camera
	"fmt"
	"io"
	"log"

	"github.com/ringbus/ringbus"
)

const size = 640 * 480 * 3

func film(pub *ringbus.Publisher) error {
	frame, err := pub.Loan(size)
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(rand.Reader, frame.Data()); err != nil {
		frame.Discard()
		return err
	}
	return frame.Send()
}

func main() {
	node, err := ringbus.Open("demo", nil)
	check(err)
	sub, err := node.Subscriber("frames", &ringbus.SubscriberOptions{UntilClose: true})
	check(err)
	pub, err := node.Publisher("frames", &ringbus.PublisherOptions{MaxMessage: size})
	check(err)
	check(film(pub))
	check(film(pub))
	check(pub.Close())
	for frame, err := range sub.Messages(context.Background()) {
		check(err)
		pixels := frame.Data() // valid until the loop turns
		fmt.Printf("frame %d: %d bytes, lost before it: %d\n", frame.Sequence(), len(pixels), frame.Lost())
	}
	check(node.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
