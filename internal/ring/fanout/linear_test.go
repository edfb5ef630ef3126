package fanout

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Histories of real goroutines are checked against the sequential model: a log
// with one cursor for each reader. A reader's calls and all sends make one
// history, because readers do not see each other.

// call is what a party asked, and what it got.
type call struct {
	send int // so many messages; 0: a receive
	join bool
}

type answer struct {
	empty     bool
	pos, lost uint64
}

// logState is the log's length and the reader's cursor.
type logState struct {
	sent, next uint64
	joined     bool
}

// logModel is the log of a lane of depth entries that is written in batches,
// and one reader of it. A batch is sent at one instant, but it is written
// before that: what its entries held is gone for a latest reader already.
func logModel(depth, batch uint64, latest bool, history uint64) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return logState{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(logState), input.(call), output.(answer)
			switch {
			case in.send > 0:
				s.sent += uint64(in.send)
				return latest || !s.joined || s.sent <= s.next+depth, s
			case in.join:
				ok := out.pos == s.sent-min(s.sent, history)
				s.next, s.joined = out.pos, true
				return ok, s
			case out.empty:
				// All messages of a latest reader may be in the act of being
				// overwritten: it will be told that they are lost.
				return s.next == s.sent || latest && depth <= batch, s
			}
			// A latest reader may find its message gone while the next are written.
			lapped := out.lost > 0 && latest && s.sent+batch > s.next+depth && out.pos+depth >= s.sent
			ok := out.pos == s.next+out.lost && out.pos < s.sent && (out.lost == 0 || lapped)
			s.next = out.pos + 1
			return ok, s
		},
	}
}

// history records operations with the times of one clock.
type history struct {
	clock *atomic.Int64
	ops   []porcupine.Operation
	quiet int // looks that found nothing, since one that found something
}

// enough is how many looks in a row that find nothing are judged. Where many
// goroutines share a CPU there are millions, and no search for an order ends.
const enough = 4

func (h *history) do(client int, in call, f func() answer) answer {
	at := h.clock.Add(1)
	out := f()
	if h.quiet++; !out.empty {
		h.quiet = 0
	} else if h.quiet > enough {
		return out
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: at, Return: h.clock.Add(1)})
	return out
}

func TestHistoriesAreLinearizable(t *testing.T) {
	for round := range 30 {
		c := Config{Depth: 1 << (round % 5), MaxMessage: 112, Holds: 16, Loans: 1}
		linearRound(t, c, []int{8, 56, 112}[round%3], 150)
	}
}

func linearRound(t *testing.T, c Config, size int, total uint64) {
	r := newRig(t, c)
	x := r.tx()
	var clock atomic.Int64
	type party struct {
		mode  Mode
		early bool
		back  uint64
		history
	}
	readers := []*party{{mode: ModeReliable, early: true}, {mode: ModeLatest, early: true}, {mode: ModeReliable, back: uint64(c.Depth - c.Chunk())}}
	sends := &history{clock: &clock}
	start := make(chan struct{})
	var early, all sync.WaitGroup
	early.Add(2)
	for i, p := range readers {
		p.clock = &clock
		all.Go(func() {
			if !p.early {
				<-start
			}
			var sub *reader
			p.do(1, call{join: true}, func() answer {
				sub = r.rxAs(uint32(0x110+i), p.mode, 1, int(p.back))
				return answer{pos: sub.Next()}
			})
			if p.early {
				early.Done()
				<-start
			}
			for sub.Next() < total {
				out := p.do(1, call{}, func() answer {
					n, st, err := sub.next()
					if err != nil || st != Got && st != Empty {
						t.Error(n, st, err)
					}
					return answer{empty: st == Empty, pos: n, lost: sub.recs[0].Lost}
				})
				if out.empty {
					runtime.Gosched()
				}
			}
		})
	}
	early.Wait()
	close(start)
	for x.Head() < total {
		h := x.Head()
		msgs := [][]byte{numbered(h, size)}
		for h%3 == 0 && uint64(len(msgs)) < min(3, total-h) {
			msgs = append(msgs, numbered(h+uint64(len(msgs)), size))
		}
		at := clock.Add(1)
		n := x.SendBatch(msgs, 0)
		if n == 0 {
			runtime.Gosched()
			continue
		}
		sends.ops = append(sends.ops, porcupine.Operation{ClientId: 0, Input: call{send: n}, Output: answer{}, Call: at, Return: clock.Add(1)})
	}
	all.Wait()
	for i, p := range readers {
		model := logModel(uint64(c.Depth), uint64(min(3, c.Chunk())), p.mode == ModeLatest, p.back)
		ops := append(p.ops, sends.ops...)
		if res := porcupine.CheckOperationsTimeout(model, ops, 2*time.Minute); res != porcupine.Ok {
			t.Fatalf("%+v, messages of %d bytes, reader %d: %v; it ends with %+v", c, size, i, res, p.ops[max(0, len(p.ops)-20):])
		}
	}
}
