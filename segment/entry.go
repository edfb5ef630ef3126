package segment

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"

	"github.com/ringbus/ringbus/internal/mem"
)

// Kind says which ring an area holds.
type Kind uint32

// The kinds of areas.
const (
	KindTopic Kind = 1
	KindLane  Kind = 2
	// KindJournal is the area of a journal.
	KindJournal Kind = 3
	// KindStream is the area of a stream; with [Ephemeral] in its sub, of a
	// listener (no other bit) or of a connection.
	KindStream Kind = 4
	// KindQueue is the area of an IO queue.
	KindQueue Kind = 5
	// KindCall is the area of a service (Sub 0), or of a link of one.
	KindCall Kind = 6
)

func (k Kind) String() string {
	switch k {
	case KindTopic:
		return "topic"
	case KindLane:
		return "lane"
	case KindJournal:
		return "journal"
	case KindStream:
		return "stream"
	case KindQueue:
		return "ioqueue"
	case KindCall:
		return "call"
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// A Key names an area of a bus.
type Key struct {
	Kind Kind
	Sub  uint32 // which part: the number of a topic's lane, else 0
	Name string // as CheckName wants it
}

// Ephemeral is a bit of a stream key's Sub: the area lasts no longer than somebody has
// it open. Who closes it removes it ([Area.Drop]); what the dead have left of the
// kind is removed by recovery.
const Ephemeral = 1 << 31

func (k Key) ephemeral() bool { return k.Kind == KindStream && k.Sub&Ephemeral != 0 }

func (k Key) String() string {
	if k.Sub == 0 {
		return fmt.Sprintf("%v %q", k.Kind, k.Name)
	}
	return fmt.Sprintf("%v %q:%d", k.Kind, k.Name, k.Sub)
}

// LaneSub is the Sub of lane k's key. It tells the lanes of a topic from those
// of an earlier topic of the same name: the lane's number in the low 4 bits,
// then the index and generation of the topic's directory entry.
func LaneSub(k, index int, gen uint32) uint32 {
	return uint32(k) | uint32(index)<<4 | gen<<14
}

// LinkSub is the Sub of the key of a service's link k, which is below 256. It
// tells the links of a service from those of an earlier one of the same name:
// bit 0, the link's number, then the index and generation of the service's
// directory entry.
func LinkSub(k, index int, gen uint32) uint32 {
	return 1 | uint32(k)<<1 | uint32(index)<<9 | gen<<19
}

func (k Key) check() error {
	if k.Kind == 0 {
		return fmt.Errorf("kind of area %q is 0", k.Name)
	}
	return CheckName(k.Name)
}

func (k Key) hash() uint64 {
	h := fnv.New64a()
	var b [8]byte
	binary.LittleEndian.PutUint32(b[:], uint32(k.Kind))
	binary.LittleEndian.PutUint32(b[4:], k.Sub)
	_, _ = h.Write(b[:])
	_, _ = h.Write([]byte(k.Name))
	return h.Sum64()
}

// EntryState is the state of a directory entry.
type EntryState uint8

// The states of a directory entry.
const (
	EntryFree     EntryState = 0
	EntryPending  EntryState = 1 // its owner writes the key; nobody else looks
	EntryClaimed  EntryState = 2 // the key is taken; its owner makes the area
	EntryReady    EntryState = 3 // the area can be opened
	EntryRemoving EntryState = 4 // its owner looks whether anybody uses it
	EntryFreeing  EntryState = 5 // its owner gives the blocks back
	EntryLost     EntryState = 6 // what an evicted node was at work on, and may yet write into: never used again
)

func (s EntryState) String() string {
	if int(s) < len(entryStates) {
		return entryStates[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

var entryStates = [...]string{"free", "pending", "claimed", "ready", "removing", "freeing", "lost"}

// entry is the value of an entry's word: state 4 bits, generation 20, owner 20,
// from the bottom.
type entry uint64

const entryGenMask = 1<<20 - 1

func newEntry(st EntryState, gen uint32, o Owner) entry {
	return entry(uint64(st) | uint64(gen&entryGenMask)<<4 | uint64(o&ownerMask)<<24)
}

func (e entry) state() EntryState { return EntryState(e & 0xf) }
func (e entry) gen() uint32       { return uint32(e>>4) & entryGenMask }
func (e entry) owner() Owner      { return Owner(e>>24) & ownerMask }

func (e entry) with(st EntryState, o Owner) entry { return newEntry(st, e.gen(), o) }

// nextGen returns the generation after g, which is never 0.
func nextGen(g uint32) uint32 {
	if g = (g + 1) & entryGenMask; g == 0 {
		g = 1
	}
	return g
}

// turn is the directory's turn: version 28 bits, generation 20 and index 16 of
// the entry whose creation it admits, from the top.
func nextTurn(t uint64, i int, gen uint32) uint64 {
	return (t>>36+1)<<36 | uint64(gen)<<16 | uint64(i)
}

func entryOff(i int) int { return entriesOff + i*entrySize }

func (s *Segment) entry(i int) entry {
	return entry(mem.U64(s.b, entryOff(i)+entryWord).Load())
}

func (s *Segment) turnEntry(i int, from, to entry) bool {
	return mem.U64(s.b, entryOff(i)+entryWord).CompareAndSwap(uint64(from), uint64(to))
}

// writeKey writes what describes entry i, which we hold PENDING.
func (s *Segment) writeKey(i int, k Key, created int64) {
	at := entryOff(i)
	var name [maxName]byte
	copy(name[:], k.Name)
	mem.U64(s.b, at+entryHash).Store(k.hash())
	mem.U32(s.b, at+entryKind).Store(uint32(k.Kind))
	mem.U32(s.b, at+entrySub).Store(k.Sub)
	mem.U64(s.b, at+entryOffset).Store(0)
	mem.U64(s.b, at+entryLength).Store(0)
	mem.U64(s.b, at+entryCreated).Store(uint64(created))
	mem.CopyIn(mem.U64s(s.b, at+entryName, maxName/8), name[:])
}

// key copies the key of entry i. It means something only if the entry's word
// was the same before and after.
func (s *Segment) key(i int) Key {
	k := s.rawKey(i)
	k.Name = shown(k.Name)
	return k
}

// rawKey is key with the name as it is: it must not be printed.
func (s *Segment) rawKey(i int) Key {
	at := entryOff(i)
	return Key{
		Kind: Kind(mem.U32(s.b, at+entryKind).Load()),
		Sub:  mem.U32(s.b, at+entrySub).Load(),
		Name: s.rawName(at + entryName),
	}
}

// shown is a name that a peer wrote: if no bus would have it, it is in quotes
// and in ASCII, so that a terminal can print it.
func shown(name string) string {
	if name == "" || CheckName(name) == nil {
		return name
	}
	return strconv.QuoteToASCII(name)
}

// rawName copies a zero-padded name of 128 bytes.
func (s *Segment) rawName(off int) string {
	var b [maxName]byte
	mem.CopyOut(b[:], mem.U64s(s.b, off, maxName/8))
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return string(b[:n])
}

func (s *Segment) nodeName(slot int) string { return shown(s.rawName(slotOff(slot) + nodeName)) }

// find returns the entry that holds key, if there is one.
func (s *Segment) find(k Key) (int, entry, bool) {
	hash := k.hash()
	for i := range entryCount {
		e := s.entry(i)
		for range stubborn {
			st := e.state()
			if st != EntryClaimed && st != EntryReady && st != EntryRemoving {
				break
			}
			same := mem.U64(s.b, entryOff(i)+entryHash).Load() == hash && s.key(i) == k
			again := s.entry(i)
			if again == e {
				if same {
					return i, e, true
				}
				break
			}
			e = again
		}
	}
	return 0, 0, false
}
