package segment

// The layout of docs/format.md, section 1. Offsets are fixed for ever within a
// version; layout_test.go holds them.
const (
	formatVersion = 1
	magic         = 0x1A535542474E4952 // "RINGBUS\x1A" as a little-endian word
	byteOrder     = 0x01020304

	minSize     = 1 << 20
	maxSize     = 1 << 40
	defaultSize = 256 << 20
	minBlock    = 16 << 10

	superSize   = 4096
	nodesOff    = 0x1000
	nodeSize    = 512
	nodeCount   = 256
	entriesOff  = 0x21000
	entrySize   = 256
	entryCount  = 1024
	blocksOff   = 0x61000
	blockLimit  = 16384
	controlSize = 0xC0000

	maxName = 128
)

// Superblock.
const (
	sbMagic     = 0x00
	sbByteOrder = 0x08
	sbVersion   = 0x0C
	sbCompat    = 0x10
	sbIncompat  = 0x18
	sbSize      = 0x20
	sbBlockSize = 0x28
	sbID        = 0x30
	sbState     = 0x40
	sbCreated   = 0x48
	sbBlocks    = 0x50
	sbTurn      = 0x80
)

// States of the superblock.
const (
	stateEmpty      = 0
	stateFormatting = 1
	stateReady      = 2
	stateRemoving   = 3
)

// Node slot.
const (
	nodeWord   = 0x00
	nodeKernel = 0x08
	nodePid    = 0x10
	nodeUID    = 0x14
	nodeBeat   = 0x18
	nodeJoined = 0x20
	nodeStart  = 0x28
	nodePidNS  = 0x30
	nodeBell   = 0x40
	nodeDoor   = 0x48
	nodeName   = 0x80
	nodeUses   = 0x100

	useWords = 20
	useBits  = 52
)

// Directory entry.
const (
	entryWord    = 0x00
	entryHash    = 0x08
	entryKind    = 0x10
	entrySub     = 0x14
	entryOffset  = 0x18
	entryLength  = 0x20
	entryCreated = 0x28
	entryName    = 0x80
)

// Lock bytes of the bus file: one per node slot, and one for whoever creates
// or removes the bus.
const (
	lockBase     = 1 << 40
	creationLock = 1024
)

// blockSizeFor returns the block size and the number of blocks of a segment.
func blockSizeFor(size uint64) (block, count uint64) {
	for block = minBlock; (size-controlSize)/block > blockLimit; {
		block <<= 1
	}
	return block, (size - controlSize) / block
}
