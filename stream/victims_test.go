//go:build invariants && !race

package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/stream"
)

// censusVar has a victim count the points that it passes, and say them at its
// end: it is killed at each of them, in other rounds.
const censusVar = "RINGBUS_TEST_CENSUS"

func init() {
	for name, f := range map[string]func(*ringbus.Node) error{
		"writer": victimWriter, "turner": victimTurner, "reader": victimReader, "lapped": victimLapped,
		"shared": victimShared, "dialer": victimDialer, "listener": victimListener,
	} {
		roles[name] = func(args []string) error { return runVictim(args[0], f) }
	}
}

func runVictim(dir string, f func(*ringbus.Node) error) error {
	passed := make(map[string]int)
	var mu sync.Mutex
	if os.Getenv(censusVar) != "" {
		invariant.SetHook(func(name string) {
			mu.Lock()
			defer mu.Unlock()
			passed[name]++
		})
	}
	node, err := ringbus.Open("bus", options(dir, "victim"))
	if err == nil {
		err = errors.Join(f(node), node.Close())
	}
	invariant.SetHook(nil)
	for name, n := range passed {
		if strings.HasPrefix(name, "cells.") {
			fmt.Println("passed", name, n)
		}
	}
	return err
}

var background = context.Background()

// line is message n of a victim.
func line(n int) string { return fmt.Sprintf("%d %s", n, strings.Repeat("v", 1+n*97%700)) }

// lineNumber reads what line wrote, and says if it is torn.
func lineNumber(b []byte) (n int, err error) {
	if _, err = fmt.Sscan(string(b), &n); err == nil && string(b) != line(n) {
		err = fmt.Errorf("message %d is torn: %q", n, b)
	}
	return n, err
}

const victimLines = 60

func victimWriter(node *ringbus.Node) error { return victimWrites(node, nil) }

func victimTurner(node *ringbus.Node) error {
	return victimWrites(node, &stream.Options{Turns: true})
}

func victimWrites(node *ringbus.Node, o *stream.Options) error {
	w, err := stream.NewWriter(node, "x", o)
	if err != nil {
		return err
	}
	for n := range victimLines {
		if n%4 == 1 {
			r, err := w.Reserve(background, 1000)
			if err != nil {
				return err
			}
			if err := r.Commit(copy(r.Data(), line(n))); err != nil {
				return err
			}
		} else if err := w.Send(background, []byte(line(n))); err != nil {
			return err
		}
		fmt.Println("sent", n)
	}
	return w.Close()
}

// nap waits for nothing: it is long enough for a wait to fall asleep, while nothing comes.
func nap(wait func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
	defer cancel()
	if err := wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("a wait for nothing ended with %w", err)
	}
	return nil
}

// until looks at the stream until it is as wanted.
func until(node *ringbus.Node, wanted func(cells.State) bool) {
	for {
		for _, r := range rings(node.Segment()) {
			if wanted(r.Inspect()) {
				return
			}
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func blocked(s cells.State) bool { return s.Blocked > 0 }

// victimReader sleeps, and begins to read when the writer has no room.
func victimReader(node *ringbus.Node) error {
	r, err := sleepy(node, &stream.ReaderOptions{})
	if err != nil {
		return err
	}
	until(node, blocked)
	for range victimLines / 2 {
		m, err := r.Receive(background)
		if err != nil {
			return err
		}
		if _, err := lineNumber(m.Data); err != nil {
			return err
		}
	}
	return r.Close()
}

// victimLapped sleeps, and begins to read when the writer has gone round.
func victimLapped(node *ringbus.Node) error {
	r, err := sleepy(node, &stream.ReaderOptions{Lapped: true})
	if err != nil {
		return err
	}
	until(node, func(s cells.State) bool { return s.Messages == victimLines })
	for {
		m, err := r.Receive(background)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if _, err := lineNumber(m.Data); err != nil {
			return err
		}
	}
	if r.Lost() == 0 {
		return errors.New("the writer has gone round, and nothing was lost")
	}
	return r.Close()
}

func sleepy(node *ringbus.Node, o *stream.ReaderOptions) (*stream.Reader, error) {
	r, err := stream.NewReader(node, "x", o)
	if err == nil {
		err = nap(func(ctx context.Context) error { _, err := r.Receive(ctx); return err })
		fmt.Println("ready")
	}
	return r, err
}

func victimShared(node *ringbus.Node) error {
	r, err := stream.NewReader(node, "x", &stream.ReaderOptions{Group: "g"})
	if err != nil {
		return err
	}
	other, err := stream.NewReader(node, "x", &stream.ReaderOptions{Group: "own"}) // makes a group, and dissolves it
	if err != nil {
		return err
	}
	if err := other.Close(); err != nil {
		return err
	}
	if err := nap(func(ctx context.Context) error { _, err := r.Claim(ctx); return err }); err != nil {
		return err
	}
	fmt.Println("ready")
	for i := range victimLines / 3 {
		c, err := r.Claim(background)
		if err != nil {
			return err
		}
		n, err := lineNumber(c.Data())
		if err != nil {
			return err
		}
		if i%5 == 3 {
			if err := c.Return(); err != nil {
				return err
			}
			continue
		}
		fmt.Println("about", n) // from here on it may be done
		if err := c.Done(); err != nil {
			return err
		}
	}
	return r.Close()
}

// greet exchanges two bytes: the second one is an answer.
func greet(c *stream.Conn) error {
	for range 2 {
		if _, err := c.Write([]byte{'x'}); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			return err
		}
	}
	return nil
}

// Both ends of a connection: the victim says what it sends, and reads as much.

func victimDialer(node *ringbus.Node) error {
	fmt.Println("ready")
	c, err := stream.Dial(background, node, "x")
	if err != nil {
		return err
	}
	return victimTalks(c)
}

func victimListener(node *ringbus.Node) error {
	l, err := stream.Listen(node, "x")
	if err != nil {
		return err
	}
	fmt.Println("ready")
	c, err := l.Accept()
	if err != nil {
		return err
	}
	if err := victimTalks(c.(*stream.Conn)); err != nil {
		return err
	}
	return l.Close()
}

func victimTalks(c *stream.Conn) error {
	if err := greet(c); err != nil {
		return err
	}
	go func() {
		for n := range victimLines {
			if _, err := io.WriteString(c, strings.Repeat(line(n), 20)); err != nil {
				break
			}
		}
		_ = c.CloseWrite()
	}()
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	return c.Close()
}

var _ = shmtest.Deadline
