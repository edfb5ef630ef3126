package segment

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
)

func TestFullFileSystemSaysBothFigures(t *testing.T) {
	dir, small := shmtest.SmallTmpfs(t, "4m")
	size, want := int64(64<<20), int64(8<<20)
	if !small { // no right to mount: ask for more than this machine has
		dir, size, want = shmtest.Dir(t), maxSize, maxSize/2
	}
	s, err := Open("bus", &Options{Dir: dir, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := join(t, s, "a")
	before, err := sys.Free(s.f)
	if err != nil || before == math.MaxInt64 {
		t.Fatalf("free: %d, %v", before, err)
	}
	_, _, err = n.Create(t.Context(), lane, want, nil)
	var full *SpaceError
	if !errors.As(err, &full) || full.In != "file system" || full.Need < want || full.Free == 0 || full.Free > before {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "needed") || !strings.Contains(err.Error(), s.Path()) {
		t.Errorf("the words are %q", err)
	}
	if after, err := sys.Free(s.f); err != nil || small && after != before {
		t.Errorf("the failed attempt kept %d bytes (%v)", before-after, err)
	}
	sound(t, n, 0)
	if !small {
		return
	}
	// What does fit is certain: every page can be touched.
	a := create(t, n, lane, 2<<20)
	for i := range a.Bytes() {
		a.Bytes()[i] = 1
	}
	if err := errors.Join(a.Close(), n.Remove(lane)); err != nil {
		t.Fatal(err)
	}
	if after, err := sys.Free(s.f); err != nil || after != before {
		t.Errorf("removal kept %d bytes (%v)", before-after, err)
	}
	again := create(t, n, lane, 2<<20)
	for i, c := range again.Bytes() {
		if c != 0 {
			t.Fatalf("byte %d of a new area is %d", i, c)
		}
	}
}

func TestNoRoomForABusLeavesNoFile(t *testing.T) {
	dir, small := shmtest.SmallTmpfs(t, "256k")
	if !small {
		return
	}
	var full *SpaceError
	if _, err := Open("bus", &Options{Dir: dir}); !errors.As(err, &full) || full.Need != controlSize {
		t.Fatalf("got %v", err)
	}
	if have, err := List(&Options{Dir: dir}); err != nil || len(have) != 0 {
		t.Errorf("left %+v, %v", have, err)
	}
}
