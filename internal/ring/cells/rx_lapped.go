package cells

import "github.com/ringbus/ringbus/internal/invariant"

// pollLapped is Poll of a reader that holds nobody back: it copies, then looks
// whether low has passed what it copied.
func (x *Rx) pollLapped(rec *Record) Status {
	r := x.ring
	for try := range patience {
		n := x.next
		to := nearest(r.Published(), n) // B1
		if to == n {
			if !x.slot.Held() {
				return Evicted
			}
			return Empty
		}
		if int64(to-n) > 0 && to-n <= r.cells {
			head, num := r.header(n)
			info, number := head.Load(), num.Load()
			length, k, pad, ok := r.extent(info, n, to-n)
			if ok && !pad {
				a, b := r.span(n, length)
				rec.take(a, b)
			}
			invariant.Point("cells.B1")
			if !x.mark(n) {
				return Evicted
			}
			// edge: lap (payload, own cursor, this load | low, then payload)
			low := nearest(r.low.Load(), n)
			if int64(low-n) <= 0 {
				switch {
				case !ok:
					return x.stray("header", info)
				case pad:
					x.next, x.held = n+k, n+k
					continue
				}
				if rec.Lost, ok = x.count(number); !ok {
					return x.stray("header's number", number)
				}
				rec.Number, rec.Redelivered, rec.next, rec.pos = x.want-1, false, n+k, n
				x.held = n + k
				return Got
			}
		}
		x.lap(to, try)
	}
	return Empty
}

// lap is B4: the message is gone. Go on with the oldest that is there, and, if
// that is gone each time, with the next that comes.
func (x *Rx) lap(to uint64, try int) {
	r := x.ring
	low := nearest(r.low.Load(), to)
	if try > patience/2 || to-low > r.cells {
		low = nearest(r.Published(), to)
	}
	x.next, x.held = low, low
	invariant.Point("cells.B4")
}

// mark stores the cursor: for inspection, and because a store must come between
// the copy and the look at low.
func (x *Rx) mark(n uint64) bool {
	to := packCursor(curLapped, x.cur.gen(), n)
	for !x.ring.cursors[x.slot.index].CompareAndSwap(uint64(x.cur), uint64(to)) {
		c := cursor(x.ring.cursors[x.slot.index].Load())
		if c.gen() != x.cur.gen() || !x.slot.Held() {
			return false
		}
		x.cur = c
	}
	x.cur = to
	return true
}

// take copies a and b into the record.
func (r *Record) take(a, b []byte) {
	n := len(a) + len(b)
	if cap(r.buf) < n {
		r.buf = make([]byte, n, n+n/4)
	}
	r.buf = r.buf[:n]
	read(r.buf, a)
	read(r.buf[len(a):], b)
	r.A, r.B = r.buf, nil
}
