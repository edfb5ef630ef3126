package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/ioqueue"
)

// stripe is the value of --stripe: blocks i, i+n, i+2n...
type stripe struct{ i, n int }

// Type names the kind of value in the help text.
func (s *stripe) Type() string { return "I/N" }

func (s *stripe) String() string {
	if s.n == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.i, s.n)
}

// Set parses I/N, with I from 0 to N-1.
func (s *stripe) Set(text string) error {
	var v stripe
	if k, err := fmt.Sscanf(text, "%d/%d", &v.i, &v.n); err != nil || k != 2 || v.n < 1 || v.i < 0 || v.i >= v.n || v.String() != text {
		return fmt.Errorf("%q is no stripe; 0/4, 1/4, 2/4 and 3/4 are the stripes of four", text)
	}
	*s = v
	return nil
}

func newIOWrite(g *global) *cobra.Command {
	f, s := &ioFlags{}, stripe{0, 1}
	c := &cobra.Command{
		Use:   "write --queue NAME --device FILE [--offset N] [--stripe I/N]",
		Short: "Write standard input to a file or block device, block by block",
		Long: `Write standard input to a file or block device, cut into blocks, and flush it.
The file is made if it is not there.

With --stripe I/N only every Nth block is written, beginning with block I, so
that N processes that read the same input write one file together. They must
agree on --block. A process that was killed may be started again with the same
stripe. The last line on standard error is written=N bytes=N.`,
		Example: `  ringbus io write --queue disk --device backup.img < disk.img
  for i in 0 1 2 3; do
    ringbus io write --queue disk --device backup.img --stripe $i/4 < disk.img &
  done; wait`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(c); err != nil {
				return err
			}
			return g.ioWrite(c.Context(), f, s)
		},
	}
	f.add(c)
	c.Flags().Var(&s, "stripe", "write every Nth block only, beginning with block I")
	return c
}

// ioWrite is the verb io write.
func (g *global) ioWrite(ctx context.Context, f *ioFlags, s stripe) error {
	d, err := g.openDisk(f, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	defer d.close()
	in, err := newInput(ctx, os.Stdin)
	if err != nil {
		return err
	}
	defer in.close()
	w := &blockWriter{disk: d, free: make(chan []byte, f.flight)}
	for range f.flight {
		w.free <- make([]byte, f.block)
	}
	err = w.copy(ctx, in, s)
	if cerr := d.close(); err == nil {
		err = cerr
	}
	if g.json {
		_ = json.NewEncoder(os.Stderr).Encode(map[string]int64{"written": w.blocks.Load(), "bytes": w.bytes.Load()})
	} else {
		fmt.Fprintf(os.Stderr, "written=%d bytes=%d\n", w.blocks.Load(), w.bytes.Load())
	}
	return err
}

// blockWriter has some blocks on the way at once. Each is a call of Do, so that
// this process executes whenever it must.
type blockWriter struct {
	*disk
	free   chan []byte
	wg     sync.WaitGroup
	blocks atomic.Int64
	bytes  atomic.Int64
	failed atomic.Pointer[error]
}

// copy writes the blocks of r that are in the stripe, and flushes.
func (w *blockWriter) copy(ctx context.Context, r io.Reader, s stripe) error {
	var rerr error
	for k := 0; rerr == nil && w.failed.Load() == nil; k++ {
		b := <-w.free
		var n int
		n, rerr = io.ReadFull(r, b)
		if n == 0 || k%s.n != s.i {
			w.free <- b
			continue
		}
		at := w.flags.offset + int64(k)*int64(len(b))
		w.wg.Go(func() {
			w.write(ctx, b[:n], at)
			w.free <- b
		})
	}
	w.wg.Wait()
	if e := w.failed.Load(); e != nil {
		return *e
	}
	if rerr != io.EOF && rerr != io.ErrUnexpectedEOF {
		return rerr
	}
	_, err := w.do(ctx, ioqueue.Op{Code: ioqueue.Flush})
	return err
}

func (w *blockWriter) write(ctx context.Context, b []byte, at int64) {
	n, err := w.do(ctx, ioqueue.Op{Code: ioqueue.Write, Offset: at, Data: b})
	if err == nil && n != len(b) {
		err = fmt.Errorf("%s at %d: %w", w.flags.device, at, io.ErrShortWrite)
	}
	if err != nil {
		w.failed.CompareAndSwap(nil, &err)
		return
	}
	w.blocks.Add(1)
	w.bytes.Add(int64(n))
}
