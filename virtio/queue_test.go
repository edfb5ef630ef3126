package virtio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/ringbus/ringbus/virtio"
)

// upper answers each chain with what it reads in upper case.
func upper(ctx context.Context, q *virtio.Queue) error {
	for chain, err := range q.Chains(ctx) {
		if err != nil {
			return err
		}
		b, err := io.ReadAll(chain)
		if err != nil {
			return err
		}
		if _, err := chain.Write(bytes.ToUpper(b)); err != nil {
			return err
		}
		if err := chain.Return(); err != nil {
			return err
		}
	}
	return nil
}

func TestReaderAndWriterOverTheDriversMemory(t *testing.T) {
	for _, f := range features {
		t.Run(f.String(), func(t *testing.T) {
			l := newLink(t)
			drvC, devC := l.queue(8, f)
			drv, dev := l.driver(drvC), l.device(devC)
			served := make(chan error, 1)
			go func() { served <- upper(soon(t), dev) }()
			a, b := l.buffer("one, "), l.buffer("two")
			x, y := l.room(3), l.room(20)
			for range 100 {
				u := l.call(drv, []virtio.Buffer{a, b}, []virtio.Buffer{x, y})
				if got := l.text(x, 3) + l.text(y, u.Len-3); got != "ONE, TWO" || u.Token != 7 {
					t.Fatalf("%q, %v", got, u)
				}
			}
			dev.Stop()
			if err := <-served; err != nil {
				t.Errorf("stopped: %v", err)
			}
			if dev.InFlight() != 0 || drv.InFlight() != 0 {
				t.Errorf("in flight: %d, %d", dev.InFlight(), drv.InFlight())
			}
		})
	}
}

// next returns the next chain of a queue that nobody else serves.
func next(t *testing.T, q *virtio.Queue) *virtio.Chain {
	t.Helper()
	for chain, err := range q.Chains(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		return chain
	}
	t.Fatal("no chain")
	return nil
}

