package ioqueue

import (
	"cmp"
	"encoding/binary"
	"os"
	"slices"
	"sync"

	"github.com/ringbus/ringbus/internal/sys"
)

// The ops that a [File] knows. Each may be done twice without harm, and be
// Repeatable.
const (
	Read    Code = 1 // len(Into) bytes from Offset; fewer come back at the end of the file
	Write   Code = 2 // Data to Offset
	Flush   Code = 3 // what was written before is on the disk when it is done
	Discard Code = 4 // see NewDiscard
)

// NewDiscard makes an op that gives up length bytes from offset: they read as
// zero from then on.
func NewDiscard(offset, length int64) Op {
	return Op{Code: Discard, Offset: offset, Data: binary.LittleEndian.AppendUint64(nil, uint64(length)), Repeatable: true}
}

// File is a file or a block device as a [Device]. Reads, and writes that do not
// overlap, of one batch are done in the order of their offsets, and neighbours
// in one vectored call. What fails completes with a negative error number. It
// lasts as long as the file is open. Its methods may be called concurrently.
type File struct {
	f  *os.File
	mu sync.Mutex // over what follows
	of []*Request
	io [][]byte
}

// NewFile makes a device of f, which stays the caller's to close. All who share
// a queue need the same rights to it.
func NewFile(f *os.File) *File { return &File{f: f} }

// Execute is [Device].
func (d *File) Execute(ops []Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(ops) > 0 {
		n := 1
		if c := ops[0].Code; c == Read || c == Write {
			for n < len(ops) && ops[n].Code == c {
				n++
			}
			d.transfer(ops[:n])
		} else {
			ops[0].Complete(d.single(&ops[0]))
		}
		ops = ops[n:]
	}
}

// single carries out what is neither read nor write.
func (d *File) single(r *Request) int32 {
	var err error
	switch {
	case r.Code == Flush:
		err = d.f.Sync()
	case r.Code == Discard && len(r.Data) == 8:
		err = sys.PunchHole(d.f, r.Offset, int64(binary.LittleEndian.Uint64(r.Data)))
	default:
		return -int32(sys.Invalid)
	}
	return failure(err)
}

func failure(err error) int32 {
	if err == nil {
		return 0
	}
	return -int32(sys.Number(err))
}

// bytes is the memory that r is about.
func (r *Request) bytes() []byte {
	if r.Code == Read {
		return r.Into
	}
	return r.Data
}

func (r *Request) end() int64 { return r.Offset + int64(len(r.bytes())) }

// transfer carries out reads, or writes.
func (d *File) transfer(ops []Request) {
	d.of = d.of[:0]
	for i := range ops {
		d.of = append(d.of, &ops[i])
	}
	slices.SortStableFunc(d.of, func(a, b *Request) int { return cmp.Compare(a.Offset, b.Offset) })
	if ops[0].Code == Write && overlap(d.of) {
		for i := range ops { // the last one counts
			d.of[i] = &ops[i]
		}
	}
	for at := d.of; len(at) > 0; {
		n := 1
		for n < len(at) && n < sys.MaxVector && at[n].Offset == at[n-1].end() {
			n++
		}
		d.neighbours(at[:n])
		at = at[n:]
	}
}

// overlap reports whether two of ops, which are sorted, are about the same
// bytes.
func overlap(ops []*Request) bool {
	for i := 1; i < len(ops); i++ {
		if ops[i].Offset < ops[i-1].end() {
			return true
		}
	}
	return false
}

// neighbours transfers what lies one behind the other, and completes each op
// with what it got of it.
func (d *File) neighbours(ops []*Request) {
	d.io = d.io[:0]
	total := 0
	for _, r := range ops {
		d.io = append(d.io, r.bytes())
		total += len(r.bytes())
	}
	done, err := 0, error(nil)
	for bufs := d.io; done < total; {
		var n int
		if ops[0].Code == Read {
			n, err = sys.Preadv(d.f, bufs, ops[0].Offset+int64(done))
		} else {
			n, err = sys.Pwritev(d.f, bufs, ops[0].Offset+int64(done))
		}
		if n <= 0 || err != nil {
			break // the end of the file, or an error
		}
		done += n
		for n > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if n > 0 {
			bufs[0] = bufs[0][n:]
		}
	}
	for _, r := range ops {
		n := min(done, len(r.bytes()))
		done -= n
		switch {
		case n < len(r.bytes()) && err != nil && (n == 0 || r.Code == Write):
			r.Complete(failure(err))
		default:
			r.Complete(int32(n))
		}
	}
}
