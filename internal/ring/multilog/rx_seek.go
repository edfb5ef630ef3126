package multilog

// Seek moves the reader to the first record whose position is after pos. What
// it passes is not lost. If the record at pos is gone, the reader is at the
// oldest one, and the error is a [GoneError]; if none starts there, it is where
// it was, and the error is a [NoRecordError].
func (r *Rx) Seek(pos uint64) error {
	old := *r
	if err := r.rewind(); err != nil {
		return err
	}
	if pos < r.Pos {
		return &GoneError{pos, r.Pos}
	}
	found := false
	err := r.walk(func(p, _ uint64, _ state) bool {
		found = found || p == pos
		return p <= pos
	})
	if err == nil && !found {
		*r = old
		return &NoRecordError{pos, r.Pos}
	}
	return err
}

// SeekTime moves the reader to the first record that was written at or after
// wall, in ns since 1970.
func (r *Rx) SeekTime(wall int64) error {
	if err := r.rewind(); err != nil {
		return err
	}
	return r.walk(func(p, k uint64, w state) bool {
		return w.status() != stReady || int64(r.log.cell(p, k)[3].Load()) < wall
	})
}

// SeekLast moves the reader to the n-th last record; 0: to the end.
func (r *Rx) SeekLast(n uint64) error {
	if err := r.rewind(); err != nil {
		return err
	}
	if err := r.walk(func(uint64, uint64, state) bool { return true }); err != nil || n == 0 {
		return err
	}
	end := r.Seq
	if err := r.rewind(); err != nil {
		return err
	}
	return r.walk(func(_, _ uint64, w state) bool { return r.Seq+n < end || w.status() != stReady })
}

// rewind moves the reader to the oldest record, as if it were new.
func (r *Rx) rewind() error {
	r.Pos, r.Seq, r.bytes = 0, 0, 0
	err := r.jump()
	r.Skipped = Skipped{}
	return err
}

// walk passes finished claims while pass says so. It is how a reader finds its
// place: what it passes is counted as read.
func (r *Rx) walk(pass func(p, k uint64, w state) bool) error {
	l := r.log
	for end := l.loadRoom().head() + l.n; r.Pos < end; { // whoever appends meanwhile is not chased
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
			if moved, _ := r.broken(err); !moved {
				return nil
			}
			continue
		case age > 0 || err != nil || w.status() == stBusy && !r.image:
			return nil // what is wrong, Next will say
		}
		size := uint64(0)
		if w.status() == stReady {
			size = l.length(r.Pos, k)
		}
		more := pass(r.Pos, k, w)
		if l.loadRoom().head() > r.Pos {
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
