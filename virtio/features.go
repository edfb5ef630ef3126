package virtio

import (
	"fmt"

	"github.com/ringbus/ringbus/internal/ring/virtq"
)

// Features are the bits that driver and device agree on. Bits 0 to 23 and 50
// to 63 are the device type's own.
type Features uint64

// The features of rings and transports that this package knows.
const (
	// FeatureIndirectDesc: a chain may be in a table of its own, and takes one
	// entry of the ring.
	FeatureIndirectDesc = Features(virtq.IndirectDesc)
	// FeatureEventIdx: each side says of which entry it wants to be notified.
	FeatureEventIdx = Features(virtq.EventIdx)
	// FeatureVersion1: not the legacy interface. This package wants it.
	FeatureVersion1 = Features(virtq.Version1)
	// FeatureAccessPlatform: addresses are what the platform says, as behind an
	// IOMMU; here, what Memory says.
	FeatureAccessPlatform = Features(virtq.AccessPlatform)
	// FeatureRingPacked: the packed ring; else the split one.
	FeatureRingPacked = Features(virtq.RingPacked)
	// FeatureInOrder: chains come back in the order in which they were offered.
	FeatureInOrder = Features(virtq.InOrder)
	// FeatureOrderPlatform: accesses are ordered as for a device outside of the
	// CPU. They are.
	FeatureOrderPlatform = Features(virtq.OrderPlatform)
	// FeatureNotificationData: a notification says up to where the ring was filled.
	FeatureNotificationData = Features(virtq.NotificationData)
	// FeatureRingReset: a queue can be reset by itself.
	FeatureRingReset = Features(virtq.RingReset)
)

// RingFeatures are the features that every device can offer, whatever its type.
const RingFeatures = Features(virtq.Supported) &^ FeatureNotificationData

// Has says whether all bits of g are in f.
func (f Features) Has(g Features) bool { return f&g == g }

func (f Features) String() string { return virtq.Features(f).String() }

// FeatureError says that a driver and a device cannot agree on features.
type FeatureError struct {
	Bits   Features
	Reason string
}

func (e *FeatureError) Error() string { return fmt.Sprintf("virtio features %v: %s", e.Bits, e.Reason) }

// Check says whether the bits fit together.
func (f Features) Check() error {
	if !f.Has(FeatureVersion1) {
		return &FeatureError{FeatureVersion1, "the legacy interface is not supported"}
	}
	return nil
}
