package mpsc

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"

	"github.com/ringbus/ringbus/internal/shmtest"
)

func clock() int64 { return 1 }
func never() bool  { return false }

// do submits one op and sees it through, and executes where it gets control.
func do(e end, r *Request, quota int, carry func(Executor, []Op)) (int32, []byte, Status) {
	ref, ok := e.alloc(r, true)
	for !ok {
		runtime.Gosched()
		ref, ok = e.alloc(r, true)
	}
	c := e.Submit([]Ref{ref}, true)
	for {
		if c != NoControl {
			x := e.executor()
			if err := Run(x, c, make([]Op, 0, 4), quota, clock, func(ops []Op) { carry(x, ops) }, never); err != nil {
				panic(err)
			}
		}
		if st := e.Look(ref); st == Done || st == Interrupted {
			n, back := e.Result(ref)
			back = bytes.Clone(back)
			e.Free(ref)
			return n, back, st
		}
		if c = e.Claim(false); c == NoControl {
			runtime.Gosched()
		}
	}
}

// ends are both kinds of queue: f is called with a function that makes the end
// of party k.
func ends(t *testing.T, c Config, f func(t *testing.T, of func(k int) end)) {
	t.Run("across processes", func(t *testing.T) {
		q := newQueue(t, c)
		f(t, func(k int) end { return newShared(q, owner(k)) })
		for _, s := range q.Verify() {
			t.Error(s)
		}
		if s := q.Inspect(); s.Executor != 0 || s.Queued+s.Issued+s.Finished+s.Lost != 0 {
			t.Errorf("left: %+v", s)
		}
	})
	t.Run("within one", func(t *testing.T) {
		l := NewLocal(c.Depth)
		f(t, func(int) end { return local{l} })
		if l.tail.Load() != none {
			t.Error("it is not empty")
		}
	})
}

