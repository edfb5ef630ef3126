package ringbus

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// gate lets Close, on any goroutine, wait for the one call that may be inside
// an endpoint: what the endpoint has in the segment is given to others next.
//
// enter stores inside, then its caller loads closed; shut stores closed, then
// loads inside. One of the two must see the other, which takes a full barrier
// on both sides. Calls are many and closes few, so shut makes both: stopping the
// world puts every goroutine behind what it has stored.
type gate struct {
	inside atomic.Uint64
	closed atomic.Bool
	owner  invariant.Owner
}

// enter begins a call; the caller must look at closed after it, and leave at
// the end. what names the endpoint if a second goroutine is found inside.
func (g *gate) enter(what string) {
	g.owner.Enter(what)
	mem.StoreRelease(&g.inside, 1)
}

func (g *gate) leave() {
	mem.StoreRelease(&g.inside, 0)
	g.owner.Leave()
}

// shut closes the gate, calls wake to end a wait inside, and returns when
// nobody is inside any more; false if it was shut before.
func (g *gate) shut(wake func()) bool {
	if g.closed.Swap(true) {
		return false
	}
	wake()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats) // stops the world
	for g.inside.Load() != 0 {
		time.Sleep(10 * time.Microsecond)
	}
	return true
}
