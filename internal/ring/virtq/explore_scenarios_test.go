//go:build invariants || race

package virtq

import (
	"fmt"
	"testing"
)

// scene is a queue whose two sides the explorer runs.
type scene struct {
	*rig
	x          *explorer
	v          variant
	kick, call bool // bells
	chains     uint64
	later      bool // the driver asks with EnableCallLater
	got        []uint64
	popped     uint64
}

// drive adds the chains and reaps them.
func (s *scene) drive(p *party) {
	s.drv.DisableCall()
	for next, done := uint64(0), uint64(0); done < s.chains; {
		n := 1 + p.rng.IntN(3)
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
			s.x.fail("kick: %v", err)
		}
		if notify {
			s.kick = true
		}
		for range n {
			u, ok, err := s.drv.Reap()
			if err != nil {
				s.x.fail("reap: %v", err)
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
			p.sleep("for used chains", func() bool { return s.call })
			s.call = false
		}
		s.drv.DisableCall()
	}
}

func (s *scene) reaped(u Used) {
	if reply := s.le64(s.data + u.Token%32*16 + 8); u.Len != 8 || reply != u.Token*7+2 {
		s.x.fail("chain %d: %d bytes, reply %d", u.Token, u.Len, reply)
	}
	s.got = append(s.got, u.Token)
}

// serve answers chains for ever.
func (s *scene) serve(p *party) {
	p.mayStay = true
	cs := make([]Chain, 3)
	for {
		n, err := s.dev.PopMany(cs[:1+p.rng.IntN(3)])
		if err != nil {
			s.x.fail("pop: %v", err)
		}
		order := p.rng.Perm(n)
		for _, i := range order {
			c := &cs[i]
			v := uint64(0)
			for k := range 8 {
				v |= uint64(c.Readable[0][k]) << (8 * k)
			}
			if v%7 != 1 || v/7 >= s.chains {
				s.x.fail("popped %d", v)
			}
			s.popped++
			for k := range 8 {
				c.Writable[0][k] = byte((v + 1) >> (8 * k))
			}
			if err := s.dev.Push(c, 8); err != nil {
				s.x.fail("push: %v", err)
			}
		}
		notify, err := s.dev.Call()
		if err != nil {
			s.x.fail("call: %v", err)
		}
		if notify {
			s.call = true
		}
		if n == 0 && !s.dev.EnableKick() {
			p.sleep("for chains", func() bool { return s.kick })
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
			explore(t, 600, func(x *explorer) func() error {
				var s *scene
				x.look(func() {
					s = &scene{rig: newRig(t, size, v), x: x, v: v, chains: 12, later: later}
				})
				x.add("driver", s.drive)
				x.add("device", s.serve)
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
