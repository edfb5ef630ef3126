package virtio_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/ringbus/ringbus/virtio"
)

// uppers is a device whose queues all answer in upper case.
type uppers struct {
	queues int
	served atomic.Int64 // queues that are served
	fail   error
}

func (d *uppers) Queues() int { return d.queues }

func (d *uppers) ServeQueue(ctx context.Context, _ int, q *virtio.Queue) error {
	d.served.Add(1)
	defer d.served.Add(-1)
	if d.fail != nil {
		return d.fail
	}
	return upper(ctx, q)
}

// drive brings a device up and returns the drivers of its queues.
func drive(l *link, d *virtio.Device, queues, size int, want virtio.Features) []*virtio.DriverQueue {
	l.t.Helper()
	f, err := virtio.Negotiate(d, want, virtio.FeatureVersion1)
	if err != nil {
		l.t.Fatal(err)
	}
	d.SetMemory(l.memory)
	var drvs []*virtio.DriverQueue
	for i := range queues {
		drvs = append(drvs, l.enable(d, i, size, f))
	}
	if err := virtio.Start(d); err != nil {
		l.t.Fatal(err)
	}
	return drvs
}

func (l *link) enable(d *virtio.Device, i, size int, f virtio.Features) *virtio.DriverQueue {
	l.t.Helper()
	drvC, devC := l.queue(size, f)
	drv := l.driver(drvC)
	if err := d.SetQueue(i, devC); err != nil {
		l.t.Fatal(err)
	}
	if err := d.EnableQueue(i); err != nil {
		l.t.Fatal(err)
	}
	return drv
}

func (l *link) ask(drv *virtio.DriverQueue, question string) {
	l.t.Helper()
	out := l.room(64)
	u := l.call(drv, []virtio.Buffer{l.buffer(question)}, []virtio.Buffer{out})
	if got := l.text(out, u.Len); got != "HELLO" {
		l.t.Errorf("%q", got)
	}
}

func TestLifeOfADevice(t *testing.T) {
	l := newLink(t)
	h := &uppers{queues: 3}
	d := virtio.NewDevice(h, &virtio.DeviceOptions{Features: 1 << 5})
	if !d.Offered().Has(1<<5 | virtio.RingFeatures) {
		t.Errorf("offers %v", d.Offered())
	}
	for round := range 3 { // up, down, up again
		drvs := drive(l, d, 3, 8<<round, virtio.RingFeatures|1<<5|1<<6)
		if got := d.Agreed(); got != virtio.RingFeatures|1<<5 {
			t.Errorf("agreed on %v", got)
		}
		if d.Status() != 15 {
			t.Errorf("status %v", d.Status())
		}
		for _, drv := range drvs {
			l.ask(drv, "hello")
		}
		if d.Queue(2).Size() != 8<<round || d.Queue(3) != nil || d.Queue(-1) != nil {
			t.Error("queues")
		}
		if err := d.SetStatus(0); err != nil {
			t.Fatal(err)
		}
		if d.Status() != 0 || d.Agreed() != 0 || d.Queue(0) != nil || h.served.Load() != 0 {
			t.Errorf("reset: %v, agreed on %v, %d queues are served", d.Status(), d.Agreed(), h.served.Load())
		}
	}
}

func TestOneQueueIsReset(t *testing.T) {
	l := newLink(t)
	h := &uppers{queues: 2}
	d := virtio.NewDevice(h, nil)
	drvs := drive(l, d, 2, 8, virtio.RingFeatures)
	l.ask(drvs[0], "hello")
	l.ask(drvs[1], "hello")
	at, err := d.ResetQueue(1)
	if err != nil || at != (virtio.State{Avail: 2, Used: 2}) {
		t.Fatalf("%+v, %v", at, err)
	}
	if d.Queue(1) != nil || d.Status() != 15 {
		t.Error(d.Status())
	}
	if err := drvs[1].Add([]virtio.Buffer{l.buffer("late")}, nil, 1); err != nil {
		t.Fatal(err)
	}
	if err := drvs[1].Kick(); err != nil {
		t.Fatal(err)
	}
	lost := 0
	drvs[1].Detach(func(uint64) { lost++ })
	if lost != 1 {
		t.Errorf("%d detached", lost)
	}
	l.ask(drvs[0], "hello")
	l.ask(l.enable(d, 1, 32, d.Agreed()), "hello")
	l.ask(drvs[0], "hello")
	if err := d.SetStatus(0); err != nil {
		t.Fatal(err)
	}
}

