//go:build !race

package journal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/segment"
)

// imageSize is the size of the bus that the tests of images copy.
const imageSize = 1 << 20

func init() {
	// A writer that dies over two records, and has finished others behind them.
	roles["dead writer"] = func(args []string) error {
		node, err := ringbus.Open("bus", &ringbus.Options{Name: "dead", Dir: args[0], Size: imageSize})
		if err != nil {
			return err
		}
		w, err := journal.NewWriter(node, "log", keyed(loose(), "dead"))
		if err != nil {
			return err
		}
		for n := range uint64(200) {
			if err := put(context.Background(), w, "dead", n); err != nil {
				return err
			}
			if n == 160 || n == 190 {
				res, err := w.Reserve(context.Background(), 300, 300, nil)
				if err != nil {
					return err
				}
				fill(res.Data(), "torn", n)
			}
		}
		fmt.Println("written")
		select {}
	}
}

// A relic is the file of a bus that all have died over, and what is in it.
type relic struct {
	path string
	file []byte
	all  map[uint64]string // finished records by position
	seqs []uint64          // their positions in order
	off  int64             // of the journal's area
	tail uint64
}

func newRelic(t *testing.T) *relic {
	t.Helper()
	dir := shmtest.Dir(t)
	p := shmtest.Start(t, "dead writer", nil, dir)
	p.Expect("written")
	p.Kill()
	x := &relic{path: filepath.Join(dir, "bus"), all: make(map[uint64]string)}
	var err error
	if x.file, err = os.ReadFile(x.path); err != nil {
		t.Fatal(err)
	}
	r := x.open(t, x.path)
	c := tally{late: true}
	for rec, err := range r.Tail(context.Background()) {
		if err == nil {
			err = c.take(rec)
		}
		if err != nil {
			t.Fatal(err)
		}
		x.all[rec.Position] = string(rec.Data)
		x.seqs = append(x.seqs, rec.Position)
	}
	if c.next["dead"] != 200 || c.skip != (journal.Skipped{Tombs: 2}) || len(x.all) < 40 {
		t.Fatalf("%+v", c)
	}
	unfinished, err := r.Unfinished()
	if err != nil || len(unfinished) != 2 || unfinished[0].Writer != "dead" || unfinished[0].Size != 384 || unfinished[0].Position >= unfinished[1].Position {
		t.Errorf("%+v, %v", unfinished, err)
	}
	if _, err := r.Read(context.Background()); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	seg, err := segment.OpenImage(x.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range seg.Areas() {
		x.off = a.Offset
	}
	x.tail = look(seg, "log").info.Tail
	if err := errors.Join(r.Close(), seg.Close()); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *relic) open(t *testing.T, path string) *journal.Reader {
	t.Helper()
	r, err := journal.OpenImage(path, "log", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// cellOf is where the cell at a position is in the file, stateOf its state word.
func (x *relic) cellOf(position uint64) int64 {
	return x.off + (statesAt+256*24+4095)&^4095 + int64(position%256)*128
}

func (x *relic) stateOf(position uint64) int64 { return x.off + statesAt + int64(position%256)*8 }

// try reads an image of the given bytes: each record must be one of those that
// were written, in their order, each once.
func (x *relic) try(t *testing.T, file []byte) (got []uint64, s journal.Skipped, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}()
	r, err := journal.OpenImage(path, "log", nil)
	if err != nil {
		return nil, s, err
	}
	next, last := uint64(0), uint64(0)
	for rec, err := range r.Tail(context.Background()) {
		if err != nil {
			t.Fatalf("an image never fails: %v", err)
		}
		n := binary.LittleEndian.Uint64(rec.Data)
		if string(rec.Data) != string(datum("dead", n)) || n < next || rec.Position <= last {
			t.Fatalf("record %d at %d after %d is not one that was written", n, rec.Position, last)
		}
		next, last = n+1, rec.Position
		if rec.Position >= x.seqs[0] { // older ones, given up already, may be found as well
			got = append(got, rec.Position)
		}
	}
	s = r.Skipped()
	_, _ = r.Unfinished()
	for _, f := range []func() error{
		func() error { return r.After(x.seqs[3]) }, func() error { return r.Last(3) },
		func() error { return r.Since(time.Now()) }, func() error { return r.After(0) },
	} {
		_ = f() // comes to an end
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, file) {
		t.Fatal("the image was changed")
	}
	return got, s, r.Close()
}

// without is all positions but those that f names.
func (x *relic) without(f func(position uint64) bool) []uint64 {
	return slices.DeleteFunc(slices.Clone(x.seqs), f)
}

func TestImageOfABusWhoseWritersDied(t *testing.T) {
	x := newRelic(t)
	if now, err := os.ReadFile(x.path); err != nil || !bytes.Equal(now, x.file) {
		t.Error("reading it changed it")
	}
	got, s, err := x.try(t, x.file)
	if err != nil || !slices.Equal(got, x.seqs) || s != (journal.Skipped{Tombs: 2}) {
		t.Errorf("%d of %d records, %+v, %v", len(got), len(x.seqs), s, err)
	}
	for i, p := range x.seqs {
		r := x.open(t, x.path)
		if err := r.After(p); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range r.Records() {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		if n != len(x.seqs)-i-1 {
			t.Errorf("%d records after the one at %d, want %d", n, p, len(x.seqs)-i-1)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImageThatIsCutShort(t *testing.T) {
	x := newRelic(t)
	var cuts []int64
	for at := int64(0); at < 8192; at += 509 {
		cuts = append(cuts, at)
	}
	for at := x.off - 4096; at < x.cellOf(255)+8192; at += 709 {
		cuts = append(cuts, at)
	}
	for at := int64(8192); at < x.off; at += 50_021 {
		cuts = append(cuts, at)
	}
	for _, cut := range cuts {
		got, _, err := x.try(t, x.file[:cut])
		if cut < x.off && err == nil && len(got) > 0 {
			t.Errorf("cut at %d, before the journal: %v", cut, got)
		}
		if cut < x.cellOf(0) {
			continue // state words are gone, or the records
		}
		want := x.without(func(p uint64) bool { return x.cellOf(p)+40+int64(len(x.all[p])) > cut })
		sure := x.without(func(p uint64) bool { return x.cellOf(p)+56+int64(len(x.all[p])) > cut }) // the name is part of it
		if err != nil || len(got) < len(sure) || len(got) > len(want) {
			t.Errorf("cut at %d: %d records, want %d to %d: %v", cut, len(got), len(sure), len(want), err)
		}
	}
}

func TestImageWithARecordGarbled(t *testing.T) {
	x := newRelic(t)
	for i, p := range x.seqs {
		size := int64(40 + len(x.all[p]))
		for _, at := range []int64{0, 4, 8, 16, 24, 33, size - 1} {
			file := slices.Clone(x.file)
			file[x.cellOf(p)+at] ^= 0x55
			got, s, err := x.try(t, file)
			if want := x.without(func(q uint64) bool { return q == p }); err != nil || !slices.Equal(got, want) || s.Corrupt != 1 {
				t.Fatalf("byte %d of record %d: %d of %d records, %+v, %v", at, i, len(got), len(want), s, err)
			}
		}
	}
}

func TestImageWithAStateWordGarbled(t *testing.T) {
	x := newRelic(t)
	for i, p := range x.seqs {
		for _, word := range [][]byte{make([]byte, 8), bytes.Repeat([]byte{0xff}, 8), {3, 0, 0, 0, 0, 0, 0, 0}} {
			file := slices.Clone(x.file)
			copy(file[x.stateOf(p):], word)
			got, s, err := x.try(t, file)
			if want := x.without(func(q uint64) bool { return q == p }); err != nil || !slices.Equal(got, want) || s.Corrupt == 0 && i < len(x.seqs)-1 {
				t.Errorf("state word of record %d is %x: %d of %d records, %+v, %v", i, word, len(got), len(want), s, err)
			}
		}
	}
}

func TestImageWithoutAHead(t *testing.T) {
	x := newRelic(t)
	for what, f := range map[string]func(page []byte){
		"room 0":       func(p []byte) { clear(p[0x80:0x88]) },
		"room 1s":      func(p []byte) { copy(p[0x80:], bytes.Repeat([]byte{0xff}, 8)) },
		"room garbage": func(p []byte) { copy(p[0x80:], "garbage!") },
		"tail garbage": func(p []byte) { copy(p[0x40:], "garbage!") },
		"both":         func(p []byte) { copy(p[0x40:], "garbage!"); copy(p[0x80:], "garbage!") },
		"ranks":        func(p []byte) { copy(p[statesAt+256*8:statesAt+256*24], bytes.Repeat([]byte{0xa5}, 256*16)) },
	} {
		file := slices.Clone(x.file)
		f(file[x.off:])
		got, s, err := x.try(t, file)
		if err != nil || !slices.Equal(got, x.seqs) {
			t.Errorf("%s: %d of %d records, %+v, %v", what, len(got), len(x.seqs), s, err)
		}
	}
}

func TestImageOfAnotherVersion(t *testing.T) {
	x := newRelic(t)
	for at, value := range map[int64]byte{x.off + 7: 2, x.off + 8: 2} { // the tag's, the config's
		file := slices.Clone(x.file)
		file[at] = value
		var version *journal.VersionError
		if _, _, err := x.try(t, file); !errors.As(err, &version) || version.Have != 2 || version.Want != 1 {
			t.Errorf("%#x: %v", at-x.off, err)
		}
	}
	file := slices.Clone(x.file)
	copy(file[x.off:], "garbage!")
	var corrupt *journal.CorruptError
	if _, _, err := x.try(t, file); !errors.As(err, &corrupt) {
		t.Error(err)
	}
}

func TestImageWithGarbage(t *testing.T) {
	x := newRelic(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	parts := map[string][2]int64{
		"superblock": {0, 4096}, "node table": {4096, 0x21000}, "directory": {0x21000, 0x61000}, "block table": {0x61000, 0xC0000},
		"page of the journal": {x.off, x.off + 0x200}, "entries": {x.off + 0x200, x.off + statesAt},
		"state words": {x.off + statesAt, x.off + statesAt + 256*8}, "ranks": {x.off + statesAt + 256*8, x.off + statesAt + 256*24},
		"records": {x.cellOf(0), x.cellOf(255) + 128}, "all": {0, int64(len(x.file))},
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		part := parts[name]
		opened, read := 0, 0
		for range 60 {
			file := slices.Clone(x.file)
			for range 1 + rnd.IntN(40) {
				at := part[0] + rnd.Int64N(part[1]-part[0])
				if rnd.IntN(2) == 0 && name != "superblock" {
					at &^= 7
					for i := range int64(8) {
						file[at+i] = byte(rnd.Uint32())
					}
				} else {
					file[at] = byte(rnd.Uint32())
				}
			}
			got, _, err := x.try(t, file)
			if err == nil {
				opened++
				read += len(got)
			}
			if untouched := []string{"node table", "block table", "entries", "ranks"}; slices.Contains(untouched, name) && (err != nil || len(got) != len(x.seqs)) {
				t.Errorf("garbage in the %s: %d of %d records, %v", name, len(got), len(x.seqs), err)
			}
		}
		if read == 0 {
			t.Errorf("garbage in the %s: nothing was ever read, %d were opened", name, opened)
		}
		t.Logf("garbage in the %s: %d of 60 opened, %d of %d records in each", name, opened, read/max(opened, 1), len(x.seqs))
	}
}

func TestImageThatIsNone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if _, err := journal.OpenImage(path, "log", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := journal.OpenImage(dir, "log", nil); err == nil {
		t.Error("a directory is no image")
	}
	for _, b := range [][]byte{nil, []byte("short"), make([]byte, imageSize), bytes.Repeat([]byte("x"), imageSize)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := journal.OpenImage(path, "log", nil); err == nil {
			t.Errorf("%d bytes are no image", len(b))
		}
		if _, err := journal.OpenFile(path, "log", nil); err == nil {
			t.Errorf("%d bytes are no bus", len(b))
		}
	}
	x := newRelic(t)
	for _, open := range []func(string, string, *journal.ReaderOptions) (*journal.Reader, error){journal.OpenImage, journal.OpenFile} {
		if _, err := open(x.path, "other", nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no such journal: %v", err)
		}
		if _, err := open(x.path, "a b", nil); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no name: %v", err)
		}
	}
}

// OpenFile disturbs nothing, of a bus in use as of one whose writers have died
// without anybody to recover them.
func TestReadingAFileChangesNothingInIt(t *testing.T) {
	x := newRelic(t)
	use := func(r *journal.Reader) {
		t.Helper()
		c := tally{late: true}
		for rec, err := range r.Records() {
			if err == nil {
				err = c.take(rec)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if c.next["dead"] != 200 || c.skip != (journal.Skipped{Tombs: 2}) {
			t.Errorf("%+v", c)
		}
		_, uerr := r.Unfinished()
		if err := errors.Join(uerr, r.Last(5), r.Since(time.Now()), r.After(x.seqs[4]), r.After(0)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if err := r.Last(0); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at the end: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	file := func() *journal.Reader {
		r, err := journal.OpenFile(x.path, "log", nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	use(file())
	if now, err := os.ReadFile(x.path); err != nil || !bytes.Equal(now, x.file) {
		t.Error("reading it changed it")
	}

	node, err := ringbus.Open("bus", &ringbus.Options{Name: "live", Dir: filepath.Dir(x.path)})
	if err != nil {
		t.Fatal(err)
	}
	area := func() []byte {
		b, err := node.Segment().Find(segment.Key{Kind: segment.KindJournal, Name: "log"})
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(b)
	}
	if _, err := node.Recover(); err != nil {
		t.Fatal(err)
	}
	before := area()
	use(file())
	if !bytes.Equal(area(), before) {
		t.Error("reading it changed it")
	}
	// It follows what others write, and says who is at it.
	w, r := open(t, node, "log", keyed(&journal.Options{}, "live")), file()
	if err := r.Last(0); err != nil {
		t.Fatal(err)
	}
	ctx := soon(t)
	for n := range uint64(100) {
		res, err := w.Reserve(ctx, 8, 8, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := r.TryRead(); ok || err != nil {
			t.Fatalf("an unfinished record was read, %v", err)
		}
		if u, err := r.Unfinished(); err != nil || len(u) != 1 || u[0].Writer != "live" {
			t.Fatalf("%+v, %v", u, err)
		}
		if err := res.Commit(copy(res.Data(), fill(make([]byte, 8), "live", 5))); err != nil {
			t.Fatal(err)
		}
		if rec, err := r.Read(ctx); err != nil || len(rec.Data) != 8 || rec.Writer != "live" {
			t.Fatalf("%+v, %v", rec, err)
		}
		if err := put(ctx, w, "live", n); err != nil {
			t.Fatal(err)
		}
		rec, err := r.Read(ctx)
		if err != nil || string(rec.Data) != string(datum("live", n)) {
			t.Fatalf("%+v, %v", rec, err)
		}
	}
	if in := look(node.Segment(), "log").info; len(in.Readers) != 0 {
		t.Errorf("it is registered: %+v", in.Readers)
	}
	if err := errors.Join(r.Close(), node.Close()); err != nil {
		t.Fatal(err)
	}
}

// Whoever looks for a record behind one that a dead writer left open finds it,
// without waiting for a recovery.
func TestWhatIsBehindADeadWritersRecordIsFound(t *testing.T) {
	x := newRelic(t)
	join := func() (*journal.Reader, error) { // a node of another kernel cannot recover it
		node, end, err := joinAsGuest(filepath.Dir(x.path), "guest", 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = end() })
		return journal.NewReader(node, "log", nil)
	}
	for _, what := range []string{"image", "file", "guest"} { // the last one changes it
		r, err := map[string]func() (*journal.Reader, error){
			"image": func() (*journal.Reader, error) { return journal.OpenImage(x.path, "log", nil) },
			"file":  func() (*journal.Reader, error) { return journal.OpenFile(x.path, "log", nil) },
			"guest": join,
		}[what]()
		if err != nil {
			t.Fatal(err)
		}
		if what == "guest" { // needs to see that the heart stands still
			until(t, "all is read", func() bool {
				_, ok, err := r.TryRead()
				return err != nil || !ok && r.Skipped().Holes == 2
			})
		}
		for i, p := range x.seqs {
			if err := r.After(p); err != nil {
				t.Errorf("%s: after record %d: %v", what, i, err)
			}
		}
		for _, n := range []int{0, 1, 3, 20, len(x.seqs)} {
			if err := r.Last(n); err != nil {
				t.Error(err)
			}
			got := 0
			for _, err := range r.Records() {
				if got++; err != nil {
					t.Fatal(err)
				}
			}
			if got != n {
				t.Errorf("%s: the last %d are %d", what, n, got)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
