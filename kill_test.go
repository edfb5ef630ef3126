//go:build invariants && !race

package ringbus_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// A part is what a process does that is killed at each of its steps.
type part struct {
	name string
	// points are those of package fanout, and of package segment where they
	// are named in full, that the process passes each time it is not killed.
	// It must pass them, and no others of package fanout.
	points string
	// sometimes are those that it passes or not, by who is faster.
	sometimes string
	// play has the process started by start, lets it do its part, and judges
	// what it left behind, wherever it ended.
	play func(s *stage, start func(role, kind string) *shmtest.Proc)
}

// opening are the points of a publisher that opens a lane, sending those of one
// that sends what is copied, subscribing those of a subscriber.
const (
	opening     = "A1 A2 O1 O2n O2j O3 C1 C2 "
	sending     = "P1 P4 P5 P6 P7 P8 R1 R2 K2 "
	subscribing = "J0 J0a J0b J2 W2 S5 L1 L2 L3 L4 "
	joining     = " segment.join.locked segment.join.live segment.join.fields segment.open.found segment.open.held" +
		" segment.leave.started segment.leave.freed segment.bury.burying segment.bury.rings segment.bury.entries" +
		" segment.bury.uses segment.bury.freed"
	creating = " segment.create.pending segment.create.written segment.create.turn segment.create.claimed" +
		" segment.create.block segment.create.blocks segment.create.reserved segment.create.extent" +
		" segment.create.init segment.create.ready"
	removing   = " segment.remove.removing segment.remove.freeing segment.free.punched segment.free.block segment.free.blocks"
	formatting = " segment.format.sized segment.format.formatting segment.format.zeroed segment.format.fields segment.format.magic"
)

var parts = []part{
	{"publisher that copies", opening + sending + joining + creating, "", playPublisher("copies")},
	{"publisher that lends", opening + sending + "P2", "", playPublisher("lends")},
	{"publisher that sends batches", opening + sending + "B1", "", playPublisher("batches")},
	{"publisher that meets a subscriber who stopped while it left", opening + sending + "H1", "", playHealer},
	{"publisher that succeeds one that died within a batch", "A1 A2 O1 O2 O3 C1 C2 P1 P4 P5 P6 P7 P8 R1 R2 K2", "", playSuccessor},
	{"publisher that is held up by a silent subscriber", opening + sending + "F1 F2", "", playFence},
	{"reliable subscriber that keeps its loans", subscribing + "J2a S2 S4 S6", "", playSubscriber("reliable")},
	{"latest subscriber that keeps its loans", subscribing + "S3", "S6", playSubscriber("latest")},
	{"reliable subscriber that comes back from a fence", "J0 J0a J0b J2 J2a S2 L1 L1 L2 L3 L4 Z1 Z2", "S5 S6 W2", playRejoin},
	{"recoverer", "V1 V2 V4 V5 D1 D2 segment.bury.locked segment.bury.burying segment.bury.rings segment.bury.entries" +
		" segment.bury.uses segment.bury.freed", "", playRecoverer},
	{"first of all", "A1 A2 O1 O2n O3 C1 C2 P4 P5 P6 P7 R1 R2 J0 J0a J0b J2 J2a L1 L2 L3 L4" + formatting + creating + removing, "", playFirst},
}

// elsewhere are points that none of these processes comes to: the removal of a
// whole bus, which package segment kills by itself, and the burial of a machine,
// which the doorbell server's tests do.
const elsewhere = "segment.rm.removing segment.rm.unlinked segment.gone.burying segment.gone.proved"

func fullNames(points string) []string {
	var out []string
	for _, p := range strings.Fields(points) {
		if !strings.Contains(p, ".") {
			p = "fanout." + p
		}
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// TestKillAtEachStep kills a real process at each step, in each part that has
// it, and proves on what it left that nothing is lost, leaked, or asleep.
func TestKillAtEachStep(t *testing.T) {
	hit := make(map[string]bool)
	for _, p := range strings.Fields(elsewhere) {
		hit[p] = true
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			passed := census(t, p)
			for _, point := range fullNames(p.points) {
				for _, n := range slices.Compact([]int{1, max(1, passed[point]/2)}) {
					t.Run(fmt.Sprintf("%s:%d", point, n), func(t *testing.T) {
						if killAt(t, p, point, n) {
							hit[point] = true
						}
					})
				}
			}
		})
	}
	for _, p := range invariant.Points() {
		here := strings.HasPrefix(p, "fanout.") || strings.HasPrefix(p, "segment.")
		if here && !hit[p] && !t.Failed() {
			t.Errorf("no process was killed at %s", p)
		}
	}
}

