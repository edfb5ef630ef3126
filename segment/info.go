package segment

import (
	"time"

	"github.com/ringbus/ringbus/internal/mem"
)

// NodeInfo describes a node slot that is not free, as it was at one moment.
type NodeInfo struct {
	Owner   Owner
	Slot    int
	State   NodeState
	Status  Status
	Name    string
	Pid     int
	UID     int
	Kernel  uint64
	Foreign bool // of another kernel than ours
	Beat    uint64
	Joined  time.Time
	Areas   []int // directory entries that it has open
}

// Nodes describes all nodes of the bus, dead ones that nobody recovered yet
// included. Suspicion needs to see a heartbeat stand still: ask again.
func (s *Segment) Nodes() []NodeInfo {
	var out []NodeInfo
	for slot := range nodeCount {
		if w := s.load(slot); w.state() != NodeFree {
			out = append(out, s.nodeInfo(slot, w))
		}
	}
	return out
}

func (s *Segment) nodeInfo(slot int, w word) NodeInfo {
	at := slotOff(slot)
	gen, beat := untag(s.beat(slot).Load())
	o := w.owner(slot)
	info := NodeInfo{
		Owner: o, Slot: slot, State: w.state(), Status: s.status(o, s.own),
		Foreign: w.tag() != s.tag,
	}
	if gen == o.Generation() { // it has introduced itself
		info.Beat = beat
		info.Name = s.nodeName(slot)
		info.Pid = int(mem.U32(s.b, at+nodePid).Load())
		info.UID = int(mem.U32(s.b, at+nodeUID).Load())
		info.Kernel = mem.U64(s.b, at+nodeKernel).Load()
		info.Joined = time.Unix(0, int64(mem.U64(s.b, at+nodeJoined).Load()))
	}
	for i := range entryCount {
		if s.uses(o, i) {
			info.Areas = append(info.Areas, i)
		}
	}
	return info
}

// AreaInfo describes a directory entry that is not free, as it was at one
// moment.
type AreaInfo struct {
	Index   int
	Gen     uint32
	State   EntryState
	Owner   Owner // who is creating or removing it
	Key     Key
	Offset  int64
	Size    int64
	Created time.Time
	Err     error // what is wrong with its extent
}

// Areas describes all areas of the bus, those that are being created or removed
// included.
func (s *Segment) Areas() []AreaInfo {
	var out []AreaInfo
	for i := range entryCount {
		for range stubborn {
			e := s.entry(i)
			if e.state() == EntryFree || e.state() == EntryPending {
				break
			}
			info := s.areaInfo(i, e)
			if s.entry(i) == e {
				out = append(out, info)
				break
			}
		}
	}
	return out
}

func (s *Segment) areaInfo(i int, e entry) AreaInfo {
	info := AreaInfo{
		Index: i, Gen: e.gen(), State: e.state(), Owner: e.owner(), Key: s.key(i),
		Created: time.Unix(0, int64(mem.U64(s.b, entryOff(i)+entryCreated).Load())),
	}
	if e.state() == EntryReady || e.state() == EntryRemoving {
		info.Offset, info.Size, info.Err = s.extent(i, e)
	}
	return info
}

// AreaBytes returns the memory of the area in directory entry i, for looking
// at it only: nothing keeps the area from being removed meanwhile, unless the
// caller is a node that has it open.
func (s *Segment) AreaBytes(i int, gen uint32) ([]byte, error) {
	if i < 0 || i >= entryCount {
		return nil, errRetry
	}
	e := s.entry(i)
	if e.gen() != gen || e.state() != EntryReady && e.state() != EntryRemoving {
		return nil, errRetry
	}
	off, size, err := s.extent(i, e)
	if err != nil {
		return nil, err
	}
	return s.b[off : off+size : off+size], nil
}

// Patience is how long a heartbeat may stand still before its node is suspect.
func (s *Segment) Patience() time.Duration { return s.opts.SuspectAfter }

// KernelOf returns the id of the kernel that o is a node of, by whose clock it
// tells the time; not ok: o is gone.
func (s *Segment) KernelOf(o Owner) (id uint64, ok bool) {
	w := s.load(o.Slot())
	gen, _ := untag(s.beat(o.Slot()).Load())
	id = mem.U64(s.b, slotOff(o.Slot())+nodeKernel).Load()
	ok = o != Nobody && w.state() != NodeFree && w.owner(o.Slot()) == o && gen == o.Generation() && s.load(o.Slot()) == w
	if !ok {
		return 0, false
	}
	return id, true
}

// Created returns when the bus was created.
func (s *Segment) Created() time.Time {
	return time.Unix(0, int64(mem.U64(s.b, sbCreated).Load()))
}
