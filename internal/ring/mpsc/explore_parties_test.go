//go:build invariants || race

package mpsc

import (
	"errors"
	"fmt"

	"github.com/ringbus/ringbus/internal/invariant"
)

// world is a queue with all that its parties did to it.
type world struct {
	x *explorer
	q *Queue // nil: l
	l *Local

	quota    int
	dead     map[uint32]bool
	swept    map[uint32]bool
	atDevice *party // who is
	runs     map[int64]int
	order    map[uint32][]int64 // ops as the device got them, by submitter
	ended    map[int64]Status   // what submitters were told
	repeat   map[int64]bool
	issued   map[int64]bool // a submitter has submitted it
	submits  int            // parties that submit and have not ended
}

func newWorld(x *explorer, depth int, isLocal bool) *world {
	w := &world{
		x: x, quota: 1 + x.rng.IntN(3), dead: map[uint32]bool{}, swept: map[uint32]bool{}, runs: map[int64]int{},
		order: map[uint32][]int64{}, ended: map[int64]Status{}, repeat: map[int64]bool{}, issued: map[int64]bool{},
	}
	if isLocal {
		w.l = NewLocal(depth)
		return w
	}
	var err error
	if w.q, err = tryQueue(Config{Depth: depth, Size: 64}); err != nil {
		panic(err)
	}
	return w
}

func (w *world) end(owner uint32) end {
	if w.q == nil {
		return local{w.l}
	}
	return newShared(w.q, owner)
}

// carry is the device: one party at a time, each op once.
func (w *world) carry(p *party, e Executor, ops []Op) {
	if w.atDevice != nil && w.atDevice.state != killed && w.atDevice != p {
		w.x.fail("%s and %s are at the device at once", p.name, w.atDevice.name)
	}
	w.atDevice = p
	for _, o := range ops {
		n := o.Offset
		if w.runs[n]++; w.runs[n] > 1 && (!w.repeat[n] || !o.Again) {
			w.x.fail("op %d is carried out %d times", n, w.runs[n])
		}
		if !o.Again {
			by := uint32(n >> 16)
			w.order[by] = append(w.order[by], n)
		}
		invariant.Point("mpsc.X6")
	}
	w.atDevice = nil
	for _, k := range p.rng.Perm(len(ops)) {
		if ops[k].turn == 0 {
			continue // in no node
		}
		e.Complete(ops[k].Token, int32(ops[k].Offset&0xffff))
	}
}

// use has p be the executor.
func (w *world) use(p *party, e end, c Control) {
	x := e.executor()
	ops := make([]Op, 0, 1+p.rng.IntN(3))
	err := Run(x, c, ops, w.quota, func() int64 { return 1 }, func(ops []Op) { w.carry(p, x, ops) }, func() bool { return p.name != "last" && p.rng.IntN(8) == 0 })
	if err != nil {
		w.x.fail("executor: %v", err)
	}
}

// plan is what a submitter does.
type plan struct {
	owner   uint32
	ops     int
	able    bool
	cancels bool
	forgets bool
	repeats bool
	batches bool
}

// submit is a submitter, from its first op to its last.
func (w *world) submit(p *party, s plan) {
	e := w.end(s.owner)
	for k := 0; k < s.ops; {
		n := 1
		if s.batches {
			n = min(1+p.rng.IntN(3), s.ops-k)
		}
		if s.able && p.rng.IntN(2) == 0 && w.alone(p, e, int64(s.owner)<<16|int64(k)) {
			k++
			continue
		}
		var refs []Ref
		for range n {
			num := int64(s.owner)<<16 | int64(k)
			w.repeat[num] = s.repeats
			r := &Request{Offset: num, Repeat: s.repeats, Time: 1}
			ref, ok := e.alloc(r, s.able)
			if !ok {
				if len(refs) > 0 {
					break
				}
				w.full(p, e, s)
				continue
			}
			refs = append(refs, ref)
			k++
		}
		if len(refs) == 0 {
			continue
		}
		for i := range refs {
			w.issued[int64(s.owner)<<16|int64(k-len(refs)+i)] = true
		}
		c := e.Submit(refs, s.able)
		if c != NoControl {
			w.use(p, e, c)
		}
		for i, ref := range refs {
			w.await(p, e, s, ref, int64(s.owner)<<16|int64(k-len(refs)+i))
		}
	}
}

