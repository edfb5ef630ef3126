//go:build !race

package journal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
)

func init() {
	roles["soaking writer"] = soakWriter
	roles["soaking reader"] = soakReader
}

// soakTime is how long processes are killed at random: RINGBUS_SOAK, a
// duration, or a few seconds.
func soakTime(t *testing.T) time.Duration {
	v := os.Getenv("RINGBUS_SOAK")
	if v == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("RINGBUS_SOAK: %v", err)
	}
	return d
}

// A ledger is a file in which a writer says how many records of each of two
// journals were acknowledged to it, in one write each: its death cannot tear
// that.
type ledger struct{ f *os.File }

func openLedger(dir, key string) (ledger, error) {
	f, err := os.OpenFile(filepath.Join(dir, "acked-"+key), os.O_RDWR|os.O_CREATE, 0o600)
	return ledger{f}, err
}

func (l ledger) say(which int, n uint64) error {
	_, err := l.f.WriteAt(binary.LittleEndian.AppendUint64(nil, n), int64(8*which))
	return err
}

func (l ledger) said() (n [2]uint64, err error) {
	var b [16]byte
	if _, err = l.f.ReadAt(b[:], 0); err != nil && !strings.Contains(err.Error(), "EOF") {
		return n, err
	}
	return [2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}, nil
}

// soakWriter writes to a journal that is full at times, and to one that goes
// around all the time, until it is killed. Its key is its own, not that of who
// was killed before it.
func soakWriter(args []string) error {
	dir, key := args[0], args[1]
	acked, err := openLedger(dir, key)
	if err != nil {
		return err
	}
	ctx := context.Background()
	node, _, err := joinAs(dir, key, 0)
	if err != nil {
		return err
	}
	all, err := journal.NewWriter(node, "log", keyed(held(), key))
	if err != nil {
		return err
	}
	some, err := journal.NewWriter(node, "some", keyed(loose(), key))
	if err != nil {
		return err
	}
	fmt.Println("writing")
	var n [2]uint64
	for rnd := rand.New(rand.NewPCG(1, uint64(os.Getpid()))); ; {
		which, w := 0, all
		if rnd.IntN(2) == 0 {
			which, w = 1, some
		}
		switch rnd.IntN(8) {
		case 0: // leaves a hole, or a tombstone if it dies now
			var r journal.Reservation
			if r, err = w.Reserve(ctx, 1, 1+rnd.IntN(2000), nil); err == nil {
				for i := range r.Data() {
					r.Data()[i] = 0xEE
				}
				r.Discard()
			}
		default:
			err = put(ctx, w, key, n[which])
			if err == nil {
				n[which]++
				err = acked.say(which, n[which])
			}
		}
		if err != nil && (which == 0 || !errors.Is(err, journal.ErrLapped)) {
			return fmt.Errorf("record %d: %w", n[which], err)
		}
	}
}

// soakReader reads until it is killed, now one journal, now the other, and
// judges what it gets.
func soakReader(args []string) error {
	node, _, err := joinAs(args[0], args[1], 0)
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(2, uint64(os.Getpid())))
	fmt.Println("reading")
	for {
		name := []string{"log", "some"}[rnd.IntN(2)]
		r, err := journal.NewReader(node, name, &journal.ReaderOptions{Hold: rnd.IntN(2) == 0, Wait: asleep})
		if err != nil {
			return err
		}
		if err := r.Last(rnd.IntN(20)); err != nil {
			return err
		}
		c := tally{late: true}
		for range rnd.IntN(2000) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			rec, err := r.Read(ctx)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				break // no writer lives
			}
			if err == nil {
				err = c.take(rec)
			}
			if err != nil {
				return err
			}
		}
		if c.skip.Corrupt != 0 {
			return fmt.Errorf("%+v", c.skip)
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
}

