package calls

import "fmt"

// Limits of the format.
const (
	MaxServers = 64
	MaxLinks   = 256
	MaxDepth   = 1 << 14   // calls outstanding on one link: two entries of a packed ring each
	MaxBytes   = 1<<30 - 1 // of a request, of a reply
)

// Config is what all of a service agree on. It is one word, so it is there
// whole or not at all.
type Config struct {
	Depth      int // calls that one client may have outstanding with one server, a power of two
	MaxRequest int // bytes
	MaxReply   int // bytes
}

// LimitError says that a parameter is outside of what the format can express.
type LimitError struct {
	Field string
	Have  int
	Want  string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s %d: must be %s", e.Field, e.Have, e.Want)
}

// Check says which field of c is outside of the format's limits.
func (c Config) Check() error {
	switch {
	case c.Depth < 1 || c.Depth > MaxDepth || c.Depth&(c.Depth-1) != 0:
		return &LimitError{"depth", c.Depth, fmt.Sprintf("a power of two from 1 to %d calls", MaxDepth)}
	case c.MaxRequest < 1 || c.MaxRequest > MaxBytes:
		return &LimitError{"max-request", c.MaxRequest, fmt.Sprintf("1 to %d bytes", MaxBytes)}
	case c.MaxReply < 1 || c.MaxReply > MaxBytes:
		return &LimitError{"max-reply", c.MaxReply, fmt.Sprintf("1 to %d bytes", MaxBytes)}
	}
	return nil
}

func (c Config) pack() uint64 {
	w := uint64(0)
	for d := c.Depth; d > 1; d >>= 1 {
		w++
	}
	return w | uint64(c.MaxRequest)<<4 | uint64(c.MaxReply)<<34
}

// unpackConfig undoes pack; a word of 0 is no configuration.
func unpackConfig(w uint64) (c Config, ok bool) {
	return Config{Depth: 1 << (w & 15), MaxRequest: int(w>>4) & MaxBytes, MaxReply: int(w >> 34)}, w != 0
}

// server is the word that owns a server's slot: state 3 bits, generation 20,
// owner 20.
type server uint64

// States of a server's slot.
const (
	serverFree    = 0
	serverHeld    = 1
	serverLeaving = 2 // its owner leaves or is dead: it gets no more links
	serverEvicted = 3 // likewise, and may still write into the areas of those it has
)

const genMask = 1<<20 - 1

func packServer(state int, gen uint64, owner uint32) server {
	return server(uint64(state) | (gen&genMask)<<3 | uint64(owner)<<23)
}

func (s server) state() int            { return int(s & 7) }
func (s server) gen() uint64           { return uint64(s>>3) & genMask }
func (s server) owner() uint32         { return uint32(s>>23) & (1<<20 - 1) }
func (s server) with(state int) server { return s&^7 | server(state) }

// link is the word that owns a link: state 3 bits, generation 14, client 20,
// server's slot 6, server's generation 20, tainted 1.
type link uint64

// States of a link.
const (
	linkFree    = 0
	linkClaimed = 1
	linkOpen    = 2
	linkLeft    = 3
	linkLost    = 4
	linkRetired = 5
)

const (
	linkGens = 1<<14 - 1
	tainted  = link(1) << 63
)

func packLink(state int, gen uint64, client uint32) link {
	return link(uint64(state) | (gen&linkGens)<<3 | uint64(client)<<17)
}

func (l link) state() int        { return int(l & 7) }
func (l link) gen() uint64       { return uint64(l>>3) & linkGens }
func (l link) client() uint32    { return uint32(l>>17) & (1<<20 - 1) }
func (l link) server() int       { return int(l>>37) & (MaxServers - 1) }
func (l link) serverGen() uint64 { return uint64(l>>43) & genMask }

func (l link) with(state int) link { return l&^7 | link(state) }

// to is l with a server, open.
func (l link) to(slot int, gen uint64) link {
	return packLink(linkOpen, l.gen(), l.client()) | link(slot)<<37 | link(gen&genMask)<<43
}

// of says whether l is with the server of slot and generation.
func (l link) of(slot int, gen uint64) bool { return l.server() == slot && l.serverGen() == gen }

// ended is l when nobody has it any more.
func (l link) ended() link {
	if l&tainted != 0 {
		return l.with(linkRetired)
	}
	return packLink(linkFree, l.gen(), 0)
}
