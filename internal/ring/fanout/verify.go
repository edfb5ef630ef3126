package fanout

import "fmt"

// Verify checks the lane's invariants (see the package comment) and returns
// what is wrong, in words. While the lane's publisher runs, what moved between
// two looks is not reported.
func (l *Lane) Verify(t *Topic) []string {
	var out []string
	wrong := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("lane %d: ", l.Number)+fmt.Sprintf(format, args...))
	}
	w := owned(l.owner.Load())
	if w.state() > LaneRetired {
		wrong("owner word %#x has an unknown state", uint64(w))
	}
	head, limit := l.head(), l.limit.Load()
	if limit > 1<<56 { // cursors wrap, positions do not
		wrong("limit %d is more than anybody ever sent", limit)
		return out
	}
	users := make(map[uint32]uint64)
	for p := head - min(head, l.depth-l.chunk); p < head; p++ {
		e := l.entry(p)
		s, info := e[0].Load(), e[1].Load()
		if s != ready(p) {
			if s < ready(p) {
				wrong("entry of position %d, below head %d, has stamp %#x", p, head, s)
			}
			continue // overtaken while we looked
		}
		d, n := infoDesc(info), infoLength(info)
		if e[0].Load() != s {
			continue
		}
		switch {
		case d == noDescriptor && n > InlineSize:
			wrong("entry of position %d: inline length %d", p, n)
		case d == noDescriptor:
		case d >= l.count || n > l.size:
			wrong("entry of position %d: descriptor %d, length %d; there are %d of %d bytes", p, d, n, l.count, l.size)
		default:
			if q, dup := users[d]; dup && l.entry(q)[0].Load() == ready(q) && e[0].Load() == s {
				wrong("positions %d and %d share descriptor %d", q, p, d)
			}
			users[d] = p
		}
	}
	for i := range MaxSlots {
		l.verifySlot(t, i, wrong)
	}
	return out
}

func (l *Lane) verifySlot(t *Topic, i int, wrong func(string, ...any)) {
	w := l.cursors[i].Load()
	c := cursor(w)
	if c.state() > curLatest {
		wrong("slot %d: cursor %#x has an unknown state", i, w)
		return
	}
	held := claim(t.claims[i].Load())
	if c.state() == curOut || held.state() != claimHeld || held.gen() != c.gen() {
		return // protects nothing; a stale one is healed by the publisher
	}
	limit := l.limit.Load()
	// One that is far behind belongs to a joiner that will look again (J3).
	if at := c.pos(limit); c.state() == curActive && at > l.limit.Load() && l.cursors[i].Load() == w {
		wrong("slot %d: cursor at %d is beyond the lane's limit %d", i, at, limit)
	}
	for k := range l.holds[i] {
		h := l.holds[i][k].Load()
		if h == 0 || h>>32 != c.gen() {
			continue
		}
		if d := uint32(h) - 1; d >= l.count {
			wrong("slot %d: hold word %d names descriptor %d of %d", i, k, d, l.count)
		}
	}
}

// Verify checks the topic's own words.
func (t *Topic) Verify() []string {
	var out []string
	if _, _, err := t.Config(); err != nil {
		out = append(out, err.Error())
	}
	if m := t.lanes.Load(); m>>MaxLanes != 0 {
		out = append(out, fmt.Sprintf("lane mask %#x names lanes beyond %d", m, MaxLanes))
	}
	for k := range MaxLanes {
		if t.lanes.Load()&(1<<k) != 0 && t.table[k].Load() == 0 {
			out = append(out, fmt.Sprintf("lane %d is announced but has no area", k))
		}
	}
	for i := range MaxSlots {
		c := claim(t.claims[i].Load())
		if c.state() > claimLeaving || c.state() != claimFree && c.owner() == 0 {
			out = append(out, fmt.Sprintf("subscriber slot %d: claim %#x is not a claim", i, uint64(c)))
		}
	}
	return out
}