func TestAnErrorOfAQueueNeedsAReset(t *testing.T) {
	for _, c := range []struct {
		name string
		fail error
	}{{"the driver breaks it", nil}, {"the device cannot go on", errors.New("disk on fire")}} {
		t.Run(c.name, func(t *testing.T) {
			l := newLink(t)
			h := &uppers{queues: 1, fail: c.fail}
			changed := make(chan error, 1)
			d := virtio.NewDevice(h, &virtio.DeviceOptions{Changed: func(err error) { changed <- err }})
			drvs := drive(l, d, 1, 8, virtio.FeatureVersion1)
			if c.fail == nil {
				if err := drvs[0].Add([]virtio.Buffer{{Addr: 8, Len: 1}}, nil, 0); err != nil {
					t.Fatal(err)
				}
				if err := drvs[0].Kick(); err != nil {
					t.Fatal(err)
				}
			}
			err := <-changed
			var broken *virtio.BrokenError
			if c.fail == nil && !errors.As(err, &broken) || c.fail != nil && !errors.Is(err, c.fail) {
				t.Errorf("changed: %v", err)
			}
			if !d.Status().Has(virtio.StatusNeedsReset|virtio.StatusDriverOK) || d.Err() != err {
				t.Errorf("status %v, %v", d.Status(), d.Err())
			}
			// The bit is the device's: the driver can neither clear nor set it.
			if err := d.SetStatus(15 | virtio.StatusFailed); err != nil || d.Status() != 15|virtio.StatusFailed|virtio.StatusNeedsReset {
				t.Errorf("%v, %v", d.Status(), err)
			}
			h.fail = nil
			l.ask(drive(l, d, 1, 8, virtio.FeatureVersion1)[0], "hello")
			if d.Err() != nil || d.Status() != 15 {
				t.Errorf("after the reset: %v, %v", d.Status(), d.Err())
			}
			if err := d.SetStatus(0); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStepsOutOfOrder(t *testing.T) {
	const ack, drv, ok, feat = virtio.StatusAcknowledge, virtio.StatusDriver, virtio.StatusDriverOK, virtio.StatusFeaturesOK
	var status *virtio.StatusError
	for _, c := range []struct {
		name  string
		steps []virtio.Status // the last one is refused
	}{
		{"FEATURES_OK without DRIVER", []virtio.Status{ack, ack | feat}},
		{"DRIVER_OK without FEATURES_OK", []virtio.Status{ack, ack | drv, ack | drv | ok}},
		{"DRIVER is taken back", []virtio.Status{ack, ack | drv, ack}},
		{"FEATURES_OK is taken back", []virtio.Status{ack | drv, ack | drv | feat, ack | drv}},
	} {
		d := virtio.NewDevice(&uppers{queues: 1}, nil)
		if err := d.Accept(virtio.FeatureVersion1); err != nil {
			t.Fatal(err)
		}
		for i, s := range c.steps {
			before := d.Status()
			err := d.SetStatus(s)
			if last := i == len(c.steps)-1; last != errors.As(err, &status) || last && d.Status() != before {
				t.Errorf("%s: step %v: %v, status %v", c.name, s, err, d.Status())
			}
		}
	}

	l := newLink(t)
	d := virtio.NewDevice(&uppers{queues: 1}, &virtio.DeviceOptions{MaxSize: 16})
	_, devC := l.queue(8, virtio.FeatureVersion1)
	if err := d.SetQueue(0, devC); !errors.As(err, &status) {
		t.Errorf("a queue before the features: %v", err)
	}
	if err := d.EnableQueue(0); !errors.As(err, &status) {
		t.Errorf("enabled before it is set up: %v", err)
	}
	if _, err := virtio.Negotiate(d, virtio.FeatureVersion1, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Accept(virtio.FeatureVersion1); !errors.As(err, &status) {
		t.Errorf("features once more: %v", err)
	}
	for _, i := range []int{-1, 1} {
		if err := d.SetQueue(i, devC); err == nil {
			t.Errorf("queue %d", i)
		}
		if err := d.EnableQueue(i); err == nil {
			t.Errorf("queue %d", i)
		}
		if _, err := d.ResetQueue(i); err == nil {
			t.Errorf("queue %d", i)
		}
	}
	large := devC
	large.Size = 32
	var layout *virtio.LayoutError
	if err := d.SetQueue(0, large); !errors.As(err, &layout) {
		t.Errorf("too large: %v", err)
	}
	if err := d.SetQueue(0, virtio.QueueConfig{Size: 8}); err == nil {
		t.Error("a queue without bells")
	}
	if err := d.SetQueue(0, devC); err != nil {
		t.Fatal(err)
	}
	if err := d.EnableQueue(0); err != nil {
		t.Fatal(err)
	}
	if err := virtio.Start(d); !errors.As(err, &status) {
		t.Errorf("started without memory: %v", err)
	}
	if !d.Status().Has(virtio.StatusNeedsReset) {
		t.Errorf("status %v", d.Status())
	}
	d.SetMemory(l.memory)
	if err := d.SetStatus(0); err != nil {
		t.Fatal(err)
	}
	drive(l, d, 1, 16, virtio.FeatureVersion1)
	if err := d.SetQueue(0, devC); !errors.As(err, &status) {
		t.Errorf("changed while it is served: %v", err)
	}
	if err := d.EnableQueue(0); err != nil {
		t.Errorf("enabled twice: %v", err)
	}
	if err := d.SetStatus(0); err != nil {
		t.Fatal(err)
	}
}

func TestFeaturesThatDoNotFit(t *testing.T) {
	never := fmt.Errorf("not these")
	var features *virtio.FeatureError
	for _, c := range []struct {
		name       string
		options    virtio.DeviceOptions
		want, need virtio.Features
	}{
		{"the driver needs what is not offered", virtio.DeviceOptions{}, virtio.FeatureVersion1, 1 << 3},
		{"no common version", virtio.DeviceOptions{Without: virtio.FeatureVersion1}, virtio.RingFeatures, 0},
		{"the device does not want them together", virtio.DeviceOptions{Check: func(virtio.Features) error { return never }}, virtio.RingFeatures, 0},
	} {
		d := virtio.NewDevice(&uppers{queues: 1}, &c.options)
		if _, err := virtio.Negotiate(d, c.want, c.need); !errors.As(err, &features) {
			t.Errorf("%s: %v", c.name, err)
		}
		if s := d.Status(); !s.Has(virtio.StatusFailed) || s.Has(virtio.StatusFeaturesOK) {
			t.Errorf("%s: status %v", c.name, s)
		}
	}
	d := virtio.NewDevice(&uppers{queues: 1}, nil)
	if err := d.Accept(virtio.FeatureVersion1 | 1<<60); !errors.As(err, &features) {
		t.Errorf("not offered: %v", err)
	}
	if s := (virtio.StatusAcknowledge | virtio.StatusNeedsReset | 16).String(); s != "ACKNOWLEDGE|NEEDS_RESET|0x10" {
		t.Error(s)
	}
	if s := virtio.Status(0).String(); s != "reset" {
		t.Error(s)
	}
	if s := (virtio.FeatureVersion1 | virtio.FeatureInOrder | 4).String(); s != "VERSION_1|IN_ORDER|0x4" {
		t.Error(s)
	}
}
