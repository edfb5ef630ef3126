package mpsc

import (
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
)

// The numbers of docs/format.md, written out once more.
func TestOffsets(t *testing.T) {
	for _, c := range []struct {
		name       string
		have, want int
	}{
		{"tag", queueTag, 0x000}, {"depth", queueDepth, 0x008}, {"size", queueSize, 0x00C},
		{"node offset", queueNodes, 0x010}, {"data offset", queueData, 0x018}, {"broken", queueBroken, 0x020},
		{"tail", queueTail, 0x040}, {"head", queueHead, 0x080}, {"longest", queueLongest, 0x088}, {"takeovers", queueTaken, 0x090},
		{"park", queuePark, 0x0C0}, {"bell", queueBell, 0x0C8}, {"ref", queueRef, 0x0CC},
		{"left", queueLeft, 0x100}, {"swept", queueSwept, 0x108},
		{"want space", queueSpace, 0x140}, {"want control", queueControl, 0x160}, {"used", queueUsed, 0x180},
		{"members", queueMembers, 0x200}, {"member's size", memberSize, 0x40},
		{"member's bell", memberBell, 0}, {"member's ref", memberRef, 4}, {"submitted", memberSubmit, 8}, {"executed", memberExec, 16},
		{"nodes", nodeArea, 0x4200}, {"node's size", nodeSize, 0x40},
		{"state", nodeState, 0}, {"link", nodeLink, 8}, {"offset", nodeOffset, 16}, {"counts", nodeCounts, 24},
		{"wait", nodeWait, 32}, {"node's bell", nodeBell, 40}, {"node's ref", nodeRef, 44}, {"result", nodeResult, 48}, {"time", nodeTime, 56},
	} {
		if c.have != c.want {
			t.Errorf("%s is at %#x, want %#x", c.name, c.have, c.want)
		}
	}
	for _, c := range []struct {
		c    Config
		want int64
	}{
		{Config{1, 0}, 0x5000}, {Config{64, 64}, 0x6000 + 64*64}, {Config{64, 65}, 0x6000 + 64*128},
		{Config{64, 5000}, 0x6000 + 64*8192}, {Config{1024, 1}, 0x15000 + 1024*64},
	} {
		if have := Size(c.c); have != c.want {
			t.Errorf("%+v takes %#x bytes, want %#x", c.c, have, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	w := packState(Issued, 0xABCDE, 0x12345, 0x54321)
	if w != 0x54321_12345_ABCDE_3 || w.status() != Issued || w.owner() != 0xABCDE || w.executor() != 0x12345 || w.turn() != 0x54321 {
		t.Errorf("state %#x", uint64(w))
	}
	tl := packTail(1<<28+5, 0xABCDE, 0x1234)
	if tl != 0x0000005_ABCDE_1234 || tl.seq() != 5 || tl.executor() != 0xABCDE || tl.node() != 0x1234 {
		t.Errorf("tail %#x", uint64(tl))
	}
	l := packLink(1<<28+7, 0x1234, 0xBEEF, true)
	if l != 0x1_BEEF_0000007_1234 || l.pos() != 7 || l.prev() != 0x1234 || l.code() != 0xBEEF || !l.repeat() {
		t.Errorf("link %#x", uint64(l))
	}
	if packLink(7, 1, 2, false).repeat() {
		t.Error("it is repeatable")
	}
	if w := packState(Interrupted, 7, evicted, 9).end(); w.status() != Lost {
		t.Error("what an evicted executor may write into is used again")
	}
	if w := packState(Done, 0x101, 0, 9).end(); w != packState(Free, 0, 0, 9) {
		t.Errorf("free %#x", uint64(w))
	}
}

func TestAreasThatAreNoQueue(t *testing.T) {
	c := Config{Depth: 4, Size: 100}
	for _, f := range []struct {
		what string
		at   int
		word uint64
	}{
		{"queue tag", queueTag, 1}, {"queue config", queueDepth, 0}, {"queue config", queueDepth, 1 << 31},
		{"queue area's size", queueDepth, 1<<14 | 100<<32}, {"queue's node offset", queueNodes, 0}, {"queue's data offset", queueData, 64},
	} {
		area := mem.Alloc(int(Size(c)))
		if err := Format(area, c); err != nil {
			t.Fatal(err)
		}
		mem.U64(area, f.at).Store(f.word)
		_, err := Open(area)
		var bad *CorruptError
		if e, ok := err.(*CorruptError); ok {
			bad = e
		}
		if bad == nil || fmt.Sprintf("%.*s", len(f.what), bad.What) != f.what {
			t.Errorf("%s: %v", f.what, err)
		}
	}
	for _, c := range []Config{{0, 1}, {MaxDepth + 1, 1}, {1, -1}, {1, MaxSize + 1}} {
		if err := Format(mem.Alloc(1<<20), c); err == nil {
			t.Errorf("%+v is formatted", c)
		}
	}
	if err := Format(mem.Alloc(100), Config{1, 1}); err == nil {
		t.Error("100 bytes are formatted")
	}
	if _, err := Open(mem.Alloc(100)); err == nil {
		t.Error("100 bytes are a queue")
	}
}
