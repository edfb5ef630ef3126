package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/ioqueue"
	"github.com/ringbus/ringbus/segment"
)

func newIO(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "io",
		Short: "Write and read a file or block device through a shared IO queue",
		Long: `Write and read a file or a block device together with other processes, through
a queue of the bus: without a lock, one process at a time is at the device, and
does what the others have queued. If it dies, another one takes over.

All processes of one queue must use the same device, and the same rights to it.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(c, "there is no verb %q", args[0])
			}
			return misused(c, "say what to do: write, read, info or rm")
		},
	}
	c.AddCommand(newIOWrite(g), newIORead(g), newIOInfo(g), newIORm(g))
	return c
}

// ioFlags are the flags of io write and io read.
type ioFlags struct {
	queue  string
	device string
	offset int64
	block  size
	flight int
}

func (f *ioFlags) add(c *cobra.Command) {
	p := c.Flags()
	p.SortFlags = false
	p.StringVar(&f.queue, "queue", "", "`name` of the queue")
	p.StringVar(&f.device, "device", "", "`file` or block device")
	p.Int64Var(&f.offset, "offset", 0, "begin at byte `n` of the device")
	p.Var(&f.block, "block", "`size` of a block (default 64k, or what the queue takes)")
	p.IntVar(&f.flight, "flight", 8, "have `n` blocks on the way at once")
}

func (f *ioFlags) check(c *cobra.Command) error {
	switch {
	case f.queue == "" || f.device == "":
		return misused(c, "--queue and --device are needed")
	case f.offset < 0:
		return misused(c, "--offset cannot be negative")
	case f.block > 16<<20:
		return misused(c, "--block must be at most 16MiB")
	case f.flight < 1 || f.flight > 1024:
		return misused(c, "--flight must be 1 to 1024")
	}
	if err := segment.CheckName(f.queue); err != nil {
		return misused(c, "queue %q: %v", f.queue, err)
	}
	return nil
}

// disk is an open queue and the device behind it.
type disk struct {
	node  *ringbus.Node
	q     *ioqueue.Queue
	file  *os.File
	dev   *ioqueue.File
	id    uint16 // of the device, in the codes of all ops
	flags *ioFlags
}

// defaultBlock is the size of a block in bytes where the queue takes as much.
const defaultBlock = 64 << 10

// idShift is where the device's id begins in a code.
const idShift = 4

// openDisk opens the device, and the queue for blocks of the size asked for.
func (g *global) openDisk(f *ioFlags, flag int) (*disk, error) {
	file, err := os.OpenFile(f.device, flag, 0o666)
	if err != nil && os.IsPermission(err) && flag == os.O_RDWR {
		file, err = os.Open(f.device)
	}
	if err != nil {
		return nil, err
	}
	d := &disk{file: file, dev: ioqueue.NewFile(file), flags: f}
	if d.id, err = identify(file); err == nil {
		d.node, err = g.open()
	}
	if err == nil {
		d.q, err = openQueue(d.node, f)
	}
	if err == nil && f.block == 0 {
		f.block = size(min(defaultBlock, d.q.MaxData()))
	}
	if err == nil && d.q.MaxData() < int(f.block) {
		err = fmt.Errorf("ioqueue %q takes blocks of up to %s, not %s: use --block, or remove it with \"ringbus io rm %s\"",
			f.queue, human(d.q.MaxData()), human(int64(f.block)), f.queue)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// openQueue opens the queue, or makes one for blocks of f's size.
func openQueue(node *ringbus.Node, f *ioFlags) (*ioqueue.Queue, error) {
	q, err := ioqueue.Open(node, f.queue, &ioqueue.Options{MaxData: int(f.block)}) // 0: what there is
	if errors.As(err, new(*ioqueue.MismatchError)) {
		return ioqueue.Open(node, f.queue, nil)
	}
	return q, err
}

func (d *disk) close() error {
	var err error
	if d.node != nil {
		err = d.node.Close()
	}
	if cerr := d.file.Close(); err == nil {
		err = cerr
	}
	return err
}

// identify folds what the device is into 12 bits, so that a process that has
// another one open under the same queue does not write into the wrong file.
func identify(f *os.File) (uint16, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	h := fnv.New32a()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		_, _ = fmt.Fprint(h, st.Dev, st.Ino, st.Rdev)
	}
	sum := h.Sum32()
	return uint16((sum ^ sum>>12 ^ sum>>24) << idShift), nil
}

// Execute is the device: what is for another file is refused.
func (d *disk) Execute(ops []ioqueue.Request) {
	for len(ops) > 0 {
		n := 0
		for n < len(ops) && uint16(ops[n].Code)>>idShift<<idShift == d.id {
			ops[n].Code &= 1<<idShift - 1
			n++
		}
		d.dev.Execute(ops[:n])
		if ops = ops[n:]; len(ops) > 0 {
			ops[0].Complete(-int32(syscall.ENODEV))
			ops = ops[1:]
		}
	}
}

// do carries one op through the queue. All that io does may be done twice.
func (d *disk) do(ctx context.Context, op ioqueue.Op) (int, error) {
	op.Code |= ioqueue.Code(d.id)
	op.Repeatable = true
	n, err := d.q.Do(ctx, op, d)
	if err != nil {
		return n, fmt.Errorf("%s at %d: %w", d.flags.device, op.Offset, err)
	}
	return n, nil
}

func listQueues(queues []inspect.Queue) error {
	return table(os.Stdout, "IO QUEUE\tEXECUTOR\tQUEUED\tAT DEVICE\tOPS\tTAKEOVERS\tMEMORY", func(w io.Writer) {
		for _, q := range queues {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", q.Name, executorOf(q), q.Queued, q.Issued, q.Taken, q.Takeovers, human(q.Memory), q.Err)
		}
	})
}
