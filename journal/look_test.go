package journal_test

import (
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/multilog"
	"github.com/ringbus/ringbus/segment"
)

// view is a journal's ring, for looking at.
type view struct {
	log   *multilog.Log
	info  multilog.Info
	wrong []string
}

func look(seg *segment.Segment, name string) (v view) {
	area, err := seg.Find(segment.Key{Kind: segment.KindJournal, Name: name})
	if err == nil {
		if v.log, err = multilog.Open(area); err == nil {
			v.wrong = v.log.Verify()
			v.info, err = v.log.Info()
		}
	}
	if err != nil {
		v.wrong = append(v.wrong, err.Error())
	}
	return v
}

// sleepers says how many readers and writers of the journal sleep.
func sleepers(seg *segment.Segment, name string) (readers, writers int) {
	in := look(seg, name).info
	for _, r := range in.Readers {
		if r.Asleep {
			readers++
		}
	}
	return readers, len(in.Waiting)
}

// sleeping says how many writers of the journal sleep.
func sleeping(seg *segment.Segment, name string) int { return len(look(seg, name).info.Waiting) }

// Where the format has the entries of readers and of writers that wait, and the
// state words.
const (
	entries     = 64
	readerEntry = 0x80
	waiterEntry = 0x40
	readersAt   = 0x200
	waitersAt   = readersAt + entries*readerEntry
	statesAt    = 0x4000
)

// owners lists who has entries, and counts those that are nobody's for ever.
func owners(area []byte) (all []segment.Owner, retired int) {
	for i := range 2 * entries {
		at := readersAt + i*readerEntry
		if i >= entries {
			at = waitersAt + (i-entries)*waiterEntry
		}
		switch w := mem.U64(area, at).Load(); w & 15 {
		case 0:
		case 3:
			retired++
		default:
			all = append(all, segment.Owner(w>>8&(1<<20-1)))
		}
	}
	return all, retired
}

// retiredIn is owners of the journal's area.
func retiredIn(t *testing.T, seg *segment.Segment, name string) ([]segment.Owner, int) {
	t.Helper()
	area, err := seg.Find(segment.Key{Kind: segment.KindJournal, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return owners(area)
}
