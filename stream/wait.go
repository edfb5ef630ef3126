package stream

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/wake"
)

// halfAsleep is how long a writer sleeps until much of the stream is free; then
// it takes what there is.
const halfAsleep = 5 * time.Millisecond

// suspectPoll is how often to look again at a node of another kernel, whose
// death or silence rings no bell.
const suspectPoll = 100 * time.Millisecond

// byDeadline stands, where a context is wanted, for the endpoint's deadline.
var byDeadline context.Context = &deadlineContext{context.Background()}

type deadlineContext struct{ context.Context }

// waiter is how one direction of an endpoint waits. One goroutine at a time
// waits; deadlines are set by any.
type waiter struct {
	host    *host.Host
	policy  wake.Policy
	sleeper *wake.Sleeper
	bell    wake.Bell
	dl      deadline
	glance  func() bool // whether it is worth a look; nil: always

	mu    sync.Mutex
	ended bool // the bell is others' memory now
}

func newWaiter(h *host.Host, p wake.Policy, b wake.Bell) *waiter {
	w := &waiter{host: h, policy: p, sleeper: h.Pool.NewSleeper(b, p), bell: b}
	w.dl.changed = w.wake
	return w
}

// wake has a wait look again.
func (w *waiter) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.host.Pool.Ring(w.bell)
	}
}

// close ends the waiter, in which nobody waits any more, before its bell's
// memory is given up.
func (w *waiter) close() {
	w.sleeper.Close()
	w.dl.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

// until returns when ready says so, or with its error. ctx ends the wait, or
// the deadline, if it is byDeadline. announce says that the sleep comes, and returns
// how long it may be; 0: as long as it takes.
func (w *waiter) until(ctx context.Context, ready func() (bool, error), announce func() (most time.Duration)) error {
	for spin := w.policy.Begin(); ; {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		if w.glimpse(&spin) {
			continue
		}
		if spin.Next() {
			if spin.RoundOver() {
				if err := w.interrupted(ctx); err != nil {
					return err
				}
			}
			continue
		}
		if err := w.interrupted(ctx); err != nil {
			return err
		}
		if err := w.host.Node.Err(); err != nil {
			return err
		}
		w.sleeper.Prepare()
		most := announce()
		if ok, err := ready(); ok || err != nil {
			w.sleeper.Cancel()
			return err
		}
		if err := w.sleep(ctx, most); err != nil {
			return err
		}
		spin = w.policy.Begin()
	}
}

// glimpse looks for a while at nothing but what comes first when something
// comes, so that it is seen at once.
func (w *waiter) glimpse(spin *wake.Spinner) bool {
	for w.glance != nil && spin.Rest() {
		if w.glance() {
			return true
		}
	}
	return false
}

// interrupted says why to wait no longer.
func (w *waiter) interrupted(ctx context.Context) error {
	if ctx != byDeadline {
		return ctx.Err()
	}
	return w.dl.passed()
}

func (w *waiter) sleep(ctx context.Context, most time.Duration) error {
	own := ctx
	if ctx == byDeadline {
		var err error
		if own, err = w.dl.context(); err != nil {
			w.sleeper.Cancel()
			return err
		}
	}
	sleep := own
	if most > 0 {
		var cancel context.CancelFunc
		sleep, cancel = context.WithTimeout(own, most)
		defer cancel()
		defer w.sleeper.Forget()
	}
	if err := w.sleeper.Sleep(sleep); err != nil && ctx != byDeadline {
		return ctx.Err()
	}
	return nil // a deadline is looked at again: it may have been moved
}

// deadline is the point of time after which calls without a context fail.
type deadline struct {
	changed func()
	armed   atomic.Bool

	mu     sync.Mutex
	at     time.Time
	ctx    context.Context
	cancel context.CancelFunc
	closed bool
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	if d.cancel != nil {
		d.cancel()
	}
	d.at, d.ctx, d.cancel = t, nil, nil
	d.armed.Store(!t.IsZero())
	d.mu.Unlock()
	d.changed()
}

// passed is os.ErrDeadlineExceeded if the deadline is over.
func (d *deadline) passed() error {
	if !d.armed.Load() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.IsZero() && !time.Now().Before(d.at) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// context ends when the deadline is over, or is set anew.
func (d *deadline) context() (context.Context, error) {
	if err := d.passed(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() {
		return context.Background(), nil
	}
	if d.ctx == nil {
		d.ctx, d.cancel = context.WithDeadline(context.Background(), d.at)
	}
	return d.ctx, nil
}

// close lets go of the timer.
func (d *deadline) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel()
	}
	d.ctx, d.cancel, d.closed = nil, nil, true
}
