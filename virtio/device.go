package virtio

import (
	"context"
	"fmt"
	"sync"
)

// Handler is what a device does with its queues.
type Handler interface {
	// Queues is the number of its queues.
	Queues() int
	// ServeQueue serves queue i until ctx is done or the queue is stopped. An error
	// before that is one that only a reset of the device ends. A queue that was
	// reset is served again, by another call.
	ServeQueue(ctx context.Context, i int, q *Queue) error
}

// DeviceOptions says what a device offers.
type DeviceOptions struct {
	// Features are those of the device's type. To these come RingFeatures, but
	// for what is in Without.
	Features Features
	// Without are features that are not offered. A device that has several chains
	// in work at once and wants each back when it is done leaves out
	// FeatureInOrder.
	Without Features
	// MaxSize is the greatest size of a queue; 0: 32768.
	MaxSize int
	// Check says which features do not go together, when the driver has chosen;
	// nil: all do.
	Check func(Features) error
	// Changed is called when the device has set NEEDS_RESET while it is driven: the
	// transport notifies the driver of a change of the configuration. It must not
	// call the device's methods.
	Changed func(error)
}

// Device is what a transport needs to know of a device: features, status and
// queues, as section 3.1 of the specification has their life. Its methods are for
// the transport, in the driver's name, and may be called concurrently.
type Device struct {
	handler Handler
	options DeviceOptions

	op sync.Mutex // one change of status or queues at a time; before mu

	mu     sync.Mutex
	status Status
	agreed Features
	memory *Memory
	queues []slot
	err    error // why it needs a reset
}

// slot is one queue of a device.
type slot struct {
	config QueueConfig
	set    bool
	enable bool
	queue  *Queue
	cancel context.CancelFunc
	done   chan struct{}
}

// NewDevice makes a device that was reset.
func NewDevice(h Handler, o *DeviceOptions) *Device {
	d := &Device{handler: h, queues: make([]slot, h.Queues())}
	if o != nil {
		d.options = *o
	}
	if d.options.MaxSize == 0 {
		d.options.MaxSize = 1 << 15
	}
	return d
}

// Offered are the features that the device offers.
func (d *Device) Offered() Features {
	return (RingFeatures | d.options.Features) &^ d.options.Without
}

// Accept sets the features that the driver takes, before FEATURES_OK.
func (d *Device) Accept(f Features) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status.Has(StatusFeaturesOK) {
		return &StatusError{d.status, "the driver changes features that were agreed on"}
	}
	if extra := f &^ d.Offered(); extra != 0 {
		return &FeatureError{extra, "the driver takes them, the device does not offer them"}
	}
	d.agreed = f
	return nil
}

// Agreed are the features that the driver took.
func (d *Device) Agreed() Features {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.agreed
}

// Status is the device's status.
func (d *Device) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

// Err says why the device needs a reset, nil if it does not.
func (d *Device) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// SetStatus sets the status as the driver says: 0 resets the device, which ends
// when no queue is served any more; other bits are only added. FEATURES_OK is
// not there afterwards if the features do not go together. DRIVER_OK starts the
// queues.
func (d *Device) SetStatus(s Status) error {
	d.op.Lock()
	defer d.op.Unlock()
	if s == 0 {
		d.reset()
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s = s&^StatusNeedsReset | d.status&StatusNeedsReset // that bit is ours
	added := s &^ d.status
	switch {
	case d.status&^s != 0:
		return &StatusError{d.status, fmt.Sprintf("the driver takes %v back without a reset", d.status&^s)}
	case added.Has(StatusFeaturesOK) && !s.Has(StatusDriver):
		return &StatusError{d.status, "FEATURES_OK without DRIVER"}
	case added.Has(StatusDriverOK) && !s.Has(StatusFeaturesOK):
		return &StatusError{d.status, "DRIVER_OK without FEATURES_OK"}
	}
	if added.Has(StatusFeaturesOK) && d.checkFeatures() != nil {
		s &^= StatusFeaturesOK
		if s.Has(StatusDriverOK) {
			return &StatusError{d.status, "DRIVER_OK without FEATURES_OK"}
		}
	}
	d.status = s
	if added.Has(StatusDriverOK) {
		for i := range d.queues {
			if err := d.start(i); err != nil {
				d.needsReset(err)
				return err
			}
		}
	}
	return nil
}

func (d *Device) checkFeatures() error {
	if err := d.agreed.Check(); err != nil {
		return err
	}
	if d.options.Check != nil {
		return d.options.Check(d.agreed)
	}
	return nil
}

// SetMemory says what the addresses of queues mean that start from now on.
func (d *Device) SetMemory(m *Memory) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memory = m
}

