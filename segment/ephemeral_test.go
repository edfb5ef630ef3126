package segment

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
)

// An ephemeral area goes with the last one that has it open, however that ends.
func TestEphemeralAreaLastsAsLongAsItIsOpen(t *testing.T) {
	for _, c := range []struct {
		what        string
		first, last func(a *Area, n *Node)
	}{
		{"both close", drop, drop},
		{"one is killed, then the other closes", abandon, drop},
		{"one closes, then the other is killed", drop, abandon},
		{"both are killed", abandon, abandon},
		{"both leave without closing it", leave, leave},
		{"one leaves, the other closes", leave, drop},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := memory(t, nil)
			a, b, keeper := join(t, s, "a"), join(t, s, "b"), join(t, s, "keeper")
			key := Key{Kind: KindStream, Sub: Ephemeral | 7, Name: "x"}
			mine, created, err := a.Create(context.Background(), key, 100, nil)
			if err != nil || !created {
				t.Fatal(created, err)
			}
			free := s.Usage().Free
			theirs, err := b.OpenEntry(mine.Index(), mine.Gen())
			if err != nil {
				t.Fatal(err)
			}
			c.first(mine, a)
			if _, err := keeper.Recover(); err != nil {
				t.Fatal(err)
			}
			if s.Usage().Free != free {
				t.Fatal("removed while it was open")
			}
			c.last(theirs, b)
			if _, err := keeper.Recover(); err != nil {
				t.Fatal(err)
			}
			if _, err := keeper.Lookup(key); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("still there: %v", err)
			}
			if s.Usage().Free <= free {
				t.Error("its memory was not given back")
			}
			for _, p := range s.Verify() {
				t.Error(p)
			}
		})
	}
}

func drop(a *Area, n *Node)    { _ = a.Drop() }
func abandon(a *Area, n *Node) { n.Abandon() }
func leave(_ *Area, n *Node)   { _ = n.Leave() }

// Of several who close it at the same time, the last one removes it, whoever
// that is: nobody leaves it to another who has left it to him.
func TestEphemeralAreaGoesWhenAllCloseAtOnce(t *testing.T) {
	s := memory(t, nil)
	nodes := []*Node{join(t, s, "a"), join(t, s, "b"), join(t, s, "c")}
	key := Key{Kind: KindStream, Sub: Ephemeral | 7, Name: "x"}
	for round := range 3000 {
		var open []*Area
		for _, n := range nodes {
			a, _, err := n.Create(context.Background(), key, 100, nil)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, a)
		}
		var all sync.WaitGroup
		for _, a := range open {
			all.Go(func() {
				if err := a.Drop(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if areas := s.Areas(); len(areas) != 0 {
			t.Fatalf("round %d: %v", round, areas)
		}
	}
}
