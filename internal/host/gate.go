package host

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// Gate lets Close, on any goroutine, wait for the one call that may be inside
// an endpoint: what the endpoint has in the segment is given to others next.
//
// Enter stores inside, then its caller loads Closed; Shut stores Closed, then
// loads inside. One of the two must see the other, which takes a full barrier
// on both sides. Calls are many and closes few, so Shut makes both: stopping the
// world puts every goroutine behind what it has stored.
type Gate struct {
	inside atomic.Uint64
	Closed atomic.Bool // set by Shut, and by who gives back what was never in use
	owner  invariant.Owner
	once   sync.Once
	err    error
}

// Enter begins a call; the caller must look at Closed after it, and Leave at
// the end. what names the endpoint if a second goroutine is found inside.
func (g *Gate) Enter(what string) {
	g.owner.Enter(what)
	mem.StoreRelease(&g.inside, 1)
}

// Leave ends the call that Enter began.
func (g *Gate) Leave() {
	mem.StoreRelease(&g.inside, 0)
	g.owner.Leave()
}

// Close shuts the gate and calls end, which gives back what the endpoint has.
// Of many who close, one does and the others wait for it: the node of an
// endpoint that was closed may be left.
func (g *Gate) Close(wake func(), end func() error) error {
	g.once.Do(func() {
		g.Shut(wake)
		g.err = end()
	})
	return g.err
}

// Shut sets Closed, calls wake to end a wait inside, and returns when nobody is
// inside any more.
func (g *Gate) Shut(wake func()) {
	g.Closed.Store(true)
	wake()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats) // stops the world
	for g.inside.Load() != 0 {
		time.Sleep(10 * time.Microsecond)
	}
}
