package inspect_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/ioqueue"
	"github.com/ringbus/ringbus/segment"
)

func TestLookShowsAQueue(t *testing.T) {
	node, seg := bus(t)
	q, err := ioqueue.Open(node, "disk", &ioqueue.Options{Depth: 4, MaxData: 100})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := q.Submit(context.Background(), ioqueue.Op{}); err != nil {
			t.Fatal(err)
		}
	}
	look := func() inspect.Queue {
		t.Helper()
		v, ok := inspect.Look(seg).Queue("disk")
		if !ok {
			t.Fatal("it is not there")
		}
		return v
	}
	v := look()
	if v.Depth != 4 || v.MaxData != 100 || v.Queued != 3 || v.Taken != 0 || v.Executor != "" || v.Waiting <= 0 || v.Err != "" ||
		len(v.Members) != 1 || v.Members[0].Node != "me" || v.Members[0].Submitted != 3 || v.Members[0].Here != 3 {
		t.Errorf("%+v", v)
	}
	for op, err := range q.Ops(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if v = look(); v.Executor != "me" || v.Status != "alive" || v.Pid == 0 || v.Issued != 1 {
			t.Errorf("%+v", v)
		}
		op.Complete(0)
		break
	}
	if v = look(); v.Executor != "" || v.Queued != 2 || v.Finished != 1 || v.Taken != 1 || v.Longest <= 0 || v.Members[0].Executed != 1 {
		t.Errorf("%+v", v)
	}
	if p := inspect.Verify(seg); len(p) > 0 {
		t.Errorf("a bus in use has problems: %v", p)
	}
	for _, c := range []struct {
		at   int
		word uint64
		says string
	}{
		{0x00, 1, "corrupt queue tag"}, {0x20, 1, "garbled"}, {0x40, 1<<36 | 0x107<<16, "names no node"}, {0x40, 1<<36 | 9, "names a node of 4"},
		{0x40, 9<<36 | 0x7F07<<16 | 1, "ahead of head"}, {0x4200, 9, "unknown state"},
	} {
		for _, a := range seg.Areas() {
			if a.Key.Kind != segment.KindQueue {
				continue
			}
			w := mem.U64(node.Segment().Bytes()[a.Offset:], c.at)
			good := w.Swap(c.word)
			found := inspect.Verify(seg)
			inspect.Look(seg)
			w.Store(good)
			if len(found) == 0 || !strings.Contains(found[0].String()+found[len(found)-1].String(), c.says) {
				t.Errorf("found %v, want %q", found, c.says)
			}
		}
	}
}
