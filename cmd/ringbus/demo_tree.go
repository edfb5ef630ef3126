package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A message of the demo is the number of the message, the length of the file's
// name, the name, the content. The last message has no name and no content.
const demoHead = 12

type sum = [sha256.Size]byte

// tree is the files that the demo sends, in order.
type tree struct {
	root    string
	names   []string
	sums    []sum // of each message, but for its number
	sizes   []int64
	bytes   int64 // of the messages of one round
	largest int   // message
}

// readTree reads all files below root.
func readTree(ctx context.Context, root string) (*tree, error) {
	t := &tree{root: root}
	var buf []byte
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "\n") {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size := messageSize(name, info.Size())
		if size > len(buf) {
			buf = make([]byte, size*2)
		}
		if err := readMessage(buf[:size], root, name, 0); err != nil {
			return err
		}
		t.names, t.sizes = append(t.names, name), append(t.sizes, int64(size))
		t.sums = append(t.sums, sha256.Sum256(buf[8:size]))
		t.bytes, t.largest = t.bytes+int64(size), max(t.largest, size)
		return nil
	})
	if err == nil && len(t.names) == 0 {
		err = fmt.Errorf("%s has no files", root)
	}
	return t, err
}

func messageSize(name string, content int64) int { return demoHead + len(name) + int(content) }

// readMessage makes a message of a file: b has the size that it had before.
func readMessage(b []byte, root, name string, number uint64) error {
	f, err := os.Open(filepath.Join(root, name))
	if err != nil {
		return err
	}
	defer f.Close()
	binary.LittleEndian.PutUint64(b, number)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(name)))
	n := copy(b[demoHead:], name)
	if _, err := io.ReadFull(f, b[demoHead+n:]); err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return nil
}

// ledger is what a subscriber of the demo has received. It writes it to a file
// with each message, for those who come to look when it is dead.
type ledger struct {
	First uint64 // sequence of the first message
	Next  uint64 // the one after the last
	Bytes uint64
	Lost  uint64
	Wrong uint64 // messages that are not the ones of their sequence
	Begin int64  // ns since 1970
	End   int64
	Chain sum // SHA-256 of itself and of each message's SHA-256, in order
}

// Messages is the number of messages received.
func (l *ledger) Messages() uint64 { return l.Next - l.First }

// add enters a message.
func (l *ledger) add(s sum) { l.Chain = link(l.Chain, s) }

func link(chain, s sum) sum {
	var b [2 * sha256.Size]byte
	copy(b[:], chain[:])
	copy(b[sha256.Size:], s[:])
	return sha256.Sum256(b[:])
}

// right says whether l is of the files of t, in order and without a gap.
func (l *ledger) right(t *tree) bool {
	var chain sum
	for i := l.First; i < l.Next; i++ {
		chain = link(chain, t.sums[i%uint64(len(t.sums))])
	}
	return l.Wrong == 0 && chain == l.Chain
}

func (l *ledger) save(f *os.File, buf []byte) error {
	b, err := binary.Append(buf[:0], binary.LittleEndian, l)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	return err
}

// readLedger reads what a subscriber saved; nothing, if it had not come to that.
func readLedger(path string) (l ledger, err error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		_, err = binary.Decode(b, binary.LittleEndian, &l)
	}
	return l, err
}
