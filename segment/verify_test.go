package segment

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestVerifyFindsEachFault(t *testing.T) {
	for _, c := range []struct {
		where, what string
		repairable  bool
		spoil       func(s *Segment, a *Area)
	}{
		{"superblock", "block size", false, func(s *Segment, _ *Area) { mem.U64(s.b, sbBlockSize).Store(1) }},
		{"superblock", "state", false, func(s *Segment, _ *Area) { s.state().Store(stateFormatting) }},
		{"node 9", "is dead", true, func(s *Segment, _ *Area) { s.word(9).Store(uint64(newWord(NodeLive, 1, s.tag))) }},
		{"node 9", "state 7", false, func(s *Segment, _ *Area) { s.word(9).Store(7) }},
		{"node 9", "it is free and uses entry 3", false, func(s *Segment, _ *Area) {
			s.word(9).Store(uint64(newWord(NodeFree, 1, 0)))
			w, bit := s.useWord(9, 3)
			w.Store(tagged(1, bit))
		}},
		{"node 0", "entry 5, which is free", false, func(s *Segment, a *Area) { a.n.setUse(5, true) }},
		{"node 0", "name", false, func(s *Segment, _ *Area) { s.b[slotOff(0)+nodeName] = ' ' }},
		{"entry 0", "hash", false, func(s *Segment, _ *Area) { s.b[entryOff(0)+entryHash]++ }},
		{"entry 0", "name", false, func(s *Segment, _ *Area) { s.b[entryOff(0)+entryName] = 0xFF }},
		{"entry 0", "offset", false, func(s *Segment, _ *Area) { s.b[entryOff(0)+entryOffset]++ }},
		{"entry 0", "size", false, func(s *Segment, _ *Area) { s.b[entryOff(0)+entryLength+7]++ }},
		{"entry 0", "owner of block 1", false, func(s *Segment, _ *Area) { s.blockTable()[1].Store(0) }},
		{"entry 0", "3 blocks, want 2", false, func(s *Segment, a *Area) { s.blockTable()[7].Store(blockWord(0, a.gen)) }},
		{"entry 4", "has the key", false, func(s *Segment, _ *Area) {
			copy(s.b[entryOff(4):entryOff(5)], s.b[entryOff(0):entryOff(1)])
		}},
		{"entry 4", "which is gone", true, func(s *Segment, _ *Area) {
			s.turnEntry(4, 0, newEntry(EntryRemoving, 1, 0x777))
		}},
		{"entry 4", "state 9", false, func(s *Segment, _ *Area) { s.turnEntry(4, 0, 9) }},
		{"block 12", "no area", true, func(s *Segment, _ *Area) { s.blockTable()[12].Store(blockWord(3, 1)) }},
	} {
		t.Run(c.where+" "+c.what, func(t *testing.T) {
			s := memory(t, nil)
			a := create(t, join(t, s, "a"), lane, 2*minBlock)
			if p := s.verify(); p != nil {
				t.Fatalf("before: %v", p)
			}
			c.spoil(s, a)
			for _, p := range s.verify() {
				if p.Where == c.where && strings.Contains(p.What, c.what) && p.Repairable == c.repairable {
					return
				}
			}
			t.Errorf("found only %v", s.verify())
		})
	}
}

func TestRecoverRepairsWhatCanBe(t *testing.T) {
	s := memory(t, nil)
	n := join(t, s, "a")
	for i, st := range []EntryState{EntryPending, EntryClaimed, EntryRemoving, EntryFreeing} {
		e := newEntry(st, 1, 0x777+Owner(i))
		s.writeKey(i, Key{KindLane, uint32(i), "x"}, 0)
		s.turnEntry(i, 0, e)
		s.blockTable()[i].Store(blockWord(i, 1))
	}
	mem.U64(s.b, entryOff(2)+entryOffset).Store(uint64(s.blockOff(2)))
	mem.U64(s.b, entryOff(2)+entryLength).Store(1)
	s.word(9).Store(uint64(newWord(NodeLive, 5, s.tag)))
	r, err := n.Recover()
	if err != nil || len(r.Dead) != 1 || r.Entries != 1 || r.Lost != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	if p := s.verify(); len(p) != 0 {
		t.Errorf("left: %v", p)
	}
	if err := n.Remove(Key{KindLane, 2, "x"}); err != nil {
		t.Error(err)
	}
}

func TestStaleBlocksAreTakenBack(t *testing.T) {
	s := memory(t, nil)
	table := s.blockTable()
	for b := range table {
		table[b].Store(blockWord(b, 9))
	}
	table[0].Store(1 << 63)
	if u := s.Usage(); u.Free != u.Blocks || u.Run != u.Blocks {
		t.Errorf("usage %+v", u)
	}
	n := join(t, s, "a")
	if err := create(t, n, lane, int64(len(table))*minBlock).Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Remove(lane); err != nil {
		t.Fatal(err)
	}
	sound(t, n, 0)
}

func TestNewAreaIsZeroWhateverWasThere(t *testing.T) {
	dir := shmtest.Dir(t)
	for _, s := range []*Segment{memory(t, nil), bus(t, dir)} {
		for i := controlSize; i < len(s.b); i++ {
			s.b[i] = 7 // a fenced node wrote late
		}
		a := create(t, join(t, s, "a"), lane, 3*minBlock)
		if !bytes.Equal(a.Bytes(), make([]byte, a.Size())) {
			t.Errorf("%s: it is not", s.Path())
		}
	}
}

func TestHalfFormattedFileIsFormattedFromTheStart(t *testing.T) {
	dir := shmtest.Dir(t)
	half := bytes.Repeat([]byte{7}, minSize)
	clear(half[:superSize])
	half[sbState] = stateFormatting
	write(t, filepath.Join(dir, "bus"), half)
	sound(t, join(t, bus(t, dir), "a"), 0)
}

func TestUnlinkedFileIsNotBroughtBack(t *testing.T) {
	dir := shmtest.Dir(t)
	s := bus(t, dir)
	s.state().Store(stateRemoving)
	if err := os.Remove(s.Path()); err != nil {
		t.Fatal(err)
	}
	if err := settle(s.f, s.Path(), true, &s.opts); !errors.Is(err, errAgain) {
		t.Errorf("got %v", err)
	}
	if _, err := mapReady(s.f, s.Path(), true, s.opts); !errors.Is(err, errAgain) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Join("a"); !errors.Is(err, ErrRemoved) {
		t.Errorf("got %v", err)
	}
}
