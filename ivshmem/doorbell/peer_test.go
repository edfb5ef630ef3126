package doorbell

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/internal/sys"
)

// puppet is a server that does to one client what it is told to, and then hears
// whether that one has ended the connection. It returns its socket.
func puppet(t testing.TB, say func(c *net.UnixConn) error) string {
	t.Helper()
	path := filepath.Join(shmtest.Dir(t), "puppet")
	ln, err := sys.ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		if say(c) == nil {
			_, _ = io.Copy(io.Discard, c) // until the client ends it
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return path
}

// utter is one message of a puppet, and what comes with it.
type utter struct {
	number int64
	with   string // "", "event" or "memory"
}

func (u utter) say(c *net.UnixConn, mem *os.File) error {
	switch u.with {
	case "event":
		f, err := sys.NewEvent("test")
		if err != nil {
			return err
		}
		return errors.Join(send(c, u.number, f), f.Close())
	case "memory":
		return send(c, u.number, mem)
	}
	return send(c, u.number, nil)
}

func TestServersThatBreakTheProtocolAreNamedWhatTheyDid(t *testing.T) {
	mem := memory(t)
	hello := []utter{{0, ""}, {5, ""}, {-1, "memory"}}
	many := append([]utter{}, hello...)
	for range MaxVectors + 1 {
		many = append(many, utter{7, "event"})
	}
	for _, c := range []struct {
		name  string
		say   []utter
		field string
	}{
		{"another version", []utter{{1, ""}}, "the version"},
		{"a version with a file", []utter{{0, "event"}}, "the version"},
		{"a negative id", []utter{{0, ""}, {-1, ""}}, "our id"},
		{"an id that is too large", []utter{{0, ""}, {1 << 16, ""}}, "our id"},
		{"an id with a file", []utter{{0, ""}, {5, "event"}}, "our id"},
		{"no memory", []utter{{0, ""}, {5, ""}, {-1, ""}}, "the third message"},
		{"a client before the memory", []utter{{0, ""}, {5, ""}, {6, "event"}}, "the third message"},
		{"a second memory", append(hello[:3:3], utter{-1, "memory"}), "a client's id"},
		{"a client's id that is too large", append(hello[:3:3], utter{1 << 40, "event"}), "a client's id"},
		{"ourselves gone", append(hello[:3:3], utter{5, ""}), "the client that has gone"},
		{"a bell that is none", append(hello[:3:3], utter{7, "memory"}), "the descriptor of a vector"},
		{"too many vectors", many, "number of vectors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := puppet(t, func(conn *net.UnixConn) error {
				for _, u := range c.say {
					if err := u.say(conn, mem); err != nil {
						return err
					}
				}
				return nil
			})
			p, err := Dial(t.Context(), path, nil)
			if err == nil {
				<-p.Lost()
				err = errors.Join(p.Err(), p.Close())
			}
			var broken *ProtocolError
			if !errors.As(err, &broken) || broken.Field != c.field {
				t.Errorf("got %v, want one that names %s", err, c.field)
			}
		})
	}
}

func TestMessagesInPieces(t *testing.T) {
	mem := memory(t)
	path := puppet(t, func(c *net.UnixConn) error {
		for _, b := range [][]byte{make([]byte, 3), make([]byte, 6), {0, 0, 0}, {0, 0, 0, 0}} {
			if _, err := c.Write(b); err != nil { // version 0 and id 0
				return err
			}
		}
		if err := sys.SendFile(c, []byte{255}, mem); err != nil {
			return err
		}
		_, err := c.Write([]byte{255, 255, 255, 255, 255, 255, 255, 7, 0})
		if err != nil {
			return err
		}
		return c.CloseWrite()
	})
	p, err := Dial(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Lost()
	var broken *ProtocolError
	if err := p.Err(); p.ID() != 0 || !errors.As(err, &broken) || broken.Field != "length of a message" {
		t.Errorf("id %d, then %v", p.ID(), err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	path := puppet(t, func(*net.UnixConn) error { cancel(); return nil })
	if _, err := Dial(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := Dial(t.Context(), filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestRingMakesNoGarbage(t *testing.T) {
	h := serve(t, socketIn(t.TempDir()), memory(t), Options{})
	a, err := Dial(t.Context(), h.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	until(t, "acquainted", func() bool { return a.Vectors(a.ID()) == 1 })
	if n := testing.AllocsPerRun(1000, func() { a.Ring(a.ID(), 0) }); n != 0 {
		t.Errorf("%v allocations for each ring", n)
	}
}

// Notes may be damaged in any way.
func FuzzNotes(f *testing.F) {
	f.Add([]byte(idsHead + "\nboot x\nnext 3\n1 2 3\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		n := &ids{boot: "x", holders: make(map[uint16]holder)}
		if n.parse(in) != nil {
			return
		}
		for id, h := range n.holders {
			if h.pid < 0 {
				t.Errorf("id %d belongs to process %d", id, h.pid)
			}
		}
	})
}

// A server may send anything. Each two bytes of the input are one of its
// messages, or a piece of one.
func FuzzPeer(f *testing.F) {
	f.Add([]byte{0, 0, 0, 5, 2, 255, 1, 5, 1, 7, 0, 7})
	f.Add([]byte{0, 0, 0, 5, 2, 255, 3, 1, 4, 9, 1, 200})
	f.Add([]byte{0, 1})
	mem := memory(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		path := puppet(t, func(c *net.UnixConn) error {
			for in := in; len(in) >= 2; in = in[2:] {
				n := int64(int8(in[1]))
				var err error
				switch in[0] % 6 {
				case 0:
					err = utter{n, ""}.say(c, mem)
				case 1:
					err = utter{n, "event"}.say(c, mem)
				case 2:
					err = utter{n, "memory"}.say(c, mem)
				case 3:
					_, err = c.Write(in[1:2])
				case 4:
					err = sys.SendFile(c, in[1:2], mem)
				case 5:
					err = utter{n << 40, ""}.say(c, mem)
				}
				if err != nil {
					return err
				}
			}
			return c.CloseWrite()
		})
		p, err := Dial(t.Context(), path, nil)
		if err != nil {
			return
		}
		<-p.Lost()
		if p.Err() == nil {
			t.Error("the connection ended without a reason")
		}
		for id := range uint16(300) {
			p.Ring(id, uint16(len(in)))
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}
