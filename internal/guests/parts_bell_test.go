//go:build !race

package guests

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ivshmem"
	"github.com/ringbus/ringbus/ivshmem/doorbell"
)

// withBell has an agent wait for the doorbell.
const withBell = "RINGBUS_TEST_DOORBELL=1"

// bell is how an agent is rung.
type bell interface {
	io.Closer
	Heard() uint64
	Up() bool
}

// attached gives the node its doorbell, if it shall have one.
func attached(n *ringbus.Node, bus string) (bell, error) {
	name, value, _ := strings.Cut(withBell, "=")
	if os.Getenv(name) != value {
		return nil, nil
	}
	if address, ok := strings.CutPrefix(bus, "ivshmem:"); ok {
		d, err := ivshmem.Attach(n, address, nil)
		if err != nil {
			return nil, err
		}
		return d, d.Deaf()
	}
	return doorbell.Attach(n, "")
}

func small() *ringbus.PublisherOptions { return &ringbus.PublisherOptions{Depth: 16, MaxMessage: 64} }

// bellPing sends N messages, each once the one before has come back.
func bellPing(p *player) (string, error) {
	pub, err := p.node.Publisher(p.Name+"/there", small())
	if err != nil {
		return "", err
	}
	defer pub.Close()
	sub, err := p.node.Subscriber(p.Name+"/back", nil)
	if err != nil {
		return "", err
	}
	defer sub.Close()
	if err := pub.WaitSubscribers(p.ctx, 1); err != nil {
		return "", err
	}
	for i := range p.N {
		if err := pub.SendContext(p.ctx, fmt.Append(nil, i)); err != nil {
			return "", fmt.Errorf("message %d: %w", i, err)
		}
		m, err := sub.Receive(p.ctx)
		if err != nil {
			return "", fmt.Errorf("answer %d: %w", i, err)
		}
		if got := string(m.Data()); got != fmt.Sprint(i) {
			return "", fmt.Errorf("answer %d is %q", i, got)
		}
		m.Release()
	}
	return "", nil
}

// bellPong sends back what comes, N times.
func bellPong(p *player) (string, error) {
	sub, err := p.node.Subscriber(p.Name+"/there", nil)
	if err != nil {
		return "", err
	}
	defer sub.Close()
	pub, err := p.node.Publisher(p.Name+"/back", small())
	if err != nil {
		return "", err
	}
	defer pub.Close()
	for i := range p.N {
		m, err := sub.Receive(p.ctx)
		if err == nil {
			err = pub.SendContext(p.ctx, m.Data())
			m.Release()
		}
		if err != nil {
			return "", fmt.Errorf("message %d: %w", i, err)
		}
	}
	return "", nil // what was sent stays
}

// bellHeard returns whether the agent is rung, and how often it was.
func bellHeard(p *player) (string, error) {
	if p.bell == nil {
		return "", errors.New("there is no doorbell")
	}
	return fmt.Sprint(p.bell.Up(), " ", p.bell.Heard()), nil
}

// bellHold opens a topic at both ends, holds a message and a loan, and stays so.
func bellHold(p *player) (string, error) {
	pub, err := p.node.Publisher(p.Name, small())
	if err != nil {
		return "", err
	}
	sub, err := p.node.Subscriber(p.Name, nil)
	if err != nil {
		return "", err
	}
	if err := pub.SendContext(p.ctx, []byte("held")); err != nil {
		return "", err
	}
	m, err := sub.Receive(p.ctx)
	if err != nil {
		return "", err
	}
	if _, err := pub.Loan(64); err != nil {
		return "", err
	}
	p.say("holds " + string(m.Data()))
	<-p.ctx.Done()
	return "", p.ctx.Err()
}
