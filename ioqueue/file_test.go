package ioqueue_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/ringbus/ringbus/ioqueue"
)

func openFile(t testing.TB, flag int) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	if flag&os.O_CREATE == 0 {
		if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Random writes, reads, discards and flushes by many at once, against a plain
// slice; each party has its own part of the file.
func TestFileAgainstASlice(t *testing.T) {
	scopes(t, ioqueue.Options{Depth: 16, MaxData: 512}, func(t *testing.T, open func() *ioqueue.Queue) {
		f := openFile(t, os.O_RDWR|os.O_CREATE)
		const parties, part = 4, 1 << 14
		if err := f.Truncate(parties * part); err != nil {
			t.Fatal(err)
		}
		ctx := soon(t)
		var wg sync.WaitGroup
		for k := range parties {
			q, dev := open(), ioqueue.NewFile(f)
			wg.Go(func() {
				want := make([]byte, part)
				base := int64(k * part)
				rng := rand.New(rand.NewPCG(uint64(k), 1))
				for range 300 {
					at := rng.IntN(part - 512)
					n := 1 + rng.IntN(511)
					op := ioqueue.Op{Code: ioqueue.Read, Offset: base + int64(at), Into: make([]byte, n)}
					expect := n
					switch rng.IntN(5) {
					case 0, 1:
						op = ioqueue.Op{Code: ioqueue.Write, Offset: base + int64(at), Data: make([]byte, n)}
						for i := range op.Data {
							op.Data[i] = byte(rng.Uint32())
						}
						copy(want[at:], op.Data)
					case 2:
						op, expect = ioqueue.NewDiscard(base+int64(at), int64(n)), 0
						clear(want[at : at+n])
					case 3:
						op, expect = ioqueue.Op{Code: ioqueue.Flush}, 0
					}
					got, err := q.Do(ctx, op, dev)
					if errors.Is(err, syscall.EOPNOTSUPP) && op.Code == ioqueue.Discard {
						if _, err := f.WriteAt(make([]byte, n), op.Offset); err != nil {
							t.Error(err)
						}
						continue // no holes in this file system
					}
					if got != expect || err != nil {
						t.Errorf("code %d: %d, %v", op.Code, got, err)
						return
					}
					if op.Code == ioqueue.Read && !bytes.Equal(op.Into, want[at:at+n]) {
						t.Errorf("read at %d: not what was written", op.Offset)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// A batch: neighbours in any order, what overlaps in its own, the end of the
// file, and errors to those that they concern.
func TestFileBatches(t *testing.T) {
	f := openFile(t, os.O_RDWR)
	ctx := soon(t)
	q := ioqueue.New(&ioqueue.Options{Depth: 32})
	defer q.Close()
	dev := ioqueue.NewFile(f)
	batch := func(ops ...ioqueue.Op) (results []int, errs []error) {
		t.Helper()
		tickets, err := q.SubmitBatch(ctx, ops, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Do(ctx, ioqueue.Op{Code: ioqueue.Flush}, dev); err != nil {
			t.Error(err)
		}
		for _, tk := range tickets {
			n, err := tk.Wait(ctx)
			results, errs = append(results, n), append(errs, err)
		}
		return results, errs
	}
	write := func(at int64, s string) ioqueue.Op {
		return ioqueue.Op{Code: ioqueue.Write, Offset: at, Data: []byte(s)}
	}
	read := func(at int64, n int) ioqueue.Op {
		return ioqueue.Op{Code: ioqueue.Read, Offset: at, Into: make([]byte, n)}
	}
	content := func(want string) {
		t.Helper()
		if b, err := os.ReadFile(f.Name()); string(b) != want || err != nil {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
	}
	if n, errs := batch(write(4, "ef"), write(0, "ab"), write(8, "ij"), write(2, "cd"), write(6, "")); errors.Join(errs...) != nil || n[0] != 2 || n[4] != 0 {
		t.Error(n, errs)
	}
	content("abcdef67ij")
	if n, errs := batch(write(0, "xxxx"), write(2, "yy"), write(1, "z")); errors.Join(errs...) != nil || n[2] != 1 {
		t.Error(n, errs)
	}
	content("xzyyef67ij")
	a, b, c := read(6, 2), read(8, 4), read(12, 4)
	if n, errs := batch(b, c, a, read(100, 3)); errors.Join(errs...) != nil || n[0] != 2 || n[1] != 0 || n[2] != 2 || n[3] != 0 || string(a.Into) != "67" || string(b.Into[:2]) != "ij" {
		t.Errorf("%v %v %q %q", n, errs, a.Into, b.Into)
	}
	if _, errs := batch(write(-5, "x"), ioqueue.Op{Code: 77}, ioqueue.Op{Code: ioqueue.Discard}, read(-1, 1), write(0, "w")); !errors.Is(errs[0], syscall.EINVAL) ||
		!errors.Is(errs[1], syscall.EINVAL) || !errors.Is(errs[2], syscall.EINVAL) || !errors.Is(errs[3], syscall.EINVAL) || errs[4] != nil {
		t.Error(errs)
	}
	content("wzyyef67ij")
	dev = ioqueue.NewFile(openFile(t, os.O_RDONLY))
	if _, errs := batch(write(0, "x"), read(0, 1)); !errors.Is(errs[0], syscall.EBADF) || errs[1] != nil {
		t.Error(errs)
	}
}
