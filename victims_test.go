//go:build invariants && !race

package ringbus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// censusVar has a victim count the points that it passes, and say them at its
// end: what the harness wants to kill it at must be among them.
const censusVar = "RINGBUS_TEST_CENSUS"

func init() {
	for name, f := range map[string]func(v *victim) error{
		"publisher": (*victim).publish, "subscriber": (*victim).subscribe, "guest": (*victim).rejoin,
		"corpse": (*victim).lie, "recoverer": (*victim).recover, "remover": (*victim).remove, "leaver": (*victim).leave,
	} {
		roles[name] = func(args []string) error { return runVictim(args, f) }
	}
}

// A victim is a process that is going to be killed. What it says must be the
// last thing it did: who says that something was sent has sent it.
type victim struct {
	dir, kind string
	ctx       context.Context
	in        *bufio.Scanner
}

func runVictim(args []string, f func(*victim) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), shmtest.Deadline)
	defer cancel()
	v := &victim{dir: args[0], kind: args[1], ctx: ctx, in: bufio.NewScanner(os.Stdin)}
	var mu sync.Mutex
	passed := make(map[string]int)
	if os.Getenv(censusVar) != "" {
		invariant.SetHook(func(name string) {
			mu.Lock()
			defer mu.Unlock()
			passed[name]++
		})
	}
	if err := f(v); err != nil {
		return err
	}
	invariant.SetHook(nil)
	for name, n := range passed {
		fmt.Println("passed", name, n)
	}
	return nil
}

func (v *victim) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// hear waits for the starter's word.
func (v *victim) hear(word string) error {
	if !v.in.Scan() || v.in.Text() != word {
		return fmt.Errorf("heard %q, want %q", v.in.Text(), word)
	}
	return nil
}

// victimTotal is how many messages a publisher sends that is not killed.
const victimTotal = 60

// publish is a publisher. It lets the survivors go to sleep before it sends.
func (v *victim) publish() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	pub, err := node.Publisher("t", roomy())
	if err != nil {
		return err
	}
	v.say("open %d", pub.Sequence())
	if err := v.hear("go"); err != nil {
		return err
	}
	pub.Subscribers() // looks at every claim, H1
	for n := pub.Sequence(); n < victimTotal; n = pub.Sequence() {
		switch v.kind {
		case "copies":
			err = pub.SendContext(v.ctx, mixed(n))
		case "lends":
			var l ringbus.Loan
			if l, err = pub.Loan(1024); err != nil {
				return err
			}
			l.Truncate(sizeOf(n))
			payload(l.Data(), n)
			err = l.SendContext(v.ctx)
		default:
			var batch [][]byte
			for k := n; k < n+batchLength; k++ {
				batch = append(batch, mixed(k))
			}
			_, err = pub.SendBatchContext(v.ctx, batch)
		}
		if err != nil {
			return err
		}
		v.say("sent %d", pub.Sequence())
	}
	return errors.Join(pub.Close(), end())
}

// subscribe is a subscriber of topic t. After a few messages it stops
// receiving until the publisher sleeps over it.
func (v *victim) subscribe() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	o := &ringbus.SubscriberOptions{Hold: 4, Wait: asleep, History: 2}
	last := uint64(40)
	if v.kind == "latest" {
		o.Mode, last = ringbus.Latest, 90 // of 105, as many as it gets
	}
	sub, err := node.Subscriber("t", o)
	if err != nil {
		return err
	}
	v.say("joined")
	var held []ringbus.Message
	for got, at := 0, uint64(0); at < last; got++ {
		if got == 8 && v.kind != "latest" && !eventually(func() bool {
			_, pubs := sleepers(node.Segment(), "t")
			return pubs == 1
		}) {
			return errors.New("the publisher does not sleep over us")
		}
		m, err := sub.Receive(v.ctx)
		if err != nil {
			return err
		}
		if err := intact(m.Data(), m.Sequence(), sizeOf(m.Sequence())); err != nil {
			return err
		}
		at = m.Sequence()
		if held = append(held, m); len(held) == 4 {
			k := got % 4
			held[k].Release()
			held = slices.Delete(held, k, k+1)
		}
	}
	return errors.Join(sub.Close(), end())
}

// leave is a subscriber that leaves.
func (v *victim) leave() error {
	node, end, err := joinAs(v.dir, "leaver", 0)
	if err != nil {
		return err
	}
	sub, err := node.Subscriber("t", nil)
	if err != nil {
		return err
	}
	v.say("joined")
	if err := v.hear("go"); err != nil {
		return err
	}
	return errors.Join(sub.Close(), end())
}

// rejoin is a subscriber of another kernel that holds a message too long.
func (v *victim) rejoin() error {
	node, end, err := joinAs(v.dir, "victim", 2)
	if err != nil {
		return err
	}
	sub, err := node.Subscriber("t", &ringbus.SubscriberOptions{Wait: asleep})
	if err != nil {
		return err
	}
	v.say("joined")
	for range 2 { // the one it is fenced over, and the one after
		m, err := sub.Receive(v.ctx)
		if err != nil {
			return err
		}
		if m.Lost() == 0 {
			v.say("holds %d", m.Sequence())
			if err := v.hear("go"); err != nil {
				return err
			}
		}
		if err := intact(m.Data(), m.Sequence(), sizeOf(m.Sequence())); err != nil {
			return err
		}
		v.say("lost %d", m.Lost())
		m.Release()
	}
	return errors.Join(sub.Close(), end())
}

// lie holds all there is to hold until it is killed: a lane of the topic that
// it is told, with ten messages, and messages of topic u.
func (v *victim) lie() error {
	node, end, err := joinAs(v.dir, "corpse", 0)
	if err != nil {
		return err
	}
	pub, err := node.Publisher(v.kind, roomy())
	if err != nil {
		return err
	}
	sub, err := node.Subscriber("u", &ringbus.SubscriberOptions{Hold: 3})
	if err != nil {
		return err
	}
	for n := range uint64(10) {
		if err := pub.SendContext(v.ctx, mixed(n)); err != nil {
			return err
		}
	}
	if _, err := pub.Loan(1000); err != nil {
		return err
	}
	v.say("sent")
	for range 3 {
		if _, err := sub.Receive(v.ctx); err != nil {
			return err
		}
	}
	v.say("holds")
	if err := v.hear("go"); err != nil && v.in.Err() != nil {
		return err
	}
	return end()
}

// recover joins, which takes a dead node's slot, and recovers the others.
func (v *victim) recover() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	if _, err := node.Recover(); err != nil {
		return err
	}
	return end()
}

// remove makes a topic, and removes it.
func (v *victim) remove() error {
	node, end, err := joinAs(v.dir, "victim", 0)
	if err != nil {
		return err
	}
	pub, err := node.Publisher("own", roomy())
	if err != nil {
		return err
	}
	sub, err := node.Subscriber("own", nil)
	if err != nil {
		return err
	}
	if err := pub.Send(mixed(0)); err != nil {
		return err
	}
	if err := errors.Join(pub.Close(), sub.Close()); err != nil {
		return err
	}
	v.say("made")
	if err := node.Remove("own"); err != nil {
		return err
	}
	return end()
}

// passedPoint reads a line of a census.
func passedPoint(line string) (point string, n int, ok bool) {
	rest, ok := strings.CutPrefix(line, "passed ")
	if !ok {
		return "", 0, false
	}
	_, err := fmt.Sscan(rest, &point, &n)
	return point, n, err == nil
}
