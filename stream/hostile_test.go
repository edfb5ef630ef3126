//go:build !race

package stream_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/segment"
	"github.com/ringbus/ringbus/stream"
)

// A hostile peer writes garbage into a stream and a connection while others use
// them: they get errors or garbage, and nobody panics or hangs.
func TestGarbageUnderLiveReadersAndWriters(t *testing.T) {
	for seed := range uint64(12) {
		s := newStage(t)
		n := s.join("a")
		w := s.writer(n, &stream.Options{Size: 4000})
		readers := []*stream.Reader{
			s.reader(s.join("b"), nil), s.reader(s.join("c"), &stream.ReaderOptions{Lapped: true}),
			s.reader(s.join("d"), &stream.ReaderOptions{Group: "g"}),
		}
		c, d := s.pair(n, s.join("e"), "y")
		ctx, cancel := context.WithTimeout(s.ctx, 150*time.Millisecond)
		var all sync.WaitGroup
		all.Go(func() { garble(n.Segment(), seed, ctx.Done()) })
		all.Go(func() {
			for ctx.Err() == nil {
				_ = w.Send(ctx, make([]byte, rand.IntN(3000)))
			}
		})
		for _, r := range readers {
			all.Go(func() {
				for ctx.Err() == nil {
					for m, err := range r.Messages(ctx) {
						if err != nil && errors.Is(err, stream.ErrFenced) {
							return // somebody says that we are dead
						}
						_ = append([]byte(nil), m.Data...)
					}
				}
			})
		}
		end := time.Now().Add(150 * time.Millisecond)
		for _, conn := range []*stream.Conn{c, d} {
			s.check(conn.SetDeadline(end))
			all.Go(func() {
				for {
					if _, err := conn.Write(make([]byte, 5000)); err != nil {
						return
					}
				}
			})
			all.Go(func() {
				b := make([]byte, 5000)
				for {
					if _, err := conn.Read(b); errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) || ctx.Err() != nil {
						return
					}
				}
			})
		}
		all.Wait()
		cancel()
		for _, e := range []io.Closer{c, d, readers[0], readers[1], readers[2], w} {
			_ = e.Close()
		}
	}
}

// garble writes into the areas of streams until stop.
func garble(seg *segment.Segment, seed uint64, stop <-chan struct{}) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var areas [][]byte
	for _, a := range seg.Areas() {
		if b, err := seg.AreaBytes(a.Index, a.Gen); err == nil && a.Key.Kind == segment.KindStream {
			areas = append(areas, b)
		}
	}
	for {
		select {
		case <-stop:
			return
		default:
		}
		b := areas[rng.IntN(len(areas))]
		off := rng.IntN(min(len(b), 0x9000)/8) * 8
		if at := off % 0x1000; off >= 0x1000 && at%0xC0%0x40 == 0 {
			continue // it may be a bell: who writes there can keep a sleeper asleep
		}
		word := mem.U64(b, off)
		switch rng.IntN(3) {
		case 0:
			word.Store(rng.Uint64())
		case 1:
			word.Store(0)
		default:
			word.Add(uint64(rng.IntN(5)) << rng.IntN(64))
		}
		time.Sleep(20 * time.Microsecond)
	}
}
