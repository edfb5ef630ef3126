//go:build invariants && !race

package ioqueue_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ringbus/ringbus/internal/shmtest"
	"github.com/ringbus/ringbus/ioqueue"
)

// TestStopAtEachStep stops a real process at each step that a part always
// passes, as a debugger would, and lets the others meet that before it goes on.
// A stopped process is alive: nobody takes anything from it, and nothing is lost,
// done twice, reported as interrupted, or asleep for ever.
func TestStopAtEachStep(t *testing.T) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			for _, point := range strings.Fields(p.points) {
				t.Run("mpsc."+point, func(t *testing.T) { stopAt(t, p, "mpsc."+point) })
			}
		})
	}
}

// stopAt plays a part whose process is stopped at a point for a while.
func stopAt(t *testing.T, p part, point string) {
	s := newStage(t, p.kernel)
	stood := make(chan bool, 1)
	var victim *shmtest.Proc
	p.play(s, func(kind string) *shmtest.Proc {
		victim = shmtest.Start(t, "victim", []string{"RINGBUS_STOP=" + point + ":1"}, s.dir, s.dev.dir, kind)
		go func() {
			defer close(stood) // a process that has gone fails the test
			stood <- pause(t, victim)
		}()
		return victim
	})
	s.judge()
	if !<-stood {
		t.Error("it was not stopped")
	}
	victim.Success()
	for n, err := range s.told {
		if errors.Is(err, ioqueue.ErrInterrupted) {
			t.Errorf("op %x was interrupted, and nobody has died over it", n)
		}
	}
}

// pause waits until a process is stopped, and has it continue a little later. It
// reports whether it stood still.
func pause(t *testing.T, p *shmtest.Proc) bool {
	for end := time.Now().Add(shmtest.Deadline); !shmtest.Stopped(t, p.Pid()); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			return false
		}
	}
	time.Sleep(30 * time.Millisecond)
	p.Continue()
	return true
}
