package segment

import (
	"strings"
	"testing"
)

// The numbers of docs/format.md, section 1. Changing one is a new version of
// the format.
func TestLayoutIsTheFormats(t *testing.T) {
	for what, v := range map[string][2]int{
		"node table":        {nodesOff, 0x1000},
		"directory":         {entriesOff, nodesOff + nodeCount*nodeSize},
		"directory at":      {entriesOff, 0x21000},
		"block table":       {blocksOff, entriesOff + entryCount*entrySize},
		"block table at":    {blocksOff, 0x61000},
		"control part":      {controlSize, 0xC0000},
		"superblock state":  {sbState, 0x40},
		"superblock size":   {sbSize, 0x20},
		"block size":        {sbBlockSize, 0x28},
		"bus id":            {sbID, 0x30},
		"number of blocks":  {sbBlocks, 0x50},
		"directory turn":    {sbTurn, 0x80},
		"node kernel":       {nodeKernel, 0x08},
		"node pid":          {nodePid, 0x10},
		"node heartbeat":    {nodeBeat, 0x18},
		"node pid space":    {nodePidNS, 0x30},
		"node bell":         {nodeBell, 0x40},
		"node door":         {nodeDoor, 0x48},
		"node name":         {nodeName, 0x80},
		"node uses":         {nodeUses, 0x100},
		"entry hash":        {entryHash, 0x08},
		"entry kind":        {entryKind, 0x10},
		"entry offset":      {entryOffset, 0x18},
		"entry size":        {entryLength, 0x20},
		"entry name":        {entryName, 0x80},
		"use bits in all":   {useWords * useBits, 1040},
		"block table's end": {blocksOff + 8*blockLimit, 0x81000},
	} {
		if v[0] != v[1] {
			t.Errorf("%s is %#x, want %#x", what, v[0], v[1])
		}
	}
	if m := uint64(magic); m&0xff != 'R' || m>>56 != 0x1A {
		t.Errorf("magic is %#x", m)
	}
}

func TestWordsHoldTheirFields(t *testing.T) {
	w := newWord(NodeBurying, 0xFFFFFFFF, tagMask)
	if w.state() != NodeBurying || w.gen() != 0xFFFFFFFF || w.tag() != tagMask || w.owner(255) != ownerMask {
		t.Errorf("node word %#x does not hold its fields", w)
	}
	if o := newWord(NodeLive, 0x12345, 1).owner(7); o != 0x34507 || o.Slot() != 7 || o.Generation() != 0x345 {
		t.Errorf("owner is %#x", uint32(o))
	}
	e := newEntry(EntryFreeing, 0xFFFFF, ownerMask)
	if e.state() != EntryFreeing || e.gen() != 0xFFFFF || e.owner() != ownerMask || e>>44 != 0 {
		t.Errorf("entry word %#x does not hold its fields", e)
	}
	if next(0xFFF)&0xFFF == 0 || next(0xFFFFFFFF)&0xFFF == 0 || nextGen(0xFFFFF) != 1 {
		t.Error("a generation is 0")
	}
	if got := nextTurn(5<<36|7<<16|3, 9, 0xABCDE); got != 6<<36|0xABCDE<<16|9 {
		t.Errorf("turn is %#x", got)
	}
	if got := nextTurn(0xFFFFFFF<<36, 0, 1); got != 1<<16 {
		t.Errorf("turn wraps to %#x", got)
	}
}

func TestBlocksFitTheTable(t *testing.T) {
	for _, size := range []uint64{minSize, minSize + 4096, 256 << 20, controlSize + blockLimit*minBlock, controlSize + blockLimit*minBlock + minBlock, 10 << 30, maxSize} {
		block, count := blockSizeFor(size)
		if count == 0 || count > blockLimit || block&(block-1) != 0 || controlSize+block*count > size {
			t.Errorf("%d bytes: %d blocks of %d", size, count, block)
		}
		if block > minBlock && (size-controlSize)/(block/2) <= blockLimit {
			t.Errorf("%d bytes: blocks of %d would do", size, block/2)
		}
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "camera/front-left_2.raw", ".hidden", "...", strings.Repeat("x", 128)} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a b", "ä", "a%b", "a\x00", strings.Repeat("x", 129)} {
		if CheckName(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
