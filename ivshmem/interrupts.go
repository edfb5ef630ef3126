package ivshmem

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/pci"
	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/internal/vfio"
)

// Registers in BAR 0 (ivshmem-spec, "Device registers").
const (
	registers    = 256
	regPosition  = 8
	regDoorbell  = 12
	maxInterrupt = 64
)

// A Doorbell is the device of this machine as a client of its host's doorbell
// server: it rings the others, and is rung by interrupts. It lives until Close.
// All methods may be called at the same time.
type Doorbell struct {
	device  *vfio.Device // nil: we have no interrupts
	deaf    error        // why
	bar     []byte
	vectors int
	rung    func(vector uint16)
	heard   atomic.Uint64
	work    sync.WaitGroup

	mu     sync.RWMutex // Close unmaps what Ring writes to
	closed bool
}

// OpenDoorbell finds the device as [Find] does and takes its interrupts, for which
// the kernel's vfio-pci must have it, or be there to get it from us, who are root
// then. rung is called, by one goroutine for each vector, when somebody has rung
// it. One process of a machine can have the interrupts; the others, and whoever
// has no IOMMU, ring with [OpenRegisters].
func OpenDoorbell(address string, o *Options, rung func(vector uint16)) (*Doorbell, error) {
	d, err := openDoorbell(address, o, rung)
	if err != nil {
		return nil, fmt.Errorf("open doorbell \"ivshmem:%s\": %w", address, err)
	}
	return d, nil
}

func openDoorbell(address string, o *Options, rung func(vector uint16)) (*Doorbell, error) {
	at, err := withVectors(address, o)
	if err != nil {
		return nil, err
	}
	if err := vfio.Bind(at.Dir); err != nil {
		return nil, err
	}
	dev, err := vfio.Open(at.Dir)
	if err != nil {
		return nil, err
	}
	d := &Doorbell{device: dev, rung: rung}
	events, err := d.listen(at)
	if err != nil {
		_ = d.Close()
		return nil, err
	}
	d.vectors = len(events)
	d.work.Add(len(events))
	for v, e := range events {
		go d.hear(e, uint16(v))
	}
	return d, nil
}

// listen maps the registers and has the device interrupt us. The registers come
// through sysfs: VFIO would take them from all other processes.
func (d *Doorbell) listen(at Device) ([]*os.File, error) {
	var err error
	if d.bar, err = mapRegisters(at); err != nil {
		return nil, err
	}
	if err := d.device.Master(); err != nil { // measured: without it nothing comes
		return nil, err
	}
	return d.device.Interrupts(maxInterrupt)
}

// OpenRegisters finds the device as [Find] does, to ring others with it and to
// know its id, without hearing anything.
func OpenRegisters(address string, o *Options) (*Doorbell, error) {
	d, err := openRegisters(address, o)
	if err != nil {
		return nil, fmt.Errorf("open registers of \"ivshmem:%s\": %w", address, err)
	}
	return d, nil
}

func openRegisters(address string, o *Options) (*Doorbell, error) {
	at, err := withVectors(address, o)
	if err != nil {
		return nil, err
	}
	bar, err := mapRegisters(at)
	if err != nil {
		return nil, err
	}
	return &Doorbell{bar: bar}, nil
}

func mapRegisters(at Device) ([]byte, error) {
	if err := at.Enable(); err != nil {
		return nil, err
	}
	f, err := sys.OpenFile(at.Registers(), os.O_RDWR, 0)
	if err != nil {
		return nil, at.Refused(err)
	}
	defer f.Close()
	bar, err := sys.Map(f, registers, true)
	if err != nil {
		return nil, at.Refused(err)
	}
	return bar, nil
}

func withVectors(address string, o *Options) (Device, error) {
	at, err := Find(address, o)
	if err == nil && !at.Vectors {
		err = &pci.Error{Kind: ErrNoDoorbell, Address: at.Address, What: "it has no doorbell",
			Do: "start a server on the host (\"ringbus vm doorbell\") and give the machine a device of its (\"ringbus vm args --doorbell\")"}
	}
	return at, err
}

func (d *Doorbell) hear(event *os.File, vector uint16) {
	defer d.work.Done()
	for sys.Await(event) == nil {
		d.heard.Add(1)
		d.rung(vector)
	}
}

func (d *Doorbell) register(off int) *atomic.Uint32 { return mem.U32(d.bar, off) }

// ID returns the id of this machine, by which others ring it.
func (d *Doorbell) ID() uint16 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return 0
	}
	return uint16(d.register(regPosition).Load())
}

// Vectors returns how many interrupts we hear.
func (d *Doorbell) Vectors() int { return d.vectors }

// Heard returns how often we were rung, rings that came together counted as one.
func (d *Doorbell) Heard() uint64 { return d.heard.Load() }

// Deaf returns why we have no interrupts though [Attach] tried, nil if we have.
func (d *Doorbell) Deaf() error { return d.deaf }

// Ring rings a client of the server. Nobody says whether it is there, so Ring
// returns false only after Close. It does not wait.
func (d *Doorbell) Ring(peer, vector uint16) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return false
	}
	mem.StoreRegister(d.register(regDoorbell), uint32(peer)<<16|uint32(vector))
	return true
}

// Up reports whether we hear when we are rung.
func (d *Doorbell) Up() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return !d.closed && d.vectors > 0
}

// Close gives the device back. rung is not called any more once it returns; it
// must not be called by rung.
func (d *Doorbell) Close() error {
	d.mu.Lock()
	was := d.closed
	d.closed = true
	d.mu.Unlock()
	if was {
		return nil
	}
	var err error
	if d.device != nil {
		err = d.device.Close()
	}
	d.work.Wait()
	if d.bar != nil {
		if uerr := sys.Unmap(d.bar); err == nil {
			err = uerr
		}
	}
	return err
}
