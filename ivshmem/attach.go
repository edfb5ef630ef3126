package ivshmem

import (
	"errors"

	"github.com/ringbus/ringbus/segment"
)

// A Node is one that can have a door: ringbus.Node and segment.Node are.
type Node interface {
	Segment() *segment.Segment
	SetDoor(peer, vector uint16, ok bool)
	Gone(slot int, peer uint16) bool
}

// slots is how many nodes a bus has (docs/format.md, 1.1).
const slots = 256

// Attach gives a node of this machine, whose bus is the memory of the device at the
// address, the device's doorbell, as [OpenDoorbell] has it, or without interrupts
// ([Doorbell.Deaf] says why): then it rings others, and polls. What a kernel left
// that ran in this machine before ours is recovered. The doorbell is closed before
// the node.
func Attach(node Node, address string, o *Options) (*Doorbell, error) {
	seg := node.Segment()
	d, err := OpenDoorbell(address, o, func(uint16) { seg.Awaken() })
	if err != nil {
		var rerr error
		if d, rerr = OpenRegisters(address, o); rerr != nil {
			return nil, errors.Join(err, rerr)
		}
		d.deaf = err
	}
	id := d.ID()
	for slot := range slots {
		node.Gone(slot, id) // one machine runs one kernel at a time
	}
	seg.SetDoorbell(d)
	node.SetDoor(id, 0, true)
	return d, nil
}
