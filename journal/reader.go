package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"runtime"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/ring/multilog"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// ReaderOptions says what a reader reads, and how. The zero value of every
// field is useful.
type ReaderOptions struct {
	// Hold: in reject mode, no record goes that this reader did not read.
	// Without it, and always in overwrite mode, the reader disturbs nobody, and
	// is told what it lost.
	Hold bool
	// Level: only records at least as severe; nil: all.
	Level slog.Leveler
	// Key: only records with this key; empty: all.
	Key string
	// Writer: only records of the node of this name; empty: all.
	Writer string
	// Wait says how Read and Tail wait for a record.
	Wait ringbus.Wait
}

func (o *ReaderOptions) filter() multilog.Filter {
	f := multilog.Filter{Key: o.Key, Writer: o.Writer}
	if o.Level != nil {
		f.Level, f.HasLevel = narrow(o.Level.Level()), true
	}
	return f
}

// Skipped counts what a reader passed without returning it, other than by its
// filter.
type Skipped struct {
	Lost      uint64 // records that went before they were read
	LostBytes uint64 // of data in them
	Tombs     uint64 // records whose writers died over them
	Holes     uint64 // records taken away from writers that stood still
	Corrupt   uint64 // records that a peer or a disk garbled
}

// Record is one record. Its Data is a copy, and good until the reader's next
// record.
type Record struct {
	Position uint64        // names the record: later records have greater ones
	Sequence uint64        // how many records the journal got before it
	Time     time.Time     // when it was written, by its writer's clock; zero if not recorded
	Mono     time.Duration // the same by the monotonic clock of its writer's kernel
	Level    slog.Level
	Writer   string // the name of the writer's node
	Key      string
	Data     []byte

	Skipped // what the reader passed since the record before
}

// Reader reads the records of a journal in their order. It must be used by one
// goroutine at a time, but Close may be called by any, and interrupts a Read
// that waits. It ends with Close, or with its node.
type Reader struct {
	name string
	seg  *segment.Segment // opened for this reader only, or nil
	p    *place           // nil without a node
	rx   *multilog.Rx
	end  bool // nobody writes any more
	who  func(owner uint32) string

	policy  wake.Policy
	sleeper *wake.Sleeper // nil: it polls
	gate    host.Gate
	rec     multilog.Record
	out     Record // of rec
	told    multilog.Skipped
	names   map[string]string
}

// NewReader opens the journal for reading, from its oldest record on. The error
// wraps fs.ErrNotExist if it is not there.
func NewReader(node *ringbus.Node, name string, o *ReaderOptions) (*Reader, error) {
	if o == nil {
		o = &ReaderOptions{}
	}
	p, err := open(node, name)
	if err != nil {
		return nil, err
	}
	r := &Reader{
		name: name, p: p, rx: p.log.NewRx(p.peers()), policy: policy(o.Wait),
		who: func(o uint32) string { return p.host.Node.NameOf(segment.Owner(o)) },
	}
	r.rx.Filter = o.filter()
	if err := r.register(o.Hold); err != nil {
		_ = p.area.Close()
		return nil, fmt.Errorf("journal %q: %w", name, err)
	}
	if err := p.host.Add(r); err != nil {
		r.leave()
		return nil, err
	}
	return r, nil
}

// register takes a place among the journal's readers; the dead make room.
// Without one a reader that does not hold polls.
func (r *Reader) register(hold bool) error {
	hold = hold && r.p.log.Config().Mode == multilog.Reject
	err := r.rx.Register(hold)
	if errors.Is(err, multilog.ErrNoEntry) {
		if _, err := r.p.host.Node.Recover(); err != nil {
			return err
		}
		err = r.rx.Register(hold)
	}
	switch {
	case err == nil:
		r.sleeper = r.p.host.Pool.NewSleeper(r.rx.Entry().Bell(), r.policy)
	case errors.Is(err, multilog.ErrNoEntry) && !hold:
		err = nil
	case errors.Is(err, multilog.ErrNoEntry):
		err = ErrTooManyReaders
	case errors.Is(err, multilog.ErrFenced):
		err = ErrFenced
	}
	return err
}

// Read returns the next record, and waits for it until ctx ends. At the end of
// an image it returns io.EOF. Other errors: ctx's; [ErrClosed]; [ErrFenced]; a
// [CorruptError], if the journal is garbled.
func (r *Reader) Read(ctx context.Context) (Record, error) {
	r.gate.Enter("Reader")
	defer r.gate.Leave()
	found, err := r.next(r.end)
	if err != nil {
		return Record{}, err
	}
	if found != multilog.Got {
		if err := r.wait(ctx, found); err != nil {
			return Record{}, err
		}
	}
	return r.out, nil
}

// TryRead returns the next record if there is one, and does not wait. ok is
// false at the end, and at a record that is not finished: see [Reader.WaitsFor].
// Its errors are those of Read, without ctx's and io.EOF.
func (r *Reader) TryRead() (rec Record, ok bool, err error) {
	r.gate.Enter("Reader")
	defer r.gate.Leave()
	for {
		switch found, err := r.next(true); {
		case err != nil:
			return Record{}, false, err
		case found == multilog.Got:
			return r.out, true, nil
		case found != multilog.Busy:
			return Record{}, false, nil
		}
	}
}

