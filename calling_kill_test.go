//go:build invariants && !race

package ringbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

func init() {
	for name, f := range map[string]func(v *victim) error{
		"caller": (*victim).calls, "server": (*victim).serves, "gravedigger of calls": (*victim).recover,
		"corpse of calls": (*victim).lies,
	} {
		roles[name] = func(args []string) error { return runVictim(args, f) }
	}
}

// echoes are the options of the service on these stages. Everybody sleeps at once.
func echoes() *ringbus.ServiceOptions {
	return &ringbus.ServiceOptions{Depth: 4, MaxRequest: 256, MaxReply: 256, Wait: asleep}
}

// echo answers requests with themselves, n of them; 0: until the service closes.
func echo(ctx context.Context, s *ringbus.Service, n int) error {
	count := 0
	for r, err := range s.Requests(ctx) {
		if errors.Is(err, ringbus.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.Streams() {
			err = echoAgain(ctx, r)
		} else {
			err = r.Return(copy(r.Room(), r.Data()))
		}
		if err != nil {
			return err
		}
		if count++; count == n {
			return nil
		}
	}
	return nil
}

// callEcho makes one call; the answer is the right one, or the server has gone.
func callEcho(ctx context.Context, c *ringbus.Client, who string, i int) (gone bool, err error) {
	want := fmt.Appendf(nil, "%s, call %d", who, i)
	reply := make([]byte, 256)
	n, err := c.Call(ctx, want, reply)
	switch {
	case errors.Is(err, ringbus.ErrPeerDied), errors.Is(err, ringbus.ErrNoService):
		return true, nil
	case err != nil:
		return false, err
	case !bytes.Equal(reply[:n], want):
		return false, fmt.Errorf("%q was answered with %q", want, reply[:n])
	}
	return false, nil
}

// calls is a client of three goroutines.
func (v *victim) calls() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	for range 2 {
		c, err := node.Client("echo", echoes())
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for g := range errs {
			wg.Go(func() {
				for i := range 10 {
					if _, err := callEcho(v.ctx, c, fmt.Sprintf("victim %d", g), i); err != nil {
						errs[g] = err
						return
					}
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errors.Join(errs...), c.Close()); err != nil {
			return err
		}
	}
	return end()
}

// serves is a server that closes after some requests, twice.
func (v *victim) serves() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	for range 2 {
		s, err := node.Service("echo", echoes())
		if err != nil {
			return err
		}
		v.say("serves")
		if err := errors.Join(echo(v.ctx, s, 30), s.Close()); err != nil {
			return err
		}
	}
	return end()
}

// lies is a server or a client that is killed in the middle.
func (v *victim) lies() error {
	node, _, err := joinAs(v.dir, "corpse", 0)
	if err != nil {
		return err
	}
	if v.kind == "server" {
		s, err := node.Service("echo", echoes())
		if err != nil {
			return err
		}
		v.say("ready")
		return echo(v.ctx, s, 0)
	}
	c, err := node.Client("echo", echoes())
	if err != nil {
		return err
	}
	for said := false; ; {
		gone, err := callEcho(v.ctx, c, "corpse", 0)
		if err != nil {
			return err
		}
		if !gone && !said {
			v.say("ready")
			said = true
		}
	}
}

// troupe is who goes on while the victim is killed: a server and a client.
type troupe struct {
	*stage
	service *ringbus.Service
	client  *ringbus.Client
	stop    atomic.Bool
	serving sync.WaitGroup
	calling sync.WaitGroup
	calls   atomic.Int64
	gone    atomic.Int64
}

func newTroupe(s *stage) *troupe {
	p := &troupe{stage: s}
	var err error
	p.service, err = s.node.Service("echo", echoes())
	s.check(err)
	p.serving.Go(func() {
		if err := echo(s.ctx, p.service, 0); err != nil {
			s.Errorf("surviving server: %v", err)
		}
	})
	p.client, err = s.join("caller", 0).Client("echo", echoes())
	s.check(err)
	for g := range 3 {
		p.calling.Go(func() {
			for i := 0; !p.stop.Load(); i++ {
				gone, err := callEcho(s.ctx, p.client, fmt.Sprintf("survivor %d", g), i)
				if err != nil {
					s.Errorf("surviving client: %v", err)
					return
				}
				p.calls.Add(1)
				if gone {
					p.gone.Add(1)
				}
			}
		})
	}
	return p
}

// settle waits until nothing is left of the dead, calls go well again, and ends
// all.
func (p *troupe) settle() {
	p.Helper()
	was := p.calls.Load() - p.gone.Load()
	until(p, "calls that are answered", func() bool { return p.calls.Load()-p.gone.Load() > was+20 })
	p.stop.Store(true)
	p.calling.Wait()
	p.check(p.client.Close())
	p.check(p.service.Close())
	p.serving.Wait()
	p.audit()
}

// audit looks at the table when all have closed: each link and each slot is free.
func (s *stage) audit() {
	s.Helper()
	h := host.Of(s.node)
	table, done := s.callTable()
	defer done()
	dead := func(o uint32) bool { return h.Node.Status(segment.Owner(o)) == segment.Dead }
	until(s, "nothing of the dead is left", func() bool {
		_, err := s.node.Recover()
		s.check(err)
		return len(table.Verify(dead)) == 0
	})
	if n := len(table.Servers()); n > 0 {
		s.Errorf("%d servers are left", n)
	}
	for i := range calls.MaxLinks {
		if _, err := table.Claim(uint32(h.Node.Owner())); err != nil {
			s.Fatalf("only %d links are free", i)
		}
	}
	table.Recover(uint32(h.Node.Owner()), false, func(wake.Bell) {})
}

type callPart struct {
	name   string
	points string
	play   func(s *stage, start func(role string) *shmtest.Proc)
}

// callParts are who is killed, and the points of package calls that each passes.
var callParts = []callPart{
	{"client", "C1 C2 C3 C4 C6 C7 C8", func(s *stage, start func(string) *shmtest.Proc) {
		p := newTroupe(s)
		s.attend(start("caller"), nil)
		p.settle()
	}},
	{"server among others", "S1 S2 S4 L1 L2 L3 L4", func(s *stage, start func(string) *shmtest.Proc) {
		p := newTroupe(s)
		s.attend(start("server"), nil)
		p.settle()
	}},
	{"server whose clients come and go", "S1 S2 S3 S4 L1 L2 L4", func(s *stage, start func(string) *shmtest.Proc) {
		victim := start("server")
		ended := make(chan struct{})
		var wg sync.WaitGroup
		for k := range 2 {
			wg.Go(func() {
				n := s.join(fmt.Sprintf("guest-%d", k), 0)
				for i := 0; ; i++ {
					select {
					case <-ended:
						return
					default:
					}
					c, err := n.Client("echo", echoes())
					if err == nil {
						_, err = callEcho(s.ctx, c, "guest", i)
						err = errors.Join(err, c.Close())
					}
					if err != nil {
						s.Error(err)
						return
					}
				}
			})
		}
		s.attend(victim, nil)
		close(ended)
		wg.Wait()
		s.audit()
	}},
	{"recoverer", "V1 V2 L1 L2 L3 L4 C7", func(s *stage, start func(string) *shmtest.Proc) {
		// The stage's nodes are of another kernel, which cannot bury ours.
		corpses := []*shmtest.Proc{
			shmtest.Start(s.T, "corpse of calls", nil, s.dir, "server"),
			shmtest.Start(s.T, "corpse of calls", nil, s.dir, "client"),
		}
		for _, p := range corpses {
			p.Expect("ready")
		}
		c, err := s.node.Client("echo", echoes())
		s.check(err)
		if gone, err := callEcho(s.ctx, c, "keeper", 0); gone || err != nil {
			s.Fatal(gone, err)
		}
		for _, p := range corpses {
			p.Stop() // or one would recover the other
		}
		// A call that only the recovery of the dead server ends.
		var call sync.WaitGroup
		call.Go(func() {
			if gone, err := callEcho(s.ctx, c, "keeper", 1); !gone || err != nil {
				s.Errorf("server gone %v, %v", gone, err)
			}
		})
		for _, p := range corpses {
			p.Kill()
		}
		s.attend(start("gravedigger of calls"), nil)
		_, err = s.join("sexton", 0).Recover()
		s.check(err)
		call.Wait()
		s.check(c.Close())
		s.audit()
	}},
}

// TestKillCallersAndServersAtEachStep kills a process at each step of finding
// each other, of a call and of an answer: the others get right answers or are told,
// and nothing is left.
func TestKillCallersAndServersAtEachStep(t *testing.T) {
	hit := map[string]bool{"calls.C5": true} // the explorer comes there
	for _, p := range callParts {
		t.Run(p.name, func(t *testing.T) {
			kernel := uint64(0)
			if p.name == "recoverer" {
				kernel = 2
			}
			stageFor := func(t *testing.T) *stage {
				s := &stage{T: t, ctx: soon(t), dir: shmtest.Dir(t)}
				s.node = s.join("keeper", kernel)
				return s
			}
			counts := map[string]int{}
			t.Run("census", func(t *testing.T) {
				passed = counts
				s := stageFor(t)
				p.play(s, func(role string) *shmtest.Proc {
					return shmtest.Start(t, role, []string{censusVar + "=1"}, s.dir, "")
				})
			})
			for _, point := range slices.Sorted(maps.Keys(counts)) {
				if !strings.HasPrefix(point, "calls.") && !strings.HasPrefix(point, "virtq.") && !strings.HasPrefix(point, "ringbus.") {
					continue
				}
				for _, n := range slices.Compact([]int{1, max(1, counts[point]/2)}) {
					t.Run(fmt.Sprintf("%s:%d", point, n), func(t *testing.T) {
						passed = map[string]int{}
						s := stageFor(t)
						var victim *shmtest.Proc
						p.play(s, func(role string) *shmtest.Proc {
							victim = shmtest.Start(t, role, []string{fmt.Sprintf("RINGBUS_CRASH=%s:%d", point, n)}, s.dir, "")
							return victim
						})
						if victim.Killed() {
							hit[point] = true
						}
					})
				}
			}
			for point := range strings.FieldsSeq(p.points) {
				if counts["calls."+point] == 0 {
					t.Errorf("calls.%s is not passed", point)
				}
			}
		})
	}
	for _, p := range invariant.Points() {
		if (strings.HasPrefix(p, "calls.") || strings.HasPrefix(p, "ringbus.")) && !hit[p] && !t.Failed() {
			t.Errorf("no process was killed at %s", p)
		}
	}
}
