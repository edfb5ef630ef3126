package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ringbustest"
	"github.com/ringbus/ringbus/stream"
)

func TestAWriterHearsOfEachReaderOfAGroup(t *testing.T) {
	bus := ringbustest.New(t)
	w, err := stream.NewWriter(bus.Node("writer"), "s", &stream.Options{Wait: ringbus.Wait{Spin: -1}})
	if err != nil {
		t.Fatal(err)
	}
	readers := bus.Node("readers")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for n := 1; n <= 20; n++ {
		done := make(chan error, 1)
		go func() { done <- w.WaitReaders(ctx, n) }()
		time.Sleep(5 * time.Millisecond) // long enough to sleep, most of the time
		if _, err := stream.NewReader(readers, "s", &stream.ReaderOptions{Group: "g"}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatalf("reader %d: %v", n, err)
		}
	}
}
