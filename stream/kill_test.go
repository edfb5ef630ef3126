//go:build invariants && !race

package stream_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
	"github.com/ringbus/ringbus/stream"
)

// roleParts are the processes that are killed at each of their steps, and what
// is proved on what they left behind.
var roleParts = map[string]func(s *stage, start func() *shmtest.Proc){
	"writer": judgeWriter, "turner": judgeWriter, "reader": judgeReader, "lapped": judgeReader,
	"shared": judgeShared, "dialer": judgeDialer, "listener": judgeListener,
}

// surely are the steps that each role passes whatever the timing.
var surely = map[string]string{
	"writer":   "J0 J0a T2 T2a P1 P2 P3 P4 R2 R3 K1 K2 G1 E1 E2 E3 L2",
	"turner":   "J0 J0a T2 T2a P1 P2 P3 P4 R2 R3 K1 K2 E1 E2 E3 L2",
	"reader":   "J0 J0a J1 J2 W2 B2 B3 L1 L1a L2",
	"lapped":   "J0 J0a J1 J2 W2 B1 B4 L1 L2",
	"shared":   "J0 J0a M1 M2 M2a M3 M4 M5 M6 W2 C3 C4 F1 F3 C8 L2",
	"dialer":   "N3 N4 J0 J0a J1 J2 T2 T2a P1 P2 P2a P2b P3 B2 G1 E1 E2 E3 L1 L1a L2",
	"listener": "N1 N2 A1 J0 J0a J1 J2 T2 T2a P1 P2 P2a P2b P3 B2 G1 E1 E2 E3 L1 L1a L2",
}

// TestKillAtEachStep kills a real process at each step of the ring that it
// passes when it is not killed, the first time and one in the middle.
func TestKillAtEachStep(t *testing.T) {
	for role, judge := range roleParts {
		t.Run(role, func(t *testing.T) {
			passed := make(map[string]int)
			t.Run("census", func(t *testing.T) {
				s := newStage(t)
				judge(s, func() *shmtest.Proc {
					return shmtest.Start(t, role, []string{censusVar + "=1"}, s.place.dir)
				})
				for _, l := range said {
					var point string
					var n int
					if _, err := fmt.Sscanf(l, "passed %s %d", &point, &n); err == nil {
						passed[point] = n
					}
				}
				for p := range strings.FieldsSeq(surely[role]) {
					if passed["cells."+p] == 0 {
						t.Errorf("%s is not passed", p)
					}
				}
			})
			for point, count := range passed {
				for _, n := range slices.Compact([]int{1, max(1, count/2)}) {
					t.Run(fmt.Sprintf("%s:%d", point, n), func(t *testing.T) {
						s := newStage(t)
						judge(s, func() *shmtest.Proc {
							return shmtest.Start(t, role, []string{fmt.Sprintf("RINGBUS_CRASH=%s:%d", point, n)}, s.place.dir)
						})
					})
				}
			}
		})
	}
}

// said is what the last victim said.
var said []string

// listen keeps what p says until it ends.
func listen(p *shmtest.Proc, f func(line string)) {
	said = nil
	p.Each(func(l string) {
		said = append(said, l)
		if f != nil {
			f(l)
		}
	})
	p.Killed()
}

// sound fails the test if anything is wrong with the bus, or belongs to nobody.
func (s *stage) sound(n *ringbus.Node) {
	s.Helper()
	if _, err := n.Recover(); err != nil {
		s.Fatal(err)
	}
	seg := n.Segment()
	for _, p := range seg.Verify() {
		s.Error(p)
	}
	live := make(map[uint32]bool)
	for _, m := range seg.Nodes() {
		live[uint32(m.Owner)] = true
	}
	for _, r := range rings(seg) {
		for _, w := range r.Verify() {
			s.Error(w)
		}
		in := r.Inspect()
		if in.Writer != 0 && !live[in.Writer] {
			s.Error("the token belongs to nobody")
		}
		for _, x := range in.Slots {
			if !live[x.Owner] {
				s.Errorf("slot %d belongs to nobody", x.Slot)
			}
		}
	}
}

// rings lists the rings of all streams and connections.
func rings(seg *segment.Segment) (out []*cells.Ring) {
	for _, a := range seg.Areas() {
		b, err := seg.AreaBytes(a.Index, a.Gen)
		if err != nil || a.Key.Kind != segment.KindStream {
			continue
		}
		if r, err := cells.Open(b); err == nil {
			out = append(out, r)
		}
		if c, err := cells.OpenConn(b); err == nil {
			out = append(out, c.Rings[:]...)
		}
	}
	return out
}

