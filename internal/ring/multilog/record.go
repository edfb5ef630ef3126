package multilog

import (
	"encoding/binary"
	"hash/crc32"
	"sync/atomic"
	"time"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// Header is what a record says of itself besides its data.
type Header struct {
	Level int16
	Mono  int64 // ns of the writer's monotonic clock; 0: not recorded
	Wall  int64 // ns since 1970, by the writer's clock; 0: not recorded
}

// Prefix is the writer's name and a record's key as they lie before the data,
// padded to a multiple of 8 bytes.
type Prefix struct {
	bytes     []byte
	name, key uint8
}

// Size is the prefix' size in bytes, which counts towards a record's size.
func (p *Prefix) Size() int { return len(p.bytes) }

// PrefixSize is the size in bytes of the prefix of the given name and key.
func PrefixSize(name, key string) int { return (len(name) + len(key) + 7) &^ 7 }

// Set makes p the prefix of the given name and key, which are cut off at
// [MaxName] and [MaxKey] bytes. It keeps p's memory.
func (p *Prefix) Set(name, key string) {
	name, key = name[:min(len(name), MaxName)], key[:min(len(key), MaxKey)]
	p.name, p.key = uint8(len(name)), uint8(len(key))
	p.bytes = append(append(p.bytes[:0], name...), key...)
	for len(p.bytes)%8 != 0 {
		p.bytes = append(p.bytes, 0)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers a record from its length on, and its position, so that a
// record of another lap does not pass for this one.
func checksum(pos uint64, b []byte) uint32 {
	return crc32.Update(uint32(pos^pos>>32), castagnoli, b)
}

// Data returns the part of c's bytes that is for data, behind a prefix of the
// given size. It is the shared memory itself: it may be written until Commit or
// Abort, and not read by others before.
func (l *Log) Data(c Claim, prefix int) []byte {
	b := l.bytes[l.index(c.Pos)*CellSize:][:c.cells*CellSize]
	return b[headerSize+prefix : len(b) : len(b)]
}

// Fill stores data where Data(c, prefix) is, so that the race detector knows
// what a reader does that is lapped.
func (l *Log) Fill(c Claim, prefix int, data []byte) {
	mem.CopyIn(l.cell(c.Pos, c.cells)[(headerSize+prefix)/8:], data)
}

// Finish stores all of the record at c but its data, of which there are length
// bytes in place, and commits it.
func (t *Tx) Finish(c Claim, h Header, p *Prefix, length int) error {
	l := t.log
	if !t.has(c) {
		return t.yield(c) // its cells may be another's
	}
	w := l.cell(c.Pos, c.cells)
	p.copyIn(w[4:])
	t.stamp(c, w, h, p, length)
	return t.Commit(c)
}

// fetch is how many cells ahead a writer asks for.
const fetch = maxSlack + 16

// Append adds a record with the given data, whole or not at all, and returns
// its position. now is called once the record has its place, and tells the
// times of its header, in ns.
func (t *Tx) Append(data []byte, level int16, now func() (mono, wall int64), p *Prefix) (uint64, error) {
	l := t.log
	size := len(p.bytes) + len(data)
	c := Claim{t.hint, cellsFor(size)}
	if c.cells <= l.max && t.straight(c.Pos, c.cells) {
		t.claimed(c)
		if t.peers.Fenced() { // edge: claim, as in Reserve
			return 0, t.fenced(c)
		}
	} else {
		var err error
		if c, err = t.Reserve(size, size); err != nil {
			return 0, err
		}
	}
	var mono, wall int64
	if now != nil {
		mono, wall = now()
	}
	// Readers have had the cells for a lap, and W10 waits for every store: it
	// asks for what comes behind the next that giveUp looks at.
	mem.PrefetchW(&l.words[(c.Pos+fetch)&l.mask*cellWords])
	w := l.cell(c.Pos, c.cells)
	p.copyIn(w[4:])
	mem.CopyIn(w[4+len(p.bytes)/8:], data)
	p.header(w, level, mono, wall, len(data))
	if l.config.Checksum {
		l.sum(c.Pos, len(p.bytes), len(data))
	}
	busy := packState(l.lap(c.Pos), stBusy, t.peers.Me, c.cells)
	invariant.Point("multilog.W9") // from here on as in Commit
	if !l.state(c.Pos).CompareAndSwap(uint64(busy), uint64(busy.with(stReady))) {
		return 0, t.yield(c)
	}
	invariant.Point("multilog.W10")
	l.wakeReaders(t.peers.Ring) // edges: publish, wake reader
	return c.Pos, nil
}

// copyIn stores p at w. It is a few words most of the time, and a call of copy
// costs more than they do.
func (p *Prefix) copyIn(w []atomic.Uint64) {
	for i := range len(p.bytes) / 8 {
		mem.StoreRelease(&w[i], binary.LittleEndian.Uint64(p.bytes[8*i:]))
	}
}

// stamp stores the header, and the checksum of what lies behind it.
func (t *Tx) stamp(c Claim, w []atomic.Uint64, h Header, p *Prefix, length int) {
	p.header(w, h.Level, h.Mono, h.Wall, length)
	if t.log.config.Checksum {
		t.log.sum(c.Pos, len(p.bytes), length)
	}
}

func (p *Prefix) header(w []atomic.Uint64, level int16, mono, wall int64, length int) {
	w = w[:4]
	mem.StoreRelease(&w[0], uint64(length)<<32)
	mem.StoreRelease(&w[1], uint64(uint16(level))|uint64(p.key)<<16|uint64(p.name)<<24)
	mem.StoreRelease(&w[2], uint64(mono))
	mem.StoreRelease(&w[3], uint64(wall))
}

// sum stores the checksum of the record at p.
func (l *Log) sum(p uint64, prefix, length int) {
	i := l.index(p)
	b := l.bytes[i*CellSize:]
	crc := checksum(p, b[4:headerSize+prefix+length])
	mem.StoreRelease(&l.words[i*cellWords], uint64(length)<<32|uint64(crc))
}

// Record is one record, copied out of the log: it stays what it is until the
// next call of its Rx.
type Record struct {
	Position uint64 // of its first cell: records are in the order of their positions
	Sequence uint64 // how many records were finished before it, ever
	Header
	Writer []byte // the name of the writer's node
	Key    []byte
	Data   []byte
}

// Time is the record's wall time, or zero.
func (r *Record) Time() time.Time {
	if r.Wall == 0 {
		return time.Time{}
	}
	return time.Unix(0, r.Wall)
}

// decode reads the record from b, its bytes from the header on, which are our
// own copy of what a peer wrote.
func (r *Record) decode(b []byte, name, key, prefix int) {
	r.Writer = b[headerSize : headerSize+name]
	r.Key = b[headerSize+name : headerSize+name+key]
	r.Data = b[headerSize+prefix:]
}

// Copy makes p the same as q. It keeps p's memory.
func (p *Prefix) Copy(q *Prefix) {
	p.bytes = append(p.bytes[:0], q.bytes...)
	p.name, p.key = q.name, q.key
}
