package examples

import (
	"os/exec"
	"regexp"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestMain(m *testing.M) { shmtest.Main(m, nil) }

func TestExamplesRun(t *testing.T) {
	for name, want := range map[string]string{
		"hello":    "hello, world\n",
		"zerocopy": "frame 0: 921600 bytes, lost before it: 0\nframe 1: 921600 bytes, lost before it: 0\n",
		"ioqueue":  "helloworld\n",
		"typed":    "{X:1.5 Y:2 Heading:0.25}\n",
		"calls":    "[{X:3 Y:4}]\n",
		"replies":  "40\n41\n42\n",
		"journal":  `32768 journal {"time":"","level":"INFO","msg":"gripper closed","force":4.2,"part":"A-17"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			program := t.TempDir() + "/" + name
			if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./"+name).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			cmd := exec.Command(program)
			cmd.Env = append(cmd.Environ(), "RINGBUS_DIR="+t.TempDir())
			out, err := cmd.CombinedOutput()
			out = regexp.MustCompile(`"time":"[^"]*"`).ReplaceAll(out, []byte(`"time":""`))
			if err != nil || string(out) != want {
				t.Errorf("it printed %q (%v), want %q", out, err, want)
			}
		})
	}
}
