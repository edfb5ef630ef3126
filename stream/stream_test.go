package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/stream"
)

func (s *stage) writer(n *ringbus.Node, o *stream.Options) *stream.Writer {
	s.Helper()
	w, err := stream.NewWriter(n, "x", o)
	s.check(err)
	s.Cleanup(func() { _ = w.Close() })
	return w
}

func (s *stage) reader(n *ringbus.Node, o *stream.ReaderOptions) *stream.Reader {
	s.Helper()
	r, err := stream.NewReader(n, "x", o)
	s.check(err)
	s.Cleanup(func() { _ = r.Close() })
	return r
}

func TestBytesPassInOrderAndEnd(t *testing.T) {
	s := newStage(t)
	a, b := s.join("a"), s.join("b")
	for round := range 2 { // a second writer goes on with the stream
		r := s.reader(b, &stream.ReaderOptions{Size: 5000})
		w := s.writer(a, nil)
		want := make([]byte, 1_000_000)
		for i := range want {
			want[i] = byte(i*7 + i>>9 + round)
		}
		go func() {
			if n, err := w.Write(want); n != len(want) || err != nil {
				t.Error(n, err)
			}
			_ = w.Close()
		}()
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, want %d: %v", len(got), len(want), err)
		}
		s.check(r.Close())
	}
}

