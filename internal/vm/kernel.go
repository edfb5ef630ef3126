package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringbus/ringbus/internal/sys"
)

// A Kernel is a kernel image that a guest can boot.
type Kernel struct {
	Path    string
	Version string // as in "6.1.0-1-amd64"
}

// FindKernel returns the kernel at path or, if that is empty, the one in
// $RINGBUS_KERNEL, the host's own, or the newest of those in [KernelDir] and /boot.
func FindKernel(path string) (Kernel, error) {
	if path == "" {
		path = os.Getenv("RINGBUS_KERNEL")
	}
	if path != "" {
		return readKernel(path)
	}
	own := sys.Release()
	looked := []string{"/boot/vmlinuz-" + own, "/lib/modules/" + own + "/vmlinuz"}
	for _, pattern := range []string{KernelDir() + "/boot/vmlinuz-*", "/boot/vmlinuz-*", "/lib/modules/*/vmlinuz"} {
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, func(a, b string) int { return -versions(a, b) })
		looked = append(looked, found...)
	}
	var refused error
	for _, p := range looked {
		k, err := readKernel(p)
		switch {
		case err == nil:
			return k, nil
		case refused == nil && !errors.Is(err, fs.ErrNotExist):
			refused = err
		}
	}
	if refused != nil {
		return Kernel{}, fmt.Errorf("no kernel image that a guest could boot: %w", refused)
	}
	return Kernel{}, fmt.Errorf(noKernel, KernelDir())
}

const noKernel = `no kernel image for the guest: there is none in /boot, /lib/modules or %[1]s.
On Debian this gets one without installing it (on Ubuntu: linux-image-virtual):

  mkdir -p %[1]s && cd %[1]s
  apt-get download $(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
  dpkg-deb -x linux-image-*.deb .

Elsewhere name an image with --kernel or $RINGBUS_KERNEL`

// KernelDir is where a user keeps a kernel for guests, unpacked.
func KernelDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache"
	}
	return filepath.Join(cache, "ringbus", "guest")
}

// readKernel checks that an image can be booted and finds its version, as
// Documentation/x86/boot.rst describes the head of an image.
func readKernel(path string) (Kernel, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return Kernel{}, fmt.Errorf("%w: copy it with sudo to a place of yours and name that with --kernel", err)
	}
	if err != nil {
		return Kernel{}, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return Kernel{}, err
	}
	head = head[:n]
	if n < 0x260 || !bytes.Equal(head[0x202:0x206], []byte("HdrS")) {
		return Kernel{}, fmt.Errorf("%s is no kernel image of x86 Linux (bzImage)", path)
	}
	version := ""
	if at := int(binary.LittleEndian.Uint16(head[0x20e:])) + 0x200; at > 0x200 && at < n {
		text, _, _ := bytes.Cut(head[at:min(n, at+256)], []byte{0})
		version, _, _ = strings.Cut(string(text), " ")
	}
	return Kernel{path, version}, nil
}

// modules returns the directory of the kernel's modules, beside the image or on
// the host.
func (k Kernel) modules() (string, error) {
	dir := filepath.Dir(k.Path)
	for _, d := range []string{dir, filepath.Join(dir, "../lib/modules", k.Version), filepath.Join("/lib/modules", k.Version)} {
		if st, err := os.Stat(filepath.Join(d, "kernel")); err == nil && st.IsDir() && k.Version != "" {
			return d, nil
		}
	}
	return "", fmt.Errorf("no modules of kernel %s: want ../lib/modules/%[1]s beside %s", k.Version, dir)
}

// versions compares two names by the numbers in them.
func versions(a, b string) int {
	digits := func(r rune) bool { return r < '0' || r > '9' }
	x, y := strings.FieldsFunc(filepath.Base(a), digits), strings.FieldsFunc(filepath.Base(b), digits)
	return slices.CompareFunc(x, y, func(a, b string) int {
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
}
