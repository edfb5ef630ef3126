package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestVMArgsNameTheFileOfTheBus(t *testing.T) {
	dir := shmtest.Dir(t)
	c := call(t, dir, nil, "vm", "args", "--size", "1M").status(0)
	want := "-object memory-backend-file,id=ringbus,share=on,mem-path=" + dir + "/default,size=1048576 -device ivshmem-plain,memdev=ringbus\n"
	if c.out.String() != want {
		t.Errorf("printed %q, want %q", c.out.String(), want)
	}
	type object struct {
		Args   []string
		Path   string
		Size   int64
		Socket string
	}
	o := decode[object](call(t, dir, nil, "vm", "args", "--json", "--doorbell", "/run/a,b").status(0))
	if o.Size != 1<<20 || o.Path != dir+"/default" || o.Socket != "/run/a,b" || !strings.Contains(strings.Join(o.Args, " "), "path=/run/a,,b ") {
		t.Errorf("printed %+v", o)
	}
	clean(t, dir)
	tidy(t, dir)
}

func TestVMArgsForLibvirtAreXML(t *testing.T) {
	dir := shmtest.Dir(t)
	for _, c := range []struct{ args, has string }{
		{"vm args --libvirt --size 1M", "<qemu:arg value='ivshmem-plain,memdev=ringbus'/>"},
		{"vm args --libvirt --doorbell /run/a&b", "<server path='/run/a&amp;b'/>"},
	} {
		out := call(t, dir, nil, strings.Fields(c.args)...).status(0).out.String()
		if !strings.Contains(out, c.has) {
			t.Errorf("%s printed %s", c.args, out)
		}
	}
	tidy(t, dir)
}

func TestBusThatIsNoPowerOfTwoCannotBeADevice(t *testing.T) {
	dir := shmtest.Dir(t)
	call(t, dir, nil, "vm", "args", "--size", "3M").status(1).says("a power of two")
	tidy(t, dir)
}

func TestVMRunSaysWhatIsMissing(t *testing.T) {
	dir := shmtest.Dir(t)
	none := filepath.Join(t.TempDir(), "vmlinuz")
	call(t, dir, nil, "vm", "run", "--kernel", none, "--", "ringbus", "version").status(1).says("no such file")
	if err := os.WriteFile(none, []byte("no kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, dir, nil, "vm", "run", "--kernel", none, "--", "ringbus", "version").status(1).says("no kernel image of x86 Linux")
	tidy(t, dir)
}
