package multilog

import "github.com/ringbus/ringbus/internal/invariant"

// Seek moves the reader to the first record whose position is after pos. What
// it passes is not lost. If the record at pos is gone, the reader is at the
// oldest one, and the error is a [GoneError]; if none starts there, it is where
// it was, and the error is a [NoRecordError].
func (r *Rx) Seek(pos uint64) error {
	old := *r
	return r.seek(func() error {
		if pos < r.Pos {
			return &GoneError{pos, r.Pos}
		}
		found := false
		err := r.walk(func(p, _ uint64, _ state) bool {
			found = found || p == pos
			return p <= pos
		})
		if err == nil && !found {
			err = &NoRecordError{pos, r.Pos}
			r.Pos, r.Seq, r.bytes, r.Skipped = old.Pos, old.Seq, old.bytes, old.Skipped
		}
		return err
	})
}

// SeekTime moves the reader to the first record that was written at or after
// wall, in ns since 1970.
func (r *Rx) SeekTime(wall int64) error {
	return r.seek(func() error {
		return r.walk(func(p, k uint64, w state) bool {
			return w.status() != stReady || int64(r.log.cell(p, k)[3].Load()) < wall
		})
	})
}

// SeekFirst moves the reader to the oldest record.
func (r *Rx) SeekFirst() error { return r.rewind() }

// SeekLast moves the reader to the n-th last of the records that its filter
// takes; 0: to the end.
func (r *Rx) SeekLast(n uint64) error {
	type place struct{ pos, seq, bytes uint64 }
	var last []place // the n last, from next on
	next := 0
	return r.seek(func() error {
		err := r.walk(func(_, k uint64, w state) bool {
			switch here := (place{r.Pos, r.Seq, r.bytes}); {
			case n == 0 || w.status() != stReady || !r.matches(k):
			case uint64(len(last)) < n:
				last = append(last, here)
			default:
				last[next] = here
				next = (next + 1) % len(last)
			}
			return true
		})
		if err == nil && len(last) > 0 {
			p := last[next]
			r.Pos, r.Seq, r.bytes = p.pos, p.seq, p.bytes
		}
		return err
	})
}

// seek moves the reader to the oldest record, and lets find go on from there. A
// reader that holds, holds everything meanwhile.
func (r *Rx) seek(find func() error) error {
	if err := r.rewind(); err != nil {
		return err
	}
	e := r.entry
	r.entry = nil
	err := find()
	r.entry = e
	r.advance(0)
	return err
}

// matches reports whether the filter takes the record of k cells at Pos.
func (r *Rx) matches(k uint64) bool {
	_, _, sound, wanted := r.header(k)
	return sound && wanted
}

// rewind moves the reader to the oldest record, as if it were new. One that
// holds, holds that from here on: J2 and J3.
func (r *Rx) rewind() error {
	l, e := r.log, r.entry
	r.entry = nil
	defer func() { r.entry = e }()
	r.steps = 8 * l.n
	for range stubborn {
		r.Pos, r.Seq, r.bytes = 0, 0, 0
		err := r.jump()
		r.Skipped = Skipped{}
		if r.image && (err != nil || r.lost()) {
			r.Pos, r.Seq, r.bytes = l.origin(), 0, 0
			r.Corrupt++
			return nil
		}
		if err != nil || e == nil || !e.hold {
			return err
		}
		l.readers[e.i].cursor.Store(r.Pos)
		e.told = r.Pos
		w := l.loadRoom()
		invariant.Point("multilog.J2b")
		// J3, edge: join (the cursor, this | room, cursors, E6). Who looked at the
		// cursors before this, fails at E6.
		if w.head() == r.Pos && l.room.CompareAndSwap(uint64(w), uint64(packRoom(w.head(), w.joins()+1))) {
			invariant.Point("multilog.J3")
			l.ringWaiters(e.ring) // one may have gone to sleep over the cursor of a first try
			return nil
		}
	}
	return &CorruptError{"room word", l.room.Load()}
}

// lost reports whether the log has records, none where they should be from the
// oldest on, and no other claim there: one that was given up for it ends at the
// oldest, or one begins there. What pads and open claims cover keeps the words
// of records that were given up.
func (r *Rx) lost() bool {
	l := r.log
	for p := range l.n {
		if l.record(r.Pos + p) {
			return false
		}
	}
	if _, ok := l.claimAt(r.Pos); ok {
		return false
	}
	for p := r.Pos - 1; p >= l.n && p+l.max >= r.Pos; p-- {
		if k, ok := l.claimAt(p); ok && p+k == r.Pos {
			return false
		}
	}
	for i := range l.n {
		if l.record(state(l.states[i].Load()).lap()*l.n + i) {
			return true
		}
	}
	return false
}

// claimAt returns the length of the claim at p, if p's word tells of one.
func (l *Log) claimAt(p uint64) (cells uint64, ok bool) {
	w, age := l.load(p)
	if age != 0 {
		return 0, false
	}
	cells, err := l.span(p, w)
	return cells, err == nil
}

// walk passes finished claims while pass says so. It is how a reader finds its
// place: what it passes is counted as read.
func (r *Rx) walk(pass func(p, k uint64, w state) bool) error {
	l := r.log
	end := l.loadRoom().head() + l.n // whoever appends meanwhile is not chased
	if r.image {
		end = r.Pos + 2*l.n // whatever the room word says
	}
	for sealed := 0; r.Pos < end; {
		w, age := l.load(r.Pos)
		k, err := l.span(r.Pos, w)
		switch {
		case age < 0 && !r.image:
			if err := r.jump(); err != nil {
				return err
			}
			r.Skipped = Skipped{}
			continue
		case r.image && (age != 0 || err != nil):
			if age != 0 {
				err = nil
			}
			if moved, _ := r.broken(err); !moved {
				return nil
			}
			continue
		case age > 0 || err != nil:
			return nil // what is wrong, Next will say
		case w.status() == stBusy && !r.image:
			if r.peers.Status(w.owner()) == Alive {
				return nil
			}
			if r.peers.Ring != nil { // else we may only read, and step over it
				if sealed++; sealed > stubborn {
					return nil
				}
				l.seal(r.peers, r.Pos, w)
				continue
			}
		}
		size := uint64(0)
		if w.status() == stReady {
			size = l.length(r.Pos, k)
		}
		more := pass(r.Pos, k, w)
		if !r.image && l.loadRoom().head() > r.Pos {
			if err := r.jump(); err != nil {
				return err
			}
			r.Skipped = Skipped{}
			continue
		}
		if !more {
			return nil
		}
		if w.status() == stReady {
			r.Seq++
			r.bytes += size
		}
		r.advance(k)
	}
	return nil
}