// passed counts the points of the process that was not killed.
var passed map[string]int

// census plays a part without a kill and counts the points that are passed.
func census(t *testing.T, p part) map[string]int {
	passed = make(map[string]int)
	t.Run("census", func(t *testing.T) {
		s := newStageFor(t, p)
		p.play(s, func(role, kind string) *shmtest.Proc {
			return shmtest.Start(t, role, []string{censusVar + "=1"}, s.dir, kind)
		})
		for _, point := range fullNames(p.points) {
			if passed[point] == 0 {
				t.Errorf("%s is not passed", point)
			}
		}
		for point := range passed {
			if strings.HasPrefix(point, "fanout.") && !slices.Contains(fullNames(p.points+" "+p.sometimes), point) {
				t.Errorf("%s is passed, but no process is killed there: list it", point)
			}
		}
	})
	return passed
}

// killAt plays a part with a kill and says whether that came.
func killAt(t *testing.T, p part, point string, n int) bool {
	s := newStageFor(t, p)
	var victim *shmtest.Proc
	p.play(s, func(role, kind string) *shmtest.Proc {
		victim = shmtest.Start(t, role, []string{fmt.Sprintf("RINGBUS_CRASH=%s:%d", point, n)}, s.dir, kind)
		return victim
	})
	killed := victim != nil && victim.Killed()
	if !killed && n == 1 { // how often a step is passed may depend on who is faster
		t.Error("it was not killed")
	}
	return killed
}

// newStageFor is a stage for a part, on which nobody is yet for the first of all.
func newStageFor(t *testing.T, p part) *stage {
	if p.name == "first of all" {
		return &stage{T: t, ctx: soon(t), dir: shmtest.Dir(t)}
	}
	if p.name == "recoverer" {
		s := &stage{T: t, ctx: soon(t), dir: shmtest.Dir(t)}
		s.node = s.join("keeper", 2) // which cannot bury nodes of kernel 0
		return s
	}
	return newStage(t)
}

// attend reads what the victim says until it ends.
func (s *stage) attend(p *shmtest.Proc, heard func(line string)) {
	s.Helper()
	p.Each(func(line string) {
		if point, n, ok := passedPoint(line); ok {
			passed[point] = n
			return
		}
		if heard != nil {
			heard(line)
		}
	})
	p.Killed() // or ended well
}

// number reads the number of a line that begins with word.
func number(line, word string) (n uint64, ok bool) {
	rest, ok := strings.CutPrefix(line, word+" ")
	if !ok {
		return 0, false
	}
	_, err := fmt.Sscan(rest, &n)
	return n, err == nil
}

// survivors are three subscribers of topic t that sleep at once: all reads
// each message, but begins only when the publisher sleeps or is gone; few is a
// latest one; end reads until the publisher ends.
type survivors struct {
	all, few, end *listener
	gone          atomic.Bool // the victim
	from          uint64      // what was sent before them
}

func (s *stage) survive(n *ringbus.Node) *survivors {
	v := &survivors{from: s.sent("t")}
	s.Cleanup(func() { v.gone.Store(true) })
	v.all = s.listen(s.sub(n, "t", ringbus.SubscriberOptions{}), func() {
		eventually(func() bool {
			_, pubs := sleepers(n.Segment(), "t")
			return pubs > 0 || v.gone.Load()
		})
	})
	v.few = s.listen(s.sub(n, "t", ringbus.SubscriberOptions{Mode: ringbus.Latest}), nil)
	v.end = s.listen(s.sub(n, "t", ringbus.SubscriberOptions{UntilClose: true}), nil)
	return v
}

// wake waits until all sleep but the one that does not receive, and has the
// victim go on.
func (s *stage) wake(p *shmtest.Proc, asleep int) {
	s.Helper()
	until(s, "the survivors sleep", func() bool {
		subs, _ := sleepers(s.node.Segment(), "t")
		n := 0
		for ; subs != 0; subs &= subs - 1 {
			n++
		}
		return n >= asleep
	})
	p.Say("go")
}

