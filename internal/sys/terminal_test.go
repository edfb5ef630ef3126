package sys_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ringbus/ringbus/internal/sys"
)

func TestOnlyATerminalIsOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/dev/ptmx": true, "/dev/null": false, file: false} {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := sys.Terminal(f); got != want {
			t.Errorf("%s: %v", path, got)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if sys.Terminal(f) {
			t.Errorf("%s is a terminal though it is closed", path)
		}
	}
}
