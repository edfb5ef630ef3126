package journal

import (
	"context"
	"errors"
	"time"

	"github.com/ringbus/ringbus/internal/ring/multilog"
	"github.com/ringbus/ringbus/segment"
)

// relook is how often who sleeps looks again all the same: at a reader of
// another kernel, whose silence rings no bell, or one that was stopped between
// making room and saying so.
const relook = 100 * time.Millisecond

// park sleeps until readers have passed enough for a record of size bytes, with
// what lies before its data, or some other reason to try again; its error says why there is none.
func (w *Writer) park(ctx context.Context, size int) error {
	w.unblock()
	waiter, err := w.enlist()
	if errors.Is(err, multilog.ErrNoEntry) { // 64 others sleep
		return pause(ctx, time.Millisecond)
	}
	if err != nil {
		return err
	}
	defer w.dismiss(waiter)
	sleeper := w.host.Pool.NewSleeper(waiter.Bell(), w.policy)
	sleeper.Prepare()
	waiter.Asleep(size)
	if waiter.Ready() || w.closed.Load() {
		sleeper.Cancel()
		return nil
	}
	relooked, cancel := context.WithTimeout(ctx, relook)
	defer cancel()
	_ = sleeper.Sleep(relooked)
	sleeper.Forget()
	if err := w.host.Node.Err(); err != nil {
		return w.wrap(err)
	}
	return ctx.Err()
}

// enlist makes a place to sleep at, which Close knows of.
func (w *Writer) enlist() (*multilog.Waiter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed.Load() {
		return nil, w.closedErr()
	}
	waiter, err := w.log.NewWaiter(w.peers())
	if err == nil {
		w.waiting[waiter] = struct{}{}
	}
	return waiter, err
}

func (w *Writer) dismiss(waiter *multilog.Waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiter.Close()
	delete(w.waiting, waiter)
	w.idle.Broadcast()
}

// unblock recovers readers that are dead and hold the journal back.
func (w *Writer) unblock() {
	n := w.host.Node
	for _, o := range w.log.Blockers() {
		if n.Status(segment.Owner(o)) == segment.Dead {
			n.RecoverOwner(segment.Owner(o))
		}
	}
}

// pause sleeps for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