// next looks for the next record, which is in out if it is found. look says to
// ask after the writer of an unfinished one, which may be dead.
func (r *Reader) next(look bool) (multilog.Found, error) {
	if r.gate.Closed.Load() {
		return multilog.End, r.closedErr()
	}
	if r.p != nil {
		if err := r.p.host.Node.Err(); err != nil {
			return multilog.End, fmt.Errorf("journal %q: %w", r.name, err)
		}
	}
	found, err := r.rx.Next(&r.rec, look)
	if err != nil {
		return found, fmt.Errorf("journal %q: %w", r.name, err)
	}
	if found == multilog.Got {
		r.record()
	}
	runtime.KeepAlive(r)
	return found, nil
}

// record makes out the record that was found, as users see it. It is large: to
// return it from here on would copy it twice more. Writer and key are often
// those of the record before.
func (r *Reader) record() {
	m, out := &r.rec, &r.out
	out.Position, out.Sequence, out.Data = m.Position, m.Sequence, m.Data
	out.Time, out.Mono, out.Level = m.Time(), time.Duration(m.Mono), slog.Level(m.Level)
	if string(m.Writer) != out.Writer {
		out.Writer = r.intern(m.Writer)
	}
	if string(m.Key) != out.Key {
		out.Key = r.intern(m.Key)
	}
	s, told := &r.rx.Skipped, &r.told
	if *s == *told {
		out.Skipped = Skipped{}
		return
	}
	out.Skipped = Skipped{
		Lost: s.Lost - told.Lost, LostBytes: s.LostBytes - told.LostBytes, Tombs: s.Tombs - told.Tombs,
		Holes: s.Holes - told.Holes, Corrupt: s.Corrupt - told.Corrupt,
	}
	if s.Lost != told.Lost && r.rx.Entry() != nil {
		r.rx.Entry().Report(*s)
	}
	*told = *s
}

// intern returns b as a string, and makes one only if it is new.
func (r *Reader) intern(b []byte) string {
	if s, ok := r.names[string(b)]; ok {
		return s
	}
	if r.names == nil || len(r.names) > 1000 {
		r.names = make(map[string]string)
	}
	s := string(b)
	r.names[s] = s
	return s
}

// wait is Read where there was not a record at once. It ends with one in out.
func (r *Reader) wait(ctx context.Context, found multilog.Found) error {
	spin, rounds, polls := r.policy.Begin(), 0, 0
	tired, look := false, false // the time to look is used up; the last look was a full one
	for {
		tired = tired || found != multilog.Busy && !spin.Next()
		switch {
		case r.end && found != multilog.Busy:
			return io.EOF
		case found == multilog.Busy || !tired: // Busy: there is more, but nothing for the filter
			if rounds++; found == multilog.Busy || spin.RoundOver() {
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			look = rounds%1024 == 0 // who never sleeps asks now and then
		case !look:
			look = true // once before each sleep
		case r.sleeper == nil:
			polls++
			if err := pause(ctx, min(time.Duration(polls)*100*time.Microsecond, 10*time.Millisecond)); err != nil {
				return err
			}
			look = false
		default:
			if err := r.sleep(ctx); err != nil {
				return err
			}
			spin, tired, look = r.policy.Begin(), false, false
		}
		var err error
		if found, err = r.next(look || r.end); err != nil || found == multilog.Got {
			return err
		}
	}
}

// sleep sleeps until there may be a record.
func (r *Reader) sleep(ctx context.Context) error {
	if err := r.p.host.Node.Err(); err != nil {
		return fmt.Errorf("journal %q: %w", r.name, err)
	}
	e := r.rx.Entry()
	r.sleeper.Prepare()
	timed := e.Asleep(r.rx)
	defer e.Awake()
	if r.rx.Ready() || r.gate.Closed.Load() {
		r.sleeper.Cancel()
		return nil
	}
	if !timed {
		return r.sleeper.Sleep(ctx)
	}
	// The writer of the next record may be one of another kernel.
	relooked, cancel := context.WithTimeout(ctx, relook)
	defer cancel()
	err := r.sleeper.Sleep(relooked)
	if r.sleeper.Forget(); err != nil {
		return ctx.Err()
	}
	return nil
}

// Tail ranges over the records as they come, from where the reader is: for rec,
// err := range r.Tail(ctx). After an error, ctx's among them, the range is
// over; at the end of an image it is over without one.
func (r *Reader) Tail(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			rec, err := r.Read(ctx)
			if errors.Is(err, io.EOF) || !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// Records ranges over the records that are there now, and does not wait.
func (r *Reader) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			rec, ok, err := r.TryRead()
			if !ok && err == nil || !yield(rec, err) || err != nil {
				return
			}
		}
	}
}
