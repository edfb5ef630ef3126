//go:build invariants && !race

package ioqueue_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/mpsc"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/ioqueue"
	"github.com/ringbus/ringbus/segment"
)

// diary is a device that any process can drive and that outlives them all: it
// notes each op in a file, and notes if two processes are at it at once.
type diary struct{ dir string }

func (d diary) Execute(ops []ioqueue.Request) {
	lock, err := os.OpenFile(filepath.Join(d.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return
	}
	defer lock.Close()
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		d.note("two at once")
	}
	for i := range ops {
		d.note(strconv.FormatInt(ops[i].Offset, 10))
	}
	time.Sleep(100 * time.Microsecond) // a device takes its time, or nobody would wait
	lock.Close()                       // before anybody can be told
	for i := range ops {
		ops[i].Complete(int32(ops[i].Offset & 0xffff))
	}
}

func (d diary) note(line string) {
	f, err := os.OpenFile(filepath.Join(d.dir, "diary"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err != nil {
		panic(err)
	}
}

// read returns the ops in the order in which they were carried out.
func (d diary) read(t testing.TB) (ops []int64) {
	f, err := os.Open(filepath.Join(d.dir, "diary"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for scan := bufio.NewScanner(f); scan.Scan(); {
		n, err := strconv.ParseInt(scan.Text(), 10, 64)
		if err != nil {
			t.Error(scan.Text())
			continue
		}
		ops = append(ops, n)
	}
	return ops
}

// Ops are numbered by who submits them; those of the faithful are repeatable.
const (
	keepers  = 1 // and on
	faithful = 100
	victims  = 200
)

func number(by, n int) int64 { return int64(by)<<16 | int64(n) }

func opOf(n int64) ioqueue.Op {
	return ioqueue.Op{Offset: n, Repeatable: n>>16 == faithful}
}

// small are the options of the queue on stages.
func small() *ioqueue.Options {
	return &ioqueue.Options{Depth: 6, MaxData: 64, Quota: 2, Batch: 2, Wait: asleep}
}

// stage is a bus in a file on which processes die.
type stage struct {
	*testing.T
	ctx  context.Context
	dir  string
	seg  *segment.Segment
	node *ringbus.Node
	dev  diary

	mu   sync.Mutex
	told map[int64]error // what submitters were told of their ops

	passed map[string]int // in a census
}

func newStage(t *testing.T, kernel uint64) *stage {
	t.Helper()
	s := &stage{T: t, ctx: soon(t), dir: shmtest.Dir(t), told: make(map[int64]error)}
	s.dev = diary{t.TempDir()}
	node, seg, err := joinAs(s.dir, "keeper", kernel)
	s.check(err)
	s.seg, s.node = seg, node
	t.Cleanup(func() {
		if err := errors.Join(node.Close(), seg.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *stage) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// joinAs opens the bus in dir and joins it, as a node of the given kernel, 0 for
// ours.
func joinAs(dir, name string, kernel uint64) (*ringbus.Node, *segment.Segment, error) {
	seg, err := segment.Open("bus", &segment.Options{Dir: dir, Size: 8 << 20, Kernel: kernel})
	if err != nil {
		return nil, nil, err
	}
	n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
	if err != nil {
		return nil, nil, errors.Join(err, seg.Close())
	}
	return n, seg, nil
}

func (s *stage) open() *ioqueue.Queue {
	s.Helper()
	q, err := ioqueue.Open(s.node, "q", small())
	s.check(err)
	return q
}

// tell notes what the submitter of op n was told.
func (s *stage) tell(n int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[n] = err
}

// eventually waits until f holds.
func eventually(f func() bool) bool {
	for end := time.Now().Add(shmtest.Deadline); !f(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// keep has k goroutines submit ops, by one end each, until the returned function
// is called, which waits for them.
func (s *stage) keep(k int, do func(q *ioqueue.Queue, n int64) error) (end func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	for by := range k {
		q := s.open()
		wg.Go(func() {
			defer q.Close()
			for n := 0; ctx.Err() == nil; n++ {
				id := number(keepers+by, n)
				err := do(q, id)
				if err != nil && !errors.Is(err, ioqueue.ErrInterrupted) {
					s.Errorf("op %d of survivor %d: %v", n, by, err)
					return
				}
				s.tell(id, err)
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// doing is a survivor that executes.
func (s *stage) doing(q *ioqueue.Queue, n int64) error {
	_, err := q.Do(s.ctx, opOf(n), s.dev)
	return err
}

// asking is a survivor that does not.
func (s *stage) asking(q *ioqueue.Queue, n int64) error {
	t, err := q.Submit(s.ctx, opOf(n))
	if err != nil {
		return err
	}
	_, err = t.Wait(s.ctx)
	return err
}

// serve has a survivor execute until the returned function is called.
func (s *stage) serve() (end func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	q := s.open()
	done := make(chan error)
	go func() { done <- q.Serve(ctx, s.dev) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			s.Errorf("serve: %v", err)
		}
		s.check(q.Close())
	}
}

// view is the queue, for looking at; nil if there is none.
func (s *stage) view() *mpsc.Queue {
	s.Helper()
	for _, a := range s.seg.Areas() {
		if a.Key.Kind == segment.KindQueue {
			b, err := s.seg.AreaBytes(a.Index, a.Gen)
			if err != nil {
				return nil // it is being made
			}
			q, err := mpsc.Open(b)
			s.check(err)
			return q
		}
	}
	return nil
}

// judge proves what must be so when only this process is left: the words that
// submitters were given are true, nothing was carried out twice, out of order or
// by two, no node is lost, and nobody is asleep.
func (s *stage) judge() {
	s.Helper()
	_, err := s.node.Recover()
	s.check(err)
	if s.view() == nil {
		return // the victim died before it made the queue
	}
	q := s.open()
	_, err = q.Do(s.ctx, ioqueue.Op{Offset: number(0, 1)}, s.dev)
	s.check(err)
	times := make(map[int64]int)
	last := make(map[int64]int64)
	for _, n := range s.dev.read(s) {
		if times[n]++; times[n] > 1 && n>>16 != faithful {
			s.Errorf("op %x was carried out %d times", n, times[n])
		}
		if n>>16 != faithful && n <= last[n>>16] {
			s.Errorf("op %x came after %x", n, last[n>>16])
		}
		last[n>>16] = n
	}
	for n, err := range s.told {
		switch {
		case err == nil && times[n] == 0:
			s.Errorf("op %x was never carried out, but its submitter was told so", n)
		case errors.Is(err, ioqueue.ErrInterrupted) && n>>16 == faithful:
			s.Errorf("op %x is repeatable, and was interrupted", n)
		case errors.Is(err, errCancelled) && times[n] > 0:
			s.Errorf("op %x was cancelled, and carried out", n)
		case errors.Is(err, errSubmitted) && times[n] == 0:
			s.Errorf("op %x was submitted, and forgotten", n)
		}
	}
	var tickets []ioqueue.Ticket
	r, err := ioqueue.Open(s.node, "q", &ioqueue.Options{Reject: true})
	s.check(err)
	for n := range small().Depth {
		t, err := r.Submit(s.ctx, ioqueue.Op{Offset: number(0, 2+n)})
		if err != nil {
			s.Fatalf("place %d: %v: %+v", n, err, s.view().Inspect())
		}
		tickets = append(tickets, t)
	}
	end := s.serve()
	for _, t := range tickets {
		_, err := t.Wait(s.ctx)
		s.check(err)
	}
	end()
	s.check(errors.Join(q.Close(), r.Close()))
	if in := s.view().Inspect(); in.Executor != 0 || in.Left || in.Queued+in.Issued+in.Finished+in.Lost != 0 {
		s.Errorf("left behind: %+v", in)
	}
	for _, w := range s.view().Verify() {
		s.Error(w)
	}
	for _, p := range s.seg.Verify() {
		s.Error(p)
	}
}

// What a victim says of an op that it has neither a result nor an error of.
var (
	errCancelled = errors.New("cancelled")
	errSubmitted = errors.New("submitted")
)

// hear notes what the victim says: WORD NUMBER.
func (s *stage) hear(line string) {
	word, rest, _ := strings.Cut(line, " ")
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return
	}
	switch word {
	case "done":
		s.tell(n, nil)
	case "interrupted":
		s.tell(n, ioqueue.ErrInterrupted)
	case "cancelled":
		s.tell(n, errCancelled)
	case "submitted":
		s.tell(n, errSubmitted)
	default:
		s.Errorf("the victim says %q", line)
	}
}

// say is the victim's side of hear.
func say(word string, n int64) { fmt.Println(word, n) }
