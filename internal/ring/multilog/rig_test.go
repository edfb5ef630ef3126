package multilog

import (
	"fmt"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/wake"
)

func TestMain(m *testing.M) { shmtest.Main(m, nil) }

// rig is a log on the heap, whose nodes live and die as the test says.
type rig struct {
	t      *testing.T
	area   []byte
	log    *Log
	status map[uint32]Status
	fenced map[uint32]bool
	rung   int
}

func newRig(t *testing.T, c Config) *rig {
	t.Helper()
	r := &rig{t: t, area: mem.Alloc(int(Size(c))), status: map[uint32]Status{}, fenced: map[uint32]bool{}}
	if err := Format(r.area, c); err != nil {
		t.Fatal(err)
	}
	r.log = r.open()
	return r
}

// open views the log once more, as another process would.
func (r *rig) open() *Log {
	l, err := Open(r.area)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func (r *rig) peers(me uint32) Peers {
	return Peers{
		Me:     me,
		Status: func(o uint32) Status { return r.status[o] },
		Fenced: func() bool { return r.fenced[me] },
		Ring:   func(b wake.Bell) { b.Word.Add(1); r.rung++ },
	}
}

func (r *rig) tx(me uint32) *Tx { return r.open().NewTx(r.peers(me)) }
func (r *rig) rx(me uint32) *Rx { return r.open().NewRx(r.peers(me)) }

func (r *rig) sound() {
	r.t.Helper()
	for _, p := range r.log.Verify() {
		r.t.Error(p)
	}
}

func prefix(name, key string) *Prefix {
	p := new(Prefix)
	p.Set(name, key)
	return p
}

// all reads until there is no more.
func (r *rig) all(rx *Rx) []string {
	r.t.Helper()
	var out []string
	for {
		var rec Record
		f, err := rx.Next(&rec, true)
		if err != nil {
			r.t.Fatal(err)
		}
		switch f {
		case Got:
			out = append(out, string(rec.Data))
		case Busy:
		default:
			return out
		}
	}
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint("record ", i))
	}
	return out
}
