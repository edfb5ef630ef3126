//go:build !race && !invariants

package journal_test

import (
	"context"
	"testing"

	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/ringbustest"
)

func TestNoAllocationForARecord(t *testing.T) {
	ctx := soon(t)
	for _, o := range []*journal.Options{{Size: 1}, {Size: 1, Mode: journal.Reject}, {Size: 1, NoTime: true, NoChecksum: true}} {
		for _, hold := range []bool{false, true} {
			for _, size := range []int{8, 96, 1000, 10_000} {
				node := ringbustest.New(t).Node("app")
				w := open(t, node, "log", o)
				r := reader(t, node, "log", &journal.ReaderOptions{Hold: hold, Key: "key"})
				b := make([]byte, size)
				ro := &journal.RecordOptions{Key: "key"}
				none := &journal.RecordOptions{Level: -100, Key: "key"}
				if err := journal.SetLevel(node, "log", -50); err != nil {
					t.Fatal(err)
				}
				read := func() {
					rec, err := r.Read(ctx)
					if err != nil || len(rec.Data) != size || rec.Key != "key" || rec.Writer != "app" {
						t.Fatal("not what was written", err)
					}
				}
				for what, f := range map[string]func() error{
					"Write and Append": func() error {
						if _, err := w.Write(b); err != nil {
							return err
						}
						_, err := w.Append(ctx, b, ro)
						return err
					},
					"Reserve and Commit": func() error {
						res, err := w.Reserve(ctx, size, size, ro)
						if err != nil {
							return err
						}
						return res.Commit(copy(res.Data(), b))
					},
					"Reserve and Discard, AppendFunc": func() error {
						res, err := w.Reserve(ctx, size, 2*size, ro)
						if err != nil {
							return err
						}
						res.Discard()
						return w.AppendFunc(ctx, size, size, ro, func(to []byte) (int, error) { return copy(to, b), nil })
					},
					"what is silenced": func() error {
						if _, err := w.Append(ctx, b, none); err != nil || w.Enabled(-100) {
							return err
						}
						res, err := w.Reserve(ctx, 1, 1, none)
						res.Discard()
						if err != nil {
							return err
						}
						_, err = w.Append(ctx, b, ro)
						return err
					},
				} {
					per := testing.AllocsPerRun(300, func() {
						if err := f(); err != nil {
							t.Fatal(err)
						}
						read()
					})
					if per != 0 {
						t.Errorf("%s of %d bytes, %+v, hold %v: %v allocations", what, size, *o, hold, per)
					}
				}
				per := testing.AllocsPerRun(100, func() {
					if err := r.Last(0); err != nil {
						t.Fatal(err)
					}
					if _, ok, err := r.TryRead(); ok || err != nil {
						t.Fatal(ok, err)
					}
				})
				if per != 0 {
					t.Errorf("Last and TryRead at the end: %v allocations", per)
				}
			}
		}
	}
}

func TestNoAllocationForASleep(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	node := ringbustest.New(t).Node("app")
	w, answers := open(t, node, "log", nil), open(t, node, "answers", nil)
	r, ar := reader(t, node, "log", &journal.ReaderOptions{Wait: asleep}), reader(t, node, "answers", &journal.ReaderOptions{Wait: asleep})
	go func() {
		for range r.Tail(ctx) {
			if _, err := answers.Write(nil); err != nil {
				return
			}
		}
	}()
	per := testing.AllocsPerRun(300, func() {
		write(t, w, "x")
		if _, err := ar.Read(ctx); err != nil {
			t.Fatal(err)
		}
	})
	if per >= 1 {
		t.Errorf("%v allocations for two records and two sleeps", per)
	}
}
