package journal_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"runtime"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
)

// roles are what this test binary can be as another process. The files that
// need one add it.
var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) { shmtest.Main(m, roles) }

// busSize is the size of the tests' buses in bytes.
const busSize = 8 << 20

// asleep is for who is to sleep soon.
var asleep = ringbus.Wait{Spin: -1}

// soon is a context that ends when waiting any longer would be in vain.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	t.Cleanup(cancel)
	return ctx
}

// until polls for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !eventually(ok) {
		t.Fatalf("still not: %s", what)
	}
}

// eventually polls for a condition and says whether it came.
func eventually(ok func() bool) bool {
	end := time.Now().Add(shmtest.Deadline)
	for i := 0; !ok(); i++ {
		if time.Now().After(end) {
			return false
		}
		if i < 100 {
			runtime.Gosched()
			continue
		}
		time.Sleep(100 * time.Microsecond)
	}
	return true
}

// sizes are those at which something changes: the least that says its number,
// around one cell and two, some cells, many.
var sizes = []int{8, 9, 79, 80, 81, 96, 97, 207, 208, 209, 500, 8, 1000, 3000}

// sizeOf is the size of a writer's record n.
func sizeOf(n uint64) int { return sizes[n%uint64(len(sizes))] }

// sizeFor is the same; records of the writer "tiny" take a cell each.
func sizeFor(who string, n uint64) int {
	if who == "tiny" {
		return 8
	}
	return sizeOf(n)
}

// fill makes b record n of the writer who: its number, then bytes that follow
// from number, writer and index.
func fill(b []byte, who string, n uint64) []byte {
	binary.LittleEndian.PutUint64(b, n)
	h := fnv.New64a()
	_, _ = h.Write([]byte(who))
	var id [8]byte
	binary.LittleEndian.PutUint64(id[:], (n+1)*0x9E3779B97F4A7C15^h.Sum64())
	for i := 8; i < len(b); i++ {
		b[i] = id[i%8] ^ byte(i/8)
	}
	return b
}

// datum is record n of who, in its size.
func datum(who string, n uint64) []byte { return fill(make([]byte, sizeFor(who, n)), who, n) }

// sumTo is how many bytes a writer's first n records have.
func sumTo(n uint64) (sum uint64) {
	for k := range n {
		sum += uint64(sizeOf(k))
	}
	return sum
}

// A tally judges what one reader is given: each record is whole, comes once,
// and in its writer's order; what is missing was said to be lost. Writers are
// told apart by the records' keys.
type tally struct {
	next map[string]uint64 // by writer
	got  uint64
	size uint64 // of what was got, in bytes
	skip journal.Skipped
	pos  uint64
	seq  uint64 // of the next record
	late bool   // it need not be told of a writer's first records
	hash uint64 // of all positions: who got the same in the same order has the same
}

// take judges the next record.
func (c *tally) take(r journal.Record) error {
	if c.next == nil {
		c.next = make(map[string]uint64)
		c.seq = r.Sequence - r.Lost
	}
	if len(r.Data) < 8 {
		return fmt.Errorf("record of %d bytes at %d", len(r.Data), r.Position)
	}
	n := binary.LittleEndian.Uint64(r.Data)
	if want := datum(r.Key, n); string(want) != string(r.Data) {
		return fmt.Errorf("record %d of %q at %d is torn: %d bytes, want %d", n, r.Key, r.Position, len(r.Data), len(want))
	}
	c.skip.Lost += r.Lost
	c.skip.LostBytes += r.LostBytes
	c.skip.Tombs += r.Tombs
	c.skip.Holes += r.Holes
	c.skip.Corrupt += r.Corrupt
	due, known := c.next[r.Key]
	if !known && c.late {
		due = n
	}
	switch {
	case n < due || n > due && c.skip.Lost == 0:
		return fmt.Errorf("record %d of %q at %d, after a loss of %d, where %d was due", n, r.Key, r.Position, c.skip.Lost, due)
	case r.Sequence != c.seq+r.Lost:
		return fmt.Errorf("record %d of %q has sequence %d, after a loss of %d, where %d was due", n, r.Key, r.Sequence, r.Lost, c.seq)
	case r.Position <= c.pos:
		return fmt.Errorf("record %d of %q at position %d, after %d", n, r.Key, r.Position, c.pos)
	}
	c.next[r.Key], c.seq, c.pos = n+1, r.Sequence+1, r.Position
	c.got++
	c.size += uint64(len(r.Data))
	c.hash = (c.hash ^ r.Position) * 0x100000001B3
	return nil
}

// seen is how many records the reader was told of.
func (c *tally) seen() uint64 { return c.got + c.skip.Lost }

// panics says what f panicked with, nil if it did not.
func panics(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}
