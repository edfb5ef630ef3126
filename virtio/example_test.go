package virtio_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"

	"github.com/ringbus/ringbus/virtio"
)

// entropy is a device that fills buffers with random bytes.
type entropy struct{}

func (entropy) Queues() int { return 1 }

func (entropy) ServeQueue(ctx context.Context, _ int, q *virtio.Queue) error {
	for chain, err := range q.Chains(ctx) {
		if err != nil {
			return err
		}
		if _, err := io.CopyN(chain, rand.Reader, int64(chain.Room())); err != nil {
			return err
		}
		if err := chain.Return(); err != nil {
			return err
		}
	}
	return nil
}

// A device and its driver in one program, over memory of its own.
func Example() {
	ctx := context.Background()
	bytes := make([]byte, 64<<10)
	memory, err := virtio.NewMemory(virtio.Region{Addr: 0, Bytes: bytes})
	if err != nil {
		fmt.Println(err)
		return
	}
	device := virtio.NewDevice(entropy{}, nil)
	features, err := virtio.Negotiate(device, virtio.RingFeatures, virtio.FeatureVersion1)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The transport: a queue at address 0, and a bell for each side.
	config, end := virtio.Layout(0, 16, features, 0)
	kick, call := newBell(), newBell()
	forDriver, forDevice := config, config
	forDriver.Notify, forDriver.Wait = kick.ring, call.wait
	forDevice.Notify, forDevice.Wait = call.ring, kick.wait
	queue, err := virtio.NewDriverQueue(memory, forDriver)
	if err != nil {
		fmt.Println(err)
		return
	}
	device.SetMemory(memory)
	for _, step := range []func() error{
		func() error { return device.SetQueue(0, forDevice) },
		func() error { return device.EnableQueue(0) },
		func() error { return virtio.Start(device) },
		func() error { return queue.Add(nil, []virtio.Buffer{{Addr: end, Len: 32}}, 1) },
		queue.Kick,
		func() error { return queue.Wait(ctx) },
	} {
		if err := step(); err != nil {
			fmt.Println(err)
			return
		}
	}
	used, ok, err := queue.Reap()
	fmt.Println(used.Len, ok, err)
	fmt.Println(device.SetStatus(0))
	// Output:
	// 32 true <nil>
	// <nil>
}
