//go:build !race

package ringbus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/shmtest"
)

func init() {
	roles["soaking publisher"] = soakPublisher
	roles["soaking subscriber"] = soakSubscriber
}

// soakTime is how long processes are killed at random: RINGBUS_SOAK, a
// duration, or a few seconds.
func soakTime(t *testing.T) time.Duration {
	v := os.Getenv("RINGBUS_SOAK")
	if v == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("RINGBUS_SOAK: %v", err)
	}
	return d
}

// ledger is a file in which a publisher says how many messages it has sent, in
// one write each: its death cannot tear that.
type ledger struct{ f *os.File }

func openLedger(dir, name string) (ledger, error) {
	f, err := os.OpenFile(filepath.Join(dir, "sent-"+strings.ReplaceAll(name, "/", "-")), os.O_RDWR|os.O_CREATE, 0o600)
	return ledger{f}, err
}

func (l ledger) say(n uint64) error {
	_, err := l.f.WriteAt(binary.LittleEndian.AppendUint64(nil, n), 0)
	return err
}

func (l ledger) said() (uint64, error) {
	var b [8]byte
	if st, err := l.f.Stat(); err != nil || st.Size() == 0 {
		return 0, err
	}
	_, err := l.f.ReadAt(b[:], 0)
	return binary.LittleEndian.Uint64(b[:]), err
}

// soakPublisher sends until it is killed, each time in another way. What its
// predecessor acknowledged must be there.
func soakPublisher(args []string) error {
	dir, name := args[0], args[1]
	ctx := context.Background()
	sent, err := openLedger(dir, name)
	if err != nil {
		return err
	}
	acked, err := sent.said()
	if err != nil {
		return err
	}
	node, _, err := joinAs(dir, name, 0)
	if err != nil {
		return err
	}
	pub, err := node.Publisher("t", roomy())
	if err != nil {
		return err
	}
	n := pub.Sequence()
	if n < acked || n > acked+batchLength {
		return fmt.Errorf("%d messages were acknowledged, but %d are there", acked, n)
	}
	fmt.Println("sending")
	for rnd := rand.New(rand.NewPCG(n, uint64(os.Getpid()))); ; n = pub.Sequence() {
		switch rnd.IntN(4) {
		case 0:
			err = pub.SendContext(ctx, mixed(n))
		case 1:
			var one, two ringbus.Loan
			if one, err = pub.Loan(1024); err != nil {
				return err
			}
			if two, err = pub.Loan(1024); err != nil {
				return err
			}
			one.Truncate(sizeOf(n))
			payload(one.Data(), n)
			if err = one.SendContext(ctx); err == nil {
				two.Discard()
			}
		default:
			var batch [][]byte
			for k := range uint64(1 + rnd.IntN(batchLength)) {
				batch = append(batch, mixed(n+k))
			}
			_, err = pub.SendBatchContext(ctx, batch)
		}
		if err == nil {
			err = sent.say(pub.Sequence())
		}
		if err != nil {
			return err
		}
	}
}

// soakSubscriber receives until it is killed, and holds some for a while.
func soakSubscriber(args []string) error {
	node, _, err := joinAs(args[0], args[1], 0)
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(1, uint64(os.Getpid())))
	for {
		o := &ringbus.SubscriberOptions{Mode: ringbus.Mode(rnd.IntN(3)), Hold: 4, History: rnd.IntN(12)}
		sub, err := node.Subscriber("t", o)
		if err != nil {
			return err
		}
		fmt.Println("receiving")
		if err := soakReceive(sub, rnd, 1+rnd.IntN(3000)); err != nil {
			return err
		}
		if err := sub.Close(); err != nil {
			return err
		}
	}
}

// soakReceive receives count messages and judges them.
func soakReceive(sub *ringbus.Subscriber, rnd *rand.Rand, count int) error {
	at := make(map[string]uint64)
	var held []ringbus.Message
	for range count {
		m, err := sub.Receive(context.Background())
		if err != nil {
			return err
		}
		if err := follows(at, m); err != nil {
			return err
		}
		if held = append(held, m); len(held) == 4 {
			for len(held) > rnd.IntN(4) {
				k := rnd.IntN(len(held))
				if err := intact(held[k].Data(), held[k].Sequence(), sizeOf(held[k].Sequence())); err != nil {
					return err
				}
				held[k].Release()
				held = append(held[:k], held[k+1:]...)
			}
		}
	}
	return nil
}

