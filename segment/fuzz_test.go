package segment

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
)

// scribble writes words into b[from:to) as data says: two bytes choose the
// word, eight are its value.
func scribble(b []byte, from, to int, data []byte) {
	for len(data) >= 10 {
		at := from + int(binary.LittleEndian.Uint16(data))*8%(to-from)
		mem.U64(b, at).Store(binary.LittleEndian.Uint64(data[2:]))
		data = data[10:]
	}
}

func scrawl(at int, v uint64) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(at/8))
	return binary.LittleEndian.AppendUint64(b, v)
}

// exercise opens what is in b and does everything to it. Errors are fine;
// panics, endless loops and accesses outside are not.
func exercise(t *testing.T, b []byte) {
	s, err := FromBytes(b, &Options{Kernel: 1, SuspectAfter: time.Millisecond})
	if err != nil {
		return
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
	defer cancel()
	exerciseOnce(ctx, s)
}

func exerciseOnce(ctx context.Context, s *Segment) {
	s.Nodes()
	s.Areas()
	s.verify()
	n, err := s.Join("fuzz")
	if err != nil {
		return
	}
	for i := range 3 {
		key := Key{KindLane, uint32(i), "a"}
		if a, _, err := n.Create(ctx, key, 20000, nil); err == nil {
			a.Bytes()[19999] = 1
			_ = a.Close()
		}
		if a, err := n.Lookup(key); err == nil {
			_ = a.Bytes()[a.Size()-1]
			_ = a.Close()
		}
		if a, err := n.OpenEntry(i, uint32(i)); err == nil {
			_ = a.Bytes()[a.Size()-1]
			_ = a.Close()
		}
		_ = n.Remove(key)
	}
	_, _ = n.Recover()
	_ = n.Evict(1)
	_ = n.Leave()
}

// used returns the bytes of a bus with a dead node and three areas.
func used(f *testing.F) []byte {
	b := mem.Alloc(minSize)
	s, err := FromBytes(b, &Options{Kernel: 1})
	if err != nil {
		f.Fatal(err)
	}
	n, err := s.Join("dead")
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if _, _, err := n.Create(context.Background(), Key{KindLane, uint32(i), "a"}, 20000, nil); err != nil {
			f.Fatal(err)
		}
	}
	n.Abandon()
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	return b
}

func fuzz(f *testing.F, from, to int) {
	base := used(f)
	b := mem.Alloc(minSize)
	f.Fuzz(func(t *testing.T, data []byte) {
		copy(b, base)
		scribble(b, from, to, data)
		exercise(t, b)
	})
}

func FuzzSuperblock(f *testing.F) {
	f.Add(scrawl(sbState, stateFormatting))
	f.Add(scrawl(sbSize, minSize-1))
	f.Add(scrawl(sbBlocks, 1<<60))
	f.Add(append(scrawl(sbTurn, 1<<16|1), scrawl(sbState, stateRemoving)...))
	fuzz(f, 0, 0x100)
}

func FuzzDirectory(f *testing.F) {
	claimed := newEntry(EntryClaimed, 1, 5<<8)
	for st := range uint64(8) {
		f.Add(scrawl(0, uint64(claimed)&^0xf|st))
		f.Add(scrawl(entrySize, 1<<24|1<<4|st))
	}
	f.Add(scrawl(entryOffset, 1<<63))
	f.Add(scrawl(entryLength, 1<<63))
	f.Add(append(scrawl(entryOffset, controlSize), scrawl(entryLength, 1<<20)...))
	f.Add(append(scrawl(blocksOff-entriesOff, 1<<63), scrawl(blocksOff-entriesOff+8, 1<<20|1)...))
	fuzz(f, entriesOff, blocksOff+0x1000)
}

func FuzzNodeTable(f *testing.F) {
	for st := range uint64(6) {
		f.Add(scrawl(0, st|1<<4|1<<36))
		f.Add(scrawl(nodeSize, st|1<<4|7<<36))
	}
	f.Add(scrawl(nodeUses, 1<<63-1))
	f.Add(scrawl(nodeUses+19*8, 1<<52|(1<<52-1)))
	f.Add(append(scrawl(nodePid, 1), scrawl(nodeBeat, 1<<52)...))
	fuzz(f, nodesOff, nodesOff+0x1000)
}
