//go:build invariants && !race

package ringbus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// replies is how often a request by Stream is echoed: more than there is room for
// at once, on a stage whose services have a depth of 4.
const replies = 6

func init() {
	roles["streamer"] = func(args []string) error { return runVictim(args, (*victim).streams) }
	callParts = append(callParts, callPart{
		"client of streams", "C1 C7", func(s *stage, start func(string) *shmtest.Proc) {
			p := newTroupe(s)
			s.attend(start("streamer"), nil)
			p.settle()
		},
	}, callPart{
		"server of streams", "S1 L1", func(s *stage, start func(string) *shmtest.Proc) {
			victim := start("server")
			ended := make(chan struct{})
			var wg sync.WaitGroup
			c, err := s.join("guest", 0).Client("echo", echoes())
			s.check(err)
			for g := range 2 {
				wg.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-ended:
							return
						default:
						}
						if err := streamEcho(s.ctx, c, fmt.Sprintf("guest %d", g), i); err != nil {
							s.Error(err)
							return
						}
					}
				})
			}
			s.attend(victim, nil)
			close(ended)
			wg.Wait()
			s.check(c.Close())
			s.audit()
		},
	})
}

// echoAgain answers a request with itself several times. Its client may leave, or
// be killed, before the last.
func echoAgain(ctx context.Context, r *ringbus.Request) error {
	for i := range replies {
		room, err := r.Reserve(ctx)
		if err == nil {
			err = r.Commit(copy(room, fmt.Appendf(nil, "%s: %d", r.Data(), i)))
		}
		switch {
		case errors.Is(err, context.Canceled) && ctx.Err() == nil:
			return r.End()
		case err != nil:
			return errors.Join(err, r.End())
		}
	}
	return r.End()
}

// streamEcho asks for a stream, and leaves every third early: all replies are right
// and in order, until the server has gone.
func streamEcho(ctx context.Context, c *ringbus.Client, who string, i int) error {
	want := fmt.Sprintf("%s, stream %d", who, i)
	n := 0
	for b, err := range c.Stream(ctx, []byte(want)) {
		switch {
		case errors.Is(err, ringbus.ErrPeerDied), errors.Is(err, ringbus.ErrNoService):
			return nil
		case err != nil:
			return err
		case string(b) != fmt.Sprintf("%s: %d", want, n):
			return fmt.Errorf("reply %d to %q is %q", n, want, b)
		}
		if n++; i%3 == 2 && n == 2 {
			return nil
		}
	}
	if n != replies {
		return fmt.Errorf("%q had %d replies", want, n)
	}
	return nil
}

// streams is a client of two goroutines.
func (v *victim) streams() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	c, err := node.Client("echo", echoes())
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for g := range errs {
		wg.Go(func() {
			for i := 0; i < 9 && errs[g] == nil; i++ {
				errs[g] = streamEcho(v.ctx, c, fmt.Sprintf("victim %d", g), i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errors.Join(errs...), c.Close(), end())
}
