package mpsc

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

// use does all there is to do with a queue that may be garbled, and fails if it
// finds an error of another kind, or hands out memory that is not the op's.
func use(t *testing.T, q *Queue) {
	s := newShared(q, owner(1))
	fine := func(err error) bool {
		if err == nil {
			return true
		}
		if errors.As(err, new(*CorruptError)) {
			q.Break(count)
		} else if !errors.Is(err, ErrFenced) {
			t.Fatal(err)
		}
		return false
	}
	size := q.config.Size
	carry := func(ops []Op) {
		for i := range ops {
			if len(ops[i].Out)+len(ops[i].In) > size || cap(ops[i].Out) != len(ops[i].Out) || cap(ops[i].In) != len(ops[i].In) {
				t.Fatalf("%d and %d bytes of %d", len(ops[i].Out), len(ops[i].In), size)
			}
			s.x.Complete(ops[i].Token, int32(ops[i].Offset))
		}
	}
	q.Verify()
	q.Inspect()
	for k := range 3 {
		if ref, ok := s.Alloc(&Request{Out: make([]byte, size/2), In: size / 2}, true); ok {
			c := s.Submit([]Ref{ref}, true)
			if c == NoControl && k == 1 {
				c = s.Claim(true)
			}
			if c != NoControl {
				fine(Run(s.x, c, make([]Op, 0, 3), 2, clock, carry, never))
			}
			if _, back := s.Result(ref); len(back) > size {
				t.Fatal(len(back))
			}
			if k == 2 {
				s.Cancel(ref, true)
			}
			s.Free(ref)
			s.Forget(ref, true)
		}
		_, err := s.x.Settle()
		fine(err)
		q.Recover(uint32(k), k == 1, count)
		q.Recover(owner(2), k == 2, count)
	}
	q.Verify()
}

// FuzzQueue hands a queue arbitrary bytes: errors, and nothing else.
func FuzzQueue(f *testing.F) {
	c := Config{Depth: 4, Size: 16}
	f.Add([]byte{}, uint16(4), uint16(16))
	f.Add(binary.LittleEndian.AppendUint64(make([]byte, 0x40), uint64(packTail(3, owner(1), 2))), uint16(4), uint16(16))
	f.Add(binary.LittleEndian.AppendUint64(make([]byte, 0x40), uint64(packTail(9, orphan, temp))), uint16(4), uint16(16))
	nodes := make([]byte, nodeArea+4*nodeSize)
	binary.LittleEndian.PutUint64(nodes[queueTail:], uint64(packTail(2, again, 2)))
	for i := range 4 {
		at := nodeArea + i*nodeSize
		binary.LittleEndian.PutUint64(nodes[at:], uint64(packState(Status(i+2), owner(i), owner(2), 0)))
		binary.LittleEndian.PutUint64(nodes[at+nodeLink:], uint64(packLink(uint64(i+1), uint64(i), 0, true)))
		binary.LittleEndian.PutUint64(nodes[at+nodeCounts:], 1<<63|1<<31)
	}
	f.Add(nodes, uint16(4), uint16(16))
	f.Fuzz(func(t *testing.T, b []byte, depth, size uint16) {
		area := mem.Alloc(int(Size(c)))
		if err := Format(area, c); err != nil {
			t.Fatal(err)
		}
		copy(area[queueBroken:], b[min(len(b), queueBroken):])
		mem.U32(area, queueDepth).Store(uint32(depth))
		mem.U32(area, queueSize).Store(uint32(size))
		q, err := Open(area)
		if err != nil {
			if !errors.As(err, new(*CorruptError)) {
				t.Fatal(err)
			}
			return
		}
		use(t, q)
	})
}

// A peer writes garbage while the queue is used: errors, but no panic, no hang,
// nothing outside of the area.
func TestGarbageUnderARunningQueue(t *testing.T) {
	c := Config{Depth: 4, Size: 16}
	area := mem.Alloc(int(Size(c)))
	if err := Format(area, c); err != nil {
		t.Fatal(err)
	}
	q, err := Open(area)
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		words := mem.U64s(area, 0, (nodeArea+4*nodeSize)/8)
		at := []int{queueTail / 8, queueHead / 8, nodeArea / 8, nodeArea/8 + 1, nodeArea/8 + 3, nodeArea/8 + 8, nodeArea/8 + 9, queueSpace / 8, queueControl / 8}
		for n := uint64(1); !stop.Load(); n = n*6364136223846793005 + 1442695040888963407 {
			w := &words[at[n>>40%uint64(len(at))]]
			switch n >> 60 {
			case 0:
				w.Store(n)
			case 1:
				w.Store(w.Load() ^ 1<<(n>>33%64))
			case 2:
				w.Store(0)
			}
		}
	})
	for range 2000 {
		use(t, q)
	}
	stop.Store(true)
	wg.Wait()
}
