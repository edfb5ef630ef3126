package segment

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// The size of a bus is what its superblock says: the memory of an image must be
// what is there.
func TestImageOfABusThatIsLargerThanAllMemory(t *testing.T) {
	dir := shmtest.Dir(t)
	o := options(dir)
	o.Size = maxSize
	s, err := Open("bus", o)
	if err != nil {
		t.Fatal(err)
	}
	n := join(t, s, "a")
	create(t, n, lane, 1<<16).Bytes()[5] = 7
	whole := filepath.Join(dir, "bus")
	short := filepath.Join(t.TempDir(), "short")
	in, err := os.Open(whole)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b := make([]byte, controlSize)
	if _, err := io.ReadFull(in, b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(short, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]byte{whole: 7, short: 0} {
		image, err := OpenImage(path)
		if err != nil {
			t.Fatal(err)
		}
		if nodes := image.Nodes(); image.Size() != maxSize || len(nodes) != 1 || nodes[0].Name != "a" {
			t.Errorf("%d bytes, %+v", image.Size(), nodes)
		}
		area, err := image.Find(lane)
		if err != nil || len(area) != 1<<16 || area[5] != want {
			t.Errorf("%d bytes of an area: %v", len(area), err)
		}
		if err := image.Close(); err != nil {
			t.Error(err)
		}
	}
}
