//go:build !race && !invariants

package mutation

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// simulated is a package that exists only in overlays.
const simulated = "internal/simulated/atomic"

// The rings that are broken.
const (
	fanout   ring = "internal/ring/fanout"
	multilog ring = "internal/ring/multilog"
	cells    ring = "internal/ring/cells"
	mpsc     ring = "internal/ring/mpsc"
	virtq    ring = "internal/ring/virtq"
	calls    ring = "internal/ring/calls"
)

// ring is a ring's directory.
type ring string

func (r ring) file(name string) string { return string(r) + "/" + name }

func (r ring) name() string { return filepath.Base(string(r)) }

// named puts the name of r's package into a text for it.
func (r ring) named(text string) string { return strings.Replace(text, "RING", r.name(), 1) }

//go:embed testdata/atomic.txt
var simulatedAtomic string

//go:embed testdata/release.txt
var simulatedRelease string

//go:embed testdata/half.txt
var simulatedHalf string

//go:embed testdata/memory.txt
var simulatedMemory string

type change struct{ old, new string }

// mutant is one way to break a ring, and the tests of which one must notice.
type mutant struct {
	name     string
	edge     string // what is broken, by the steps of the ring's model
	simulate bool   // on simulated memory; else the crash points are enough
	run      string
	changes  []change
}

// files is a set of changed files: contents by path from the repository's root.
type files map[string]string

// read returns a file as it is in f, or in the repository.
func (f files) read(t *testing.T, path string) string {
	t.Helper()
	if text, ok := f[path]; ok {
		return text
	}
	b, err := os.ReadFile(filepath.Join(root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// simulate puts the simulated memory under the ring.
func (f files) simulate(t *testing.T, r ring) {
	t.Helper()
	f[simulated+"/atomic.go"] = simulatedAtomic
	f[r.file("memory_simulated_test.go")] = r.named(simulatedMemory)
	f["internal/mem/release.go"] = "package mem\n"
	f["internal/mem/half_amd64_unsafe.go"] = "package mem\n"
	f["internal/mem/half_arm64_unsafe.go"] = "package mem\n"
	f["internal/mem/half_cas.go"] = simulatedHalf
	f["internal/mem/release_tso_unsafe.go"] = simulatedRelease
	for _, dir := range []string{"internal/mem", "internal/wake", string(r)} {
		sources, err := filepath.Glob(filepath.Join(root(t), dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sources {
			path := dir + "/" + filepath.Base(s)
			f[path] = strings.Replace(f.read(t, path), `"sync/atomic"`, `"github.com/ringbus/ringbus/`+simulated+`"`, 1)
		}
	}
}

// change makes c where its old text is, which must be one place of the ring.
func (f files) change(t *testing.T, r ring, c change) {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(root(t), string(r), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, s := range sources {
		if strings.HasSuffix(s, "_test.go") {
			continue
		}
		path := r.file(filepath.Base(s))
		text := f.read(t, path)
		if n := strings.Count(text, c.old); n > 0 {
			count += n
			f[path] = strings.Replace(text, c.old, c.new, 1)
		}
	}
	if count != 1 {
		t.Fatalf("%s has %d times, and should have once:\n%s\nchange the mutant as the code was changed", r, count, c.old)
	}
}

// overlay writes f to a directory of the test's and returns go's overlay file.
func (f files) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	replace := make(map[string]string)
	for path, text := range f {
		at := filepath.Join(dir, fmt.Sprintf("%d.txt", len(replace)))
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root(t), path)] = at
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(at, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return at
}
