//go:build !race

package guests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

func TestExampleOfTwoGuestsAndTheirHost(t *testing.T) {
	dir := shmtest.Dir(t)
	example := filepath.Join(t.TempDir(), "guests")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", example, "../../examples/guests")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server, _, serverSays := cli(t, dir, "vm", "run", "--timeout", "80s", "--file", example, "--", "guests", "server")
	client, got, clientSays := cli(t, dir, "vm", "run", "--timeout", "80s", "--file", example, "--", "guests", "client")
	for _, c := range []*exec.Cmd{server, client} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	host := exec.Command(example, "host")
	host.Env = append(os.Environ(), "RINGBUS_DIR="+dir, "RINGBUS_BUS=")
	out, err := host.CombinedOutput()
	if err != nil {
		t.Errorf("host: %v\n%s", err, out)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("server: %v\n%s", err, serverSays.String())
	}
	if err := client.Wait(); err != nil {
		t.Errorf("client: %v\n%s", err, clientSays.String())
	}
	if got.String() != "hello client, this is another kernel\n" {
		t.Errorf("the client got %q", got.String())
	}
	for _, line := range []string{"server is done\n", "client is done\n", " server INFO\n", " client INFO\n", " host INFO\n"} {
		if !strings.Contains(string(out), line) {
			t.Errorf("the host printed %q, without %q", out, line)
		}
	}
}
