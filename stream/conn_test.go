package stream_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/segment"
	"github.com/ringbus/ringbus/stream"
)

// pair is a connection between two nodes.
func (s *stage) pair(a, b *ringbus.Node, name string) (dialed, accepted *stream.Conn) {
	s.Helper()
	l, err := stream.Listen(b, name)
	s.check(err)
	defer l.Close()
	dialed, err = stream.Dial(s.ctx, a, name)
	s.check(err)
	c, err := l.Accept()
	s.check(err)
	return dialed, c.(*stream.Conn)
}

func TestConnIsANetConn(t *testing.T) {
	s := newStage(t)
	a, b := s.join("a"), s.join("b")
	n := 0
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		n++
		c, d := s.pair(a, b, fmt.Sprintf("x%d", n))
		return c, d, func() { _ = c.Close(); _ = d.Close() }, nil
	})
	if areas := b.Segment().Areas(); len(areas) != 0 {
		t.Errorf("%d areas are left: %+v", len(areas), areas[0])
	}
}

func TestHalfCloseAndClose(t *testing.T) {
	s := newStage(t)
	c, d := s.pair(s.join("a"), s.join("b"), "x")
	_, err := c.Write([]byte("question"))
	s.check(err)
	s.check(c.CloseWrite())
	if b, err := io.ReadAll(d); string(b) != "question" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := c.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	_, err = d.Write([]byte("answer"))
	s.check(err)
	s.check(d.Close())
	if b, err := io.ReadAll(c); string(b) != "answer" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	s.check(c.Close())
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

func TestWriteToWhoDoesNotReadAnyMoreFails(t *testing.T) {
	s := newStage(t)
	c, d := s.pair(s.join("a"), s.join("b"), "x")
	wrote := make(chan error)
	go func() {
		for {
			if _, err := c.Write(make([]byte, 10000)); err != nil {
				wrote <- err
				return
			}
		}
	}()
	s.check(d.CloseRead())
	if err := <-wrote; !errors.Is(err, stream.ErrPeerClosed) {
		t.Error(err)
	}
	s.check(c.Close())
	s.check(d.Close())
}

func TestDialWhereNobodyListensIsRefused(t *testing.T) {
	s := newStage(t)
	n := s.join("a")
	if _, err := stream.Dial(s.ctx, n, "x"); !errors.Is(err, stream.ErrRefused) {
		t.Error(err)
	}
	l, err := stream.Listen(n, "x")
	s.check(err)
	if _, err := stream.Listen(s.join("b"), "x"); !errors.Is(err, segment.ErrInUse) {
		t.Error(err)
	}
	accepted := make(chan error)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	s.check(l.Close())
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := stream.Dial(s.ctx, n, "x"); !errors.Is(err, stream.ErrRefused) {
		t.Error(err)
	}
}

// Who dials is connected before Accept; what does not fit into the backlog waits.
func TestBacklog(t *testing.T) {
	s := newStage(t)
	a, b := s.join("a"), s.join("b")
	l, err := stream.Listen(b, "x")
	s.check(err)
	const most = 130
	results := make(chan error, most)
	var all sync.WaitGroup
	for i := range most {
		all.Go(func() {
			c, err := stream.Dial(s.ctx, a, "x")
			if err == nil {
				_, err = fmt.Fprintf(c, "%d", i)
				err = errors.Join(err, c.Close())
			}
			results <- err
		})
	}
	seen := make(map[string]bool)
	for range most {
		c, err := l.Accept()
		s.check(err)
		text, err := io.ReadAll(c)
		s.check(err)
		seen[string(text)] = true
		s.check(c.Close())
	}
	all.Wait()
	for range most {
		s.check(<-results)
	}
	if len(seen) != most {
		t.Errorf("%d connections, want %d", len(seen), most)
	}
	s.check(l.Close())
	if areas := b.Segment().Areas(); len(areas) != 0 {
		t.Errorf("%d areas are left", len(areas))
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := stream.Dial(ctx, s.join("a"), "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// transport is an http.Transport over the listener of the given name.
func transport(n *ringbus.Node, name string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return stream.Dial(ctx, n, name)
	}}
}

func TestHTTPOverAStream(t *testing.T) {
	for _, c := range []struct {
		name  string
		http2 bool
	}{{"HTTP/1.1", false}, {"HTTP/2", true}} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			l, err := stream.Listen(s.join("server"), "web")
			s.check(err)
			started := make(chan struct{}, 1)
			mux := http.NewServeMux()
			mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor == 2 != c.http2 {
					t.Errorf("protocol %s", r.Proto)
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(body)
			})
			mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
				started <- struct{}{}
				<-r.Context().Done()
			})
			server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
			tr := transport(s.join("client"), "web")
			tr.Protocols = new(http.Protocols)
			if c.http2 {
				server.Protocols.SetUnencryptedHTTP2(true)
				tr.Protocols.SetUnencryptedHTTP2(true)
			} else {
				server.Protocols.SetHTTP1(true)
				tr.Protocols.SetHTTP1(true)
			}
			served := make(chan error, 1)
			go func() { served <- server.Serve(l) }()
			client := &http.Client{Transport: tr}
			exchange(s, client)
			cancelled(s, client, started)
			exchange(s, client)
			tr.CloseIdleConnections()
			s.check(server.Shutdown(s.ctx))
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}

