//go:build invariants || race

package cells

import (
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest/explore"
)

func TestExploreBroadcast(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 0)
		w.turns = w.rng.IntN(2) == 0
		w.write(0x111, 1+w.rng.IntN(20))
		if w.rng.IntN(2) == 0 {
			w.write(0x112, 1+w.rng.IntN(10))
		}
		w.read(0x121, ModeHold, w.rng.IntN(2) == 0)
		w.read(0x122, []Mode{ModeHold, ModeLapped}[w.rng.IntN(2)], w.rng.IntN(2) == 0)
		return func() error { return x.Watch() }
	})
}

// A writer that stays gives the token to the one that waits for it.
func TestExploreTurns(t *testing.T) {
	explore.Run(t, 2000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 0)
		w.turns, w.linger = w.rng.IntN(2) == 0, true
		w.write(0x111, 1+w.rng.IntN(10))
		w.write(0x112, 1+w.rng.IntN(10))
		w.read(0x121, ModeHold, w.rng.IntN(2) == 0)
		return func() error { return x.Watch() }
	})
}

func TestExploreReadersComeAndGo(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 1)
		w.write(0x111, 10+w.rng.IntN(20))
		w.visit(0x121, ModeHold, true, w.rng.IntN(4))
		for o := uint32(0x131); o < 0x134; o++ {
			w.x.Add(fmt.Sprintf("guest%x", o), func(p *explore.Party) {
				for range 3 {
					w.mate(p, o, p.Rand.IntN(3))
				}
			})
		}
		return func() error { return x.Watch() }
	})
}

func TestExploreWriterDies(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 1)
		w.turns = w.rng.IntN(2) == 0
		p := w.write(0x111, 20)
		w.kill(p, 0x111, 120)
		p.AtDeath = func() { w.dead[0x111] = true; w.writers-- }
		w.write(0x112, 1+w.rng.IntN(10))
		w.read(0x121, []Mode{ModeHold, ModeLapped}[w.rng.IntN(2)], w.rng.IntN(2) == 0)
		w.share(0x131, forever)
		return func() error { return x.Watch() }
	})
}

// The last writer dies: readers are told of the end.
func TestExploreLastWriterDies(t *testing.T) {
	explore.Run(t, 2000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 1)
		p := w.write(0x111, 1000)
		p.KillAt = 1 + w.rng.IntN(200)
		p.AtDeath = func() { w.dead[0x111] = true; w.writers = 0 }
		w.bury(0x111)
		w.read(0x121, ModeHold, false).MayStay(true) // it died before it had the token
		w.share(0x131, forever).MayStay(true)
		return func() error {
			if h := w.ring.Published(); h != 16 && w.ring.Ended(h) != EndDead {
				return errorf("no end is told")
			}
			return x.Watch()
		}
	})
}

func TestExploreReaderDies(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 0)
		w.write(0x111, 1+w.rng.IntN(20))
		w.kill(w.read(0x121, ModeHold, w.rng.IntN(2) == 0), 0x121, 60)
		w.read(0x122, ModeHold, true)
		return func() error { return x.Watch() }
	})
}

func TestExploreShared(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 1)
		w.turns = w.rng.IntN(2) == 0
		w.write(0x111, 1+w.rng.IntN(20))
		w.share(0x131, forever)
		w.share(0x132, forever)
		if w.rng.IntN(2) == 0 {
			w.share(0x133, 1+w.rng.IntN(3)) // leaves before the end
		}
		return w.allDone
	})
}

func TestExploreSharedReaderDies(t *testing.T) {
	explore.Run(t, 4000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 1)
		w.write(0x111, 1+w.rng.IntN(20))
		w.share(0x131, forever)
		w.kill(w.share(0x132, forever), 0x132, 80)
		if w.rng.IntN(3) == 0 {
			w.kill(w.share(0x133, forever), 0x133, 80)
		}
		return func() error { return x.Watch() } // who lives has seen the end: all was finished
	})
}

func TestExploreFence(t *testing.T) {
	explore.Run(t, 2000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 0)
		w.write(0x111, 1+w.rng.IntN(20))
		w.suspect[0x121] = true
		w.read(0x121, ModeHold, false)
		w.read(0x122, ModeHold, false)
		return func() error { return x.Watch() }
	})
}

func TestExploreEvict(t *testing.T) {
	explore.Run(t, 3000, func(x *explore.Explorer) func() error {
		w := newWorld(x, 2)
		w.retired = true
		w.write(0x111, 1+w.rng.IntN(20))
		w.write(0x112, 1+w.rng.IntN(5))
		w.share(0x131, forever).MayStay(true)
		w.share(0x132, forever).MayStay(true)
		w.read(0x121, ModeHold, false).MayStay(true)
		w.evict([]uint32{0x111, 0x132, 0x121}[w.rng.IntN(3)], 60)
		return func() error { return nil }
	})
}
