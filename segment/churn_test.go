package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// churn opens, creates, checks and removes areas of a few keys until ctx ends.
// Every byte of an area is its key's number: two areas that overlap, or one
// that is removed while it is open, show.
func churn(ctx context.Context, n *Node, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		k := rnd.IntN(6)
		key := Key{KindLane, uint32(k), "churn"}
		a, _, err := n.Create(ctx, key, int64(k+1)*5000, func(b []byte) error {
			for i, c := range b {
				if c != 0 {
					return fmt.Errorf("byte %d of a new area is %d", i, c)
				}
				b[i] = byte(k + 1)
			}
			return nil
		})
		var full *SpaceError
		if errors.As(err, &full) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		if err != nil {
			return err
		}
		for i, c := range a.Bytes() {
			if c != byte(k+1) {
				return fmt.Errorf("byte %d of %v is %d", i, key, c)
			}
		}
		if err := a.Close(); err != nil {
			return err
		}
		if err := n.Remove(key); err != nil && !errors.Is(err, ErrInUse) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func TestManyNodesChurn(t *testing.T) {
	s := memory(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 4 {
		n := join(t, s, "churn")
		wg.Go(func() {
			if err := churn(ctx, n, uint64(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := join(t, s, "checker")
	sound(t, n, -1)
}

// roleChurn is churn in a process, which will be killed at any moment.
func roleChurn(args []string) error {
	s, err := Open("bus", options(args[0]))
	if err != nil {
		return err
	}
	n, err := s.Join("role/churn")
	if err != nil {
		return err
	}
	fmt.Println("joined")
	return churn(context.Background(), n, uint64(n.Owner()))
}

func TestProcessesChurnAndAreKilled(t *testing.T) {
	dir := shmtest.Dir(t)
	n := join(t, bus(t, dir), "survivor")
	var live []*shmtest.Proc
	for i := range 20 {
		p := shmtest.Start(t, "churn", nil, dir)
		p.Line()
		if live = append(live, p); len(live) == 4 {
			live[i%4].Kill()
			if err := live[i%4].Failed(); err != nil {
				t.Error(err)
			}
			live = append(live[:i%4], live[i%4+1:]...)
		}
	}
	for _, p := range live {
		p.Kill()
		if err := p.Failed(); err != nil {
			t.Error(err)
		}
	}
	sound(t, n, -1)
	for _, a := range n.s.Areas() {
		if err := n.Remove(a.Key); err != nil {
			t.Error(err)
		}
	}
	sound(t, n, 0)
}
