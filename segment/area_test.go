package segment

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

var lane = Key{KindLane, 3, "camera/front"}

// memory returns a bus on the heap, where the race detector sees every access.
func memory(t *testing.T, o *Options) *Segment {
	t.Helper()
	s, err := FromBytes(mem.Alloc(minSize), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func join(t *testing.T, s *Segment, name string) *Node {
	t.Helper()
	n, err := s.Join(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Leave() })
	return n
}

func create(t *testing.T, n *Node, key Key, size int64) *Area {
	t.Helper()
	a, created, err := n.Create(t.Context(), key, size, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !created {
		t.Fatalf("%v was there already", key)
	}
	return a
}

func TestAreaIsSharedByItsKey(t *testing.T) {
	s := memory(t, nil)
	a, b := join(t, s, "a"), join(t, s, "b")
	made, created, err := a.Create(t.Context(), lane, 100, func(area []byte) error {
		copy(area, "hello")
		return nil
	})
	if err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	found, created, err := b.Create(t.Context(), lane, 100, nil)
	if err != nil || created {
		t.Fatalf("created %v, %v", created, err)
	}
	if !bytes.Equal(found.Bytes(), made.Bytes()) || string(found.Bytes()[:5]) != "hello" || len(found.Bytes()) != 100 {
		t.Fatalf("got %q", found.Bytes())
	}
	again, err := b.OpenEntry(made.Index(), made.Gen())
	if err != nil || again.Key() != lane || again.Offset() != made.Offset() {
		t.Fatalf("got %v, %v", again, err)
	}
	if err := a.Remove(lane); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
	for _, x := range []*Area{made, found, again} {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Remove(lane); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lookup(lane); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if _, err := b.OpenEntry(made.Index(), made.Gen()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if u := s.Usage(); u.Free != u.Blocks {
		t.Fatalf("blocks leaked: %+v", u)
	}
}

func TestFullSegmentSaysBothFigures(t *testing.T) {
	n := join(t, memory(t, nil), "a")
	create(t, n, Key{KindTopic, 0, "x"}, 10*minBlock)
	var full *SpaceError
	_, _, err := n.Create(context.Background(), lane, 7*minBlock, nil)
	if !errors.As(err, &full) || full.Need != 7*minBlock || full.Free != 6*minBlock {
		t.Fatalf("got %v", err)
	}
	_, _, err = n.Create(context.Background(), lane, 1<<62, nil)
	if !errors.As(err, &full) || full.Need != 1<<62 {
		t.Fatalf("got %v", err)
	}
	create(t, n, lane, 6*minBlock)
}

func TestOtherSizeIsAMismatch(t *testing.T) {
	n := join(t, memory(t, nil), "a")
	create(t, n, lane, 1000)
	var m *MismatchError
	if _, _, err := n.Create(t.Context(), lane, 1001, nil); !errors.As(err, &m) || m.Field != "size" {
		t.Fatalf("got %v", err)
	}
}

func TestFailedInitLeavesNothing(t *testing.T) {
	s := memory(t, nil)
	n := join(t, s, "a")
	boom := errors.New("boom")
	if _, _, err := n.Create(t.Context(), lane, 1000, func([]byte) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _, _ = n.Create(t.Context(), lane, 1000, func([]byte) error { panic("boom") })
	}()
	if u := s.Usage(); u.Free != u.Blocks || len(s.Areas()) != 0 {
		t.Fatalf("left %+v, %v", u, s.Areas())
	}
}
