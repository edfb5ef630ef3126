package main

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/journal"
)

// unstamped is a journal whose records carry nothing but 64 bytes, their
// writer's name and their level.
var unstamped = journal.Options{NoTime: true, NoChecksum: true}

// Words of the arena.
const (
	arenaStop  = 2048
	arenaStart = 2176
	arenaRead  = 2304
)

// appends are records of 64 bytes.
type appends struct {
	journal string
	options journal.Options
	record  *journal.RecordOptions
	count   int // records, where only the parent writes

	writers int  // half of them in each process
	share   bool // the figure is the smallest writer's part of a fair share

	read bool // the child reads what the parent writes
	lost bool // and the figure is the part of it that it lost
}

// writer returns one of p's writers of the journal.
func (o *appends) writer(p *party, i int) (*journal.Writer, error) {
	key := o.journal + string(rune('0'+i))
	if w, ok := p.kept[key].(*journal.Writer); ok {
		return w, nil
	}
	w, err := journal.NewWriter(p.node, o.journal, &o.options)
	p.kept[key] = w
	return w, err
}

func (o *appends) append(w *journal.Writer, data []byte, n int) error {
	for range n {
		if _, err := w.Append(background, data, o.record); err != nil {
			return err
		}
	}
	return nil
}

// alone is the rate of a writer in the parent; the child does nothing, or reads.
func alone(o appends) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		switch {
		case !p.parent && o.read:
			return o.follow(p)
		case !p.parent:
			return s, nil
		}
		w, err := o.writer(p, 0)
		if err != nil {
			return s, err
		}
		data := make([]byte, 64)
		if err := o.append(w, data, 40_000); err != nil { // from here on it is full
			return s, err
		}
		do := func(n int) error { return o.append(w, data, n) }
		if !o.read {
			times, err := chunked(p.count(o.count), do)
			s.value = chunk / median(times) * 1e3
			return s, err
		}
		p.word(arenaStop).Store(0)
		p.meet()
		p.meet()
		defer p.word(arenaStop).Store(1)
		times, err := o.beside(p, w, data)
		if len(times) > 0 && !o.lost {
			s.value = chunk / median(times) * 1e3
		}
		return s, err
	}
}

// beside returns the times of the chunks before and after which the reader was
// at the writer's heels: in the others it had no CPU, or ran after what it
// missed then.
func (o *appends) beside(p *party, w *journal.Writer, data []byte) (times []float64, err error) {
	last := uint64(0) // the writer's position
	near := func() bool { return last-p.word(arenaRead).Load() < 2*chunk }
	was := false
	const most = 40
	for n := 0; len(times) < p.count(o.count)/chunk && n < most*o.count/chunk; n++ {
		start := time.Now()
		for range chunk {
			if last, err = w.Append(background, data, o.record); err != nil {
				return nil, err
			}
		}
		d := float64(time.Since(start).Nanoseconds())
		is := near()
		if was && is {
			times = append(times, d)
		}
		was = is
	}
	return times, nil
}

// chunk is how much is timed at a time: few enough for most chunks to pass
// without a moment in which their process has no CPU.
const chunk = 1000

// chunked does n times what do does chunk times, and returns the ns that each
// chunk took.
func chunked(n int, do func(n int) error) (times []float64, err error) {
	for range max(n/chunk, 1) {
		start := time.Now()
		if err := do(chunk); err != nil {
			return nil, err
		}
		times = append(times, float64(time.Since(start).Nanoseconds()))
	}
	return times, nil
}

// follow reads, from the end of the journal on, until the parent stops.
func (o *appends) follow(p *party) (s sample, err error) {
	p.meet()
	r, ok := p.kept[o.journal].(*journal.Reader)
	if !ok {
		if r, err = journal.NewReader(p.node, o.journal, &journal.ReaderOptions{Wait: polling}); err != nil {
			return s, err
		}
		p.kept[o.journal] = r
	}
	if err := r.Last(0); err != nil {
		return s, err
	}
	p.meet()
	stop := p.word(arenaStop)
	var total, read uint64
	for stop.Load() == 0 {
		rec, ok, err := r.TryRead()
		if err != nil {
			return s, err
		}
		if ok {
			total += sum(rec.Data)
			if read++; read%32 == 0 {
				mem.StoreRelease(p.word(arenaRead), rec.Position)
			}
		}
	}
	runtime.KeepAlive(total)
	if lost := r.Skipped().Lost; o.lost && lost+read > 0 {
		s.value = float64(lost) / float64(lost+read)
	}
	return s, nil
}

