package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// monitor speaks QEMU's machine protocol (docs/interop/qmp-spec.txt).
type monitor struct {
	mu    sync.Mutex
	f     *os.File
	d     *json.Decoder
	ready bool
}

func newMonitor(f *os.File) *monitor { return &monitor{f: f, d: json.NewDecoder(f)} }

// do carries out one command without arguments.
func (m *monitor) do(command string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ready {
		var greeting json.RawMessage
		if err := m.d.Decode(&greeting); err != nil {
			return err
		}
		if err := m.call("qmp_capabilities"); err != nil {
			return err
		}
		m.ready = true
	}
	return m.call(command)
}

func (m *monitor) call(command string) error {
	if _, err := fmt.Fprintf(m.f, "{\"execute\":%q}\n", command); err != nil {
		return err
	}
	for {
		var answer struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := m.d.Decode(&answer); err != nil {
			return err
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("monitor: %s: %s", command, answer.Error.Desc)
		case answer.Return != nil:
			return nil
		} // else an event
	}
}

const tailSize = 16 << 10

// tail keeps the last tailSize bytes that are written to it.
type tail struct {
	mu   sync.Mutex
	b    []byte
	also interface{ Write([]byte) (int, error) }
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.also != nil {
		_, _ = t.also.Write(b)
	}
	t.b = append(t.b, b...)
	if n := len(t.b); n > tailSize {
		t.b = append([]byte(nil), t.b[n-tailSize:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
