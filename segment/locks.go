package segment

import (
	"os"
	"sync"

	"github.com/ringbus/ringbus/internal/sys"
)

// locks is one holder of lock bytes. What a holder has is dropped when it is
// closed or its process dies, and excludes every other holder.
type locks interface {
	// try takes byte i if nobody else has it. It succeeds again for the same
	// holder.
	try(i int) (bool, error)
	unlock(i int) error
	// held says whether another holder has byte i.
	held(i int) (bool, error)
	close() error
}

// fileLocks are OFD locks through one open file description. What must not be
// shared is the description, so no mapping is made of f: a mapping would keep
// it, and with it the locks, until it is unmapped.
type fileLocks struct{ f *os.File }

func (l fileLocks) try(i int) (bool, error)  { return sys.TryLock(l.f, lockBase+int64(i)) }
func (l fileLocks) unlock(i int) error       { return sys.Unlock(l.f, lockBase+int64(i)) }
func (l fileLocks) held(i int) (bool, error) { return sys.Locked(l.f, lockBase+int64(i)) }
func (l fileLocks) close() error             { return l.f.Close() }

// tables has the lock table of each memory that FromBytes was given, for each
// kernel that is played over it, as long as somebody has it open.
var tables = struct {
	sync.Mutex
	m map[tableKey]*table
}{m: make(map[tableKey]*table)}

type tableKey struct {
	first  *byte
	kernel uint64
}

// table is the lock table of one memory within this process.
type table struct {
	sync.Mutex
	key     tableKey
	holders int // guarded by tables
	held    map[int]*tableLocks
}

// tableLocks is one holder of bytes of a table.
type tableLocks struct {
	t      *table
	closed bool
}

func newTableLocks(b []byte, kernel uint64) *tableLocks {
	key := tableKey{&b[0], kernel}
	tables.Lock()
	defer tables.Unlock()
	t := tables.m[key]
	if t == nil {
		t = &table{key: key, held: make(map[int]*tableLocks)}
		tables.m[t.key] = t
	}
	t.holders++
	return &tableLocks{t: t}
}

func (l *tableLocks) try(i int) (bool, error) {
	l.t.Lock()
	defer l.t.Unlock()
	if l.closed {
		return false, os.ErrClosed
	}
	if h := l.t.held[i]; h != nil {
		return h == l, nil
	}
	l.t.held[i] = l
	return true, nil
}

func (l *tableLocks) unlock(i int) error {
	l.t.Lock()
	defer l.t.Unlock()
	if l.t.held[i] == l {
		delete(l.t.held, i)
	}
	return nil
}

func (l *tableLocks) held(i int) (bool, error) {
	l.t.Lock()
	defer l.t.Unlock()
	h := l.t.held[i]
	return h != nil && h != l, nil
}

func (l *tableLocks) close() error {
	l.t.Lock()
	was := l.closed
	l.closed = true
	for i, h := range l.t.held {
		if h == l {
			delete(l.t.held, i)
		}
	}
	l.t.Unlock()
	if was {
		return nil
	}
	tables.Lock()
	defer tables.Unlock()
	if l.t.holders--; l.t.holders == 0 {
		delete(tables.m, l.t.key)
	}
	return nil
}
