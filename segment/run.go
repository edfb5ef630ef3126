package segment

import (
	"time"
)

const (
	beatEvery  = 250 * time.Millisecond
	probeEvery = 100 * time.Millisecond
	probeMany  = 16 // nodes a round
)

// run is the node's goroutine, from Join to Leave: it beats the node's heart,
// and looks after others so that a death is noticed while everybody sleeps.
func (n *Node) run() {
	defer n.loop.Done()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	beaten := time.Now()
	next := n.slot
	fenced := false
	for {
		select {
		case <-n.ctx.Done():
			return
		case now := <-tick.C:
			if now.Sub(beaten) >= beatEvery {
				beaten = now
				n.throb()
			}
			n.survey()
			if !fenced && n.Fenced() { // who sleeps must be told
				fenced = true
				n.s.tell(true)
			}
			next = n.probe(next)
		}
	}
}

// throb adds one to our heartbeat, unless the slot is not ours any more.
func (n *Node) throb() {
	beat := n.s.beat(n.slot)
	v := beat.Load()
	if gen, x := untag(v); gen == n.word.gen()&0xfff {
		beat.CompareAndSwap(v, tagged(gen, x+1))
	}
}

// probe looks after up to probeMany live nodes from slot next on, and returns
// where to go on. Those of our kernel are watched for their end, and recovered
// if they are dead; the heartbeats of the others are noted.
func (n *Node) probe(next int) int {
	if n.begin() != nil {
		return next
	}
	defer n.end()
	n.watch.prune(n.s)
	looked := 0
	for range nodeCount {
		next = (next + 1) % nodeCount
		w := n.s.load(next)
		if next == n.slot || w.state() == NodeFree {
			continue
		}
		if n.s.status(w.owner(next), n.locks) == Dead {
			n.recoverSlot(next, new(Report))
		} else {
			n.attend(next, w)
		}
		if looked++; looked == probeMany {
			break
		}
	}
	return next
}
