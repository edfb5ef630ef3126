package doorbell

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/sys"
)

// ids knows which process has which id, in a file beside the socket, so that a
// server that comes after this one knows too. Its caller excludes others.
type ids struct {
	path    string
	boot    string
	next    uint16
	holders map[uint16]holder
}

// holder is a process that got an id: pid 0 if we cannot see it.
type holder struct {
	pid   int
	start uint64
}

// ended reports whether there is evidence that the process is no more.
func (h holder) ended() bool { return h.pid > 0 && sys.Ended(h.pid, h.start) }

const idsHead = "ringbus doorbell 1"

// openIDs reads the file at path. What was noted before the last boot counts no
// more: those processes have ended with it.
func openIDs(path string) (*ids, error) {
	boot, err := sys.BootID()
	if err != nil {
		return nil, err
	}
	t := &ids{path: path, boot: boot, holders: make(map[uint16]holder)}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	if err := t.parse(b); err != nil {
		return nil, fmt.Errorf("%q: %w; if no virtual machine runs with %q any more, remove it", path, err, path)
	}
	return t, nil
}

func (t *ids) parse(b []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(b))
	var boot string
	lines.Scan()
	if lines.Text() != idsHead {
		return fmt.Errorf("first line is %.40q, want %q", lines.Text(), idsHead)
	}
	lines.Scan()
	if _, err := fmt.Sscanf(lines.Text(), "boot %s", &boot); err != nil {
		return fmt.Errorf("second line is %.40q, want the id of a boot", lines.Text())
	}
	if boot != t.boot {
		return nil
	}
	lines.Scan()
	if _, err := fmt.Sscanf(lines.Text(), "next %d", &t.next); err != nil {
		return fmt.Errorf("third line is %.40q, want the next id", lines.Text())
	}
	for lines.Scan() {
		var id uint16
		var h holder
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %d", &id, &h.pid, &h.start); err != nil || h.pid < 0 {
			return fmt.Errorf("line %.40q is no id with its process", lines.Text())
		}
		t.holders[id] = h
	}
	return lines.Err()
}

// give picks an id that nobody has for process h and notes it.
func (t *ids) give(h holder) (uint16, error) {
	if len(t.holders) > MaxID {
		return 0, errors.New("every id is taken by a process that has not ended")
	}
	for ; ; t.next++ {
		if _, ok := t.holders[t.next]; !ok {
			break
		}
	}
	id := t.next
	t.next++ // the longer an id rests, the better
	t.holders[id] = h
	if err := t.save(); err != nil {
		delete(t.holders, id)
		return 0, err
	}
	return id, nil
}

// take gives an id back.
func (t *ids) take(id uint16) error {
	if _, ok := t.holders[id]; !ok {
		return nil
	}
	delete(t.holders, id)
	return t.save()
}

// save replaces the file, whole or not at all.
func (t *ids) save() error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nboot %s\nnext %d\n", idsHead, t.boot, t.next)
	for id, h := range t.holders {
		fmt.Fprintf(&b, "%d %d %d\n", id, h.pid, h.start)
	}
	fresh := t.path + ".new"
	if err := os.WriteFile(fresh, b.Bytes(), 0o600); err != nil {
		return err
	}
	invariant.Point("doorbell.notes.written")
	return os.Rename(fresh, t.path)
}

// close removes the file if there is nothing in it that the next server needs.
func (t *ids) close() error {
	if len(t.holders) > 0 {
		return nil
	}
	err := os.Remove(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