// alone carries out op n in no node, if nobody has control of an empty queue.
func (w *world) alone(p *party, e end, n int64) bool {
	x := e.executor()
	if !x.ClaimIdle() {
		return false
	}
	w.issued[n] = true
	w.carry(p, x, []Op{{Offset: n}})
	w.ended[n] = Done
	if !x.DropIdle() {
		w.use(p, e, Gained)
	}
	return true
}

// full waits for a free node.
func (w *world) full(p *party, e end, s plan) {
	until := e.wantSpace()
	if r, ok := e.alloc(&Request{}, false); ok { // looked after it was announced
		w.giveBack(p, e, r)
		return
	}
	if s.able {
		if c := e.Claim(false); c != NoControl {
			w.use(p, e, c)
			return
		}
	}
	if m, ok := e.(*shared); ok && m.Unswept() {
		done, err := m.x.Settle()
		if err != nil {
			w.x.fail("settle: %v", err)
		}
		if done {
			return
		}
	}
	p.able = s.able && w.q != nil // one token wakes the sleepers of a Local, one after the other
	p.sleep("for a free node", until)
	p.able = false
}

// giveBack submits a node that was only tried for, as nobody's.
func (w *world) giveBack(p *party, e end, r Ref) {
	n := int64(0xff0000)<<16 | int64(len(w.runs)) | int64(p.index)<<8
	if m, ok := e.(*shared); ok {
		m.q.nodes[r.Index()].offset.Store(uint64(n))
	} else {
		w.l.at(r).op.Offset = n
	}
	for w.issued[n] {
		n++
	}
	w.repeat[n] = true
	e.Submit([]Ref{r}, false)
	e.Forget(r, false)
}

// await waits for the end of one op.
func (w *world) await(p *party, e end, s plan, r Ref, n int64) {
	for {
		switch st := e.Look(r); st {
		case Done, Interrupted:
			w.told(p, n, st, e, r)
			e.Free(r)
			return
		case Free:
			w.x.fail("op %d is not its submitter's any more", n)
		}
		if s.cancels && p.rng.IntN(3) == 0 && e.Cancel(r, s.able) {
			w.ended[n] = Cancelled
			return
		}
		if s.forgets && p.rng.IntN(3) == 0 {
			w.ended[n] = Free
			e.Forget(r, s.able)
			return
		}
		if s.able {
			if c := e.Claim(false); c != NoControl {
				w.use(p, e, c)
				continue
			}
		} else if e.leftover() {
			if err := e.settle(); err != nil {
				w.x.fail("settle: %v", err)
			}
			continue
		}
		until := e.heard(r)
		e.Announce(r, s.able)
		if st := e.Look(r); st == Done || st == Interrupted || s.able && e.Offered() || e.leftover() {
			e.Awake(r, s.able)
			continue
		}
		p.able = s.able
		p.sleep(fmt.Sprintf("for op %x", n), until)
		p.able = false
		e.Awake(r, s.able)
	}
}

func (w *world) told(p *party, n int64, st Status, e end, r Ref) {
	w.ended[n] = st
	result, _ := e.Result(r)
	switch {
	case st == Done && (w.runs[n] == 0 || result != int32(n&0xffff)):
		w.x.fail("op %x is done: carried out %d times, result %d", n, w.runs[n], result)
	case st == Interrupted && (len(w.dead) == 0 || w.repeat[n]):
		w.x.fail("op %x is interrupted", n)
	}
	_ = p
}

// dedicated is an executor that keeps control while it lives, until all who
// submit have ended.
func (w *world) dedicated(p *party, owner uint32) {
	e := w.end(owner)
	x := e.executor()
	over := func() bool { return w.submits == 0 }
	for !over() {
		until := e.wantControl()
		c := e.Claim(true)
		if c == NoControl {
			p.able = true
			p.sleep("for control", func() bool { return until() || over() })
			p.able = false
			switch m := e.(type) {
			case *shared:
				m.WaivesControl()
			case local:
				m.spare.waiting.Store(0)
				m.passOn()
			}
			continue
		}
		ops, err := x.Start(c, make([]Op, 0, 2))
		for err == nil {
			if len(ops) > 0 {
				w.carry(p, x, ops)
			}
			if err = x.Tidy(); err != nil {
				break
			}
			if ops, err = x.Take(ops[:0], 1); err != nil || len(ops) > 0 {
				continue
			}
			if over() {
				left := false
				if left, err = x.Release(); left {
					break
				}
				continue
			}
			until, unpark := e.park()
			p.sleep("for an op", func() bool { return until() || over() })
			unpark()
		}
		if err != nil {
			w.x.fail("dedicated executor: %v", err)
		}
	}
}

