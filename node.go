package ringbus

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringbus/ringbus/internal/host"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/segment"
)

// Options says how a node opens a bus. The zero value of every field is
// useful; nil means all zero.
type Options struct {
	// Name is what others call this node, 1 to 128 bytes of letters, digits,
	// '.', '_', '-' and '/'. A publisher that comes back under the name of one
	// that died or closed goes on in its place. Empty: the program's name.
	Name string
	// Dir is the directory of the bus's file. Empty: $RINGBUS_DIR, or
	// /dev/shm/ringbus-<uid>.
	Dir string
	// Size is the size in bytes that the bus is created with; 0: 256 MiB. It
	// is sparse until topics are made. An existing bus of another size is an
	// error, unless Size is 0.
	Size int64
	// Mode is the mode of the bus's file; 0: 0600. 0660 shares the bus with
	// the file's group.
	Mode fs.FileMode
	// MustExist: do not create the bus.
	MustExist bool
}

// Node is one participant of a bus: usually one per process. Its methods may
// be called concurrently. It ends with Close, or with its process, whatever
// ends that: others then take back all it held.
type Node struct {
	seg    *segment.Segment
	node   *segment.Node
	host   *host.Host
	ownSeg bool
}

func init() { host.Register(func(n any) *host.Host { return n.(*Node).host }) }

// Open opens the bus of the given name, creates it if it is not there, and
// joins it. Buses of different users do not meet, unless Dir and Mode say so.
func Open(bus string, o *Options) (*Node, error) {
	if o == nil {
		o = &Options{}
	}
	for {
		seg, err := segment.Open(bus, &segment.Options{Dir: o.Dir, Size: o.Size, Mode: o.Mode, MustExist: o.MustExist})
		if err != nil {
			return nil, err
		}
		n, err := Attach(seg, o)
		if err == nil {
			n.ownSeg = true
			return n, nil
		}
		if err = errors.Join(err, seg.Close()); !errors.Is(err, segment.ErrRemoved) {
			return nil, err
		}
		// Removed between the two: open what is there now, or make it anew.
	}
}

// Attach joins the bus in seg, which stays the caller's to close. Of the
// options only the name counts.
func Attach(seg *segment.Segment, o *Options) (*Node, error) {
	name := ""
	if o != nil {
		name = o.Name
	}
	if name == "" {
		name = programName()
	}
	sn, err := seg.Join(name)
	if err != nil {
		return nil, err
	}
	return &Node{seg: seg, node: sn, host: host.New(sn)}, nil
}

// programName is the program's name with what a node's name may not have
// replaced.
func programName() string {
	name := strings.Map(func(r rune) rune {
		if r < 128 && segment.CheckName(string(r)) == nil || r == '.' {
			return r
		}
		return '-'
	}, filepath.Base(os.Args[0]))
	if len(name) > 128 {
		name = name[:128]
	}
	if segment.CheckName(name) != nil {
		return "node"
	}
	return name
}

// Name returns the node's name.
func (n *Node) Name() string { return n.node.Name() }

// Segment returns the shared region that holds the bus.
func (n *Node) Segment() *segment.Segment { return n.seg }

// SetDoor says that nodes of other kernels ring this one at a peer and vector of
// the bus's doorbell, or, not ok, nowhere: then it polls. Packages ivshmem and
// ivshmem/doorbell call it.
func (n *Node) SetDoor(peer, vector uint16, ok bool) { n.node.SetDoor(peer, vector, ok) }

// Gone is the word of who knows that the machine at a peer of the bus's doorbell
// runs no more: the node in the slot is recovered if it was that machine's. See
// [segment.Node.Gone].
func (n *Node) Gone(slot int, peer uint16) bool { return n.node.Gone(slot, peer) }

// Recover looks whether other nodes have died and takes back what they held.
// Every node does so in the background, and whenever it would have to wait for
// somebody; an explicit call is for those who want it now.
func (n *Node) Recover() (segment.Report, error) { return n.node.Recover() }

// Remove removes the topic from the bus and gives its memory back. It is an
// error if any node has it open.
func (n *Node) Remove(topic string) error {
	return removeTopic(n.node, topic)
}

// Close closes the node's publishers and subscribers, ends all their loans and
// leaves the bus. Calls that wait return ErrClosed.
func (n *Node) Close() error {
	return n.host.Close(func() error {
		if n.ownSeg {
			return n.seg.Close()
		}
		return nil
	})
}

// ring rings a bell of the segment.
func (n *Node) ring(b wake.Bell) { n.host.Pool.Ring(b) }

// background is the context of calls that take none.
var background = context.Background()
