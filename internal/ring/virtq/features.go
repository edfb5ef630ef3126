package virtq

import (
	"fmt"
	"strings"
)

// Features are the bits that a driver and a device agree on, as in the
// specification, section 6.
type Features uint64

// The features that concern the ring.
const (
	IndirectDesc     Features = 1 << 28
	EventIdx         Features = 1 << 29
	Version1         Features = 1 << 32
	AccessPlatform   Features = 1 << 33
	RingPacked       Features = 1 << 34
	InOrder          Features = 1 << 35
	OrderPlatform    Features = 1 << 36
	NotificationData Features = 1 << 38
	RingReset        Features = 1 << 40
)

// Supported are the features that this package implements.
const Supported = IndirectDesc | EventIdx | Version1 | AccessPlatform | RingPacked | InOrder |
	OrderPlatform | NotificationData | RingReset

var featureNames = []struct {
	bit  Features
	name string
}{
	{IndirectDesc, "INDIRECT_DESC"}, {EventIdx, "EVENT_IDX"}, {Version1, "VERSION_1"},
	{AccessPlatform, "ACCESS_PLATFORM"}, {RingPacked, "RING_PACKED"}, {InOrder, "IN_ORDER"},
	{OrderPlatform, "ORDER_PLATFORM"}, {NotificationData, "NOTIFICATION_DATA"}, {RingReset, "RING_RESET"},
}

// Has says whether all bits of g are in f.
func (f Features) Has(g Features) bool { return f&g == g }

func (f Features) String() string {
	var out []string
	for _, n := range featureNames {
		if f.Has(n.bit) {
			out = append(out, n.name)
			f &^= n.bit
		}
	}
	if f != 0 {
		out = append(out, fmt.Sprintf("%#x", uint64(f)))
	}
	return strings.Join(out, "|")
}