// readAll reads messages, the first of which is number from, until the stream ends, and checks that none is torn,
// missing or there twice.
func readAll(s *stage, r *stream.Reader, from int) (next int, err error) {
	for next = from; ; {
		m, err := r.Receive(s.ctx)
		if err != nil {
			return next, err
		}
		n, err := lineNumber(m.Data)
		if err != nil || n != next || m.Lost != 0 {
			return next, fmt.Errorf("message %d after %d, %d lost: %w", n, next, m.Lost, err)
		}
		next++
	}
}

// judgeWriter: everything acknowledged is read, nothing is torn, sleepers are
// told of the end, and another writer goes on.
func judgeWriter(s *stage, start func() *shmtest.Proc) {
	n := s.join("survivor")
	r := s.reader(n, &stream.ReaderOptions{Size: 4000})
	sent := -1
	type end struct {
		next int
		err  error
	}
	done := make(chan end, 1)
	ended := make(chan struct{})
	go func() {
		m, err := r.Receive(s.ctx) // asleep by the time the victim writes
		if err != nil {
			done <- end{0, err}
			return
		}
		if n, err := lineNumber(m.Data); err != nil || n != 0 {
			done <- end{0, fmt.Errorf("message %d after 0, %d lost: %w", n, m.Lost, err)}
			return
		}
		full := func() bool {
			return slices.ContainsFunc(rings(n.Segment()), func(r *cells.Ring) bool { return blocked(r.Inspect()) })
		}
		for over := false; !over && !full(); { // let the victim find no room
			select {
			case <-ended:
				over = true
			case <-time.After(100 * time.Microsecond):
			}
		}
		next, err := readAll(s, r, 1)
		done <- end{next, err}
	}()
	p := start()
	listen(p, func(l string) { _, _ = fmt.Sscanf(l, "sent %d", &sent) })
	close(ended)
	s.sound(n)
	w := s.writer(s.join("heir"), nil)
	s.check(w.Send(s.ctx, []byte(line(9999)))) // takes the token from the dead
	s.check(w.Close())
	e := <-done
	if errors.Is(e.err, io.EOF) || errors.Is(e.err, stream.ErrWriterDied) {
		s.Log("told of the end") // before the heir came
	} else if !strings.Contains(fmt.Sprint(e.err), "message 9999 after") {
		s.Error(e.err)
	}
	if e.next < sent+1 || e.next > sent+2 {
		s.Errorf("read %d messages, %d were acknowledged", e.next, sent+1)
	}
	s.sound(n)
}

// judgeReader: the dead reader holds nobody up.
func judgeReader(s *stage, start func() *shmtest.Proc) {
	n := s.join("survivor")
	w := s.writer(n, &stream.Options{Size: 4000})
	r := s.reader(s.join("other"), nil)
	done := make(chan error, 1)
	go func() {
		next, err := readAll(s, r, 0)
		if !errors.Is(err, io.EOF) || next != victimLines {
			err = fmt.Errorf("ended after %d: %w", next, err)
		} else {
			err = nil
		}
		done <- err
	}()
	var once sync.Once
	var all sync.WaitGroup
	write := func() {
		all.Go(func() {
			for i := range victimLines {
				if err := w.Send(s.ctx, []byte(line(i))); err != nil {
					s.Error(err)
				}
			}
			if err := w.Close(); err != nil {
				s.Error(err)
			}
		})
	}
	p := start()
	listen(p, func(l string) {
		if l == "ready" {
			once.Do(write)
		}
	})
	once.Do(write)
	all.Wait()
	s.check(<-done)
	s.sound(n)
}

