//go:build !race && !invariants

package mutation

const (
	exploreSplit  = "^TestExploreSplit$"
	explorePacked = "^TestExplorePacked$"
	exploreBoth   = "^TestExplore(Split|Packed)$"
	forDevice     = "^TestMalformedRingsBreakTheDevice$"
	forDriver     = "^Test(MalformedRings|UsedI).*Breaks?TheDriver$"
	readOnce      = "^TestWordsAreReadOnce"
)

var virtqMutants = []mutant{
	// Barriers.
	{"split A3 plain store", "kick: no full barrier after the available index", true, exploreSplit,
		[]change{{"s.avail.Store(new) // edge", "s.avail.StoreRelease(new) // edge"}}},
	{"split U2 plain store", "call: no full barrier after the used index", true, exploreSplit,
		[]change{{"s.state.Store(uint32(new)<<16 | s.flags) // edge", "mem.StoreRelease32(s.state, uint32(new)<<16|s.flags) // edge"}}},
	{"split E1 plain store", "call: no full barrier after used_event", true, exploreSplit,
		[]change{{"s.event.Store(s.last + uint16(ahead)) // edge", "s.event.StoreRelease(s.last + uint16(ahead)) // edge"}}},
	{"split E1 plain flags", "call: no full barrier after the flags", true, exploreSplit,
		[]change{{"s.flags.Store(0) // edge", "s.flags.StoreRelease(0) // edge"}}},
	{"split W1 plain store", "kick: no full barrier after avail_event", true, exploreSplit,
		[]change{{"s.event.Store(s.last) // edge", "s.event.StoreRelease(s.last) // edge"}}},
	{"split W1 plain flags", "kick: no full barrier after the flags", true, exploreSplit,
		[]change{{"s.state.Store(uint32(s.called) << 16) // edge", "mem.StoreRelease32(s.state, uint32(s.called)<<16) // edge"}}},
	{"packed A3 plain store", "kick: no full barrier after the first entry", true, explorePacked,
		[]change{{"p.ring[2*p.first+1].Store(p.word) // edge: available", "mem.StoreRelease(&p.ring[2*p.first+1], p.word) // edge: available"}}},
	{"packed U2 plain store", "call: no full barrier after the first entry", true, explorePacked,
		[]change{{"p.ring[2*p.first+1].Store(p.word) // edge: used", "mem.StoreRelease(&p.ring[2*p.first+1], p.word) // edge: used"}}},
	{"packed E1 plain store", "call: no full barrier after the driver event", true, explorePacked,
		[]change{{"p.event.Store(w) // edge: call", "mem.StoreRelease32(p.event, w) // edge: call"}}},
	{"packed W1 plain store", "kick: no full barrier after the device event", true, explorePacked,
		[]change{{"p.event.Store(w) // edge: kick", "mem.StoreRelease32(p.event, w) // edge: kick"}}},

	// What comes first.
	{"split A4 before A3", "kick: the wish is looked at before the index is stored", true, exploreSplit,
		[]change{{"s.avail.Store(new) // edge", "defer s.avail.Store(new) // edge"}}},
	{"split U3 before U2", "call: the wish is looked at before the index is stored", true, exploreSplit,
		[]change{{"s.state.Store(uint32(new)<<16 | s.flags) // edge", "defer s.state.Store(uint32(new)<<16 | s.flags) // edge"}}},
	{"split A2 after the index", "available: the index is there before the head", false, exploreSplit,
		[]change{{"	s.heads.StoreRelease(uint32(s.idx&s.mask), head)\n	invariant.Point(\"virtq.A2\")",
			"	s.avail.Store(s.idx + 1)\n	invariant.Point(\"virtq.A2\")\n	s.heads.StoreRelease(uint32(s.idx&s.mask), head)"}}},
	{"split U1 after the index", "used: the index is there before the element", false, exploreSplit,
		[]change{{"	mem.StoreRelease32(&s.elems[i], uint32(id))\n", "	s.state.Store(uint32(s.idx+1)<<16 | s.flags)\n	invariant.Point(\"virtq.U1\")\n	mem.StoreRelease32(&s.elems[i], uint32(id))\n"}}},
	{"packed A4 before A3", "kick: the wish is looked at before the entry is stored", true, explorePacked,
		[]change{{"p.ring[2*p.first+1].Store(p.word) // edge: available", "defer p.ring[2*p.first+1].Store(p.word) // edge: available"}}},
	{"packed first entry before the others", "available: a chain's first entry is there before the rest", false, explorePacked,
		[]change{{"		for i, b := range readable {\n			left--\n			if w := p.put(b, id, 0, left); i == 0 {\n				head = w",
			"		for i, b := range readable {\n			left--\n			if w := p.put(b, id, 0, left); i == 0 {\n				head = w\n				p.store(w)"}}},
	{"packed address after the flags", "available: an entry is there before its address", false, explorePacked,
		[]change{{"	mem.StoreRelease(&p.ring[2*p.pos], b.Addr)\n", "	ring, at := p.ring, p.pos\n	defer func() { invariant.Point(\"virtq.A1\"); mem.StoreRelease(&ring[2*at], b.Addr) }()\n	p.store(uint64(b.Len) | uint64(id)<<32 | flags<<48 | availFlags(p.wrap))\n"}}},

	// The second look.
	{"split E2 removed", "call: the driver sleeps without another look", false, exploreSplit,
		[]change{{"return !s.look(d) && d.broken != nil || uint32(s.waiting()) > ahead", "return false"}}},
	{"split W2 removed", "kick: the device sleeps without another look", false, exploreSplit,
		[]change{{"return s.look(d) || d.broken != nil", "return false"}}},
	{"packed E2 removed", "call: the driver sleeps without another look", false, explorePacked,
		[]change{{"	more := p.waiting(d)\n", "	more := false\n"}}},
	{"packed W2 removed", "kick: the device sleeps without another look", false, explorePacked,
		[]change{{"	more := p.ring[2*p.pos+1].Load()&wrapFlags == availFlags(p.wrap)\n", "	more := false\n"}}},
	{"packed E2 looks at the event's entry", "call: a later event has passed already", false, "^TestExploreLater$",
		[]change{{"	more := p.waiting(d)\n", "	q := *p\n	q.last = (p.last + ahead) % p.size\n	q.lastWrap = (q.last >= p.last) == p.lastWrap\n	more := q.waiting(d)\n"}}},

	// Arithmetic.
	{"split kick compares for equality", "kick: not rung when a batch passes the event", false, exploreSplit,
		[]change{{"	s.kicked = new\n	if s.eventOn {\n		return new-s.wish.Load()-1 < new-old", "	s.kicked = new\n	if s.eventOn {\n		return new-s.wish.Load()-1 == 0"}}},
	{"split call compares for equality", "call: not rung when a batch passes the event", false, "^TestExplore(Split|Later)$",
		[]change{{"	s.called = new\n	if s.eventOn {\n		return new-s.wish.Load()-1 < new-old", "	s.called = new\n	if s.eventOn {\n		return new-s.wish.Load()-1 == 0"}}},
	{"split avail_event one late", "kick: the device asks for one chain too late", false, exploreSplit,
		[]change{{"s.event.Store(s.last) // edge", "s.event.Store(s.last + 1) // edge"}}},
	{"split kicked stays", "notified of what was notified of", false, "^TestSameHistoryEverywhere$",
		[]change{{"	s.kicked = new\n", ""}, {"	if old == new {\n		return false\n	}\n	s.avail", "	s.avail"}}},
	{"packed wrap of the event ignored", "kick: an event of the last round", false, "^TestExplorePacked$",
		[]change{{"if (w&0x8000 != 0) != wrap {", "if at > pos {"}, {"at -= size", "at -= 0"}}},
	{"packed used without the wrap counter", "used: an entry of the last round", false, "^TestOneChainThereAndBack$",
		[]change{{"	if p.last += count; p.last >= p.size {\n		p.last, p.lastWrap = p.last-p.size, !p.lastWrap", "	if p.last += count; p.last >= p.size {\n		p.last = p.last - p.size"}}},
	{"in order: skipped chains give their own length", "in order: an element stands for chains that were not written to the end", false, "^TestSameHistoryEverywhere$",
		[]change{{"if last || !o.full {", "if last {"}}},

	// Garbage for the device.
	{"available index not checked", "I5", false, forDevice, []change{{"n > d.config.Size-d.inflight {", "n > 1<<20 {"}}},
	{"head in flight not checked", "I3", false, forDevice, []change{{"if s.busy[head>>6]&bit != 0 {", "if bit == 0 {"}}},
	{"loop not bounded", "I4", false, "^TestPopTakesABoundedNumberOfSteps$", []change{{"for range int(s.mask) + 1 { // more", "for range int(s.mask) + 4 { // more"}}},
	{"readable after writable", "I4", false, forDevice, []change{{"case c.writable > 0:", "case c.writable > maxBytes:"}}},
	{"address wraps", "I4", false, forDevice, []change{{"	if addr+n < addr && addr+n != 0 {\n		return &BrokenError{\"descriptor address\"", "	if addr+n < addr {\n		n = 0\n	}\n	if n > maxBytes {\n		return &BrokenError{\"descriptor address\""}}},
	{"tables nest", "I4", false, forDevice, []change{{"if flags&flagIndirect != 0 {\n			return &BrokenError{\"indirect descriptor flags\"", "if flags == 1<<15 {\n			return &BrokenError{\"indirect descriptor flags\""}}},
	{"INDIRECT and NEXT", "I4", false, forDevice, []change{{"	if flags&flagNext != 0 {\n		return &BrokenError{\"descriptor flags\"", "	if flags == 1<<14 {\n		return &BrokenError{\"descriptor flags\""}}},
	{"table that was not agreed on", "I4", false, forDevice, []change{{"if !d.features.Has(IndirectDesc) {", "if flags == 1<<14 {"}}},
	{"table length", "I4", false, forDevice, []change{{"length == 0 || length%16 != 0 || n > MaxIndirect", "n > MaxIndirect"}}},
	{"next outside of the table", "I4", false, forDevice, []change{{"i = uint32(hi >> 48); i >= n {", "i = uint32(hi >> 48); i > n {"}}},
	{"packed chain over what is in flight", "I3", false, "^TestNoMoreIsInFlightThanTheRingHas$", []change{{"	room := d.config.Size - d.inflight", "	room := d.config.Size"}}},
	{"packed chain over what is not available", "I4", false, forDevice, []change{{"			return false, d.fail(\"descriptor flags\", hi>>48, \"those of an available entry, as the chain's first\")", "			hi &^= flagNext << 48"}}},
	{"split descriptor read twice", "I2", false, readOnce, []change{{"		flags := uint16(hi >> 32)\n		if flags&flagIndirect != 0 {\n			if err", "		flags := uint16(s.desc[2*int(i)+1].Load() >> 32)\n		if flags&flagIndirect != 0 {\n			if err"}}},
	{"packed entry read twice", "I2", false, readOnce, []change{{"		flags := uint16(hi >> 48)\n		var err", "		flags := uint16(p.ring[2*((i+p.size-1)%p.size)+1].Load() >> 48)\n		var err"}}},

	// Garbage for the driver.
	{"used id not checked", "I5", false, forDriver, []change{{"!d.flights[id].busy || ", ""}}},
	{"used id not kicked", "I5", false, forDriver, []change{{" || int32(d.flights[id].seq-d.kicked) >= 0", ""}}},
	{"used length not checked", "I5", false, forDriver, []change{{"if n > d.flights[id].writable {\n		return", "if n == 1<<31 {\n		return"}}},
	{"used index not checked", "I5", false, forDriver, []change{{"if int(idx-s.last) > d.chains {", "if d.chains < 0 {"}}},
	{"used index short of the id", "I5", false, forDriver, []change{{"!d.packed && d.batch > int(d.split.waiting())", "d.batch < 0"}}},
	{"event of no entry", "I5", false, "^TestEventOfNoEntryBreaksThePackedRing$", []change{{"	if at >= size {\n		return false, false", "	if at > 1<<15 {\n		return false, false"}}},
	{"used element read twice", "I2", false, readOnce, []change{{"	invariant.Point(\"virtq.B2\")\n	return id, n, true", "	invariant.Point(\"virtq.B2\")\n	return s.elems[i].Load(), n, true"}}},
}
