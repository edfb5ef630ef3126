package multilog

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Histories of real goroutines are checked against the sequential model: a list
// of records, and a place in it. An append takes effect when it claims, so the
// order of positions is that of the list. A reader's calls and all appends make
// one history, because readers do not see each other.

// call is an append (of the record that is n-th in the order of positions, from
// 1 on), or a read.
type call struct{ append int }

type answer struct {
	found Found
	n     int // of the record, from 1 on
	lost  int
}

type listState struct{ sent, next int }

// listModel is a list whose reader, unless it holds, may find records gone.
func listModel(holds bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return listState{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(listState), input.(call), output.(answer)
			switch {
			case in.append > 0:
				s.sent++
				return in.append == s.sent, s
			case out.found == End: // what was lost is told later
				return s.next == s.sent || !holds, s
			case out.found == Unfinished: // in overwrite mode it may become a hole
				return s.next < s.sent || !holds, s
			}
			ok := out.n == s.next+out.lost+1 && out.n <= s.sent && (out.lost == 0 || !holds)
			s.next = out.n
			return ok, s
		},
	}
}

// history records operations with the times of one clock.
type history struct {
	clock *atomic.Int64
	ops   []porcupine.Operation
	pos   []uint64 // of the records in ops
	quiet int      // looks that found nothing, since one that found something
}

// enough is how many looks in a row that find nothing are judged. Where many
// goroutines share a CPU there are millions, and no search for an order ends.
const enough = 4

func (h *history) do(client int, in call, f func() (answer, uint64)) answer {
	at := h.clock.Add(1)
	out, pos := f()
	if h.quiet++; in.append != 0 || out.found == Got {
		h.quiet = 0
	} else if h.quiet > enough {
		return out
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: at, Return: h.clock.Add(1)})
	h.pos = append(h.pos, pos)
	return out
}

func TestHistoriesAreLinearizable(t *testing.T) {
	for round := range 24 {
		mode, writers := []Mode{Overwrite, Reject}[round%2], 1+round/2%3
		linearRound(t, mode, writers, []int{40, 2000, 9000}[round/6%3], 60)
	}
}

func linearRound(t *testing.T, mode Mode, writers, size, each int) {
	r := newRig(t, Config{Cells: MinCells, Mode: mode})
	var clock atomic.Int64
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(writers))
	appends := make([]*history, writers)
	reads := []*history{{clock: &clock}, {clock: &clock}}
	for i, h := range reads {
		rx := r.rx(uint32(0x900 + i))
		must(t, rx.Register(true))
		all.Go(func() { readHistory(t, h, rx, &left) })
	}
	for i := range appends {
		appends[i] = &history{clock: &clock}
		tx := r.tx(uint32(0x101 + i))
		all.Go(func() {
			defer left.Add(-1)
			for n := range each {
				appendHistory(t, appends[i], i, tx, make([]byte, n*7%size))
			}
		})
	}
	all.Wait()
	var order []uint64
	for _, h := range appends {
		order = append(order, h.pos...)
	}
	slices.Sort(order)
	for i, h := range reads {
		name := fmt.Sprintf("%v, %d writers, up to %d bytes, reader %d", mode, writers, size, i)
		check(t, name, listModel(mode == Reject), order, append(appends, h))
	}
}

// appendHistory appends one record; one that was lapped did not happen.
func appendHistory(t *testing.T, h *history, client int, tx *Tx, data []byte) {
	for {
		at := h.clock.Add(1)
		pos, err := tx.Append(data, 0, nil, new(Prefix))
		switch {
		case errors.Is(err, ErrFull):
			runtime.Gosched()
			continue
		case err == nil:
			h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: call{append: -1}, Output: answer{}, Call: at, Return: h.clock.Add(1)})
			h.pos = append(h.pos, pos)
		case !errors.Is(err, ErrLapped):
			t.Error(err)
		}
		return
	}
}

// readHistory reads until nobody appends, and there is no more. What was lost is
// told with the record after it.
func readHistory(t *testing.T, h *history, rx *Rx, left *atomic.Int64) {
	told := uint64(0)
	for {
		over := left.Load() == 0
		out := h.do(1000, call{}, func() (answer, uint64) {
			var rec Record
			f, err := rx.Next(&rec, true)
			if err != nil {
				t.Error(err)
			}
			out := answer{found: f}
			if f == Got {
				out.lost, told = int(rx.Lost-told), rx.Lost
			}
			return out, rec.Position
		})
		if out.found != Got {
			if over {
				return
			}
			runtime.Gosched()
		}
	}
}

// check numbers the records by their positions, and looks for an order of all
// operations that the model allows.
func check(t *testing.T, name string, model porcupine.Model, order []uint64, parts []*history) {
	t.Helper()
	var ops []porcupine.Operation
	for _, h := range parts {
		for i, op := range h.ops {
			n, ok := slices.BinarySearch(order, h.pos[i])
			if in := op.Input.(call); in.append != 0 {
				op.Input = call{append: n + 1}
			} else if out := op.Output.(answer); out.found == Got {
				if !ok {
					t.Fatalf("%s: received position %d, which nobody appended", name, h.pos[i])
				}
				out.n = n + 1
				op.Output = out
			}
			ops = append(ops, op)
		}
	}
	if res := porcupine.CheckOperationsTimeout(model, ops, 2*time.Minute); res != porcupine.Ok {
		last := parts[len(parts)-1].ops
		t.Fatalf("%s: %v; it ends with %+v", name, res, last[max(0, len(last)-10):])
	}
}