// exchange sends large and small bodies, many at once, and wants them back.
func exchange(s *stage, client *http.Client) {
	s.Helper()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			body := make([]byte, []int{0, 1, 100, 70_000, 3 << 20}[i%5])
			_, _ = rand.Read(body)
			resp, err := client.Post("http://x/echo", "application/octet-stream", bytes.NewReader(body))
			if err != nil {
				s.Error(err)
				return
			}
			defer resp.Body.Close()
			if back, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(back, body) {
				s.Errorf("%d bytes came back of %d: %v", len(back), len(body), err)
			}
		})
	}
	all.Wait()
}

// cancelled gives up a request that is being served.
func cancelled(s *stage, client *http.Client, started chan struct{}) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	go func() {
		<-started
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://x/slow", nil)
	s.check(err)
	if _, err := client.Do(req); !errors.Is(err, context.Canceled) {
		s.Error(err)
	}
}

func TestHundredsOfConnectionsAtOnce(t *testing.T) {
	s := newStage(t)
	a, b := s.join("a"), s.join("b")
	l, err := stream.Listen(b, "x")
	s.check(err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	const many = 150
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			c, err := stream.Dial(s.ctx, a, "x")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(shmtest.Deadline))
			for round := range 6 { // each a scheduler's latency, where others have the CPU
				want := bytes.Repeat([]byte{byte(i), byte(round)}, 500)
				if _, err := c.Write(want); err != nil {
					t.Error(err)
					return
				}
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
					t.Error("not the same", err)
					return
				}
			}
		})
	}
	all.Wait()
	s.check(l.Close())
}

// Who closes the node while somebody else closes what is on it waits for that:
// nothing stays on the bus.
func TestCloseOfTheNodeWaitsForACloseInProgress(t *testing.T) {
	s := newStage(t)
	keeper := s.join("keeper")
	for range 50 {
		a, b := s.join("a"), s.join("b")
		dialed, accepted := s.pair(a, b, "x")
		l, err := stream.Listen(b, "y")
		s.check(err)
		w, r := s.writer(b, nil), s.reader(a, nil)
		for _, c := range []io.Closer{dialed, accepted, l, w, r} {
			go c.Close()
		}
		runtime.Gosched()
		s.check(errors.Join(a.Close(), b.Close()))
		for _, area := range keeper.Segment().Areas() {
			if area.Key.Sub&segment.Ephemeral != 0 {
				t.Fatalf("%v is left", area.Key)
			}
		}
	}
}
