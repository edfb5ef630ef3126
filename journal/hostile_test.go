package journal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/ringbustest"
	"github.com/ringbus/ringbus/segment"
)

// A peer may write anything into a journal, at any time. Whoever uses it gets
// an error or a wrong record; nobody panics, hangs, or touches what is not the
// journal's.

// vandal writes garbage into one of the parts of a small journal's area.
func vandal(area []byte, rnd *rand.Rand) (what string) {
	parts := []struct {
		name     string
		from, to int
	}{
		{"tag, config", 0, 0x10}, {"tail", 0x40, 0x48}, {"room", 0x80, 0x88}, {"level to used", 0xC0, 0xE0},
		{"reader entries", readersAt, readersAt + 4*readerEntry}, {"waiter entries", waitersAt, waitersAt + 4*waiterEntry},
		{"state words", statesAt, statesAt + 256*8}, {"ranks", statesAt + 256*8, statesAt + 256*24},
		{"records", (statesAt + 256*24 + 4095) &^ 4095, len(area)}, {"anything", 0, len(area)},
	}
	p := parts[rnd.IntN(len(parts))]
	for range 1 + rnd.IntN(30) {
		w := mem.U64(area, p.from+rnd.IntN(p.to-p.from)&^7)
		old := w.Load()
		switch rnd.IntN(5) {
		case 0:
			w.Store(rnd.Uint64())
		case 1:
			w.Store(0)
		case 2:
			w.Store(1<<64 - 1)
		case 3:
			w.Store(old ^ 1<<rnd.IntN(64))
		default: // a word from elsewhere
			w.Store(mem.U64(area, rnd.IntN(len(area))&^7).Load())
		}
	}
	return p.name
}

func TestGarbageUnderWritersAndReaders(t *testing.T) {
	for seed := range 150 {
		mode := journal.Mode(1 + seed%2)
		t.Run(fmt.Sprintf("%v, seed %d", mode, seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(3, uint64(seed)))
			bus := ringbustest.New(t)
			o := &journal.Options{Size: 1, Mode: mode, NoWait: seed%4 < 2, Wait: asleep, NoChecksum: seed%3 == 0}
			node := bus.Node("app")
			w, r, h := open(t, node, "log", o), reader(t, node, "log", nil), reader(t, bus.Node("holder"), "log", holding())
			other := bus.Node("other")
			area, err := node.Segment().Find(segment.Key{Kind: segment.KindJournal, Name: "log"})
			if err != nil {
				t.Fatal(err)
			}
			end := time.Now().Add(shmtest.Deadline)
			var what []string
			defer func() {
				if time.Now().After(end) || t.Failed() {
					t.Errorf("garbage in %q", what)
				}
			}()
			for range 6 {
				use(w, r, h, rnd)
				what = append(what, vandal(area, rnd))
				use(w, r, h, rnd)
				if ow, err := journal.NewWriter(other, "log", &journal.Options{NoWait: true}); err == nil {
					_, _ = ow.Write(make([]byte, rnd.IntN(3000)))
					_ = ow.Close()
				}
				if or, err := journal.NewReader(other, "log", holding()); err == nil {
					_ = or.Last(3)
					_, _, _ = or.TryRead()
					_ = or.Close()
				}
				look(node.Segment(), "log")
			}
			_, _ = node.Recover()
			for _, c := range []interface{ Close() error }{w, r, h} {
				_ = c.Close()
			}
			if wrong := node.Segment().Verify(); len(wrong) > 0 {
				t.Error(wrong)
			}
		})
	}
}

// use does a little of everything, and takes what comes.
func use(w *journal.Writer, r, h *journal.Reader, rnd *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
	defer cancel()
	var corrupt *journal.CorruptError
	var err error
	for i := 0; i < 60 && !errors.As(err, &corrupt); i++ { // it takes long over that
		switch rnd.IntN(3) {
		case 0:
			_, err = w.Append(ctx, make([]byte, rnd.IntN(2000)), &journal.RecordOptions{Level: slog.Level(rnd.IntN(20)), Key: "k"})
		case 1:
			var res journal.Reservation
			if res, err = w.Reserve(ctx, 1, 1+rnd.IntN(500), nil); err == nil {
				err = res.Commit(1)
			}
		default:
			err = w.AppendFunc(ctx, 0, 300, nil, func(b []byte) (int, error) { return len(b), nil })
		}
	}
	for _, r := range []*journal.Reader{r, h} {
		var at uint64
		for i := range 40 {
			rec, ok, err := r.TryRead()
			if !ok || err != nil {
				break
			}
			if i == 20 {
				at = rec.Position
			}
		}
		_ = r.After(at)
		_ = r.Last(rnd.IntN(5))
		_ = r.Since(time.Now())
		_, _ = r.Unfinished()
		_, _ = r.Read(ctx)
	}
}
