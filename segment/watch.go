package segment

import (
	"os"
	"sync"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/sys"
)

// watchMany bounds the processes, and with them the descriptors, that one node
// watches. The others are found by timed looks.
const watchMany = 64

// watch is the set of processes whose end a node hears of at once.
type watch struct {
	sync.Mutex
	closed bool
	of     map[int]watched // by slot
}

type watched struct {
	word word
	p    *sys.Process
}

// attend begins to watch the process of the node behind w, if it can be.
func (n *Node) attend(slot int, w word) {
	if w.tag() != n.s.tag {
		return
	}
	n.watch.Lock()
	have, ok := n.watch.of[slot]
	full := n.watch.closed || len(n.watch.of) >= watchMany
	n.watch.Unlock()
	if ok && have.word == w || full {
		return
	}
	p := n.process(slot, w)
	if p == nil {
		return
	}
	n.watch.Lock()
	defer n.watch.Unlock()
	if _, ok := n.watch.of[slot]; ok || n.watch.closed {
		_ = p.Close()
		return
	}
	if n.watch.of == nil {
		n.watch.of = make(map[int]watched)
	}
	n.watch.of[slot] = watched{w, p}
	n.loop.Add(1)
	go n.mourn(slot, w, p)
}

// processOf returns the pid and start time of the process of the node behind w,
// if it is another one of our pid namespace.
func (s *Segment) processOf(slot int, w word) (pid int, start uint64, ok bool) {
	if gen, _ := untag(s.beat(slot).Load()); gen != w.gen()&0xfff {
		return 0, 0, false // not introduced yet
	}
	at := slotOff(slot)
	pid = int(int32(mem.U32(s.b, at+nodePid).Load()))
	ns := mem.U64(s.b, at+nodePidNS).Load()
	start = mem.U64(s.b, at+nodeStart).Load()
	return pid, start, pid > 0 && pid != os.Getpid() && ns != 0 && ns == sys.PidNamespace()
}

// process opens the process of the node behind w, if we mean the same processes
// by the same pids. What the slot says of it is information only: the wrong
// process costs a look at a lock, later.
func (n *Node) process(slot int, w word) *sys.Process {
	pid, start, ok := n.s.processOf(slot, w)
	if !ok {
		return nil
	}
	p, err := sys.WatchProcess(pid)
	if err != nil {
		return nil
	}
	// The pid is this process now; was it the one that joined?
	if now, err := sys.StartTime(pid); err == nil && start != 0 && now != start {
		_ = p.Close()
		return nil
	}
	return p
}

// mourn waits for the end of a process and recovers its node. The kernel drops
// a process's locks before it reports its end.
func (n *Node) mourn(slot int, w word, p *sys.Process) {
	defer n.loop.Done()
	if p.Wait() != nil {
		return // closed by prune or close
	}
	if n.begin() == nil {
		if n.s.load(slot) == w {
			n.recoverSlot(slot, new(Report))
		}
		n.end()
	}
	n.watch.Lock()
	defer n.watch.Unlock()
	if n.watch.of[slot].p == p {
		delete(n.watch.of, slot)
		_ = p.Close()
	}
}

// prune ends the watches of slots that have moved on.
func (t *watch) prune(s *Segment) {
	t.Lock()
	defer t.Unlock()
	for slot, h := range t.of {
		if s.load(slot) != h.word {
			_ = h.p.Close()
			delete(t.of, slot)
		}
	}
}

// close ends all watches.
func (t *watch) close() {
	t.Lock()
	defer t.Unlock()
	t.closed = true
	for slot, h := range t.of {
		_ = h.p.Close()
		delete(t.of, slot)
	}
}
