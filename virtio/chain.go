package virtio

import (
	"io"

	"github.com/ringbus/ringbus/internal/ring/virtq"
)

// Chain is a request of the driver's: bytes to read, then room for the reply,
// both in the driver's memory, which it may change at any time. It lasts until
// Return, and is used again for another request after that: keep no slice of it.
// One goroutine at a time uses it.
type Chain struct {
	q       *Queue
	c       virtq.Chain
	read    cursor
	write   cursor
	written uint64
	one     [1]byte
}

// cursor is a place in pieces of memory.
type cursor struct {
	pieces [][]byte
	off    int // in the first
}

// next returns what is left of the first piece, nil at the end.
func (u *cursor) next() []byte {
	for len(u.pieces) > 0 {
		if b := u.pieces[0][u.off:]; len(b) > 0 {
			return b
		}
		u.pieces, u.off = u.pieces[1:], 0
	}
	return nil
}

func (c *Chain) begin() {
	c.read, c.write, c.written = cursor{pieces: c.c.Readable}, cursor{pieces: c.c.Writable}, 0
}

func (c *Chain) check() {
	if !c.c.Live() {
		panic("virtio: Chain used after Return")
	}
}

// Len is the number of bytes that the driver wrote, whatever of it was read.
func (c *Chain) Len() uint64 { return c.c.ReadableLen() }

// Room is the number of bytes that the reply may have.
func (c *Chain) Room() uint64 { return c.c.WritableLen() }

// Readable is what the driver wrote, in pieces, whatever of it was read.
func (c *Chain) Readable() [][]byte {
	c.check()
	return c.c.Readable
}

// Writable is the room for the reply, in pieces. Who fills it without Write
// calls Wrote.
func (c *Chain) Writable() [][]byte {
	c.check()
	return c.c.Writable
}

// Wrote says that the first n bytes of the reply are there, whatever Write has
// written. Write goes on behind what it wrote itself.
func (c *Chain) Wrote(n uint64) {
	c.check()
	if n > c.Room() {
		panic("virtio: Wrote more than there is room for")
	}
	c.written = n
}

// Read reads what the driver wrote, then returns io.EOF.
func (c *Chain) Read(p []byte) (n int, err error) {
	c.check()
	for n < len(p) {
		b := c.read.next()
		if b == nil {
			if n == 0 {
				return 0, io.EOF
			}
			break
		}
		k := copy(p[n:], b)
		c.read.off += k
		n += k
	}
	return n, nil
}

// WriteTo writes to w what Read would read, straight from the driver's memory.
func (c *Chain) WriteTo(w io.Writer) (n int64, err error) {
	c.check()
	for {
		b := c.read.next()
		if b == nil {
			return n, nil
		}
		k, err := w.Write(b)
		c.read.off += k
		n += int64(k)
		if err == nil && k < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
	}
}

// Write writes to the reply. The error is io.ErrShortWrite if there is no room
// for all of p.
func (c *Chain) Write(p []byte) (n int, err error) {
	c.check()
	for n < len(p) {
		b := c.write.next()
		if b == nil {
			return n, io.ErrShortWrite
		}
		k := copy(b, p[n:])
		c.write.off += k
		c.written += uint64(k)
		n += k
	}
	return n, nil
}

// ReadFrom writes to the reply what r has, straight into the driver's memory. The
// error is io.ErrShortWrite if there is no room for all of it.
func (c *Chain) ReadFrom(r io.Reader) (n int64, err error) {
	c.check()
	for idle := 0; idle < 100; {
		b := c.write.next()
		full := b == nil
		if full {
			b = c.one[:] // is that all?
		}
		k, err := r.Read(b)
		switch {
		case full && k > 0:
			return n, io.ErrShortWrite
		case !full:
			c.write.off += k
			c.written += uint64(k)
			n += int64(k)
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if idle++; k > 0 {
			idle = 0
		}
	}
	return n, io.ErrNoProgress
}

// Return gives the chain back to the driver, with what was written to the reply.
// Many at once: [Queue.Return].
func (c *Chain) Return() error {
	c.check()
	return c.q.Return(c)
}

var (
	_ io.Reader     = (*Chain)(nil)
	_ io.Writer     = (*Chain)(nil)
	_ io.WriterTo   = (*Chain)(nil)
	_ io.ReaderFrom = (*Chain)(nil)
)