// judge proves what must be so after a publisher of topic t has ended, which
// said that acked messages were sent, and may have sent up to slack more: the
// survivors have all of them before anybody comes, the same name goes on where
// it stopped, and all memory can be had.
func (s *stage) judge(v *survivors, acked, slack uint64) {
	s.Helper()
	v.gone.Store(true)
	head := s.sent("t")
	if head < acked || head > acked+slack {
		s.Errorf("%d messages are there, but %d were acknowledged", head, acked)
	}
	s.hears("the reliable survivor", v.all, head)
	s.hears("the latest survivor", v.few, head)
	if head > v.from {
		s.ends("the survivor that waits for the end", v.end, head)
	}
	heir := s.pub(s.join("victim", 0), "t")
	if heir.Sequence() != head {
		s.Errorf("the heir begins at %d, want %d", heir.Sequence(), head)
	}
	for range 20 {
		s.check(heir.SendContext(s.ctx, mixed(heir.Sequence())))
	}
	s.exercise(s.node, heir, v.all, v.few)
	s.sound("t")
	s.check(heir.Close())
	if head == v.from { // it may count as a publisher that was there, or not
		<-v.end.ended
		if n := v.end.next.Load(); v.end.err != nil || n != head && n != heir.Sequence() {
			s.Errorf("the survivor that waits for the end ended before message %d: %v", n, v.end.err)
		}
	}
	if v.all.lost.Load() != 0 {
		s.Errorf("the reliable survivor lost %d", v.all.lost.Load())
	}
	s.sound("t")
}

func playPublisher(kind string) func(*stage, func(string, string) *shmtest.Proc) {
	return func(s *stage, start func(string, string) *shmtest.Proc) {
		v := s.survive(s.node)
		acked := uint64(0)
		p := start("publisher", kind)
		s.attend(p, func(line string) {
			if n, ok := number(line, "sent"); ok {
				acked = n
			}
			if strings.HasPrefix(line, "open") {
				s.wake(p, 2)
			}
		})
		slack := uint64(1)
		if kind == "batches" {
			slack = batchLength
		}
		s.judge(v, acked, slack)
	}
}

// playHealer has a subscriber stop between its claim's end and its cursor's.
func playHealer(s *stage, start func(string, string) *shmtest.Proc) {
	v := s.survive(s.node)
	leaver := shmtest.Start(s, "leaver", []string{"RINGBUS_STOP=fanout.L1:1"}, s.dir, "")
	leaver.Expect("joined")
	acked := uint64(0)
	p := start("publisher", "copies")
	s.attend(p, func(line string) {
		if n, ok := number(line, "sent"); ok {
			acked = n
		}
		if strings.HasPrefix(line, "open") {
			leaver.Say("go")
			until(s, "the subscriber leaves", func() bool {
				return len(look(s.node.Segment(), "t").ring.Subscribers()) == 3
			})
			s.wake(p, 2)
		}
	})
	leaver.Kill()
	s.judge(v, acked, 1)
}

func playSuccessor(s *stage, start func(string, string) *shmtest.Proc) {
	v := s.survive(s.node)
	first := shmtest.Start(s, "publisher", []string{"RINGBUS_CRASH=fanout.B1:6"}, s.dir, "batches")
	s.attend(first, func(line string) {
		if strings.HasPrefix(line, "open") {
			s.wake(first, 2)
		}
	})
	v.gone.Store(true)
	head := s.sent("t")
	s.hears("the reliable survivor", v.all, head)
	s.ends("the survivor that waits for the end", v.end, head)
	_ = v.all.sub.Close()
	v = s.survive(s.node)
	acked := head
	p := start("publisher", "copies")
	s.attend(p, func(line string) {
		if n, ok := number(line, "sent"); ok {
			acked = n
		}
		if n, ok := number(line, "open"); ok {
			if n != head {
				s.Errorf("the successor begins at %d, want %d", n, head)
			}
			s.wake(p, 2)
		}
	})
	s.judge(v, acked, 1)
}

func playFence(s *stage, start func(string, string) *shmtest.Proc) {
	v := s.survive(s.node)
	guest := s.join("guest", 2)
	silent := s.sub(guest, "t", ringbus.SubscriberOptions{})
	acked := uint64(0)
	p := start("publisher", "copies")
	s.attend(p, func(line string) {
		if n, ok := number(line, "sent"); ok {
			acked = n
		}
		if strings.HasPrefix(line, "open") {
			s.wake(p, 2)
		}
	})
	s.judge(v, acked, 1)
	l := s.listenFrom(0, silent, nil)
	s.hears("the silent subscriber", l, s.sent("t"))
}

