package segment

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/mem"
)

// A peer that writes anything anywhere into the control part, while others
// work, can spoil their work, but not crash or hang them, nor lead them outside.
func TestScribblingPeerCrashesNobody(t *testing.T) {
	b := mem.Alloc(minSize)
	s, err := FromBytes(b, &Options{Kernel: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stop := make(chan struct{})
	var peer sync.WaitGroup
	peer.Go(func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-stop:
				return
			default:
				scribbleSomewhere(b, rnd)
			}
		}
	})
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		exerciseOnce(ctx, s)
		cancel()
	}
	close(stop)
	peer.Wait()
}

// scribbleSomewhere writes one word that is nearly right, or just anything,
// into the first slots, entries and blocks, where the work is.
func scribbleSomewhere(b []byte, rnd *rand.Rand) {
	v := rnd.Uint64()
	if rnd.IntN(4) > 0 {
		v = uint64(rnd.IntN(6)) | uint64(rnd.IntN(3))<<4 | uint64(rnd.IntN(3))<<24 | uint64(rnd.IntN(3))<<36
	}
	var data [10]byte
	binary.LittleEndian.PutUint16(data[:], uint16(rnd.Uint32()))
	binary.LittleEndian.PutUint64(data[2:], v)
	switch rnd.IntN(4) {
	case 0:
		scribble(b, nodesOff, nodesOff+3*nodeSize, data[:])
	case 1:
		scribble(b, entriesOff, entriesOff+4*entrySize, data[:])
	case 2:
		scribble(b, blocksOff, blocksOff+16*8, data[:])
	case 3:
		scribble(b, sbTurn, sbTurn+8, data[:])
	}
}

func TestBellOfASlotThatIsNone(t *testing.T) {
	s := memory(t, nil)
	for _, slot := range []int{-1, nodeCount, 1 << 31, 1<<32 - 2} {
		if s.BellOf(slot) != nil {
			t.Errorf("slot %d has a bell", slot)
		}
	}
	if s.BellOf(0) == nil || s.BellOf(nodeCount-1) == nil {
		t.Error("a slot has no bell")
	}
}

// What a peer wrote for a name is printed by whoever looks at the bus.
func TestNamesThatAreNoneAreQuoted(t *testing.T) {
	const evil, want = "\x1b]0;pwn\x07\u202e", `"\x1b]0;pwn\a\u202e"`
	s := memory(t, nil)
	n := join(t, s, "a")
	create(t, n, lane, minBlock)
	at := slotOff(n.Owner().Slot()) + nodeName
	clear(s.b[at : at+maxName])
	copy(s.b[at:at+maxName], evil)
	clear(s.b[entryOff(0)+entryName : entryOff(1)])
	copy(s.b[entryOff(0)+entryName:entryOff(1)], evil)
	if got := s.Nodes(); len(got) != 1 || got[0].Name != want {
		t.Errorf("nodes %+v", got)
	}
	if got := s.Areas(); len(got) != 1 || got[0].Key.Name != want {
		t.Errorf("areas %+v", got)
	}
	if got := s.NameOf(n.Owner()); got != want {
		t.Errorf("name %s", got)
	}
	if _, err := s.Find(Key{Kind: lane.Kind, Sub: lane.Sub, Name: want}); err == nil {
		t.Error("what is shown is found")
	}
	mem.CopyIn(mem.U64s(s.b, at, maxName/8), []byte(strings.Repeat("\xff", maxName)))
	if got := s.NameOf(n.Owner()); got != `"`+strings.Repeat(`\xff`, maxName)+`"` {
		t.Errorf("name %s", got)
	}
}