func TestMessagesKeepTheirBoundsAndAreLent(t *testing.T) {
	s := newStage(t)
	w := s.writer(s.join("a"), &stream.Options{Size: 4000})
	r := s.reader(s.join("b"), nil)
	go func() {
		for n := range 300 {
			var err error
			if n%3 == 0 {
				var res *stream.Reservation
				if res, err = w.Reserve(s.ctx, 1000); err == nil {
					n := copy(res.Data(), fmt.Sprintf("%d %s", n, strings.Repeat("x", n)))
					err = res.Commit(n)
				}
			} else {
				err = w.Send(s.ctx, fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", n)))
			}
			if err != nil {
				t.Error(err)
			}
		}
		_ = w.Close()
	}()
	n := 0
	for m, err := range r.Messages(s.ctx) {
		s.check(err)
		if want := fmt.Sprintf("%d %s", n, strings.Repeat("x", n)); string(m.Data) != want || m.Number != uint64(n) || m.Lost != 0 {
			t.Fatalf("message %d is %d %q", n, m.Number, m.Data)
		}
		n++
	}
	if n != 300 {
		t.Errorf("%d messages", n)
	}
}

func TestSecondWriterWaitsOrIsToldAtOnce(t *testing.T) {
	s := newStage(t)
	a, b := s.join("a"), s.join("b")
	first, second := s.writer(a, nil), s.writer(b, nil)
	s.check(first.Send(s.ctx, []byte("one")))
	if err := s.writer(b, &stream.Options{Reject: true}).Send(s.ctx, []byte("no")); !errors.Is(err, stream.ErrBusy) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Millisecond)
	defer cancel()
	if err := second.Send(ctx, []byte("no")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	sent := make(chan error)
	go func() { sent <- second.Send(s.ctx, []byte("two")) }()
	s.check(first.Close())
	s.check(<-sent)
	r := s.reader(a, &stream.ReaderOptions{Oldest: true})
	for _, want := range []string{"one", "two"} {
		if m, err := r.Receive(s.ctx); err != nil || string(m.Data) != want {
			t.Errorf("%q, %v", m.Data, err)
		}
	}
}

func TestWritersTakeTurns(t *testing.T) {
	s := newStage(t)
	r := s.reader(s.join("r"), nil)
	const each = 500
	var all sync.WaitGroup
	var writers []*stream.Writer
	for i := range 3 {
		writers = append(writers, s.writer(s.join(fmt.Sprint(i)), &stream.Options{Turns: true}))
	}
	for i, w := range writers {
		all.Go(func() {
			for n := range each {
				if err := w.Send(s.ctx, fmt.Appendf(nil, "%d %d", i, n)); err != nil {
					t.Error(err)
				}
			}
			_ = w.Close()
		})
	}
	var next [3]int
	for m, err := range r.Messages(s.ctx) {
		s.check(err)
		var i, n int
		_, err = fmt.Sscan(string(m.Data), &i, &n)
		s.check(err)
		if next[i] != n {
			t.Fatalf("writer %d: message %d, want %d", i, n, next[i])
		}
		next[i]++
	}
	all.Wait()
	if next != [3]int{each, each, each} {
		t.Error(next)
	}
}

func TestFullStreamRejectsAndLappedReaderIsToldItsLoss(t *testing.T) {
	s := newStage(t)
	w := s.writer(s.join("a"), &stream.Options{Size: 900, Reject: true})
	r := s.reader(s.join("b"), &stream.ReaderOptions{Lapped: true})
	slow := s.reader(s.join("c"), nil)
	sent := 0
	for {
		if err := w.Send(s.ctx, fmt.Append(nil, sent)); err != nil {
			if !errors.Is(err, stream.ErrFull) {
				t.Error(err)
			}
			break
		}
		sent++
	}
	s.check(slow.Close())
	for range 100 {
		s.check(w.Send(s.ctx, fmt.Append(nil, sent)))
		sent++
	}
	s.check(w.Close())
	next := uint64(0)
	for {
		m, err := r.Receive(s.ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		s.check(err)
		if m.Number != next+m.Lost || string(m.Data) != fmt.Sprint(m.Number) {
			t.Fatalf("%+v after %d", m, next)
		}
		next = m.Number + 1
	}
	if next != uint64(sent) || r.Lost() == 0 {
		t.Errorf("ended at %d of %d, lost %d", next, sent, r.Lost())
	}
}

func TestDeadlinesAndContexts(t *testing.T) {
	s := newStage(t)
	w := s.writer(s.join("a"), &stream.Options{Size: 900})
	r := s.reader(s.join("b"), nil)
	s.check(r.SetReadDeadline(time.Now().Add(-time.Second)))
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	s.check(r.SetReadDeadline(time.Time{}))
	got := make(chan error)
	go func() {
		_, err := r.Read(make([]byte, 1))
		got <- err
	}()
	s.check(r.SetReadDeadline(time.Now().Add(10 * time.Millisecond))) // while it waits
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	s.check(w.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)))
	if n, err := w.Write(make([]byte, 5000)); n != 960 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(n, err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	go func() { got <- w.Send(ctx, make([]byte, 900)) }()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go func() { got <- w.Send(s.ctx, make([]byte, 900)) }()
	s.check(w.Close())
	if err := <-got; !errors.Is(err, stream.ErrClosed) {
		t.Error(err)
	}
}

func TestGroupSharesAndRedelivers(t *testing.T) {
	s := newStage(t)
	w := s.writer(s.join("w"), &stream.Options{Size: 4000})
	o := &stream.ReaderOptions{Group: "g"}
	var readers []*stream.Reader
	for i := range 3 {
		readers = append(readers, s.reader(s.join(fmt.Sprint(i)), o))
	}
	held, err := func() (*stream.Claim, error) {
		s.check(w.Send(s.ctx, []byte("0")))
		return readers[0].Claim(s.ctx)
	}()
	s.check(err)
	var mu sync.Mutex
	var got []string
	again := 0
	var all sync.WaitGroup
	for _, r := range readers[1:] {
		all.Go(func() {
			for {
				c, err := r.Claim(s.ctx)
				if errors.Is(err, io.EOF) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got = append(got, string(c.Data()))
				if c.Redelivered() {
					again++
				}
				mu.Unlock()
				if err := c.Done(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := 1; n < 40; n++ {
		s.check(w.Send(s.ctx, fmt.Append(nil, n)))
	}
	s.check(readers[0].Close()) // gives its claim to another
	if err := held.Done(); !errors.Is(err, stream.ErrClosed) {
		t.Error(err)
	}
	for n := 40; n < 300; n++ {
		s.check(w.Send(s.ctx, fmt.Append(nil, n)))
	}
	s.check(w.Close())
	all.Wait()
	slices.Sort(got)
	if uniq := slices.Compact(slices.Clone(got)); len(got) != 300 || len(uniq) != 300 || again != 1 {
		t.Errorf("%d messages, %d of them different, %d redelivered", len(got), len(uniq), again)
	}
}

func TestGroupReadsBytesAndRanges(t *testing.T) {
	s := newStage(t)
	w := s.writer(s.join("w"), nil)
	r := s.reader(s.join("r"), &stream.ReaderOptions{Group: "g"})
	for n := range 10 {
		s.check(w.Send(s.ctx, fmt.Append(nil, n)))
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(r, b); err != nil || string(b) != "012" {
		t.Errorf("%q %v", b, err)
	}
	s.check(w.Close())
	text := ""
	for m, err := range r.Messages(s.ctx) {
		s.check(err)
		text += string(m.Data)
	}
	if text != "3456789" {
		t.Errorf("%q", text)
	}
}

func TestMismatchNamesTheField(t *testing.T) {
	s := newStage(t)
	n := s.join("a")
	s.writer(n, &stream.Options{Size: 4000, Groups: 2})
	for field, o := range map[string]*stream.Options{"size": {Size: 100_000}, "groups": {Groups: -1}} {
		_, err := stream.NewWriter(n, "x", o)
		var m *ringbus.MismatchError
		if !errors.As(err, &m) || m.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	w := s.writer(n, nil)
	if err := w.Send(s.ctx, make([]byte, 5000)); !errors.As(err, new(*stream.SizeError)) {
		t.Error(err)
	}
}

// A stream that ended before a reader came has not ended for it.
func TestFormerWritersEndIsNoEnd(t *testing.T) {
	s := newStage(t)
	n := s.join("a")
	w := s.writer(n, nil)
	s.check(w.Send(s.ctx, []byte("old")))
	s.check(w.Close())
	r := s.reader(n, nil)
	got := make(chan string)
	go func() {
		b, err := io.ReadAll(r)
		got <- fmt.Sprint(string(b), err)
	}()
	w = s.writer(n, nil)
	s.check(w.Send(s.ctx, []byte("new")))
	s.check(w.Close())
	if b := <-got; b != "new<nil>" {
		t.Errorf("%q", b)
	}
	// Nor for the readers of a group, and then it ends for those as well that got nothing.
	s.check(r.Close())
	var group [2]*stream.Reader
	for i := range group {
		group[i] = s.reader(n, &stream.ReaderOptions{Group: "g"})
	}
	w = s.writer(n, nil)
	s.check(w.Send(s.ctx, []byte("!")))
	s.check(w.Close())
	text := ""
	for _, g := range group {
		b, err := io.ReadAll(g)
		s.check(err)
		text += string(b)
	}
	if text != "!" {
		t.Errorf("the group read %q", text)
	}
	late := s.reader(n, &stream.ReaderOptions{Oldest: true})
	if b, err := io.ReadAll(late); string(b) != "oldnew!" || err != nil {
		t.Errorf("%q %v", b, err)
	}
}