// Everybody submits, whoever has control executes: one at a time, each op once,
// those of one submitter in its order, and the answers are right.
func TestManySubmitters(t *testing.T) {
	const parties, each = 4, 3000
	ends(t, Config{Depth: 8, Size: 64}, func(t *testing.T, of func(int) end) {
		var inside atomic.Int32
		var last [parties]int64
		carry := func(x Executor, ops []Op) {
			if inside.Add(1) != 1 {
				t.Error("two executors at once")
			}
			for i := range ops {
				k, n := ops[i].Offset>>32, ops[i].Offset&0xffffffff
				if n != last[k]+1 {
					t.Errorf("op %d of %d after %d", n, k, last[k])
				}
				last[k] = n
				if len(ops[i].Out) != 8 || ops[i].Out[0] != byte(n) || len(ops[i].In) != 16 {
					t.Errorf("op %+v", ops[i])
				}
				for j := range ops[i].In {
					ops[i].In[j] = byte(n)
				}
			}
			inside.Add(-1)
			for _, i := range rand.Perm(len(ops)) {
				x.Complete(ops[i].Token, int32(ops[i].Offset)%16)
			}
		}
		var wg sync.WaitGroup
		for k := range parties {
			e := of(k)
			wg.Go(func() {
				out := make([]byte, 8)
				for n := int64(1); n <= each; n++ {
					out[0] = byte(n)
					result, back, st := do(e, &Request{Offset: int64(k)<<32 | n, Out: out, In: 16}, 3, carry)
					if st != Done || result != int32(n)%16 || len(back) != int(result) || len(back) > 0 && back[0] != byte(n) {
						t.Errorf("op %d of %d: %v, %d, %v", n, k, st, result, back)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// Histories of fetch-and-add through the queue are linearizable.
func TestHistoriesAreLinearizable(t *testing.T) {
	model := porcupine.Model{
		Init: func() any { return int32(0) },
		Step: func(state, input, output any) (bool, any) {
			return state.(int32) == output.(int32), state.(int32) + input.(int32)
		},
	}
	for range 10 {
		ends(t, Config{Depth: 3, Size: 0}, func(t *testing.T, of func(int) end) {
			var now atomic.Int64
			total := int32(0) // whoever has control
			var mu sync.Mutex
			var ops []porcupine.Operation
			carry := func(x Executor, batch []Op) {
				for i := range batch {
					was := total
					total += int32(batch[i].Offset)
					x.Complete(batch[i].Token, was)
				}
			}
			var wg sync.WaitGroup
			for k := range 4 {
				e := of(k)
				wg.Go(func() {
					for n := range 60 {
						add := int32(n%5 + 1)
						at := now.Add(1)
						was, _, _ := do(e, &Request{Offset: int64(add)}, 2, carry)
						mu.Lock()
						ops = append(ops, porcupine.Operation{ClientId: k, Input: add, Output: was, Call: at, Return: now.Add(1)})
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if !porcupine.CheckOperations(model, ops) {
				t.Fatal("not linearizable")
			}
		})
	}
}

// A single party against a plain list: submissions in batches, walks of every
// length, cancellation, completion in any order, a full pool.
func TestAgainstAList(t *testing.T) {
	shmtest.RapidSeed()
	for _, kind := range []string{"across processes", "within one"} {
		t.Run(kind, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				depth := rapid.IntRange(1, 6).Draw(t, "depth")
				var e end
				if kind == "within one" {
					e = local{NewLocal(depth)}
				} else {
					q, err := tryQueue(Config{Depth: depth, Size: 8})
					if err != nil {
						t.Fatal(err)
					}
					e = newShared(q, owner(1))
				}
				m := &listModel{t: t, e: e, depth: depth}
				t.Repeat(map[string]func(*rapid.T){
					"submit": m.submit, "cancel": m.cancel, "take": m.take, "complete": m.complete, "": func(*rapid.T) { m.check() },
				})
			})
		})
	}
}

type listModel struct {
	t       *rapid.T
	e       end
	depth   int
	next    int64
	queued  []item
	issued  []Op
	refs    map[int64]Ref
	void    int // cancelled and not passed
	control bool
}

type item struct {
	n    int64
	void bool
}

func (m *listModel) submit(t *rapid.T) {
	if m.refs == nil {
		m.refs = make(map[int64]Ref)
	}
	var refs []Ref
	for range rapid.IntRange(1, 3).Draw(t, "n") {
		ref, ok := m.e.alloc(&Request{Offset: m.next}, true)
		if full := len(m.refs)+m.void == m.depth; ok == full {
			t.Fatalf("node: %v, with %d of %d taken", ok, len(m.refs)+m.void, m.depth)
		}
		if !ok {
			break
		}
		m.refs[m.next] = ref
		m.queued = append(m.queued, item{n: m.next})
		m.next++
		refs = append(refs, ref)
	}
	if len(refs) == 0 {
		return
	}
	c := m.e.Submit(refs, true)
	if (c == Gained) == m.control {
		t.Fatalf("control %v, with control %v", c, m.control)
	}
	if c == Gained {
		m.control = true
		if _, err := m.e.executor().Start(c, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *listModel) cancel(t *rapid.T) {
	if m.next == 0 {
		return
	}
	n := rapid.Int64Range(max(0, m.next-8), m.next-1).Draw(t, "op")
	ref, ok := m.refs[n]
	if !ok {
		return
	}
	k := slices.IndexFunc(m.queued, func(i item) bool { return i.n == n && !i.void })
	if got := m.e.Cancel(ref, true); got != (k >= 0) {
		t.Fatalf("cancel %d: %v", n, got)
	}
	if k >= 0 {
		m.queued[k].void = true
		m.void++
		delete(m.refs, n)
	}
}

func (m *listModel) take(t *rapid.T) {
	if !m.control {
		return
	}
	ops, err := m.e.executor().Take(make([]Op, 0, rapid.IntRange(1, 4).Draw(t, "batch")), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range ops {
		for len(m.queued) > 0 && m.queued[0].void {
			m.queued = m.queued[1:]
			m.void--
		}
		if len(m.queued) == 0 || o.Offset != m.queued[0].n {
			t.Fatalf("took %d, want %v", o.Offset, m.queued)
		}
		m.queued = m.queued[1:]
		m.issued = append(m.issued, o)
	}
	if len(ops) == 0 {
		if slices.ContainsFunc(m.queued, func(i item) bool { return !i.void }) {
			t.Fatalf("took nothing of %v", m.queued)
		}
		m.queued, m.void = nil, 0
		if len(m.issued) > 0 {
			return
		}
		left, err := m.e.executor().Release()
		if !left || err != nil {
			t.Fatalf("release: %v, %v", left, err)
		}
		m.control = false
		return
	}
	// Those that follow and are void may have been passed with them.

	for len(m.queued) > 0 && m.queued[0].void && m.passed() {
		m.queued = m.queued[1:]
		m.void--
	}
}

// passed reports whether the first queued item, which is void, has been passed:
// its node is free. That of a Local queue is found by trying.
func (m *listModel) passed() bool {
	n := 0
	var got []Ref
	for {
		r, ok := m.e.alloc(&Request{}, false)
		if !ok {
			break
		}
		got = append(got, r)
		n++
	}
	for _, r := range got {
		m.undo(r)
	}
	return n > m.depth-len(m.refs)-m.void
}

// undo gives a node back that was never submitted.
func (m *listModel) undo(r Ref) {
	switch e := m.e.(type) {
	case *shared:
		n := &e.q.nodes[r.Index()]
		n.state.Store(uint64(packState(Free, 0, 0, r.turn())))
	case local:
		e.recycle(e.at(r))
	}
}

func (m *listModel) complete(t *rapid.T) {
	if len(m.issued) == 0 {
		return
	}
	k := rapid.IntRange(0, len(m.issued)-1).Draw(t, "which")
	o := m.issued[k]
	m.issued = slices.Delete(m.issued, k, k+1)
	x := m.e.executor()
	x.Complete(o.Token, int32(o.Offset))
	x.Complete(o.Token, -1) // once more does nothing
	ref := m.refs[o.Offset]
	if st := m.e.Look(ref); st != Done {
		t.Fatalf("op %d is %v", o.Offset, st)
	}
	if n, _ := m.e.Result(ref); n != int32(o.Offset) {
		t.Fatalf("op %d gives %d", o.Offset, n)
	}
	m.e.Free(ref)
	m.e.Free(ref) // nor does this
	delete(m.refs, o.Offset)
}

func (m *listModel) check() {
	if s, ok := m.e.(*shared); ok {
		if wrong := s.q.Verify(); len(wrong) > 0 {
			m.t.Fatal(wrong)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		return // it allocates
	}
	ends(t, Config{Depth: 8, Size: 64}, func(t *testing.T, of func(int) end) {
		e := of(1)
		x := e.executor()
		ops := make([]Op, 0, 4)
		refs := make([]Ref, 1)
		r := &Request{Out: make([]byte, 8)}
		carry := func(ops []Op) {
			for i := range ops {
				x.Complete(ops[i].Token, 1)
			}
		}
		if n := testing.AllocsPerRun(100, func() {
			refs[0], _ = e.alloc(r, true)
			if err := Run(x, e.Submit(refs, true), ops, 8, clock, carry, never); err != nil {
				t.Fatal(err)
			}
			e.Free(refs[0])
		}); n != 0 {
			t.Errorf("%v allocations for an op", n)
		}
	})
}

// An executor that was evicted and goes on can do no harm: its control, its
// results and its late ops count for nothing, and its nodes are not used again.
func TestEvictedExecutorGoesOn(t *testing.T) {
	q := newQueue(t, Config{Depth: 4, Size: 8})
	old, sub := newShared(q, owner(1)), newShared(q, owner(2))
	var refs []Ref
	for n := range int64(3) {
		r, _ := sub.Alloc(&Request{Offset: n, Repeat: n == 1}, false)
		refs = append(refs, r)
	}
	sub.Submit(refs, false)
	if c := old.Claim(false); c != Gained {
		t.Fatal(c)
	}
	if _, err := old.x.Start(Gained, nil); err != nil {
		t.Fatal(err)
	}
	ops, err := old.x.Take(make([]Op, 0, 2), 0)
	if err != nil || len(ops) != 2 {
		t.Fatal(ops, err)
	}
	q.Recover(owner(1), true, count)
	heir := newShared(q, owner(3))
	c := heir.Claim(false)
	if c != Inherited {
		t.Fatal(c)
	}
	again, err := heir.x.Start(c, nil)
	if err != nil || len(again) != 0 { // not even what is repeatable: it may still be at it
		t.Fatal(again, err)
	}
	old.x.Complete(ops[0].Token, 7)
	if _, err := old.x.Take(make([]Op, 0, 2), 0); !errors.Is(err, ErrFenced) {
		t.Errorf("the evicted one takes: %v", err)
	}
	if _, err := old.x.Release(); !errors.Is(err, ErrFenced) {
		t.Errorf("the evicted one releases: %v", err)
	}
	ops, err = heir.x.Take(make([]Op, 0, 4), 0)
	if err != nil || len(ops) != 1 || ops[0].Offset != 2 {
		t.Fatal(ops, err)
	}
	heir.x.Complete(ops[0].Token, 2)
	for n, want := range []Status{Interrupted, Interrupted, Done} {
		if st := sub.Look(refs[n]); st != want {
			t.Errorf("op %d: %v, want %v", n, st, want)
		}
		sub.Free(refs[n])
	}
	if left, err := heir.x.Release(); !left || err != nil {
		t.Error(left, err)
	}
	if s := q.Inspect(); s.Lost != 2 || s.Takeovers != 1 {
		t.Errorf("%+v", s)
	}
	for _, s := range q.Verify() {
		t.Error(s)
	}
}

// Positions wrap at 2^28.
func TestSequenceWraps(t *testing.T) {
	q := newQueue(t, Config{Depth: 4, Size: 8})
	q.head.Store(3<<28 - 2)
	q.tail.Store(uint64(packTail(3<<28-2, 0, 0)))
	e := newShared(q, owner(1))
	for n := range int64(10) {
		if got, _, _ := do(e, &Request{Offset: n}, 4, func(x Executor, ops []Op) {
			for i := range ops {
				x.Complete(ops[i].Token, int32(ops[i].Offset))
			}
		}); got != int32(n) {
			t.Fatal(n, got)
		}
		if s := q.Verify(); len(s) > 0 {
			t.Fatal(fmt.Sprint(s))
		}
	}
}
