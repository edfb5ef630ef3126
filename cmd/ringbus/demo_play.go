package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/ring/fanout"
	"github.com/ringbus/ringbus/segment"
)

const demoReaders = 3

// play is one run of the demo.
type play struct {
	tree   *tree
	rounds int
	total  uint64
	dir    string
	config fanout.Config
	seg    *segment.Segment // for looking at it only

	publisher *actor
	readers   [demoReaders]*actor
	progress  progress
	begin     time.Time
	took      time.Duration
	wrong     []string
	lane      inspect.Lane // as it was at the end
}

// newPlay makes a place for the bus and decides how large it is.
func newPlay(t *tree, rounds int) (*play, error) {
	if rounds == 0 {
		rounds = int(max(3, min(1000, (2<<30+t.bytes-1)/t.bytes)))
	}
	p := &play{tree: t, rounds: rounds, total: uint64(rounds) * uint64(len(t.names))}
	var err error
	for _, base := range []string{"/dev/shm", os.TempDir()} {
		if p.dir, p.config, err = place(base, t.largest); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	size := fanout.LaneSize(p.config) + 4<<20
	seg, err := segment.Open("demo", &segment.Options{Dir: p.dir, Size: size})
	if err == nil {
		if err = seg.Close(); err == nil {
			p.seg, err = inspect.Open("demo", &segment.Options{Dir: p.dir})
		}
	}
	if err == nil {
		err = os.WriteFile(p.file("names"), []byte(strings.Join(t.names, "\n")+"\n"), 0o600)
	}
	if err != nil {
		p.clear()
		return nil, err
	}
	p.cast()
	return p, nil
}

// place makes a directory in base, if it has room for messages of that size.
func place(base string, largest int) (string, fanout.Config, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(base, &fs); err != nil {
		return "", fanout.Config{}, fmt.Errorf("%s: %w", base, err)
	}
	free := int64(fs.Bavail) * fs.Bsize
	c := fanout.Config{Depth: 64, MaxMessage: largest, Holds: 3 * (demoReaders + 1), Loans: 1}
	for ; c.Depth >= 8; c.Depth /= 2 {
		if fanout.LaneSize(c)+16<<20 < free {
			dir, err := os.MkdirTemp(base, "ringbus-demo-")
			return dir, c, err
		}
	}
	c.Depth = 8
	return "", c, fmt.Errorf("%s has %s free, and messages of up to %s need %s: choose files that are smaller with --source", base, human(free), human(largest), human(fanout.LaneSize(c)+16<<20))
}

func (p *play) file(name string) string { return filepath.Join(p.dir, name) }

// cast says how each process is called.
func (p *play) cast() {
	c := p.config
	p.publisher = &actor{name: "publisher", play: p, args: func(int) []string {
		return []string{
			"demo-pub", "--root", p.tree.root, "--list", p.file("names"), "--rounds", fmt.Sprint(p.rounds), "--wait", fmt.Sprint(demoReaders),
			"--depth", fmt.Sprint(c.Depth), "--max-message", fmt.Sprint(c.MaxMessage), "--holds", fmt.Sprint(c.Holds), "--loans", fmt.Sprint(c.Loans),
		}
	}}
	for i := range p.readers {
		name := fmt.Sprintf("reader-%d", i+1)
		p.readers[i] = &actor{name: name, play: p, args: func(life int) []string {
			args := []string{"demo-sub", "--ledger", p.file(fmt.Sprintf("%s.%d", name, life))}
			if life > 0 { // it wants what it missed, as far as that is there
				args = append(args, "--history", fmt.Sprint(c.Depth-c.Chunk()))
			}
			return args
		}}
	}
}

// run starts everybody, kills two on the way, and waits for the end.
func (p *play) run(ctx context.Context) error {
	for _, a := range append(p.readers[:], p.publisher) {
		if err := a.start(); err != nil {
			return err
		}
	}
	p.begin = time.Now()
	defer p.progress.end()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	victim, stage := p.readers[demoReaders-1], 0
	for moved, last := time.Now(), uint64(0); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		sent := p.look()
		if sent != last {
			moved, last = time.Now(), sent
		} else if time.Since(moved) > 30*time.Second {
			return fmt.Errorf("nothing moved for 30 s, after %d of %d messages", sent, p.total)
		}
		p.progress.show(p, sent)
		var err error
		switch {
		case stage == 0 && sent >= p.total/3:
			stage, err = 1, p.replace(victim, sent)
		case stage == 1 && sent >= p.total*2/3 && victim.receives():
			stage, err = 2, p.replace(p.publisher, sent)
		}
		if err != nil {
			return err
		}
		over, err := p.over()
		if err != nil {
			return err
		}
		if over {
			if stage < 2 {
				p.wrong = append(p.wrong, "it was over before everybody was killed who should be: say more --rounds")
			}
			p.took = time.Since(p.begin)
			p.look()
			return nil
		}
	}
}

// replace kills a process and starts its successor.
func (p *play) replace(a *actor, sent uint64) error {
	a.kill()
	p.progress.note("killed %s (process %d) with SIGKILL after %d of %d messages; starting it again under its name", a.name, a.now().cmd.Process.Pid, sent, p.total)
	return a.start()
}

// look returns how many messages were sent.
func (p *play) look() uint64 {
	t, _ := inspect.Look(p.seg).Topic(demoTopic)
	if len(t.Lanes) == 0 {
		return 0
	}
	p.lane = t.Lanes[0]
	if len(t.Lanes) > 1 && len(p.wrong) == 0 {
		p.wrong = append(p.wrong, "the publisher that came back did not go on in its predecessor's lane")
	}
	return min(p.total, p.lane.Messages)
}

// over says whether everybody has ended, and complains if somebody failed.
func (p *play) over() (bool, error) {
	all := true
	for _, a := range append(p.readers[:], p.publisher) {
		l := a.now()
		select {
		case <-l.done:
			if l.err != nil {
				return false, fmt.Errorf("%s ended with %v: %s", a.name, l.err, strings.TrimSpace(l.errs.String()))
			}
		default:
			all = false
		}
	}
	return all, nil
}

// clear ends who still runs and removes everything.
func (p *play) clear() {
	for _, a := range append(p.readers[:], p.publisher) {
		if a != nil && len(a.lives) > 0 {
			a.kill()
		}
	}
	if p.seg != nil {
		_ = p.seg.Close()
	}
	_ = os.RemoveAll(p.dir)
}
