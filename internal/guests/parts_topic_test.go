//go:build !race

package guests

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/ringbus/ringbus"
)

var parts = map[string]part{
	"topic.send": topicSend, "topic.receive": topicReceive,
	"latest.send": latestSend, "latest.receive": latestReceive,
	"history.send": historySend, "history.receive": historyReceive,
	"loans.receive": loansReceive,
	"steady.send":   steadySend, "steady.receive": steadyReceive,

	"journal.append": journalAppend, "journal.read": journalRead,
	"stream.serve": streamServe, "stream.dial": streamDial,
	"queue.execute": queueExecute, "queue.submit": queueSubmit,
	"calls.serve": callsServe, "calls.call": callsCall,
	"bus.garble": busGarble,
	"bell.ping":  bellPing, "bell.pong": bellPong, "bell.heard": bellHeard, "bell.hold": bellHold,
}

// sizes are those of messages: one line, inline, just beyond, pages.
var sizes = []int{8, 40, 104, 105, 4096, 30000}

// message is the i-th message: its number, and bytes that follow from it.
func message(i int) []byte {
	b := bytes.Repeat([]byte{byte(i), byte(i >> 3), 0x5a}, sizes[i%len(sizes)]/3+3)[:sizes[i%len(sizes)]]
	binary.LittleEndian.PutUint64(b, uint64(i))
	return b
}

// checked says what is wrong with what came as the i-th message.
func checked(i int, b []byte) error {
	if want := message(i); !bytes.Equal(b, want) {
		if len(b) >= 8 && binary.LittleEndian.Uint64(b) != uint64(i) {
			return fmt.Errorf("message %d is number %d", i, binary.LittleEndian.Uint64(b))
		}
		return fmt.Errorf("message %d has %d bytes with checksum %#x, want %d with %#x", i, len(b), crc32.ChecksumIEEE(b), len(want), crc32.ChecksumIEEE(want))
	}
	return nil
}

var topicOptions = &ringbus.PublisherOptions{Depth: 32, MaxMessage: 32 << 10, Holds: 24}

// topicSend sends N messages, every other one as a loan, once somebody listens.
func topicSend(p *player) (string, error) {
	pub, err := p.node.Publisher(p.Name, topicOptions)
	if err != nil {
		return "", err
	}
	defer pub.Close()
	if err := pub.WaitSubscribers(p.ctx, 1); err != nil {
		return "", fmt.Errorf("wait for subscribers: %w", err)
	}
	return "", sendAll(p.ctx, pub, p.N)
}

func sendAll(ctx context.Context, pub *ringbus.Publisher, n int) error {
	for i := range n {
		b := message(i)
		if i%2 == 0 {
			if err := pub.SendContext(ctx, b); err != nil {
				return fmt.Errorf("message %d: %w", i, err)
			}
			continue
		}
		loan, err := pub.Loan(len(b))
		if err != nil {
			return fmt.Errorf("loan %d: %w", i, err)
		}
		copy(loan.Data(), b)
		if err := loan.SendContext(ctx); err != nil {
			return fmt.Errorf("loan %d: %w", i, err)
		}
	}
	return nil
}

// topicReceive wants N messages, all of them and in order.
func topicReceive(p *player) (string, error) {
	sub, err := p.node.Subscriber(p.Name, nil)
	if err != nil {
		return "", err
	}
	defer sub.Close()
	return "", receiveAll(p.ctx, sub, p.N)
}

func receiveAll(ctx context.Context, sub *ringbus.Subscriber, n int) error {
	for i := range n {
		m, err := sub.Receive(ctx)
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if err := checked(i, m.Data()); err != nil {
			return err
		}
		if m.Lost() != 0 || m.Sequence() != uint64(i) {
			return fmt.Errorf("message %d has sequence %d and %d lost", i, m.Sequence(), m.Lost())
		}
		m.Release()
	}
	return nil
}

// latestSend never waits for who is slow.
func latestSend(p *player) (string, error) {
	return topicSend(p)
}

