package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus/ioqueue"
)

func newIORead(g *global) *cobra.Command {
	f, length := &ioFlags{}, size(0)
	c := &cobra.Command{
		Use:   "read --queue NAME --device FILE [--offset N] [--length SIZE]",
		Short: "Read a file or block device to standard output",
		Long: `Read a file or block device through the queue and write what was read to
standard output, up to the end of the file, or so many bytes.`,
		Example: `  ringbus io read --queue disk --device backup.img | cmp - disk.img
  ringbus io read --queue disk --device /dev/loop0 --offset 4096 --length 64k | xxd | head`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(c); err != nil {
				return err
			}
			return g.ioRead(c.Context(), f, int64(length))
		},
	}
	f.add(c)
	c.Flags().Var(&length, "length", "read so many bytes (default up to the end)")
	return c
}

// ioRead is the verb io read.
func (g *global) ioRead(ctx context.Context, f *ioFlags, length int64) error {
	d, err := g.openDisk(f, os.O_RDWR)
	if err != nil {
		return err
	}
	defer d.close()
	end := int64(math.MaxInt64)
	if length > 0 {
		end = f.offset + length
	}
	err = d.print(ctx, f.offset, end)
	if cerr := d.close(); err == nil {
		err = cerr
	}
	return err
}

// print writes bytes at to end to standard output, several blocks at once.
func (d *disk) print(ctx context.Context, at, end int64) error {
	type piece struct {
		buf, got []byte
		err      error
	}
	pieces := make([]piece, d.flags.flight)
	for i := range pieces {
		pieces[i].buf = make([]byte, d.flags.block)
	}
	for at < end {
		var wg sync.WaitGroup
		asked := 0
		for i := range pieces {
			p := &pieces[i]
			n := min(end-at, int64(len(p.buf)))
			if n == 0 {
				break
			}
			from := at
			wg.Go(func() {
				var k int
				k, p.err = d.do(ctx, ioqueue.Op{Code: ioqueue.Read, Offset: from, Into: p.buf[:n]})
				p.got = p.buf[:max(k, 0)]
			})
			at += n
			asked++
		}
		wg.Wait()
		for i := range pieces[:asked] {
			p := &pieces[i]
			if p.err != nil {
				return p.err
			}
			if _, err := os.Stdout.Write(p.got); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			if len(p.got) < len(p.buf) {
				return nil // the end, of the file or of what was asked for
			}
		}
	}
	return nil
}