// follows checks that m is what comes next of its publisher.
func follows(at map[string]uint64, m ringbus.Message) error {
	who, n := m.Publisher(), m.Sequence()
	if want, ok := at[who]; ok && n != want+m.Lost() {
		return fmt.Errorf("message %d of %q, with a loss of %d, where %d was due", n, who, m.Lost(), want)
	}
	at[who] = n + 1
	return intact(m.Data(), n, sizeOf(n))
}

// TestSoakKill kills publishers and subscribers at random moments, and has them
// come back. A subscriber that lives gets each message of each publisher.
func TestSoakKill(t *testing.T) {
	s := newStage(t)
	s.ctx = context.Background()
	sub := s.sub(s.node, "t", ringbus.SubscriberOptions{Hold: 1})
	at := map[string]uint64{"p/0": 0, "p/1": 0}
	judged := make(chan error, 1)
	go func() {
		for m, err := range sub.Messages(s.ctx) {
			if err != nil {
				judged <- err
				return
			}
			if _, ok := at[m.Publisher()]; !ok || m.Lost() != 0 {
				judged <- fmt.Errorf("message %d of %q with a loss of %d", m.Sequence(), m.Publisher(), m.Lost())
				return
			}
			if err := follows(at, m); err != nil {
				judged <- err
				return
			}
		}
	}()
	type actor struct{ role, name string }
	actors := []actor{
		{"soaking publisher", "p/0"}, {"soaking publisher", "p/1"},
		{"soaking subscriber", "s/0"}, {"soaking subscriber", "s/1"}, {"soaking subscriber", "s/2"},
	}
	procs := make([]*shmtest.Proc, len(actors))
	kills := 0
	for end := time.Now().Add(soakTime(t)); time.Now().Before(end); kills++ {
		k := rand.IntN(len(actors))
		if p := procs[k]; p != nil {
			p.Kill()
			if err := p.Failed(); err != nil {
				t.Fatalf("after %d kills: %v", kills, err)
			}
		}
		procs[k] = shmtest.Start(t, actors[k].role, nil, s.dir, actors[k].name)
		switch rand.IntN(3) {
		case 0:
			procs[k].Line() // it has begun
			wait := time.NewTimer(rand.N(20 * time.Millisecond))
			<-wait.C
		case 1:
			wait := time.NewTimer(rand.N(10 * time.Millisecond)) // it may be on the way
			<-wait.C
		}
		select {
		case err := <-judged:
			t.Fatalf("after %d kills: %v", kills, err)
		default:
		}
	}
	for _, p := range procs {
		if p == nil {
			continue
		}
		p.Kill()
		if err := p.Failed(); err != nil {
			t.Fatal(err)
		}
	}
	s.ctx = soon(t)
	s.sound("t")
	until(t, "all is received", func() bool {
		for _, l := range look(s.node.Segment(), "t").lanes {
			for _, c := range l.Subscribers { // the survivor is the only one
				if c.Lag != 0 {
					return false
				}
			}
		}
		return true
	})
	s.check(sub.Close())
	if err := <-judged; !errors.Is(err, ringbus.ErrClosed) {
		t.Fatal(err)
	}
	total := uint64(0)
	for name, n := range at {
		l, err := openLedger(s.dir, name)
		s.check(err)
		acked, err := l.said()
		s.check(errors.Join(err, l.f.Close()))
		if n < acked || n > acked+batchLength {
			t.Errorf("%d messages of %s were acknowledged, but %d received", acked, name, n)
		}
		total += n
	}
	pub := s.pub(s.join("p/0", 0), "t")
	s.exercise(s.node, pub)
	s.sound("t")
	t.Logf("%d kills, %d messages", kills, total)
}
