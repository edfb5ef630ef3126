package journal

import (
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/multilog"
)

// hand is what a call needs to append a record. Calls that run at once have one
// each, so that none waits for another, as no process does.
type hand struct {
	busy  atomic.Uint64 // 1: a call has it, who stores 0 at its end
	tx    *multilog.Tx
	clock host.Clock
	now   func() (mono, wall int64) // nil: records carry no times

	other multilog.Prefix // of the last record with a key that is not the writer's
	key   string

	next *hand // of all that the writer ever made
}

func (w *Writer) newHand() *hand {
	h := &hand{tx: w.log.NewTx(w.peers())}
	if w.times {
		h.now = h.clock.Both
	}
	h.other.Set(w.host.Node.Name(), "")
	return h
}

// otherHand returns a hand that nobody has, where the first is not free.
func (w *Writer) otherHand() *hand {
	for h := w.hands.Load(); h != nil; h = h.next {
		if h.busy.Load() == 0 && h.busy.CompareAndSwap(0, 1) {
			return h
		}
	}
	h := w.newHand()
	h.busy.Store(1)
	for {
		h.next = w.hands.Load()
		if w.hands.CompareAndSwap(h.next, h) {
			return h
		}
	}
}

// release gives h back. Nobody waits for it but Close, who looks again and again.
func (h *hand) release() { mem.StoreRelease(&h.busy, 0) }

// await returns when no call that began before closed was set has a hand.
func (w *Writer) await() {
	for h := w.hands.Load(); h != nil; h = h.next {
		for h.busy.Load() != 0 {
			time.Sleep(10 * time.Microsecond)
		}
	}
}

// prefixFor returns the prefix of records with the given key.
func (h *hand) prefixFor(name, key string) *multilog.Prefix {
	if key != h.key {
		h.other.Set(name, key)
		h.key = key
	}
	return &h.other
}