// together is the rate of writers in both processes, of all together, over all
// moments in which both processes have a CPU.
func together(o appends) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		mine := o.writers / 2
		first := 0
		stop := p.word(arenaStop)
		if p.parent {
			stop.Store(0)
			p.word(arenaStart).Store(uint64(time.Now().UnixNano()))
			clear(p.arena[arenaSlots : arenaSlots+o.writers*moments*8])
		} else {
			first = mine
		}
		p.meet()
		done := make(chan error, mine)
		for i := range mine {
			w, err := o.writer(p, i)
			if err != nil {
				return s, err
			}
			go func() { done <- o.write(p, w, first+i) }()
		}
		if p.parent {
			time.Sleep(time.Duration(p.count(int(moments * moment))))
			stop.Store(1)
		}
		for range mine {
			if e := <-done; e != nil {
				err = e
			}
		}
		p.meet()
		if p.parent {
			s.value = o.sumUp(p)
		}
		return s, err
	}
}

// moment is short beside the time that a scheduler gives a thread, and long
// beside that of some records.
const (
	moment  = 100 * time.Microsecond
	moments = 5000
)

// progress is where writer i counts its records of a moment.
func (p *party) progress(i, moment int) *atomic.Uint64 {
	return p.word(arenaSlots + (i*moments+moment)*8)
}

// write appends, and counts, until somebody says stop.
func (o *appends) write(p *party, w *journal.Writer, i int) error {
	unpin, err := ringbus.Pin(p.cpu)
	if err != nil {
		return err
	}
	defer unpin()
	data := make([]byte, 64)
	stop, start := p.word(arenaStop), int64(p.word(arenaStart).Load())
	for stop.Load() == 0 {
		const some = 32
		if err := o.append(w, data, some); err != nil {
			return err
		}
		if n := (time.Now().UnixNano() - start) / int64(moment); 0 <= n && n < moments {
			p.progress(i, int(n)).Add(some)
		}
	}
	return nil
}

// sumUp returns the rate, or the smallest share, over the moments in which a
// writer of each process got on, as in the two before and after them.
func (o *appends) sumUp(p *party) float64 {
	busy := func(n, process int) bool {
		for i := range o.writers / 2 {
			if p.progress(process*o.writers/2+i, n).Load() > 0 {
				return true
			}
		}
		return false
	}
	each := make([]float64, o.writers)
	total, count := 0.0, 0
	for n := 2; n < moments-2; n++ {
		both := true
		for d := n - 2; d <= n+2; d++ {
			both = both && busy(d, 0) && busy(d, 1)
		}
		if !both {
			continue
		}
		count++
		for i := range each {
			k := float64(p.progress(i, n).Load())
			each[i] += k
			total += k
		}
	}
	switch {
	case count == 0:
		return 0
	case o.share:
		return slices.Min(each) / total * float64(o.writers)
	}
	return total / (float64(count) * moment.Seconds()) / 1e6
}

// twoSwaps is what no ring that names its writers can beat: a claim and a commit
// by CAS of one word, and a header and 64 bytes between them, in memory of a
// journal's size.
func twoSwaps(p *party) (s sample, err error) {
	if !p.parent {
		return s, nil
	}
	const cells = 32768
	states := mem.U64s(p.arena, arenaSlots, cells)
	words := mem.U64s(p.arena, arenaSlots+8*cells, 16*cells)
	data := make([]byte, 64)
	i := 0
	do := func(n int) error {
		for range n {
			state, cell := &states[i%cells], words[i%cells*16:][:16]
			i++
			old := state.Load()
			state.CompareAndSwap(old, old+1)
			for j := range 4 {
				mem.StoreRelease(&cell[j], uint64(i))
			}
			mem.CopyIn(cell[4:], data)
			state.CompareAndSwap(old+1, old+2)
		}
		return nil
	}
	_ = do(cells)
	times, err := chunked(p.count(1_000_000), do)
	s.value = chunk / median(times) * 1e3
	return s, err
}

// journalAllocations counts what a record that is appended and read costs.
func journalAllocations(count int) func(*party) (sample, error) {
	return func(p *party) (s sample, err error) {
		if !p.parent {
			return s, nil
		}
		o := appends{journal: "default", record: &journal.RecordOptions{Key: "other"}}
		w, err := o.writer(p, 0)
		if err != nil {
			return s, err
		}
		r, err := journal.NewReader(p.node, o.journal, nil)
		if err != nil {
			return s, err
		}
		defer func() { _ = r.Close() }()
		data := make([]byte, 64)
		once := func() error {
			if err := o.append(w, data, 1); err != nil {
				return err
			}
			_, err := r.Read(context.Background())
			return err
		}
		if err := once(); err != nil {
			return s, err
		}
		n := p.count(count)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			if err := once(); err != nil {
				return s, err
			}
		}
		runtime.ReadMemStats(&after)
		s.value = max(0, float64(after.Mallocs-before.Mallocs)-8) / float64(2*n)
		return s, nil
	}
}
