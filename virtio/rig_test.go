package virtio_test

import (
	"context"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/virtio"
)

const base = 1 << 20

// bell is what a transport has for notifications.
type bell struct {
	c     chan struct{}
	rings int
}

func newBell() *bell { return &bell{c: make(chan struct{}, 1)} }

func (b *bell) ring() error {
	b.rings++
	select {
	case b.c <- struct{}{}:
	default:
	}
	return nil
}

func (b *bell) wait(ctx context.Context) error {
	select {
	case <-b.c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// link is a memory with room for queues and buffers.
type link struct {
	t      testing.TB
	bytes  []byte
	memory *virtio.Memory
	next   uint64
}

func newLink(t testing.TB) *link {
	l := &link{t: t, bytes: mem.Alloc(1 << 20), next: base}
	var err error
	if l.memory, err = virtio.NewMemory(virtio.Region{Addr: base, Bytes: l.bytes}); err != nil {
		t.Fatal(err)
	}
	return l
}

// queue lays out a queue and returns both sides' configurations.
func (l *link) queue(size int, f virtio.Features) (drv, dev virtio.QueueConfig) {
	c, end := virtio.Layout(l.next, size, f, 4)
	l.next = end
	kick, call := newBell(), newBell()
	drv, dev = c, c
	drv.Notify, drv.Wait = kick.ring, call.wait
	dev.Notify, dev.Wait = call.ring, kick.wait
	return drv, dev
}

// buffer makes a buffer that holds s.
func (l *link) buffer(s string) virtio.Buffer {
	b := virtio.Buffer{Addr: l.next, Len: uint32(len(s))}
	copy(l.bytes[l.next-base:], s)
	l.next += mem.Align(uint64(len(s)), 64)
	return b
}

func (l *link) room(n int) virtio.Buffer { return l.buffer(string(make([]byte, n))) }

func (l *link) text(b virtio.Buffer, n uint32) string {
	return string(l.bytes[b.Addr-base : b.Addr-base+uint64(n)])
}

func (l *link) driver(c virtio.QueueConfig) *virtio.DriverQueue {
	l.t.Helper()
	q, err := virtio.NewDriverQueue(l.memory, c)
	if err != nil {
		l.t.Fatal(err)
	}
	return q
}

func (l *link) device(c virtio.QueueConfig) *virtio.Queue {
	l.t.Helper()
	q, err := virtio.NewQueue(l.memory, c)
	if err != nil {
		l.t.Fatal(err)
	}
	return q
}

// soon is a context that ends when waiting any longer would be in vain.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// call sends one chain and waits for it.
func (l *link) call(q *virtio.DriverQueue, readable, writable []virtio.Buffer) virtio.Used {
	l.t.Helper()
	if err := q.Add(readable, writable, 7); err != nil {
		l.t.Fatal(err)
	}
	if err := q.Kick(); err != nil {
		l.t.Fatal(err)
	}
	return l.reap(q)
}

func (l *link) reap(q *virtio.DriverQueue) virtio.Used {
	l.t.Helper()
	if err := q.Wait(soon(l.t)); err != nil {
		l.t.Fatal(err)
	}
	u, ok, err := q.Reap()
	if !ok || err != nil {
		l.t.Fatal(ok, err)
	}
	return u
}

var features = []virtio.Features{
	virtio.FeatureVersion1,
	virtio.FeatureVersion1 | virtio.FeatureRingPacked,
	virtio.FeatureVersion1 | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx,
	virtio.FeatureVersion1 | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx | virtio.FeatureRingPacked,
	virtio.FeatureVersion1 | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx | virtio.FeatureRingPacked | virtio.FeatureInOrder,
}
