package vm

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Kinds of frames.
const (
	frameInput  = 'i'
	frameEnd    = 'q'
	frameSignal = 's'

	frameHello  = 'h'
	frameGrant  = 'g'
	frameOutput = 'o'
	frameErrors = 'e'
	frameExit   = 'x'
	frameFailed = 'f'
)

const (
	frameHead = 3
	frameMax  = 4096    // bytes in a frame
	window    = 8 << 10 // bytes of input under way
)

// magic comes before the first frame, after whatever the firmware wrote.
const magic = "\x00ringbus guest\n"

// link is one end of the connection between a guest and its host. Sends may come
// from several goroutines.
type link struct {
	mu sync.Mutex
	w  io.Writer
	r  *bufio.Reader
}

func newLink(rw io.ReadWriter) *link {
	return &link{w: rw, r: bufio.NewReaderSize(rw, 16<<10)}
}

// send sends b in as many frames as it takes, one at least.
func (l *link) send(kind byte, b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		n := min(len(b), frameMax)
		f := append(make([]byte, 0, frameHead+n), kind, byte(n), byte(n>>8))
		if _, err := l.w.Write(append(f, b[:n]...)); err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
}

func (l *link) sendNumber(kind byte, n uint32) error {
	return l.send(kind, binary.LittleEndian.AppendUint32(nil, n))
}

// receive returns the next frame, whose bytes are valid until the next call.
func (l *link) receive(buf *[frameMax]byte) (kind byte, b []byte, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(l.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1]) | int(head[2])<<8
	if n > frameMax {
		return 0, nil, fmt.Errorf("frame %q of %d bytes, the limit is %d", head[0], n, frameMax)
	}
	_, err = io.ReadFull(l.r, buf[:n])
	return head[0], buf[:n], err
}

// number returns the number in a frame.
func number(b []byte) (uint32, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("number of %d bytes, want 4", len(b))
	}
	return binary.LittleEndian.Uint32(b), nil
}

// begin skips what comes before the magic.
func (l *link) begin() error {
	for at := 0; at < len(magic); {
		c, err := l.r.ReadByte()
		if err != nil {
			return err
		}
		switch c {
		case magic[at]:
			at++
		case magic[0]:
			at = 1
		default:
			at = 0
		}
	}
	return nil
}

// frames writes to one kind of frame.
type frames struct {
	l    *link
	kind byte
}

func (f frames) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := f.l.send(f.kind, b); err != nil {
		return 0, err
	}
	return len(b), nil
}
