//go:build !race

package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/segment"
	"github.com/ringbus/ringbus/stream"
)

func init() { roles["guest"] = roleGuest }

// suspectAfter is how long a heartbeat of another kernel may stand still here.
const suspectAfter = 600 * time.Millisecond // a beat takes 250

// farNode joins the bus in dir as a node of kernel 2, which has lock bytes of its
// own.
func farNode(dir, name string) (*ringbus.Node, func() error, error) {
	f, err := os.OpenFile(filepath.Join(dir, "bus"), os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	b, err := sys.Map(f, busSize, true)
	if err != nil {
		return nil, nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	seg, err := segment.FromMapping(b, lock, &segment.Options{Kernel: 2, SuspectAfter: suspectAfter})
	if err != nil {
		return nil, nil, err
	}
	n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
	if err != nil {
		return nil, nil, errors.Join(err, seg.Close())
	}
	return n, func() error { return errors.Join(n.Close(), seg.Close(), lock.Close(), f.Close()) }, nil
}

// roleGuest is a program in a virtual machine, which the test pauses with SIGSTOP: it
// does one thing as args say, tells what came of it, and does it again when it is
// told to.
func roleGuest(args []string) error {
	node, end, err := farNode(args[0], "guest")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	defer cancel()
	var step func()
	switch args[1] {
	case "reader":
		r, err := stream.NewReader(node, "x", nil)
		if err != nil {
			return err
		}
		step = func() {
			m, err := r.Receive(ctx)
			fmt.Println("got", m.Number, m.Lost, err)
		}
	case "shared":
		r, err := stream.NewReader(node, "x", &stream.ReaderOptions{Group: "g"})
		if err != nil {
			return err
		}
		var c *stream.Claim
		step = func() {
			if c == nil {
				if c, err = r.Claim(ctx); err == nil {
					fmt.Println("claimed", c.Number())
					return
				}
			} else {
				err, c = c.Done(), nil
			}
			fmt.Println("done", errors.Is(err, stream.ErrRedelivered), err)
		}
	case "writer":
		w, err := stream.NewWriter(node, "x", nil)
		if err != nil {
			return err
		}
		var res *stream.Reservation
		step = func() {
			if res == nil {
				res, err = w.Reserve(ctx, 100)
				fmt.Println("reserved", err)
				return
			}
			n := copy(res.Data(), "late")
			err = res.Commit(n)
			res = nil
			fmt.Println("committed", errors.Is(err, stream.ErrFenced), err)
		}
	case "conn":
		l, err := stream.Listen(node, "x")
		if err != nil {
			return err
		}
		step = func() {
			c, err := l.Accept()
			fmt.Println("accepted", err)
			go func() { _, _ = io.Copy(c, c) }()
		}
	}
	fmt.Println("ready")
	shmtest.Listen(func(string) bool { step(); return true })
	err = end()
	if errors.Is(err, segment.ErrFenced) {
		err = nil
	}
	return err
}

// guest starts one, and a node of our own that finds it suspect as soon.
func (s *stage) guest(what string) (*shmtest.Proc, *ringbus.Node) {
	s.Helper()
	seg, err := segment.Open("bus", &segment.Options{Dir: s.place.dir, SuspectAfter: suspectAfter})
	s.check(err)
	n, err := ringbus.Attach(seg, &ringbus.Options{Name: "host"})
	s.check(err)
	s.Cleanup(func() { s.check(errors.Join(n.Close(), seg.Close())) })
	p := shmtest.Start(s.TB, "guest", nil, s.place.dir, what)
	p.Expect("ready")
	return p, n
}

// evict gives the guest up.
func (s *stage) evict(n *ringbus.Node) {
	s.Helper()
	me, err := n.Segment().Join("operator")
	s.check(err)
	count, err := me.EvictKernel(2)
	if count != 1 || err != nil {
		s.Fatalf("%d evicted, %v", count, err)
	}
	s.check(me.Leave())
}

func TestPausedReaderHoldsNobodyUpAndIsToldItsLoss(t *testing.T) {
	s := newStage(t)
	w := s.writer(s.join("first"), &stream.Options{Size: 4000})
	s.check(w.Close())
	p, host := s.guest("reader")
	w = s.writer(host, nil)
	s.check(w.Send(s.ctx, []byte("0")))
	p.Say("receive")
	if l := p.Line(); l != "got 0 0 <nil>" {
		t.Fatal(l)
	}
	p.Stop()
	const sent = 1000
	for n := range sent {
		s.check(w.Send(s.ctx, fmt.Appendf(nil, "%d", n+1)))
	}
	p.Continue()
	p.Say("receive")
	var at, lost int
	if _, err := fmt.Sscanf(p.Line(), "got %d %d <nil>", &at, &lost); err != nil || lost == 0 || at != lost { // 0 counts: it was lent, and may have been overwritten
		t.Fatalf("after message 0 it got %d with a loss of %d, %v", at, lost, err)
	}
	for n := at + 1; n <= sent; n++ {
		p.Say("receive")
		if l := p.Line(); l != fmt.Sprintf("got %d 0 <nil>", n) {
			t.Fatalf("%s, want %d", l, n)
		}
	}
	s.check(w.Close())
	p.Success()
}

func TestPausedSharedReadersClaimGoesToAnother(t *testing.T) {
	s := newStage(t)
	w := s.writer(s.join("first"), &stream.Options{Groups: 1})
	p, host := s.guest("shared")
	r := s.reader(host, &stream.ReaderOptions{Group: "g"})
	s.check(w.Send(s.ctx, []byte("0")))
	p.Say("claim")
	if l := p.Line(); l != "claimed 0" {
		t.Fatal(l)
	}
	p.Stop()
	c, err := r.Claim(s.ctx) // when the other one is suspect
	s.check(err)
	if c.Number() != 0 || !c.Redelivered() {
		t.Errorf("message %d, redelivered %v", c.Number(), c.Redelivered())
	}
	s.check(c.Done())
	p.Continue()
	p.Say("done")
	if l := p.Expect("done "); l[:4] != "true" {
		t.Errorf("the one that was paused is told %s", l)
	}
	s.check(w.Send(s.ctx, []byte("1")))
	p.Say("claim") // it goes on
	if l := p.Line(); l != "claimed 1" {
		s.check(r.Close()) // ours may have it
		t.Log(l)
	}
	p.Say("done")
	p.Expect("done ")
	p.Success()
}

// A token is not taken from a suspect; from who was evicted the stream is, as it may
// still write into it.
func TestPausedWriterKeepsItsTokenUntilItIsEvicted(t *testing.T) {
	s := newStage(t)
	r := s.reader(s.join("first"), nil)
	p, host := s.guest("writer")
	p.Say("reserve")
	if l := p.Line(); l != "reserved <nil>" {
		t.Fatal(l)
	}
	p.Stop()
	w := s.writer(host, nil)
	ctx, cancel := context.WithTimeout(s.ctx, 3*suspectAfter)
	defer cancel()
	if err := w.Send(ctx, []byte("mine")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the token of a suspect: %v", err)
	}
	p.Continue()
	p.Say("commit")
	if l := p.Expect("committed "); l != "false <nil>" {
		t.Fatalf("after the pause it is told %s", l)
	}
	if m, err := r.Receive(s.ctx); err != nil || string(m.Data) != "late" {
		t.Fatalf("%q, %v", m.Data, err)
	}
	p.Say("reserve")
	p.Expect("reserved ")
	p.Stop()
	s.evict(host)
	if err := w.Send(s.ctx, []byte("mine")); !errors.Is(err, stream.ErrRetired) {
		t.Errorf("the stream of an evicted writer: %v", err)
	}
	if m, err := r.Receive(s.ctx); !errors.Is(err, stream.ErrWriterDied) {
		t.Errorf("its reader is told %q, %v", m.Data, err)
	}
	p.Continue()
	p.Say("commit")
	if l := p.Expect("committed "); l[:4] != "true" {
		t.Errorf("who was evicted is told %s", l)
	}
	p.Success()
}

func TestConnectionOfAnEvictedMachineIsReset(t *testing.T) {
	s := newStage(t)
	p, host := s.guest("conn")
	c, err := stream.Dial(s.ctx, host, "x")
	s.check(err)
	p.Say("accept")
	p.Expect("accepted ")
	_, err = c.Write([]byte("echo"))
	s.check(err)
	b := make([]byte, 4)
	_, err = io.ReadFull(c, b)
	s.check(err)
	p.Stop()
	s.check(c.SetReadDeadline(time.Now().Add(2 * suspectAfter)))
	if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection to a suspect: %v", err)
	}
	s.check(c.SetReadDeadline(time.Time{}))
	read := make(chan error, 1)
	go func() {
		_, err := c.Read(b)
		read <- err
	}()
	s.evict(host)
	select {
	case err := <-read:
		if !errors.Is(err, stream.ErrReset) {
			t.Errorf("the connection ends with %v", err)
		}
	case <-s.ctx.Done():
		t.Fatal("the reader was not told")
	}
	s.check(c.Close())
	p.Continue()
	p.Success()
}
