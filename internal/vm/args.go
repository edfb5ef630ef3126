package vm

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// A Bus is what a guest gets to see of a bus.
type Bus struct {
	Path     string // of its file
	Size     int64
	Doorbell string // path of the doorbell server's socket; empty: there is none
}

// Vectors is how many interrupts a doorbell device has.
const Vectors = 4

// check says why QEMU could not make a device of the bus.
func (b Bus) check() error {
	if b.Size <= 0 || b.Size&(b.Size-1) != 0 {
		return fmt.Errorf("bus %s has %d bytes: the memory of a PCI device is a power of two: make the bus with --size 256MiB, for example", b.Path, b.Size)
	}
	return nil
}

// Arguments returns QEMU's arguments for a device of the bus.
func (b Bus) Arguments() ([]string, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if b.Doorbell != "" {
		return []string{
			"-chardev", "socket,id=ringbus,path=" + escaped(b.Doorbell),
			"-device", fmt.Sprintf("ivshmem-doorbell,chardev=ringbus,vectors=%d", Vectors),
		}, nil
	}
	return []string{
		"-object", fmt.Sprintf("memory-backend-file,id=ringbus,share=on,mem-path=%s,size=%d", escaped(b.Path), b.Size),
		"-device", "ivshmem-plain,memdev=ringbus",
	}, nil
}

// escaped writes a value as QEMU's lists of options want it.
func escaped(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// Libvirt returns what a domain of libvirt needs for a device of the bus.
func (b Bus) Libvirt() (string, error) {
	args, err := b.Arguments()
	if err != nil {
		return "", err
	}
	if b.Doorbell != "" {
		return fmt.Sprintf(`<!-- in <devices>; the memory comes from the server -->
<shmem name='ringbus'>
  <model type='ivshmem-doorbell'/>
  <server path='%s'/>
  <msi vectors='%d' ioeventfd='on'/>
</shmem>
<!-- so that the guest gets the interrupts through VFIO; and <ioapic driver='qemu'/> in <features> -->
<iommu model='intel'>
  <driver intremap='on'/>
</iommu>
`, text(b.Doorbell), Vectors), nil
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<!-- <domain> needs xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0', and the user of its
     QEMU the right to %s (a bus of mode 0660 and that user's group; under
     AppArmor or SELinux a rule too). libvirt's own <shmem> finds files in /dev/shm itself only. -->
<qemu:commandline>
`, strings.ReplaceAll(b.Path, "--", "- -"))
	for _, a := range args {
		fmt.Fprintf(&s, "  <qemu:arg value='%s'/>\n", text(a))
	}
	s.WriteString("</qemu:commandline>\n")
	return s.String(), nil
}

func text(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Quoted joins arguments as a shell wants them.
func Quoted(args []string) string {
	q := make([]string, len(args))
	for i, a := range args {
		q[i] = a
		if a == "" || strings.ContainsFunc(a, func(r rune) bool {
			return !strings.ContainsRune("-_=+.,:/@%", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) {
			q[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(q, " ")
}

// commandLine is what the guest's kernel is told. Checks that take time and say
// nothing about a guest that lives for minutes are left out.
func (c *Config) commandLine() string {
	words := []string{
		"console=ttyS1", "panic=-1", "reboot=t", "rdinit=" + initFile,
		"tsc=reliable", "no_timer_check", "cryptomgr.notests", "mitigations=off", "nokaslr",
		"nowatchdog", "i8042.noaux", "i8042.nokbd", "random.trust_cpu=on", "oops=panic",
	}
	if c.Verbose == nil {
		words = append(words, "quiet", "loglevel=4")
	} else {
		words = append(words, "ignore_loglevel")
	}
	if c.Bus.Doorbell != "" {
		words = append(words, "intel_iommu=on")
	}
	return strings.Join(append(words, c.Append...), " ")
}

// arguments returns all of QEMU's arguments. Descriptors 3 to 6 are the link, the
// kernel's console, the monitor, and the file system.
func (c *Config) arguments(k Kernel, accel string) ([]string, error) {
	bus, err := c.Bus.Arguments()
	if err != nil {
		return nil, err
	}
	machine := "q35"
	if c.Bus.Doorbell != "" {
		machine += ",kernel-irqchip=split"
		bus = append([]string{"-device", "intel-iommu,intremap=on"}, bus...)
	}
	// With one CPU that stays the only one QEMU's emulation translates atomic
	// instructions into several, which only that CPU could not tell.
	args := []string{
		"-name", "ringbus-guest", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", machine, "-accel", accel, "-cpu", "max",
		"-smp", fmt.Sprintf("%d,maxcpus=%d", c.CPUs, max(2, c.CPUs)),
		"-m", strconv.FormatInt(c.Memory>>20, 10),
		"-chardev", "socket,id=link,fd=3", "-device", "isa-serial,index=0,chardev=link",
		"-chardev", "socket,id=console,fd=4", "-device", "isa-serial,index=1,chardev=console",
		"-chardev", "socket,id=monitor,fd=5", "-mon", "chardev=monitor,mode=control",
		"-kernel", k.Path, "-initrd", "/proc/self/fd/6", "-append", c.commandLine(),
	}
	return append(append(args, bus...), c.QEMU...), nil
}