func playSubscriber(kind string) func(*stage, func(string, string) *shmtest.Proc) {
	return func(s *stage, start func(string, string) *shmtest.Proc) {
		pub := s.pub(s.join("sender", 0), "t")
		all := s.listen(s.sub(s.node, "t", ringbus.SubscriberOptions{}), nil)
		for n := range uint64(5) {
			s.check(pub.SendContext(s.ctx, mixed(n)))
		}
		p := start("subscriber", kind)
		joined, done := make(chan struct{}), make(chan error)
		var over atomic.Bool
		go func() {
			<-joined
			// It sleeps, or is gone.
			eventually(func() bool {
				subs, _ := sleepers(s.node.Segment(), "t")
				return over.Load() || subs&^1 != 0
			})
			var err error
			for range 100 {
				err = errors.Join(err, pub.SendContext(s.ctx, mixed(pub.Sequence())))
			}
			done <- err
		}()
		told := false
		s.attend(p, func(line string) {
			if line == "joined" {
				close(joined)
				told = true
			}
		})
		if over.Store(true); !told {
			close(joined)
		}
		s.check(<-done) // the dead do not hold it up
		s.hears("the reliable survivor", all, 105)
		again := s.listen(s.sub(s.join("victim", 0), "t", ringbus.SubscriberOptions{}), nil)
		for range 20 {
			s.check(pub.SendContext(s.ctx, mixed(pub.Sequence())))
		}
		s.hears("the victim that came back", again, pub.Sequence())
		s.exercise(s.node, pub, all)
		s.sound("t")
	}
}

func playRejoin(s *stage, start func(string, string) *shmtest.Proc) {
	pub := s.pub(s.join("sender", 0), "t")
	all := s.listen(s.sub(s.node, "t", ringbus.SubscriberOptions{}), nil)
	p := start("guest", "")
	lost := uint64(0)
	s.attend(p, func(line string) {
		switch {
		case line == "joined":
			for range 2 {
				s.check(pub.SendContext(s.ctx, mixed(pub.Sequence())))
			}
		case strings.HasPrefix(line, "holds"):
			for range 400 { // it is silent, and fenced
				s.check(pub.SendContext(s.ctx, mixed(pub.Sequence())))
			}
			p.Say("go")
		}
		if n, ok := number(line, "lost"); ok {
			lost += n
		}
	})
	for _, n := range s.node.Segment().Nodes() { // it is dead, and somebody must say so
		if n.Name == "victim" {
			operator, err := s.node.Segment().Join("operator")
			s.check(err)
			s.check(operator.Evict(n.Slot))
			s.check(operator.Leave())
		}
	}
	for range 40 {
		s.check(pub.SendContext(s.ctx, mixed(pub.Sequence())))
	}
	s.hears("the reliable survivor", all, pub.Sequence())
	s.exercise(s.node, pub, all)
	s.sound("t")
}

func playRecoverer(s *stage, start func(string, string) *shmtest.Proc) {
	held := s.pub(s.node, "u")
	var corpses []*shmtest.Proc
	var ends []*listener
	for _, topic := range []string{"t", "w"} {
		ends = append(ends, s.listen(s.sub(s.node, topic, ringbus.SubscriberOptions{UntilClose: true}), nil))
		p := shmtest.Start(s, "corpse", nil, s.dir, topic)
		p.Expect("sent")
		corpses = append(corpses, p)
	}
	for range 16 {
		s.check(held.Send(mixed(held.Sequence())))
	}
	for _, p := range corpses {
		p.Expect("holds")
	}
	for _, p := range corpses {
		p.Stop() // or one would recover the other
	}
	for _, p := range corpses {
		p.Kill()
	}
	s.attend(start("recoverer", ""), nil)
	s.node = s.join("undertaker", 0)
	if _, err := s.node.Recover(); err != nil {
		s.Fatal(err)
	}
	for _, l := range ends {
		s.ends("the sleeper", l, 10)
	}
	for range 40 {
		s.check(held.SendContext(s.ctx, mixed(held.Sequence())))
	}
	s.exercise(s.node, held)
	s.sound("t", "u", "w")
}

// playFirst is about a process that makes the bus and a topic, uses it and
// removes it.
func playFirst(s *stage, start func(string, string) *shmtest.Proc) {
	s.attend(start("remover", ""), nil)
	s.node = s.join("keeper", 0)
	s.sound()
	if err := s.node.Remove("own"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Error(err)
	}
	if u := s.node.Segment().Usage(); u.Free != u.Blocks {
		s.Errorf("blocks leaked: %+v", u)
	}
	pub := s.pub(s.node, "own")
	all := s.listen(s.sub(s.node, "own", ringbus.SubscriberOptions{}), nil)
	s.exercise(s.node, pub, all)
	s.sound("own")
	if files, err := os.ReadDir(s.dir); err != nil || len(files) != 1 {
		s.Errorf("files %v, %v", files, err)
	}
}
