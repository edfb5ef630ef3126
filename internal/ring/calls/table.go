package calls

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

// Offsets in a service's area.
const (
	tableTag     = 0x00
	tableConfig  = 0x08
	tableRequest = 0x10
	tableReply   = 0x18
	tableChanges = 0x40
	tableServers = 0x80
	tableLinks   = tableServers + MaxServers*mem.Line

	serverWord = 0x00
	serverNews = 0x08
	serverBell = 0x10
	serverRef  = 0x14

	linkWord = 0x00
	linkArea = 0x08
	linkHome = 0x10
	linkBell = 0x14
	linkRef  = 0x18

	// Size is the size of a service's area in bytes.
	Size = tableLinks + MaxLinks*mem.Line

	tableMagic = 0x01_00_53_4C_4C_41_43_52 // "RCALLS", version 1
)

// Errors that callers branch on.
var (
	ErrNoSlot = errors.New("no free slot")
	ErrFenced = errors.New("fenced: this node was taken for dead or evicted")
)

// CorruptError says which shared word holds what no correct peer writes.
type CorruptError struct {
	What string
	Have uint64
}

func (e *CorruptError) Error() string { return fmt.Sprintf("corrupt %s: %#x", e.What, e.Have) }

// Table is a view of a service's area. Its methods may be called concurrently.
type Table struct {
	area    []byte
	config  *atomic.Uint64
	changes *atomic.Uint64
	servers [MaxServers]serverSlot
	links   [MaxLinks]linkSlot
}

type serverSlot struct {
	word *atomic.Uint64
	news *atomic.Uint64
	bell wake.Bell
}

type linkSlot struct {
	word *atomic.Uint64
	area *atomic.Uint64 // by the client, while it is CLAIMED
	home *atomic.Uint32 // by the client: the link whose bell is its own
	bell wake.Bell
}

// Format makes a service's area of zeroed bytes.
func Format(area []byte) error {
	if len(area) < Size {
		return fmt.Errorf("a service's area needs %d bytes, not %d", Size, len(area))
	}
	mem.U64(area, tableTag).Store(tableMagic)
	return nil
}

// Open views area, which must outlive the Table.
func Open(area []byte) (*Table, error) {
	if len(area) < Size {
		return nil, &CorruptError{"service area's size", uint64(len(area))}
	}
	if tag := mem.U64(area, tableTag).Load(); tag != tableMagic {
		return nil, &CorruptError{"service tag", tag}
	}
	t := &Table{area: area, config: mem.U64(area, tableConfig), changes: mem.U64(area, tableChanges)}
	for i := range t.servers {
		o := tableServers + i*mem.Line
		t.servers[i] = serverSlot{
			mem.U64(area, o+serverWord), mem.U64(area, o+serverNews),
			wake.Bell{Word: mem.U32(area, o+serverBell), Ref: mem.U32(area, o+serverRef)},
		}
	}
	for i := range t.links {
		o := tableLinks + i*mem.Line
		t.links[i] = linkSlot{
			mem.U64(area, o+linkWord), mem.U64(area, o+linkArea), mem.U32(area, o+linkHome),
			wake.Bell{Word: mem.U32(area, o+linkBell), Ref: mem.U32(area, o+linkRef)},
		}
	}
	return t, nil
}

// Config returns what the service's parties agreed on; ok is false as long as
// nobody has come.
func (t *Table) Config() (c Config, ok bool, err error) {
	w := t.config.Load()
	c, ok = unpackConfig(w)
	if ok {
		if e := c.Check(); e != nil {
			return c, false, &CorruptError{"service config (" + e.Error() + ")", w}
		}
	}
	return c, ok, nil
}

// Agree stores c if nobody agreed on anything yet, and returns what holds.
func (t *Table) Agree(c Config) (Config, error) {
	if err := c.Check(); err != nil {
		return c, err
	}
	t.config.CompareAndSwap(0, c.pack())
	have, _, err := t.Config()
	return have, err
}

// AgreeTypes stores the fingerprints of the layouts of requests and replies if
// nobody has yet, and returns what holds.
func (t *Table) AgreeTypes(request, reply uint64) (haveRequest, haveReply uint64) {
	for _, f := range []struct {
		off  int
		want uint64
		have *uint64
	}{{tableRequest, request, &haveRequest}, {tableReply, reply, &haveReply}} {
		w := mem.U64(t.area, f.off)
		w.CompareAndSwap(0, f.want)
		*f.have = w.Load()
	}
	return haveRequest, haveReply
}

// Changes is a number that changes when a server comes or goes.
func (t *Table) Changes() uint64 { return t.changes.Load() }

// A ServerRef names a server: a slot in one of its generations.
type ServerRef struct {
	Slot  int
	Gen   uint64
	Owner uint32
}

// Servers lists the servers that may be linked with.
func (t *Table) Servers() (out []ServerRef) {
	for i := range t.servers {
		if s := server(t.servers[i].word.Load()); s.state() == serverHeld {
			out = append(out, ServerRef{i, s.gen(), s.owner()})
		}
	}
	return out
}

// tell makes server slot i look at its links.
func (t *Table) tell(i int, ring func(wake.Bell)) {
	t.servers[i].news.Add(1)
	ring(t.servers[i].bell)
}

// home is the bell of link k's client.
func (t *Table) home(k int) wake.Bell {
	return t.links[t.links[k].home.Load()%MaxLinks].bell
}

// A LinkInfo is what can be seen of a link that somebody has.
type LinkInfo struct {
	Number int
	State  string
	Client uint32
	Server int // its slot
}

var linkStates = [...]string{"free", "claimed", "open", "left", "lost", "retired"}

// Links lists the links that somebody has.
func (t *Table) Links() (out []LinkInfo) {
	for k := range t.links {
		w := link(t.links[k].word.Load())
		if s := w.state(); s != linkFree && s != linkRetired && s < len(linkStates) {
			out = append(out, LinkInfo{k, linkStates[s], w.client(), w.server()})
		}
	}
	return out
}
