package virtio

import (
	"fmt"
	"strings"
)

// Status is the word by which a driver tells a device how far it is, and the
// device that it needs a reset. 0 is a device that was reset.
type Status uint8

// The bits of a device's status.
const (
	StatusAcknowledge Status = 1   // the driver has seen the device
	StatusDriver      Status = 2   // and knows how to drive it
	StatusDriverOK    Status = 4   // it drives
	StatusFeaturesOK  Status = 8   // features are agreed on
	StatusNeedsReset  Status = 64  // the device has met an error that only a reset ends
	StatusFailed      Status = 128 // the driver has given up
)

var statusNames = []struct {
	bit  Status
	name string
}{
	{StatusAcknowledge, "ACKNOWLEDGE"}, {StatusDriver, "DRIVER"}, {StatusDriverOK, "DRIVER_OK"},
	{StatusFeaturesOK, "FEATURES_OK"}, {StatusNeedsReset, "NEEDS_RESET"}, {StatusFailed, "FAILED"},
}

// Has says whether all bits of t are in s.
func (s Status) Has(t Status) bool { return s&t == t }

func (s Status) String() string {
	var out []string
	for _, n := range statusNames {
		if s.Has(n.bit) {
			out = append(out, n.name)
			s &^= n.bit
		}
	}
	if s != 0 {
		out = append(out, fmt.Sprintf("%#x", uint8(s)))
	}
	if out == nil {
		return "reset"
	}
	return strings.Join(out, "|")
}

// StatusError says that the driver set a status, or did something, that the
// device's status does not allow.
type StatusError struct {
	Have Status
	Did  string
}

func (e *StatusError) Error() string { return fmt.Sprintf("virtio device is %v: %s", e.Have, e.Did) }

// Transport is a device as a driver sees it. [Device] is one.
type Transport interface {
	// Offered are the features that the device offers.
	Offered() Features
	// Accept sets those that the driver takes.
	Accept(Features) error
	// Status is the device's status.
	Status() Status
	// SetStatus sets it; 0 resets the device. FEATURES_OK that is not in Status
	// afterwards was refused.
	SetStatus(Status) error
}

// Negotiate does a driver's first steps on a device: it resets it and agrees
// with it on features, those of want that it offers. need are those without
// which the driver can do nothing. The queues come next, then Start.
func Negotiate(t Transport, want, need Features) (Features, error) {
	for _, s := range []Status{0, StatusAcknowledge, StatusAcknowledge | StatusDriver} {
		if err := t.SetStatus(s); err != nil {
			return 0, err
		}
	}
	f, err := agree(t, want|need, need)
	if err != nil {
		// The specification wants the device to know that nobody drives it.
		_ = t.SetStatus(t.Status()&^StatusNeedsReset | StatusFailed)
		return 0, err
	}
	return f, nil
}

func agree(t Transport, want, need Features) (Features, error) {
	offered := t.Offered()
	if missing := need &^ offered; missing != 0 {
		return 0, &FeatureError{missing, "the driver needs them, the device does not offer them"}
	}
	f := offered & want
	if err := f.Check(); err != nil {
		return 0, err
	}
	if err := t.Accept(f); err != nil {
		return 0, err
	}
	if err := t.SetStatus(StatusAcknowledge | StatusDriver | StatusFeaturesOK); err != nil {
		return 0, err
	}
	if !t.Status().Has(StatusFeaturesOK) {
		return 0, &FeatureError{f, "the device does not work with these together"}
	}
	return f, nil
}

// Start is a driver's last step, when its queues are set up: the device begins to
// serve them.
func Start(t Transport) error {
	return t.SetStatus(StatusAcknowledge | StatusDriver | StatusFeaturesOK | StatusDriverOK)
}
