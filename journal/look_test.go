package journal_test

import (
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