// TestSoakKill kills writers and readers at random moments, and has others come
// in their place. A reader that holds, and lives, gets each record that was
// acknowledged, and each once; one that is lapped knows how many it lost.
func TestSoakKill(t *testing.T) {
	s := newStage(t, 0)
	s.ctx = context.Background()
	s.writer(s.node, "log", held())
	s.writer(s.node, "some", loose())
	all := s.listen(s.reader(s.node, "log", holding()), nil)
	some := s.listen(s.reader(s.node, "some", &journal.ReaderOptions{}), nil)
	var keys []string
	procs := make([]*shmtest.Proc, 6)
	kills, stops := 0, 0
	end := time.Now().Add(soakTime(t))
	for ; time.Now().Before(end); kills++ {
		k := rand.IntN(len(procs))
		if p := procs[k]; p != nil {
			p.Kill()
			if err := p.Failed(); err != nil {
				t.Fatalf("after %d kills: %v", kills, err)
			}
		}
		key := fmt.Sprint(kills)
		if k < 4 {
			keys = append(keys, key)
			procs[k] = shmtest.Start(t, "soaking writer", nil, s.dir, key)
		} else {
			procs[k] = shmtest.Start(t, "soaking reader", nil, s.dir, key)
		}
		wait := rand.N(10 * time.Millisecond) // it may be on the way
		if rand.IntN(3) > 0 {
			procs[k].Line() // it has begun
			wait *= 3
		}
		if p := procs[rand.IntN(len(procs))]; p != nil && rand.IntN(4) == 0 {
			p.Stop()
			<-time.After(wait)
			p.Continue()
			stops++
		}
		<-time.After(wait)
		for _, l := range []*listener{all, some} {
			select {
			case <-l.ended:
				t.Fatalf("after %d kills: %v", kills, l.err)
			default:
			}
		}
	}
	for _, p := range procs {
		if p == nil {
			continue
		}
		p.Kill()
		if err := p.Failed(); err != nil {
			t.Fatal(err)
		}
	}
	s.ctx = soon(t)
	s.sound("log", "some")
	s.soaked(keys, s.catchesUp("the reader that holds", all, "log"), s.catchesUp("the reader that is lapped", some, "some"))
	t.Logf("%d kills, %d stops, %d writers; %d records, all read; %d records, %d of them read", kills, stops, len(keys), all.c.got, some.c.seen(), some.c.got)
	s.quit(all, some)
	s.exercise("log")
	s.exercise("some")
	s.sound("log", "some")
}

// soaked compares what readers were given with what writers were acknowledged.
func (s *stage) soaked(keys []string, all, some tally) {
	s.Helper()
	if all.skip.Lost+all.skip.Holes+all.skip.Corrupt+some.skip.Corrupt != 0 || all.skip.Tombs > uint64(len(keys)) {
		s.Errorf("skipped %+v and %+v", all.skip, some.skip)
	}
	var sum [2]uint64
	size := [2]uint64{}
	for _, key := range keys {
		l, err := openLedger(s.dir, key)
		s.check(err)
		acked, err := l.said()
		s.check(errors.Join(err, l.f.Close()))
		if n := all.next[key]; n < acked[0] || n > acked[0]+1 {
			s.Errorf("%d records of writer %s were acknowledged, but %d were read", acked[0], key, n)
		}
		if n := some.next[key]; n > acked[1]+1 {
			s.Errorf("%d records of writer %s were acknowledged, but number %d was read", acked[1], key, n-1)
		}
		for i := range sum {
			sum[i] += acked[i]
			size[i] += sumTo(acked[i])
		}
	}
	slack := uint64(len(keys)) // each may have died before it said so
	if n := all.got; n < sum[0] || n > sum[0]+slack {
		s.Errorf("%d records were acknowledged, and %d were read", sum[0], n)
	}
	if n := some.seen(); n < sum[1] || n > sum[1]+slack {
		s.Errorf("%d records were acknowledged, and a reader was told of %d", sum[1], n)
	}
	if n := some.size + some.skip.LostBytes; n < size[1] || n > size[1]+3000*slack {
		s.Errorf("%d bytes were acknowledged, and a reader was told of %d", size[1], n)
	}
}
