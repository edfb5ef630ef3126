package cells

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Histories of real goroutines against the sequential model of a shared group: a
// queue, of which each message goes to one reader, or again to another if it
// was handed back, and then it is marked.

type call struct {
	kind   string // send, claim, done, return
	number uint64
}

type answer struct {
	empty  bool
	number uint64
	marked bool
}

// queue is the model's state: messages not claimed yet, open claims, and what
// was handed back.
type queue struct {
	sent, next uint64
	open       [64]byte // by number modulo 64: 0 no, 1 claimed, 2 handed back
}

var groupModel = porcupine.Model{
	Init: func() any { return queue{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(queue), input.(call), output.(answer)
		switch in.kind {
		case "send":
			ok := in.number == s.sent
			s.sent++
			return ok, s
		case "claim":
			if out.empty {
				return true, s // it may have lost the race for each
			}
			slot := &s.open[out.number%64]
			if out.marked {
				ok := *slot == 2 && out.number < s.next
				*slot = 1
				return ok, s
			}
			ok := out.number == s.next && s.next < s.sent && *slot == 0
			s.next++
			*slot = 1
			return ok, s
		}
		slot := &s.open[in.number%64]
		ok := *slot == 1
		if *slot = 0; in.kind == "return" {
			*slot = 2
		}
		return ok, s
	},
}

func TestHistoriesOfAGroupAreLinearizable(t *testing.T) {
	for round := range 20 {
		groupRound(t, 120, 2+round%2)
	}
}

func groupRound(t *testing.T, total uint64, readers int) {
	r := newRig(t, 16, 1)
	x := r.tx()
	var clock atomic.Int64
	var mu sync.Mutex
	var ops []porcupine.Operation
	// Of looks in a row that find nothing some are judged. Where many goroutines
	// share a CPU there are millions, and no search for an order ends.
	const enough = 4
	quiet := make([]int, 1+readers)
	note := func(client int, in call, f func() answer) answer {
		at := clock.Add(1)
		out := f()
		end := clock.Add(1)
		if quiet[client]++; !out.empty {
			quiet[client] = 0
		} else if quiet[client] > enough {
			return out
		}
		mu.Lock()
		defer mu.Unlock()
		ops = append(ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: at, Return: end})
		return out
	}
	var done atomic.Uint64
	var all sync.WaitGroup
	for i := range readers {
		s := r.shared("g", false)
		all.Go(func() {
			for n := 0; done.Load() < total; n++ {
				rec := new(Record)
				if note(1+i, call{kind: "claim"}, func() answer {
					st := s.Poll(rec)
					if st != Got && st != Empty {
						t.Error(st, s.Err())
					}
					return answer{empty: st == Empty, number: rec.Number, marked: rec.Redelivered}
				}).empty {
					runtime.Gosched()
					continue
				}
				if got, err := intact(rec.Bytes()); err != nil || got != rec.Number {
					t.Error(got, err)
				}
				if n%5 == 4 {
					note(1+i, call{"return", rec.Number}, func() answer {
						if !s.Return(rec) {
							t.Error("not given back")
						}
						return answer{}
					})
					continue
				}
				note(1+i, call{"done", rec.Number}, func() answer {
					if !s.Done(rec) {
						t.Error("not done")
					}
					return answer{}
				})
				done.Add(1)
			}
		})
	}
	for n := range total {
		note(0, call{"send", n}, func() answer {
			for !x.Send(numbered(n, 8+int(n%3)*64), false) {
				runtime.Gosched()
			}
			return answer{}
		})
	}
	all.Wait()
	if res := porcupine.CheckOperationsTimeout(groupModel, ops, 2*time.Minute); res != porcupine.Ok {
		t.Fatalf("%d readers: %v", readers, res)
	}
	r.sound()
}

// Real goroutines: a writer, hold and lapped readers; run under -race.
func TestReadersOfAllKindsAtOnce(t *testing.T) {
	r := newRig(t, 64, 1)
	x := r.tx()
	const total = 20_000
	most := r.ring.Config().MaxMessage()
	var all sync.WaitGroup
	for _, m := range []Mode{ModeHold, ModeHold, ModeLapped} {
		rd := r.rx(m, true)
		all.Go(func() {
			for next := uint64(0); next < total; {
				got, lost, st, err := rd.get(next)
				if err != nil || st != Got && st != Empty || st == Got && got != next+lost || m == ModeHold && lost > 0 {
					t.Error(got, next, lost, st, err)
					return
				}
				if st == Empty {
					if rd.Ended() != endNone {
						next += rd.TakeLost()
					}
					runtime.Gosched()
					continue
				}
				next = got + 1
			}
		})
	}
	for n := range uint64(total) {
		for !x.Send(numbered(n, sizeOf(n, most)), false) {
			runtime.Gosched()
		}
	}
	x.End()
	all.Wait()
	r.sound()
}
