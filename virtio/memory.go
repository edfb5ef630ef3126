package virtio

import "github.com/ringbus/ringbus/internal/ring/virtq"

// Region is one piece of the memory that a driver's addresses mean.
type Region struct {
	Addr  uint64 // of its first byte, as the driver says it
	Bytes []byte // where it is here
}

// Memory translates a driver's addresses: a guest's memory, or any bytes that
// both sides share. It does not change and may be used by any number of
// queues; where regions come and go, make another one and set the queues up
// again.
type Memory struct{ m *virtq.Memory }

// NewMemory makes a memory of regions that do not overlap, aligned to 8 bytes
// here and there. They must stay mapped as long as it is in use. A buffer may
// reach from one region into the next.
func NewMemory(regions ...Region) (*Memory, error) {
	rs := make([]virtq.Region, len(regions))
	for i, r := range regions {
		rs[i] = virtq.Region{Addr: r.Addr, Bytes: r.Bytes}
	}
	m, err := virtq.NewMemory(rs...)
	if err != nil {
		return nil, err
	}
	return &Memory{m}, nil
}

// Slice returns the n bytes at addr, nil unless all of them are in one region.
func (m *Memory) Slice(addr, n uint64) []byte { return m.m.Slice(addr, n) }

// BrokenError says what the other side did that no driver or device may do. The
// queue is of no use any more.
type BrokenError = virtq.BrokenError

// LayoutError says that a queue or a memory cannot be as it is described.
type LayoutError = virtq.LayoutError

// TooLongError says that a chain has more buffers than the queue can ever take.
type TooLongError = virtq.TooLongError
