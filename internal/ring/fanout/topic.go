package fanout

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Offsets in a topic area.
const (
	topicTag    = 0x000
	topicConfig = 0x008
	topicType   = 0x010
	topicLanes  = 0x040
	topicSlots  = 0x080
	topicTable  = 0x100
	topicSlot0  = 0x400
	slotSize    = 0xC0

	slotClaim = 0x00
	slotLost  = 0x08
	slotBell  = 0x40
	slotRef   = 0x44

	// TopicSize is the size of a topic area in bytes.
	TopicSize = topicSlot0 + MaxSlots*slotSize

	topicMagic = 0x01_00_43_49_50_4F_54_52 // "RTOPIC", version 1
	laneMagic  = 0x01_00_45_4E_41_4C_52_52 // "RRLANE", version 1
)

// Errors that callers branch on.
var (
	ErrNoSlot = errors.New("the topic has no free subscriber slot")
	ErrFenced = errors.New("fenced: this node was taken for dead or evicted")
)

// CorruptError says which shared word holds what no correct peer writes.
type CorruptError struct {
	What string
	Have uint64
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt %s: %#x", e.What, e.Have)
}

// Topic is a view of a topic area. Its methods may be called concurrently.
type Topic struct {
	area   []byte
	config *atomic.Uint64
	lanes  *atomic.Uint64
	slots  *atomic.Uint64
	table  []atomic.Uint64
	claims [MaxSlots]*atomic.Uint64
	lost   [MaxSlots]*atomic.Uint64
	bells  [MaxSlots]wake.Bell
}

// FormatTopic makes a topic area of zeroed bytes.
func FormatTopic(area []byte) error {
	if len(area) < TopicSize {
		return fmt.Errorf("a topic area needs %d bytes, not %d", TopicSize, len(area))
	}
	mem.U64(area, topicTag).Store(topicMagic)
	return nil
}

// OpenTopic views area, which must outlive the Topic.
func OpenTopic(area []byte) (*Topic, error) {
	if len(area) < TopicSize {
		return nil, &CorruptError{"topic area's size", uint64(len(area))}
	}
	if tag := mem.U64(area, topicTag).Load(); tag != topicMagic {
		return nil, &CorruptError{"topic tag", tag}
	}
	t := &Topic{
		area:   area,
		config: mem.U64(area, topicConfig),
		lanes:  mem.U64(area, topicLanes),
		slots:  mem.U64(area, topicSlots),
		table:  mem.U64s(area, topicTable, MaxLanes),
	}
	for i := range MaxSlots {
		o := topicSlot0 + i*slotSize
		t.claims[i] = mem.U64(area, o+slotClaim)
		t.lost[i] = mem.U64(area, o+slotLost)
		t.bells[i] = wake.Bell{Word: mem.U32(area, o+slotBell), Ref: mem.U32(area, o+slotRef)}
	}
	return t, nil
}

// Config returns what the topic's parties agreed on; ok is false as long as no
// publisher has come.
func (t *Topic) Config() (c Config, ok bool, err error) {
	c, ok = unpackConfig(t.config.Load())
	if ok {
		if e := c.Check(); e != nil {
			return c, false, &CorruptError{"topic config (" + e.Error() + ")", t.config.Load()}
		}
	}
	return c, ok, nil
}

// Agree stores c if nobody agreed on anything yet, and returns what holds.
func (t *Topic) Agree(c Config) (Config, error) {
	if err := c.Check(); err != nil {
		return c, err
	}
	c.Holds = min(MaxHolds, max(c.Holds, t.credits()))
	t.config.CompareAndSwap(0, c.pack())
	have, _, err := t.Config()
	return have, err
}

// AgreeType stores the fingerprint of the messages' layout if nobody has yet,
// and returns what holds.
func (t *Topic) AgreeType(fingerprint uint64) uint64 {
	w := mem.U64(t.area, topicType)
	w.CompareAndSwap(0, fingerprint)
	return w.Load()
}

// credit is how many descriptors c's owner can pin at once: one for each of its
// records, and, unless it is latest on any topic, one by the fence of a publisher
// that goes on without it.
func (c claim) credit() int {
	if c.mode() == ModeLatest {
		return c.records()
	}
	return c.records() + 1
}

// credits is the sum of the credits of all claimed slots.
func (t *Topic) credits() int {
	sum := 0
	for i := range MaxSlots {
		if c := claim(t.claims[i].Load()); c.state() == claimHeld {
			sum += c.credit()
		}
	}
	return sum
}

// Lanes returns the mask of the lanes that exist.
func (t *Topic) Lanes() uint64 { return t.lanes.Load() & (1<<MaxLanes - 1) }

// LaneRef returns the directory entry (index and generation) of lane k.
func (t *Topic) LaneRef(k int) (index int, gen uint32, ok bool) {
	w := t.table[k].Load()
	return int(w>>20) - 1, uint32(w) & (1<<20 - 1), w>>20 != 0
}

// AddLane makes lane k known to subscribers. Any number of parties may say the
// same thing at once.
func (t *Topic) AddLane(k, index int, gen uint32) {
	t.table[k].Store(uint64(index+1)<<20 | uint64(gen))
	invariant.Point("fanout.A1")
	// edge: visible (this OR | Tx.prejoin's loads of the claims)
	t.lanes.Or(1 << k)
	invariant.Point("fanout.A2")
}

