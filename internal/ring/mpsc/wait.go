package mpsc

import "github.com/ringbus/ringbus/internal/invariant"

// Announce says that the owner of r sleeps, W2; able, that it can take control.
// Look at the op and at control after it, before the sleep.
func (m *Member) Announce(r Ref, able bool) {
	w := uint64(waitParked)
	if able {
		w |= waitAble
	}
	// edge: park (this swap, then state and tail | state or tail, then wait)
	m.q.nodes[r.Index()].wait.Store(w)
	invariant.Point("mpsc.W2")
}

// Awake takes Announce back.
func (m *Member) Awake(r Ref, able bool) {
	w := uint64(0)
	if able {
		w = waitAble
	}
	m.q.nodes[r.Index()].wait.Store(w)
}

// WantSpace asks for a ring of Bell when a node becomes free. Look with Alloc
// after it, before the sleep.
func (m *Member) WantSpace() { m.q.space[m.word].Or(m.bit) }

// WantControl asks for a ring of Bell when control is offered. Look with
// Claim after it, before the sleep.
func (m *Member) WantControl() {
	m.q.control[m.word].Or(m.bit)
	invariant.Point("mpsc.W2")
}

// WaivesControl takes WantControl back, and passes an offer on that may have
// come meanwhile.
func (m *Member) WaivesControl() {
	m.q.control[m.word].And(^m.bit)
	m.passOn()
}

// Unswept reports whether some dead submitter's nodes wait for somebody with
// control to give them back.
func (m *Member) Unswept() bool { return m.q.left.Load() != m.q.swept.Load() }
