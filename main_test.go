package ringbus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// roles are what this test binary can be as another process. The files that
// need one add it.
var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) { shmtest.Main(m, roles) }

// busSize is the size of the tests' buses in bytes.
const busSize = 16 << 20

// options are those by which every process of a test opens the bus in dir.
func options(dir, name string) *ringbus.Options {
	return &ringbus.Options{Name: name, Dir: dir, Size: busSize}
}

// soon is a context that ends when waiting any longer would be in vain.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	t.Cleanup(cancel)
	return ctx
}

// until polls for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !eventually(ok) {
		t.Fatalf("still not: %s", what)
	}
}

// eventually polls for a condition and says whether it came.
func eventually(ok func() bool) bool {
	end := time.Now().Add(shmtest.Deadline)
	for i := 0; !ok(); i++ {
		if time.Now().After(end) {
			return false
		}
		if i < 100 {
			runtime.Gosched()
			continue
		}
		time.Sleep(100 * time.Microsecond)
	}
	return true
}

// payload fills b with what message n is: each byte follows from n and its
// index.
func payload(b []byte, n uint64) []byte {
	var id [8]byte
	binary.LittleEndian.PutUint64(id[:], (n+1)*0x9E3779B97F4A7C15)
	for i := range b {
		b[i] = id[i%8] ^ byte(i/8)
	}
	return b
}

// message returns message n in the given size.
func message(n uint64, size int) []byte { return payload(make([]byte, size), n) }

// intact says how b differs from message n of the given size.
func intact(b []byte, n uint64, size int) error {
	if len(b) != size {
		return fmt.Errorf("message %d has %d bytes, want %d", n, len(b), size)
	}
	var id [8]byte
	binary.LittleEndian.PutUint64(id[:], (n+1)*0x9E3779B97F4A7C15)
	for i, c := range b {
		if want := id[i%8] ^ byte(i/8); c != want {
			return fmt.Errorf("byte %d of message %d is %#x, want %#x", i, n, c, want)
		}
	}
	return nil
}

// sizes are those at which something changes: nothing, one line of an entry,
// the whole entry, a descriptor.
var sizes = []int{8, 0, 1, 40, 41, 104, 105, 512, 1000, 1024}

// sizeOf is the size in which message n is sent where sizes are mixed.
func sizeOf(n uint64) int { return sizes[n%uint64(len(sizes))] }

// mixed returns message n in its size.
func mixed(n uint64) []byte { return message(n, sizeOf(n)) }

// small are the options of most tests' topics, which the whole of sizes fits.
func small() *ringbus.PublisherOptions {
	return &ringbus.PublisherOptions{Depth: 16, MaxMessage: 1024, Holds: 34}
}

// panics says what f panicked with, nil if it did not.
func panics(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// closed reports whether err is what a call on something closed returns.
func closed(err error) bool { return errors.Is(err, ringbus.ErrClosed) }