// judgeShared: each message is done by exactly one, or is delivered again with
// the mark, and sleepers hear of it.
func judgeShared(s *stage, start func() *shmtest.Proc) {
	n := s.join("survivor")
	w := s.writer(n, &stream.Options{Size: 4000})
	r := s.reader(s.join("mate"), &stream.ReaderOptions{Group: "g"})
	victim := make(map[int]bool)
	mate := make(map[int]int)
	again := make(map[int]bool)
	done := make(chan error, 1)
	fed := make(chan struct{}) // the victim has had what it wants, or has ended
	go func() {
		for had := 0; ; had++ {
			if had == victimLines {
				<-fed // not all of it
			}
			c, err := r.Claim(s.ctx)
			if errors.Is(err, io.EOF) {
				done <- nil
				return
			}
			if err != nil {
				done <- err
				return
			}
			i, err := lineNumber(c.Data())
			if err != nil {
				done <- err
				return
			}
			mate[i]++
			again[i] = again[i] || c.Redelivered()
			if err := c.Done(); err != nil {
				done <- err
				return
			}
		}
	}()
	var once sync.Once
	write := func() {
		go func() {
			for i := range 3 * victimLines {
				if w.Send(s.ctx, []byte(line(i))) != nil {
					return // the judge sees what is missing
				}
			}
			_ = w.Close()
		}()
	}
	p := start()
	listen(p, func(l string) {
		var i int
		if _, err := fmt.Sscanf(l, "about %d", &i); err == nil {
			victim[i] = true
		}
		if l == "ready" {
			once.Do(write)
		}
	})
	close(fed)
	once.Do(write)
	// A group whose last reader died stays for the next, who dissolves it.
	own := s.reader(s.join("next"), &stream.ReaderOptions{Group: "own"})
	s.check(own.Close())
	select {
	case err := <-done:
		s.check(err)
	case <-time.After(shmtest.Deadline / 2):
		for _, r := range rings(n.Segment()) {
			s.Errorf("stuck: %+v", r.Inspect())
		}
		s.FailNow()
	}
	for i := range 3 * victimLines {
		switch {
		case mate[i] > 1:
			s.Errorf("message %d was done %d times by the mate", i, mate[i])
		case mate[i] == 0 && !victim[i]:
			s.Errorf("message %d was done by nobody", i)
		case mate[i] == 1 && victim[i] && !again[i]:
			s.Errorf("message %d was had by both, and not marked", i)
		}
	}
	s.sound(n)
}

// talk plays the other end of a connection: it must end, well or with an error.
func talk(s *stage, c *stream.Conn) {
	var all sync.WaitGroup
	_ = greet(c) // if it fails, so does what comes
	all.Go(func() {
		for i := range victimLines {
			if _, err := io.WriteString(c, strings.Repeat(line(i), 20)); err != nil {
				break
			}
		}
		_ = c.CloseWrite()
	})
	_, err := io.Copy(io.Discard, c)
	if err != nil && !errors.Is(err, stream.ErrReset) {
		s.Error(err)
	}
	all.Wait()
	s.check(c.Close())
}

// emptied fails the test unless no area is left of any connection.
func (s *stage) emptied(n *ringbus.Node) {
	s.Helper()
	s.sound(n)
	for _, a := range n.Segment().Areas() {
		if a.Key.Kind == segment.KindStream {
			s.Errorf("%v is left", a.Key)
		}
	}
}

func judgeDialer(s *stage, start func() *shmtest.Proc) {
	n := s.join("survivor")
	l, err := stream.Listen(n, "x")
	s.check(err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { talk(s, c.(*stream.Conn)) })
		}
	})
	listen(start(), nil)
	c, err := stream.Dial(s.ctx, s.join("next"), "x") // a new connection works
	s.check(err)
	talk(s, c)
	s.check(l.Close())
	all.Wait()
	s.emptied(n)
}

func judgeListener(s *stage, start func() *shmtest.Proc) {
	n := s.join("survivor")
	var all sync.WaitGroup
	listen(start(), func(l string) {
		if l == "ready" {
			all.Go(func() {
				c, err := stream.Dial(s.ctx, n, "x")
				if err != nil {
					if !errors.Is(err, stream.ErrRefused) {
						s.Error(err)
					}
					return
				}
				talk(s, c)
			})
		}
	})
	all.Wait()
	l, err := stream.Listen(s.join("heir"), "x") // another one listens at once
	s.check(err)
	go func() {
		if c, err := l.Accept(); err == nil {
			talk(s, c.(*stream.Conn))
		}
	}()
	c, err := stream.Dial(s.ctx, n, "x")
	s.check(err)
	talk(s, c)
	s.check(l.Close())
	eventually := time.Now().Add(shmtest.Deadline)
	for left := true; left && time.Now().Before(eventually); time.Sleep(time.Millisecond) {
		left = slices.ContainsFunc(n.Segment().Areas(), func(a segment.AreaInfo) bool { return a.Key.Kind == segment.KindStream })
	}
	s.emptied(n)
}
