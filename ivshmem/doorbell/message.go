package doorbell

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/ringbus/ringbus/internal/sys"
)

const (
	version  = 0
	memoryID = -1 // the message that carries the shared memory

	messageSize = 8

	// MaxID is the largest id of a client.
	MaxID = 1<<16 - 1
	// MaxVectors is how many vectors a client can have at most.
	MaxVectors = 64
)

// A ProtocolError says what the other side of a connection did that the protocol
// has no place for.
type ProtocolError struct {
	Field string // which part, in words
	Have  string
	Want  string
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("ivshmem protocol: %s is %s, want %s", e.Field, e.Have, e.Want)
}

// message is one message: its number and its file, nil if it has none.
type message struct {
	number int64
	file   *os.File
}

func (m message) close() {
	if m.file != nil {
		_ = m.file.Close()
	}
}

// send writes a message. c's goroutine waits as long as the other side does not
// read, until c is closed.
func send(c *net.UnixConn, number int64, f *os.File) error {
	var b [messageSize]byte
	binary.LittleEndian.PutUint64(b[:], uint64(number))
	return sys.SendFile(c, b[:], f)
}

// receive reads one message. The bytes may come in pieces, and the file with any
// of them.
func receive(c *net.UnixConn) (message, error) {
	var b [messageSize]byte
	var m message
	for have := 0; have < messageSize; {
		n, files, err := sys.ReceiveFiles(c, b[have:])
		if err == nil {
			err = m.take(files)
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
		if errors.Is(err, io.EOF) && have > 0 {
			err = &ProtocolError{"length of a message", fmt.Sprint(have, " bytes"), fmt.Sprint(messageSize, " bytes")}
		}
		if err != nil {
			m.close()
			return message{}, err
		}
		have += n
	}
	m.number = int64(binary.LittleEndian.Uint64(b[:]))
	return m, nil
}

// take makes the one file of files that of the message.
func (m *message) take(files []*os.File) error {
	for _, f := range files {
		if m.file == nil && len(files) == 1 {
			m.file = f
			return nil
		}
		_ = f.Close()
	}
	if len(files) > 0 {
		return &ProtocolError{"number of descriptors of a message", "more than one", "one at most"}
	}
	return nil
}

// id checks a number that must be a client's id.
func (m message) id(field string) (uint16, error) {
	if m.number < 0 || m.number > MaxID {
		return 0, &ProtocolError{field, fmt.Sprint(m.number), fmt.Sprintf("0 to %d", MaxID)}
	}
	return uint16(m.number), nil
}
