package ringbus_test

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/segment"
)

// Where a lane says who sleeps (docs/format.md).
const (
	laneWaiters = 0xC0 // a bit for each subscriber
	lanePark    = 0xC8 // the publisher
)

// sleepers says which subscribers sleep on the lanes of a topic, all lanes
// taken together, and how many publishers do.
func sleepers(seg *segment.Segment, topic string) (subs uint64, pubs int) {
	for _, a := range seg.Areas() {
		if a.Key.Kind != segment.KindLane || a.Key.Name != topic {
			continue
		}
		if b, err := seg.AreaBytes(a.Index, a.Gen); err == nil {
			subs |= mem.U64(b, laneWaiters).Load()
			pubs += int(mem.U32(b, lanePark).Load())
		}
	}
	return subs, pubs
}

// threads is how many threads this process has.
func threads() (int, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "\nThreads:")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.Atoi(strings.TrimSpace(line))
}

// crowd has 1,024 subscribers sleep in one process.
var crowd = []conversation{{"a thousand sleepers are all woken", func(s *side) {
	var calls []func() error
	woken := make(chan struct{}, 1024)
	for topic := range 16 {
		for i := range 64 {
			sub := s.sub(fmt.Sprintf("t/%d", topic), &ringbus.SubscriberOptions{
				Hold: 1, Mode: ringbus.Mode(i % 3), Wait: asleep, UntilClose: true,
			})
			calls = append(calls, func() error {
				n := uint64(0)
				for m, err := range sub.Messages(s.ctx) {
					if err != nil {
						return err
					}
					if m.Sequence() != n || m.Lost() != 0 {
						return fmt.Errorf("message %d after a loss of %d, want %d", m.Sequence(), m.Lost(), n)
					}
					woken <- struct{}{}
					n++
				}
				woken <- struct{}{}
				if n != 3 {
					return fmt.Errorf("it received %d messages", n)
				}
				return nil
			})
		}
	}
	s.tell("open")
	s.hear("opened")
	calls = append(calls, func() error {
		for range 4 { // three messages, and the end
			for topic := range 16 {
				if !eventually(func() bool {
					subs, _ := sleepers(s.Segment(), fmt.Sprintf("t/%d", topic))
					return subs == math.MaxUint64
				}) {
					return fmt.Errorf("they do not all sleep")
				}
			}
			n, err := threads()
			if err != nil || n > 100+4*runtime.GOMAXPROCS(0) {
				return fmt.Errorf("%d threads for them, %w", n, err)
			}
			s.tell("next")
			for range 1024 {
				<-woken
			}
		}
		return nil
	})
	s.together(calls...)
}, func(s *side) {
	s.hear("open")
	var pubs []*ringbus.Publisher
	for topic := range 16 {
		pubs = append(pubs, s.pub(fmt.Sprintf("t/%d", topic), &ringbus.PublisherOptions{Depth: 4, MaxMessage: 512, Holds: 64, Loans: 1}))
	}
	s.tell("opened")
	for range 3 {
		s.hear("next")
		for _, p := range pubs {
			s.check(p.Send(make([]byte, 500)))
		}
	}
	s.hear("next")
	for _, p := range pubs {
		s.check(p.Close())
	}
}}}