// latestReceive is slow, and wants every message either received or counted.
func latestReceive(p *player) (string, error) {
	sub, err := p.node.Subscriber(p.Name, &ringbus.SubscriberOptions{Mode: ringbus.Latest})
	if err != nil {
		return "", err
	}
	defer sub.Close()
	next := 0
	for received := 0; next < p.N; received++ {
		m, err := sub.Receive(p.ctx)
		if err != nil {
			return "", fmt.Errorf("after %d of %d: %w", next, p.N, err)
		}
		next += int(m.Lost())
		if err := checked(next, m.Data()); err != nil {
			return "", err
		}
		m.Release()
		next++
		if received < 5 {
			time.Sleep(20 * time.Millisecond) //  it is slow; nothing depends on how slow
		}
	}
	return fmt.Sprint(sub.Lost()), nil
}

// historySend sends N messages to nobody.
func historySend(p *player) (string, error) {
	pub, err := p.node.Publisher(p.Name, &ringbus.PublisherOptions{Depth: 32, MaxMessage: 32 << 10, History: 20})
	if err != nil {
		return "", err
	}
	if err := sendAll(p.ctx, pub, p.N); err != nil {
		return "", err
	}
	return "", pub.Close()
}

// historyReceive gets the last 20 of N that were sent before it came.
func historyReceive(p *player) (string, error) {
	sub, err := p.node.Subscriber(p.Name, &ringbus.SubscriberOptions{History: 20, UntilClose: true})
	if err != nil {
		return "", err
	}
	defer sub.Close()
	for i := p.N - 20; i < p.N; i++ {
		m, err := sub.Receive(p.ctx)
		if err != nil {
			return "", fmt.Errorf("message %d: %w", i, err)
		}
		if err := checked(i, m.Data()); err != nil {
			return "", err
		}
		m.Release()
	}
	return "", nil
}

// loansReceive holds eight messages at a time, and wants them to stay what they were.
func loansReceive(p *player) (string, error) {
	sub, err := p.node.Subscriber(p.Name, &ringbus.SubscriberOptions{Hold: 9})
	if err != nil {
		return "", err
	}
	defer sub.Close()
	var held []ringbus.Message
	for i := range p.N {
		m, err := sub.Receive(p.ctx)
		if err != nil {
			return "", fmt.Errorf("message %d: %w", i, err)
		}
		held = append(held, m)
		if len(held) == 8 || i == p.N-1 {
			for k, m := range held {
				if err := checked(i-len(held)+1+k, m.Data()); err != nil {
					return "", fmt.Errorf("held: %w", err)
				}
				m.Release()
			}
			held = held[:0]
		}
	}
	return "", nil
}

// steadySend sends message after message until N are sent or a subscriber is no
// longer there, and says how many it could send.
func steadySend(p *player) (string, error) {
	pub, err := p.node.Publisher(p.Name, &ringbus.PublisherOptions{Depth: 16})
	if err != nil {
		return "", err
	}
	defer pub.Close()
	if err := pub.WaitSubscribers(p.ctx, 1); err != nil {
		return "", err
	}
	p.say("sending")
	for i := range p.N {
		if err := pub.SendContext(p.ctx, binary.LittleEndian.AppendUint64(nil, uint64(i))); err != nil {
			return "", fmt.Errorf("message %d of %d: %w", i, p.N, err)
		}
		time.Sleep(2 * time.Millisecond) // so that it lasts
	}
	return "", nil
}

// steadyReceive receives until message N-1, and says how many it lost. It comes
// back if it is told that it was given up.
func steadyReceive(p *player) (string, error) {
	sub, err := p.node.Subscriber(p.Name, nil)
	if err != nil {
		return "", err
	}
	defer sub.Close()
	p.say("receiving")
	for next := uint64(0); ; {
		m, err := sub.Receive(p.ctx)
		if errors.Is(err, ringbus.ErrFenced) {
			return "fenced", nil
		}
		if err != nil {
			return "", err
		}
		next += m.Lost()
		if got := binary.LittleEndian.Uint64(m.Data()); got != next {
			return "", fmt.Errorf("message %d came, and %d was next (%d lost)", got, next, m.Lost())
		}
		next++
		m.Release()
		if next == uint64(p.N) {
			return fmt.Sprint(sub.Lost()), nil
		}
	}
}
