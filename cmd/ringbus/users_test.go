package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
)

// as makes the command another user's. The test binary lies where that user may
// not go, so a copy is run.
func (c *command) as(program string, uid, gid uint32) *command {
	c.cmd.Path = program
	c.cmd.Dir = "/"
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, NoSetGroups: false}}
	return c
}

func TestBusesOfTwoUsersMeetOnlyIfTheirModesSaySo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("only root can be two users; segment's tests stand for this one")
		return
	}
	const group, one, two = 60100, 60101, 60102
	place, err := os.MkdirTemp("", "ringbus-users-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(place) })
	program := filepath.Join(place, "ringbus")
	if err := copyFile(program, os.Args[0]); err != nil {
		t.Fatal(err)
	}
	dir := shmtest.Dir(t)
	for path, mode := range map[string]os.FileMode{place: 0o755, program: 0o755, dir: 0o770} {
		if err := os.Chown(path, 0, group); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	user := func(uid uint32, in string, args ...string) *command {
		c := prepare(t, dir, args...).as(program, uid, group)
		c.cmd.Stdin = strings.NewReader(in)
		c.start().wait()
		return c
	}

	user(one, "mine\n", "pub", "t", "--bus", "closed").status(0)
	user(two, "", "sub", "t", "--bus", "closed", "--history", "1", "--count", "1").status(1).says("belongs to user 60101")
	user(two, "", "rm", "--bus", "closed", "--whole-bus", "--mode", "660").status(1)

	user(one, "ours\n", "pub", "t", "--bus", "open", "--mode", "660").status(0)
	user(two, "", "sub", "t", "--bus", "open", "--history", "1", "--count", "1").status(1).says("0660")
	c := user(two, "", "sub", "t", "--bus", "open", "--mode", "660", "--history", "1", "--count", "1").status(0)
	if c.out.String() != "ours\n" {
		t.Errorf("the group's bus has %q", c.out.String())
	}
	user(two, "", "doctor", "--bus", "open", "--mode", "660").status(0)
	for _, bus := range []string{"open", "closed"} {
		user(one, "", "rm", "--bus", bus, "--mode", map[string]string{"open": "660", "closed": "600"}[bus], "--whole-bus").status(0)
	}

	// In their default places they do not even see each other.
	for _, uid := range []uint32{one, two} {
		t.Cleanup(func() { os.RemoveAll(fmt.Sprint("/dev/shm/ringbus-", uid)) })
	}
	home := func(uid uint32, in string, args ...string) *command {
		c := prepare(t, "", args...).as(program, uid, group)
		c.cmd.Stdin = strings.NewReader(in)
		c.start().wait()
		return c
	}
	home(one, "x\n", "pub", "t").status(0)
	home(two, "", "ls").status(1).says("no bus")
	home(two, "y\n", "pub", "t").status(0)
	if c := home(two, "", "sub", "t", "--history", "9", "--until-close").status(0); c.out.String() != "y\n" {
		t.Errorf("user %d found %q", two, c.out.String())
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}
