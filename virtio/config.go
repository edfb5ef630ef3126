package virtio

import (
	"context"
	"errors"
	"time"

	"github.com/ringbus/ringbus/internal/ring/virtq"
	"github.com/ringbus/ringbus/internal/wake"
)

// ErrFull: the ring has no room for the chain until others come back.
var ErrFull = virtq.ErrFull

// ErrStopped: the queue was stopped or detached.
var ErrStopped = errors.New("virtqueue stopped")

// QueueConfig says where a queue is and how its two sides reach each other. The
// transport fills it in.
type QueueConfig struct {
	// Size is the number of entries: of a split ring a power of two, of a packed
	// one any number, to 32768.
	Size int
	// Features are those that were agreed on.
	Features Features
	// Desc, Driver and Device are the addresses of the parts: of a split ring the
	// descriptor table, the available and the used ring; of a packed one the ring,
	// the driver's and the device's event structure.
	Desc, Driver, Device uint64
	// Tables is, for a driver, the address of Size indirect tables, each of
	// TableLen descriptors. TableLen 0: no tables.
	Tables   uint64
	TableLen int
	// Start is where a device goes on in a ring that another one has used.
	Start State
	// Notify rings the other side: it kicks the device, or calls the driver. It is
	// called when the other side wants that.
	Notify func() error
	// Wait returns when the other side has rung since Wait returned last, or ctx is
	// done; it may return early. Only one goroutine at a time waits. nil is for
	// queues that never sleep.
	Wait func(ctx context.Context) error
	// Spin is how long to look before Wait; 0: 25 µs; negative: not at all.
	Spin time.Duration
	// BusyPoll: never sleep. Notifications are not asked for.
	BusyPoll bool
}

// State is a position in a ring: where a device stopped, and another goes on. The
// zero value is the beginning.
type State struct {
	Avail        uint16 // split: available index; packed: number of the next available entry
	Used         uint16 // the same for used ones
	AvailWrapped bool   // packed: the wrap counter is 0
	UsedWrapped  bool
}

// Layout lays a queue out at addr, which is aligned to 128 bytes, and returns
// where the memory behind it begins. tableLen is for the driver's indirect
// tables, 0 for none.
func Layout(addr uint64, size int, f Features, tableLen int) (c QueueConfig, end uint64) {
	v, end := virtq.Layout(addr, size, virtq.Features(f), tableLen)
	return QueueConfig{
		Size: v.Size, Features: f, Desc: v.Desc, Driver: v.Driver, Device: v.Device,
		Tables: v.Tables, TableLen: v.TableLen,
	}, end
}

func (c *QueueConfig) ring() virtq.Config {
	return virtq.Config{
		Size: c.Size, Features: virtq.Features(c.Features), Desc: c.Desc, Driver: c.Driver, Device: c.Device,
		Tables: c.Tables, TableLen: c.TableLen,
	}
}

func (c *QueueConfig) check() error {
	if c.Wait == nil && !c.BusyPoll {
		return errors.New("virtqueue: no way to wait: set Wait, or BusyPoll")
	}
	if c.Notify == nil {
		return errors.New("virtqueue: no way to notify: set Notify")
	}
	return nil
}

func (c *QueueConfig) policy() wake.Policy { return wake.Policy{Spin: c.Spin, BusyPoll: c.BusyPoll} }