// submitter adds a party that submits.
func (w *world) submitter(s plan) *party {
	w.submits++
	p := w.x.add(fmt.Sprintf("sub%x", s.owner), func(p *party) {
		w.submit(p, s)
		w.submits--
	})
	p.atDeath = func() { w.dead[s.owner] = true; w.submits-- }
	return p
}

func (w *world) executor(owner uint32) *party {
	p := w.x.add(fmt.Sprintf("exec%x", owner), func(p *party) { w.dedicated(p, owner) })
	p.atDeath = func() { w.dead[owner] = true }
	return p
}

// undertakers are two survivors who both notice owner's death; one may die.
func (w *world) undertakers(owner uint32) {
	for i := range 2 {
		p := w.x.add(fmt.Sprintf("rec%d-%x", i, owner), func(p *party) {
			p.mayStay = true
			p.sleep("for a death", func() bool { return w.dead[owner] })
			p.mayStay = false
			w.q.Recover(owner, false, count)
			w.swept[owner] = true
		})
		if i == 0 && w.x.rng.IntN(2) == 0 {
			p.killAt = 1 + w.x.rng.IntN(8)
		}
	}
}

// last is an executor that comes whenever nobody else can go on and something
// is left to carry out.
func (w *world) last(owner uint32) {
	w.x.add("last", func(p *party) {
		for {
			idle := func() bool {
				for _, o := range w.x.parties {
					if o != p && (o.state == runs || o.state == sleeps && o.until()) {
						return false
					}
				}
				return true
			}
			p.mayStay = true
			p.sleep("for the others", idle)
			e := w.end(owner)
			if w.submits > 0 && !e.Offered() {
				return // they sleep over nothing, and check says who
			}
			for _, o := range w.x.parties {
				if o.state == sleeps && o.able {
					w.x.fail("%s sleeps %s, and control is on offer", o.name, o.why)
				}
			}
			c := e.Claim(true)
			if c == NoControl {
				return
			}
			final := w.submits == 0
			w.use(p, e, c)
			if final {
				return
			}
		}
	})
}

// check is what must hold when all is quiet.
func (w *world) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for n, st := range w.ended {
		if st == Cancelled && w.runs[n] > 0 {
			wrong("op %x was cancelled and carried out", n)
		}
		if st == Free && w.runs[n] == 0 {
			wrong("op %x was forgotten and not carried out", n)
		}
	}
	for by, ops := range w.order {
		for i := 1; i < len(ops); i++ {
			if ops[i] <= ops[i-1] && by < 0xff0000 {
				wrong("ops of %x come in the order %x", by, ops)
				break
			}
		}
	}
	for owner := range w.dead {
		if !w.swept[owner] {
			return errors.Join(errs...) // everybody who could have swept is dead
		}
	}
	if w.l != nil {
		return errors.Join(append(errs, w.checkLocal())...)
	}
	for _, s := range w.q.Verify() {
		wrong("%s", s)
	}
	if s := w.q.Inspect(); s.Executor != 0 || s.Left || s.Queued+s.Issued+s.Finished+s.Lost != 0 {
		wrong("left behind: %+v", s)
	}
	for i := range w.q.nodes {
		if s := w.q.nodes[i].load(); s.status() != Free {
			wrong("node %d is left in state %d of %x", i, s.status(), s.owner())
		}
	}
	return errors.Join(errs...)
}

func (w *world) checkLocal() error {
	if w.l.tail.Load() != none || w.l.offer.Load() != 0 || w.l.own.Load() != 0 {
		return errors.New("the queue is not empty, or on offer, or owned")
	}
	n := 0
	for w.l.pop() != nil {
		n++
	}
	if n != len(w.l.tasks) {
		return fmt.Errorf("%d nodes of %d are free", n, len(w.l.tasks))
	}
	return nil
}