func TestChainIsAReaderAndAWriter(t *testing.T) {
	l := newLink(t)
	drvC, devC := l.queue(8, features[2])
	drv, dev := l.driver(drvC), l.device(devC)
	chain := func() *virtio.Chain {
		t.Helper()
		readable := []virtio.Buffer{l.buffer("abc"), l.buffer("d"), l.buffer("efgh")}
		if err := drv.Add(readable, []virtio.Buffer{l.room(2), l.room(1), l.room(5)}, 1); err != nil {
			t.Fatal(err)
		}
		if err := drv.Kick(); err != nil {
			t.Fatal(err)
		}
		return next(t, dev)
	}
	give := func(c *virtio.Chain, want string, length uint32) {
		t.Helper()
		got := string(bytes.Join(c.Writable(), nil))
		if err := c.Return(); err != nil {
			t.Fatal(err)
		}
		if u := l.reap(drv); u.Len != length || got[:min(len(got), len(want))] != want {
			t.Fatalf("reply %q, %d bytes; want %q, %d", got, u.Len, want, length)
		}
	}

	c := chain()
	if err := iotest.TestReader(onlyReader{c}, []byte("abcdefgh")); err != nil {
		t.Error(err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil && err != io.EOF {
		t.Errorf("read of nothing: %d, %v", n, err)
	}
	if c.Len() != 8 || c.Room() != 8 || len(c.Readable()) != 3 || len(c.Writable()) != 3 {
		t.Errorf("%d and %d bytes, %d and %d pieces", c.Len(), c.Room(), len(c.Readable()), len(c.Writable()))
	}
	if n, err := c.Write([]byte("12345")); n != 5 || err != nil {
		t.Error(n, err)
	}
	if n, err := c.Write([]byte("6789")); n != 3 || err != io.ErrShortWrite {
		t.Errorf("too much: %d, %v", n, err)
	}
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	give(c, "12345678", 8)

	c = chain()
	var out strings.Builder
	if n, err := c.WriteTo(&out); n != 8 || err != nil || out.String() != "abcdefgh" {
		t.Errorf("WriteTo: %d, %v, %q", n, err, out.String())
	}
	if n, err := c.ReadFrom(strings.NewReader("12345678")); n != 8 || err != nil {
		t.Errorf("ReadFrom that just fits: %d, %v", n, err)
	}
	if n, err := c.ReadFrom(strings.NewReader("9")); n != 0 || err != io.ErrShortWrite {
		t.Errorf("ReadFrom without room: %d, %v", n, err)
	}
	give(c, "12345678", 8)

	c = chain()
	if n, err := io.Copy(c, iotest.OneByteReader(io.LimitReader(c, 4))); n != 4 || err != nil {
		t.Error(n, err)
	}
	if rest, err := io.ReadAll(c); string(rest) != "efgh" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	give(c, "abcd", 4)

	c = chain()
	if n, err := c.ReadFrom(iotest.ErrReader(io.ErrUnexpectedEOF)); n != 0 || err != io.ErrUnexpectedEOF {
		t.Error(n, err)
	}
	if n, err := c.WriteTo(failing{}); n != 2 || err != io.ErrClosedPipe {
		t.Error(n, err)
	}
	if n, err := c.ReadFrom(idle{}); n != 0 || err != io.ErrNoProgress {
		t.Error(n, err)
	}
	c.Writable()[0][0] = 'x'
	c.Wrote(6)
	give(c, "x", 6)
}

type onlyReader struct{ io.Reader }

type failing struct{}

func (failing) Write([]byte) (int, error) { return 2, io.ErrClosedPipe }

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestChainsOutliveTheLoopsBody(t *testing.T) {
	l := newLink(t)
	drvC, devC := l.queue(16, features[3])
	drv, dev := l.driver(drvC), l.device(devC)
	const n = 8
	rooms := make([]virtio.Buffer, n)
	for i := range rooms {
		rooms[i] = l.room(1)
		if err := drv.Add([]virtio.Buffer{l.buffer(string(rune('a' + i)))}, rooms[i:i+1], uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := drv.Kick(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	left := n
	for chain, err := range dev.Chains(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if _, err := io.Copy(chain, chain); err != nil {
				t.Error(err)
			}
			if err := chain.Return(); err != nil {
				t.Error(err)
			}
		})
		if left--; left == 0 {
			break
		}
	}
	wg.Wait()
	for range n {
		u := l.reap(drv)
		if got := l.text(rooms[u.Token], u.Len); got != string(rune('a'+u.Token)) {
			t.Errorf("chain %d: %q", u.Token, got)
		}
	}
}

func TestBatches(t *testing.T) {
	l := newLink(t)
	drvC, devC := l.queue(16, features[3])
	calls := 0
	notify := devC.Notify
	devC.Notify = func() error { calls++; return notify() }
	drv, dev := l.driver(drvC), l.device(devC)
	in, out := l.buffer("request"), l.room(7)
	for i := range uint64(7) {
		if err := drv.Add([]virtio.Buffer{in}, []virtio.Buffer{out}, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := drv.Kick(); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	total := 0
	for chains, err := range dev.Batches(soon(t), 3) {
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(chains))
		for _, c := range chains {
			if _, err := io.Copy(c, c); err != nil {
				t.Fatal(err)
			}
		}
		if err := dev.Return(chains...); err != nil {
			t.Fatal(err)
		}
		if total += len(chains); total == 7 {
			break
		}
	}
	if len(sizes) != 3 || sizes[0] != 3 || sizes[1] != 3 || sizes[2] != 1 {
		t.Errorf("batches of %v", sizes)
	}
	if calls > 0 {
		t.Errorf("%d calls of a driver that does not sleep", calls)
	}
	for i := range uint64(7) {
		if u := l.reap(drv); u.Token != i || u.Len != 7 {
			t.Errorf("%v", u)
		}
	}
}

func TestTheEndOfALoop(t *testing.T) {
	l := newLink(t)
	_, devC := l.queue(8, features[0])
	dev := l.device(devC)
	ctx, cancel := context.WithCancel(soon(t))
	ended := make(chan error, 1)
	run := func() { ended <- upper(ctx, dev) }
	go run()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	ctx = soon(t)
	go run()
	dev.Stop()
	if err := <-ended; err != nil {
		t.Errorf("stopped: %v", err)
	}
	if err := upper(ctx, dev); err != nil {
		t.Errorf("stopped before: %v", err)
	}
	for range dev.Batches(ctx, 3) {
		t.Error("a batch of a stopped queue")
	}
	dev = l.device(devC)
	failed := errors.New("no wait today")
	devC.Wait = func(context.Context) error { return failed }
	dev = l.device(devC)
	if err := upper(ctx, dev); !errors.Is(err, failed) {
		t.Errorf("wait fails: %v", err)
	}
}

func TestABrokenQueueEndsTheLoopWithItsError(t *testing.T) {
	l := newLink(t)
	drvC, devC := l.queue(8, features[0])
	drv, dev := l.driver(drvC), l.device(devC)
	if err := drv.Add([]virtio.Buffer{{Addr: 16, Len: 4}}, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := drv.Kick(); err != nil {
		t.Fatal(err)
	}
	var broken *virtio.BrokenError
	if err := upper(soon(t), dev); !errors.As(err, &broken) || broken.Field != "descriptor address" {
		t.Errorf("%v", err)
	}
	if !errors.As(dev.Err(), &broken) {
		t.Error(dev.Err())
	}
	for chains, err := range dev.Batches(soon(t), 2) {
		if len(chains) > 0 || !errors.As(err, &broken) {
			t.Error(chains, err)
		}
	}
}

func TestDriverQueue(t *testing.T) {
	l := newLink(t)
	drvC, devC := l.queue(2, features[1])
	drv, dev := l.driver(drvC), l.device(devC)
	b := l.buffer("x")
	for range 2 {
		if err := drv.Add([]virtio.Buffer{b}, nil, 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := drv.Add([]virtio.Buffer{b}, nil, 5); !errors.Is(err, virtio.ErrFull) {
		t.Errorf("full: %v", err)
	}
	var long *virtio.TooLongError
	if err := drv.Add([]virtio.Buffer{b, b, b}, nil, 5); !errors.As(err, &long) {
		t.Errorf("too long: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := drv.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if drv.Size() != 2 || dev.Size() != 2 || drv.InFlight() != 2 || dev.Features() != features[1] {
		t.Error(drv.Size(), dev.Size(), drv.InFlight())
	}
	tokens := 0
	drv.Detach(func(token uint64) { tokens += int(token) })
	if tokens != 10 {
		t.Errorf("detached %d", tokens)
	}
	if _, _, err := drv.Reap(); !errors.Is(err, virtio.ErrStopped) {
		t.Error(err)
	}
	if err := drv.Wait(ctx); !errors.Is(err, virtio.ErrStopped) {
		t.Error(err)
	}
	if err := drv.Add([]virtio.Buffer{b}, nil, 5); !errors.Is(err, virtio.ErrStopped) {
		t.Error(err)
	}
	if err := drv.Kick(); !errors.Is(err, virtio.ErrStopped) {
		t.Error(err)
	}
}

func TestMisuse(t *testing.T) {
	l := newLink(t)
	drvC, devC := l.queue(8, features[0])
	drv, dev := l.driver(drvC), l.device(devC)
	panics := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s does not panic", what)
			}
		}()
		f()
	}
	b := l.buffer("x")
	if err := drv.Add([]virtio.Buffer{b}, []virtio.Buffer{l.room(4)}, 5); err != nil {
		t.Fatal(err)
	}
	if err := drv.Kick(); err != nil {
		t.Fatal(err)
	}
	c := next(t, dev)
	panics("Wrote of more than there is room for", func() { c.Wrote(5) })
	_, otherC := l.queue(8, features[0])
	other := l.device(otherC)
	panics("a chain of another queue", func() { _ = other.Return(c) })
	if err := c.Return(); err != nil {
		t.Fatal(err)
	}
	panics("Return twice", func() { _ = c.Return() })
	panics("Return to the queue twice", func() { _ = dev.Return(c) })
	panics("Read after Return", func() { _, _ = c.Read(make([]byte, 1)) })
	panics("Write after Return", func() { _, _ = c.Write([]byte("x")) })
	panics("Readable after Return", func() { c.Readable() })
	for _, c := range []virtio.QueueConfig{{}, {Notify: devC.Notify}, {Wait: devC.Wait}} {
		if _, err := virtio.NewQueue(l.memory, c); err == nil {
			t.Errorf("%+v: no error", c)
		}
		if _, err := virtio.NewDriverQueue(l.memory, c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	var layout *virtio.LayoutError
	devC.Size = 3
	if _, err := virtio.NewQueue(l.memory, devC); !errors.As(err, &layout) || layout.Field != "size" {
		t.Error(err)
	}
	if l.memory.Slice(base-1, 1) != nil || len(l.memory.Slice(base, 16)) != 16 {
		t.Error("Slice")
	}
}

func TestNoAllocations(t *testing.T) {
	for _, f := range features {
		l := newLink(t)
		drvC, devC := l.queue(32, f)
		drvC.BusyPoll, devC.BusyPoll = true, true
		drv, dev := l.driver(drvC), l.device(devC)
		readable, writable := []virtio.Buffer{l.buffer("request")}, []virtio.Buffer{l.room(16)}
		stop := make(chan struct{})
		ctx := soon(t)
		go func() {
			defer close(stop)
			for chain, err := range dev.Chains(ctx) {
				if err != nil {
					return
				}
				_, _ = chain.WriteTo(chain)
				_ = chain.Return()
			}
		}()
		round := func() {
			for i := range uint64(8) {
				if err := drv.Add(readable, writable, i); err != nil {
					t.Error(err)
				}
			}
			_ = drv.Kick()
			for range 8 {
				_ = drv.Wait(ctx)
				_, _, _ = drv.Reap()
			}
		}
		if n := testing.AllocsPerRun(50, round); n > 0 {
			t.Errorf("%v: %v allocations in a round of 8 chains", f, n)
		}
		dev.Stop()
		<-stop
	}
}