// SetQueue says where queue i is, while it is not served. The features are those
// that were agreed on, whatever c says.
func (d *Device) SetQueue(i int, c QueueConfig) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(i)
	if err != nil {
		return err
	}
	switch {
	case !d.status.Has(StatusFeaturesOK):
		return &StatusError{d.status, fmt.Sprintf("queue %d before the features are agreed on", i)}
	case s.queue != nil:
		return &StatusError{d.status, fmt.Sprintf("queue %d is changed while it is served", i)}
	case c.Size > d.options.MaxSize:
		return &LayoutError{Field: "size", Have: uint64(c.Size), Want: fmt.Sprintf("at most %d", d.options.MaxSize)}
	}
	c.Features = d.agreed
	if err := c.check(); err != nil {
		return err
	}
	s.config, s.set = c, true
	return nil
}

func (d *Device) slot(i int) (*slot, error) {
	if i < 0 || i >= len(d.queues) {
		return nil, fmt.Errorf("virtio device has %d queues, none with number %d", len(d.queues), i)
	}
	return &d.queues[i], nil
}

// EnableQueue begins to serve queue i, or lets DRIVER_OK do so.
func (d *Device) EnableQueue(i int) error {
	d.op.Lock()
	defer d.op.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(i)
	if err != nil {
		return err
	}
	if !s.set {
		return &StatusError{d.status, fmt.Sprintf("queue %d is enabled before it is set up", i)}
	}
	s.enable = true
	if d.status.Has(StatusDriverOK) {
		return d.start(i)
	}
	return nil
}

// ResetQueue stops queue i, as FeatureRingReset has it, and forgets it; it
// returns when it is not served any more, with the state in which it was left.
// What was in flight is the driver's again.
func (d *Device) ResetQueue(i int) (State, error) {
	d.op.Lock()
	defer d.op.Unlock()
	d.mu.Lock()
	s, err := d.slot(i)
	d.mu.Unlock()
	if err != nil {
		return State{}, err
	}
	return d.stop(s), nil
}

// start serves queue i if it is enabled.
func (d *Device) start(i int) error {
	s := &d.queues[i]
	if !s.enable || s.queue != nil {
		return nil
	}
	if d.memory == nil {
		return &StatusError{d.status, fmt.Sprintf("queue %d is started without memory", i)}
	}
	q, err := NewQueue(d.memory, s.config)
	if err != nil {
		return fmt.Errorf("queue %d: %w", i, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.queue, s.cancel, s.done = q, cancel, done
	go func() {
		defer close(done)
		err := d.handler.ServeQueue(ctx, i, q)
		if ctx.Err() != nil || q.isStopped() {
			return
		}
		if err == nil {
			err = q.Err()
		}
		if err != nil {
			d.Fail(fmt.Errorf("queue %d: %w", i, err))
		}
	}()
	return nil
}

// stop ends the service of a queue and waits for it; d.op is held.
func (d *Device) stop(s *slot) (at State) {
	d.mu.Lock()
	q, cancel, done := s.queue, s.cancel, s.done
	d.mu.Unlock()
	if q != nil {
		q.Stop()
		cancel()
		<-done
		at = q.State()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	*s = slot{}
	return at
}

func (d *Device) reset() {
	for i := range d.queues {
		d.stop(&d.queues[i])
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status, d.agreed, d.err = 0, 0, nil
}

// Fail says that the device met an error that only a reset ends: it sets
// NEEDS_RESET. What is in flight is neither done nor not done.
func (d *Device) Fail(err error) {
	d.mu.Lock()
	tell := d.needsReset(err) && d.status.Has(StatusDriverOK)
	d.mu.Unlock()
	if tell && d.options.Changed != nil {
		d.options.Changed(err)
	}
}

func (d *Device) needsReset(err error) (first bool) {
	first = d.err == nil
	if first {
		d.err = err
	}
	d.status |= StatusNeedsReset
	return first
}

// Queue returns queue i while it is served, else nil.
func (d *Device) Queue(i int) *Queue {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i < 0 || i >= len(d.queues) {
		return nil
	}
	return d.queues[i].queue
}

var _ Transport = (*Device)(nil)
