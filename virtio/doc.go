// Package virtio makes devices, and drives them, over virtqueues: the rings by
// which a guest's kernel and its devices exchange buffers, split and packed, as
// the virtio specification (1.2 and later) has them.
//
// A device implements [Handler]: it gets each of its queues as a [Queue] and
// ranges over the chains that the driver offers. A chain is an [io.Reader] over
// what the driver wrote and an [io.Writer] over the room for the reply; both are
// the driver's memory, nothing is copied in between. [Device] holds what a
// transport asks for: features, status, queues that come and go.
//
//	for chain, err := range q.Chains(ctx) {
//		if err != nil {
//			return err
//		}
//		if _, err := io.CopyN(chain, rand.Reader, 64); err != nil {
//			return err
//		}
//		if err := chain.Return(); err != nil {
//			return err
//		}
//	}
//
// The other side is a [DriverQueue]: Add, Kick, Reap.
//
// The package knows no socket and no PCI: a transport gives it memory ([Memory]),
// addresses, and two functions for each queue, one that rings the other side
// and one that waits for it to ring.
//
// # Trust
//
// Either side may be hostile. Whatever it writes into the rings, a call here
// returns within bounded work, stays inside of the memory it was given, and
// says what was wrong ([BrokenError]); the queue is of no use then. What is in
// the buffers is another matter: the driver can change them while they are
// read, so read each byte once, or copy, then check, then use.
package virtio
