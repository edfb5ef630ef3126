package mpsc

import (
	"context"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
)

// Look is [Member.Look].
func (l *Local) Look(r Ref) Status {
	t := l.at(r)
	w := t.word.Load()
	if uint32(t.turn.Load()) != r.turn() || w&forgotten != 0 {
		return Free
	}
	return Status(w)
}

// Result is [Member.Result].
func (l *Local) Result(r Ref) (result int32, back []byte) {
	t := l.at(r)
	return t.result, t.op.In[:min(len(t.op.In), max(0, int(t.result)))]
}

// Free is [Member.Free].
func (l *Local) Free(r Ref) {
	t := l.at(r)
	if w := t.word.Load(); uint32(t.turn.Load()) == r.turn() && (w == uint64(Done) || w == uint64(Interrupted)) {
		l.recycle(t)
	}
}

// Cancel is [Member.Cancel].
func (l *Local) Cancel(r Ref, able bool) bool {
	t := l.at(r)
	if uint32(t.turn.Load()) != r.turn() || t.word.Load() != uint64(Submitted) {
		return false
	}
	if !t.word.CompareAndSwap(uint64(Submitted), uint64(Cancelled)) {
		return false
	}
	invariant.Point("mpsc.L1")
	if able {
		l.passOn()
	}
	return true
}

// Forget is [Member.Forget].
func (l *Local) Forget(r Ref, able bool) {
	if able {
		defer l.passOn()
	}
	t := l.at(r)
	for {
		w := t.word.Load()
		if uint32(t.turn.Load()) != r.turn() || w&forgotten != 0 {
			return
		}
		if w == uint64(Done) || w == uint64(Interrupted) {
			l.Free(r)
			return
		}
		if t.word.CompareAndSwap(w, w|forgotten) {
			return
		}
	}
}

// passOn rings all who can take control, if it is on offer.
func (l *Local) passOn() {
	if l.offer.Load() == 0 {
		return
	}
	for i := range l.tasks {
		if t := &l.tasks[i]; t.wait.Load() == waitParked|waitAble {
			poke(t.wake)
		}
	}
	l.spare.ring()
	l.space.ring() // who waits for a node may be able
}

// Announce is [Member.Announce].
func (l *Local) Announce(r Ref, able bool) {
	w := uint64(waitParked)
	if able {
		w |= waitAble
	}
	l.at(r).wait.Store(w)
	invariant.Point("mpsc.W2")
}

// Awake is [Member.Awake].
func (l *Local) Awake(r Ref, able bool) {
	w := uint64(0)
	if able {
		w = waitAble
	}
	l.at(r).wait.Store(w)
}

// Offered is [Member.Offered]: nobody is at the device either.
func (l *Local) Offered() bool { return l.offer.Load() == 1 && l.own.Load() == 0 }

// Sleep sleeps until r's owner is rung, or a nap is over.
func (l *Local) Sleep(ctx context.Context, r Ref) error { return l.sleep(ctx, l.at(r).wake) }

// nap is how long one sleeps over an offer while one alone is at the device,
// before it looks again: that one may look for the offer before its store of own
// is visible, see DropIdle. The store takes nanoseconds, and who sleeps has
// looked for longer; but nothing says how long it may take.
const nap = time.Millisecond

// sleep sleeps until ch has a token, or a nap is over.
func (l *Local) sleep(ctx context.Context, ch <-chan struct{}) error {
	var over <-chan time.Time
	if l.offer.Load() == 1 {
		t := time.NewTimer(nap)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ch:
	case <-over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// SleepSpace sleeps until alloc, which takes a free node, succeeds.
func (l *Local) SleepSpace(ctx context.Context, alloc func() bool) error {
	return l.space.sleep(ctx, l, alloc)
}

// SleepControl sleeps until claim, which takes control, succeeds.
func (l *Local) SleepControl(ctx context.Context, claim func() bool) error {
	defer l.passOn()
	return l.spare.sleep(ctx, l, claim)
}

// SleepIdle sleeps until something is submitted, or over says that there is
// nothing to wait for; for who has control.
func (l *Local) SleepIdle(ctx context.Context, over func() bool) error {
	defer l.park.Store(0)
	return l.idle.sleep(ctx, l, func() bool {
		l.park.Store(1) // edge: park (this swap, then the link | link, then park)
		return l.front() != none || over()
	})
}

// WakeAll rings everybody.
func (l *Local) WakeAll() {
	for i := range l.tasks {
		poke(l.tasks[i].wake)
	}
	for _, s := range []*signal{&l.space, &l.spare, &l.idle} {
		poke(s.ch)
	}
}

func (s *signal) sleep(ctx context.Context, l *Local, ready func() bool) error {
	s.waiting.Add(1)
	defer func() {
		// There may be more, or the ring was for another one: it goes on.
		if s.waiting.Add(-1) > 0 {
			poke(s.ch)
		}
	}()
	for !ready() {
		if err := l.sleep(ctx, s.ch); err != nil {
			return err
		}
	}
	return nil
}

// Since is [Exec.Since].
func (l *Local) Since() int { return l.more }

// Pending reports whether something is queued; for who has control.
func (l *Local) Pending() bool { return l.front() != none }
