//go:build invariants || race

package virtq

import (
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest/explore"
)

// scene is a queue whose two sides the explorer runs.
type scene struct {
	*rig
	x          *explore.Explorer
	v          variant
	kick, call bool // bells
	chains     uint64
	later      bool // the driver asks with EnableCallLater
	got        []uint64
	popped     uint64
}

// drive adds the chains and reaps them.
func (s *scene) drive(p *explore.Party) {
	s.drv.DisableCall()
	for next, done := uint64(0), uint64(0); done < s.chains; {
		n := 1 + p.Rand.IntN(3)
		busy := false
		for range n {
			at := s.data + next%32*16
			if next == s.chains || s.drv.Add([]Buffer{{at, 8}}, []Buffer{{at + 8, 8}}, next) != nil {
				break
			}
			s.put64(at, next*7+1)
			s.put64(at+8, 0)
			next++
			busy = true
		}
		notify, err := s.drv.Kick()
		if err != nil {
			s.x.Fail("kick: %v", err)
		}
		if notify {
			s.kick = true
		}
		for range n {
			u, ok, err := s.drv.Reap()
			if err != nil {
				s.x.Fail("reap: %v", err)
			}
			if ok {
				s.reaped(u)
				done++
				busy = true
			}
		}
		if busy || done == s.chains {
			continue
		}
		more := false
		if s.later {
			more = s.drv.EnableCallLater()
		} else {
			more = s.drv.EnableCall()
		}
		if !more {
			p.Sleep("for used chains", func() bool { return s.call })
			s.call = false
		}
		s.drv.DisableCall()
	}
}

func (s *scene) reaped(u Used) {
	if reply := s.le64(s.data + u.Token%32*16 + 8); u.Len != 8 || reply != u.Token*7+2 {
		s.x.Fail("chain %d: %d bytes, reply %d", u.Token, u.Len, reply)
	}
	s.got = append(s.got, u.Token)
}

// serve answers chains for ever.
func (s *scene) serve(p *explore.Party) {
	p.MayStay(true)
	cs := make([]Chain, 3)
	for {
		n, err := s.dev.PopMany(cs[:1+p.Rand.IntN(3)])
		if err != nil {
			s.x.Fail("pop: %v", err)
		}
		order := p.Rand.Perm(n)
		for _, i := range order {
			c := &cs[i]
			v := uint64(0)
			for k := range 8 {
				v |= uint64(c.Readable[0][k]) << (8 * k)
			}
			if v%7 != 1 || v/7 >= s.chains {
				s.x.Fail("popped %d", v)
			}
			s.popped++
			for k := range 8 {
				c.Writable[0][k] = byte((v + 1) >> (8 * k))
			}
			if err := s.dev.Push(c, 8); err != nil {
				s.x.Fail("push: %v", err)
			}
		}
		notify, err := s.dev.Call()
		if err != nil {
			s.x.Fail("call: %v", err)
		}
		if notify {
			s.call = true
		}
		if n == 0 && !s.dev.EnableKick() {
			p.Sleep("for chains", func() bool { return s.kick })
			s.kick = false
			s.dev.DisableKick()
		}
	}
}

func (s *scene) le64(addr uint64) (v uint64) {
	for k, c := range s.at(addr, 8) {
		v |= uint64(c) << (8 * k)
	}
	return v
}

func (s *scene) check() error {
	if uint64(len(s.got)) != s.chains || s.popped != s.chains {
		return fmt.Errorf("%d of %d chains came back, %d were popped", len(s.got), s.chains, s.popped)
	}
	seen := map[uint64]bool{}
	for i, token := range s.got {
		if seen[token] || s.v.features.Has(InOrder) && token != uint64(i) {
			return fmt.Errorf("chains came back as %v", s.got)
		}
		seen[token] = true
	}
	return nil
}

// exploreQueue runs both sides of every variant: nobody sleeps while there is
// something to do, and each chain is served once.
func exploreQueue(t *testing.T, size int, later bool, keep func(v variant) bool) {
	for _, v := range variants() {
		if !keep(v) {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			explore.Run(t, 600, func(x *explore.Explorer) func() error {
				var s *scene
				x.Look(func() {
					s = &scene{rig: newRig(t, size, v), x: x, v: v, chains: 12, later: later}
				})
				x.Add("driver", s.drive)
				x.Add("device", s.serve)
				return s.check
			})
		})
	}
}

func TestExploreSplit(t *testing.T) {
	exploreQueue(t, 4, false, func(v variant) bool { return !v.features.Has(RingPacked) })
}

func TestExplorePacked(t *testing.T) {
	exploreQueue(t, 5, false, func(v variant) bool { return v.features.Has(RingPacked) })
}

// Calls asked for late come all the same.
func TestExploreLater(t *testing.T) {
	exploreQueue(t, 8, true, func(v variant) bool { return v.features.Has(EventIdx) })
}