// Slot is a subscriber's place in a topic.
type Slot struct {
	topic   *Topic
	Index   int
	gen     uint64
	mode    Mode
	records int
	word    claim
}

// Join claims a subscriber slot for owner, who will hold at most records
// messages at once (in each lane). CheckCredit must follow, and the look at
// the lanes after that.
func (t *Topic) Join(owner uint32, mode Mode, records int) (*Slot, error) {
	if records < 1 || records > MaxRecords {
		return nil, &LimitError{"held messages", records, fmt.Sprintf("1 to %d", MaxRecords)}
	}
	for i := range MaxSlots {
		old := claim(t.claims[i].Load())
		if old.state() != claimFree {
			continue
		}
		gen := (old.gen() + 1) & genMask
		if gen == 0 {
			gen = 1
		}
		word := packClaim(claimHeld, mode, records, gen, owner)
		invariant.Point("fanout.J0")
		// J0: owner and generation in the step that takes the slot.
		if !t.claims[i].CompareAndSwap(uint64(old), uint64(word)) {
			continue
		}
		invariant.Point("fanout.J0a")
		s := &Slot{topic: t, Index: i, gen: gen, mode: mode, records: records, word: word}
		t.lost[i].Store(0)
		t.bells[i].Ref.Store(0)
		// J0b, edge: join (this OR, the cursor | Tx.refresh: limit, then slots and
		// cursors), visible (this OR, then the lane bits | lane bit, then slots)
		t.slots.Or(1 << i)
		invariant.Point("fanout.J0b")
		return s, nil
	}
	return nil, ErrNoSlot
}

// CheckCredit says whether the topic's pool has room for what all subscribers
// may hold, this one included. It can only say so once a publisher has come.
func (s *Slot) CheckCredit() error {
	c, ok, err := s.topic.Config()
	if err != nil || !ok {
		return err
	}
	if sum := s.topic.credits(); sum > c.Holds {
		mine := s.word.credit()
		return fmt.Errorf("the topic lets its subscribers hold %d messages in all, %d are taken and this one wants %d: hold fewer, or give the first publisher a larger Holds", c.Holds, sum-mine, mine)
	}
	return nil
}

// Bell returns the slot's bell.
func (s *Slot) Bell() wake.Bell { return s.topic.bells[s.Index] }

// AddLost counts n messages that this subscriber lost.
func (s *Slot) AddLost(n uint64) { s.topic.lost[s.Index].Add(n) }

// Leave gives the slot back, with no loan open: L1 to L3. lane returns lane k
// or nil.
func (s *Slot) Leave(lane func(k int) *Lane, ring func(wake.Bell)) {
	s.topic.release(s.Index, s.word, lane, ring, [4]string{"fanout.L1", "fanout.L2", "fanout.L4", "fanout.L3"})
}

// release takes slot i from the claim held, for its owner who leaves or on
// behalf of one who is dead, and reports whether this call freed it. Any number
// may do that at once; whoever dies over it is followed by another.
//
// LEAVING comes before the lanes are looked at: a publisher that opens a lane
// after that look finds that the claim is none, and gives it no cursor, or
// takes it back before it sleeps (edge: gone).
func (t *Topic) release(i int, held claim, lane func(k int) *Lane, ring func(wake.Bell), steps [4]string) bool {
	leaving := held.with(claimLeaving)
	t.claims[i].CompareAndSwap(uint64(held), uint64(leaving)) // L1, V1
	invariant.Point(steps[0])
	if claim(t.claims[i].Load()) != leaving {
		return false
	}
	bitsOf(t.Lanes(), func(k int) {
		l := lane(k)
		if l == nil {
			return
		}
		l.expel(i, held.gen()) // L2, V2
		invariant.Point(steps[1])
		ring(l.bell) // V4, whatever park says: the dead may have taken it and not rung
		invariant.Point(steps[2])
	})
	free := packClaim(claimFree, 0, 0, held.gen(), 0)
	done := t.claims[i].CompareAndSwap(uint64(leaving), uint64(free)) // L3, V5
	invariant.Point(steps[3])
	return done
}

// ringSlots rings every slot that was ever used: after a death or a close,
// because the dead may have taken the waiters bits and not rung.
func (t *Topic) ringSlots(ring func(wake.Bell)) {
	for m := t.slots.Load(); m != 0; m &= m - 1 {
		ring(t.bells[bits.TrailingZeros64(m)])
	}
}

// SubscriberState describes a claimed slot, for inspection.
type SubscriberState struct {
	Slot    int
	Owner   uint32
	Mode    Mode
	Records int
	Lost    uint64
	gen     uint64
}

// Subscribers lists the claimed slots.
func (t *Topic) Subscribers() []SubscriberState {
	var out []SubscriberState
	for i := range MaxSlots {
		c := claim(t.claims[i].Load())
		if c.state() != claimHeld {
			continue
		}
		out = append(out, SubscriberState{Slot: i, Owner: c.owner(), Mode: c.mode(), Records: c.records(), Lost: t.lost[i].Load(), gen: c.gen()})
	}
	return out
}
