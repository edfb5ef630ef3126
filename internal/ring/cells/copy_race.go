//go:build race

package cells

import "github.com/ringbus/ringbus/internal/mem"

// write and read copy payload. Under the race detector they do so word by word,
// each atomically: a lapped reader copies what may be written meanwhile, and
// finds out afterwards. to and from lie in the ring, at the beginning of a cell.
func write(to, from []byte) {
	mem.CopyIn(mem.U64s(to[:cap(to)], 0, (len(from)+7)/8), from)
}

func read(to, from []byte) {
	mem.CopyOut(to[:len(from)], mem.U64s(from[:cap(from)], 0, (len(from)+7)/8))
}
