//go:build !race

package guests

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/ringbus/ringbus"
)

// A request asks an agent to play a party; a reply says how that went. Each is
// one line of JSON. A party may speak before it ends: Said is not empty then.
type request struct {
	ID   int
	Part string
	Name string // of the topic, journal...
	N    int
}

type reply struct {
	ID   int
	Said string
	Out  string
	Err  string
}

// patience bounds everything that a party does. It is generous: emulated guests
// share two CPUs with whatever else is there.
const patience = 90 * time.Second

// part is what a party does.
type part func(p *player) (out string, err error)

// player is a party that plays.
type player struct {
	request
	ctx  context.Context
	node *ringbus.Node
	say  func(string)
	bell bell
}

// agent plays the parties that it is asked for, on one node, until its input ends.
func agent(bus string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	name := os.Getenv("RINGBUS_TEST_NAME")
	node, err := ringbus.Open(bus, &ringbus.Options{Name: name, MustExist: true})
	if err != nil {
		return fmt.Errorf("on %s: %w", host, err)
	}
	bell, err := attached(node, bus)
	if err != nil {
		return fmt.Errorf("on %s: %w", host, err)
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	send := func(r reply) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(r) // nobody listens any more
	}
	send(reply{Said: "here"})
	var playing sync.WaitGroup
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		playing.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			p := &player{request: r, ctx: ctx, node: node, bell: bell, say: func(s string) { send(reply{ID: r.ID, Said: s}) }}
			out, err := play(p)
			rep := reply{ID: r.ID, Out: out}
			if err != nil {
				rep.Err = fmt.Sprintf("%s of %q: %v", r.Part, r.Name, err)
			}
			send(rep)
		})
	}
	playing.Wait()
	if bell != nil {
		err = bell.Close()
	}
	return errors.Join(err, node.Close())
}

func play(p *player) (string, error) {
	f := parts[p.Part]
	if f == nil {
		return "", fmt.Errorf("there is no such part")
	}
	return f(p)
}
