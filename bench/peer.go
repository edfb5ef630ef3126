package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

const (
	childEnv = "RINGBUS_BENCH_CHILD" // the bus's directory
	shareEnv = "RINGBUS_BENCH_SHARE" // what one run's messages are divided by, and the CPU
)

// party is one of the two processes in a measurement.
type party struct {
	parent bool // it takes the time
	dir    string
	cpu    int // -1: there is only one, nobody is pinned
	divide int // messages per run are divided by this
	node   *ringbus.Node
	arena  []byte // memory that both have, apart from the bus
	kept   map[string]any

	meetings uint64
	floors   uint64 // round trips of the floor so far
}

// The arena: a page of words, the lines of the floor, the slots of the plain copy.
const (
	arenaMine   = 0   // meeting word of the parent
	arenaYours  = 128 // meeting word of the child
	arenaPing   = 256
	arenaPong   = 384
	arenaFlags  = 512 // one line for each slot
	arenaFloor  = mem.Page
	floorStride = 512
	floorPairs  = 64
	arenaSlots  = arenaFloor + floorPairs*floorStride
	copySize    = 1 << 20
	copySlots   = 12
	arenaLength = arenaSlots + copySlots*copySize
)

func newParty(dir, name string, parent bool, cpu, divide int) (*party, error) {
	node, err := ringbus.Open("bench", &ringbus.Options{Dir: dir, Name: name})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "arena"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(arenaLength); err != nil {
		return nil, err
	}
	arena, err := sys.Map(f, arenaLength, true)
	if err != nil {
		return nil, err
	}
	return &party{parent: parent, dir: dir, cpu: cpu, divide: divide, node: node, arena: arena, kept: map[string]any{}}, nil
}

func (p *party) word(off int) *atomic.Uint64 { return mem.U64(p.arena, off) }

// lines returns the word that p writes and the one that it reads.
func (p *party) lines(mine, yours int) (tx, rx *atomic.Uint64) {
	if p.parent {
		return p.word(mine), p.word(yours)
	}
	return p.word(yours), p.word(mine)
}

// meet returns when both processes are here.
func (p *party) meet() {
	p.meetings++
	mine, yours := p.lines(arenaMine, arenaYours)
	mine.Store(p.meetings)
	for n := 0; yours.Load() < p.meetings; n++ {
		if n > 1000 {
			sys.Yield()
		}
	}
}

// count is how many messages a run of full length n has.
func (p *party) count(n int) int { return max(n/p.divide, 1) }

// take runs p's half of m.
func (p *party) take(m *measurement) (s sample, err error) {
	if m.polls {
		unpin, err := ringbus.Pin(p.cpu)
		if err != nil {
			return s, err
		}
		defer unpin()
	}
	runtime.GC() // not in the middle
	s, err = m.run(p)
	if err != nil {
		err = fmt.Errorf("%s: %w", m.name, err)
	}
	return s, err
}

// peer is the child, seen from the parent.
type peer struct {
	*party
	cmd     *exec.Cmd
	orders  io.WriteCloser
	replies chan reply
	died    chan struct{}
	ending  atomic.Bool
}

// reply is what the child says after each measurement.
type reply struct {
	Value float64
	Err   string
}

// startPeer starts this program again as the other process.
func startPeer(dir string, c config) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	divide, cpus := 1, []int{-1, -1}
	if c.quick {
		divide = 10
	}
	if len(c.cpus) == 2 {
		cpus = c.cpus
	}
	p := &peer{replies: make(chan reply), died: make(chan struct{})}
	if p.party, err = newParty(dir, "parent", true, cpus[0], divide); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), childEnv+"="+dir, fmt.Sprintf("%s=%d %d", shareEnv, divide, cpus[1]))
	p.cmd.Stderr = os.Stderr
	if p.orders, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for in := json.NewDecoder(out); ; {
			var r reply
			if in.Decode(&r) != nil {
				if !p.ending.Load() {
					close(p.died)
				}
				return
			}
			p.replies <- r
		}
	}()
	return p, nil
}

// both runs m in both processes.
func (p *peer) both(m *measurement) (sample, error) {
	if _, err := fmt.Fprintln(p.orders, m.name); err != nil {
		return sample{}, err
	}
	s, err := p.take(m)
	if err != nil {
		return s, err
	}
	r := <-p.replies
	if r.Err != "" {
		return s, errors.New(r.Err)
	}
	s.value = max(s.value, r.Value)
	return s, nil
}

// finish ends the child in peace.
func (p *peer) finish() {
	p.ending.Store(true)
	_ = p.orders.Close()
	_ = p.cmd.Wait()
	_ = p.node.Close()
}

func (p *peer) kill() {
	if !p.ending.Swap(true) {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// childMain takes orders until there are no more.
func childMain(dir string) {
	signal.Ignore(os.Interrupt) // the parent's to handle
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "bench, second process:", err)
		os.Exit(1)
	}
	share := strings.Fields(os.Getenv(shareEnv))
	if len(share) != 2 {
		fail(errors.New(shareEnv + " is not set"))
	}
	divide, err1 := strconv.Atoi(share[0])
	cpu, err2 := strconv.Atoi(share[1])
	p, err := newParty(dir, "child", false, cpu, divide)
	if err := errors.Join(err1, err2, err); err != nil {
		fail(err)
	}
	orders := make(chan string)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			orders <- in.Text()
		}
		// The parent has finished, or it is gone, whatever killed it.
		_ = os.RemoveAll(dir)
		os.Exit(0)
	}()
	out := json.NewEncoder(os.Stdout)
	for name := range orders {
		s, err := p.take(byName(name))
		r := reply{Value: s.value}
		if err != nil {
			r.Err = err.Error()
		}
		if err := out.Encode(r); err != nil {
			fail(err)
		}
	}
}
