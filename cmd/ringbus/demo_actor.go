package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// actor is a process of the demo, which may live more than once.
type actor struct {
	name  string
	play  *play
	args  func(life int) []string
	lives []*life
}

// life is one process.
type life struct {
	cmd    *exec.Cmd
	ledger string
	killed bool
	out    bytes.Buffer
	errs   bytes.Buffer
	done   chan struct{}
	err    error // valid once done is closed
}

// start begins a life.
func (a *actor) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	n := len(a.lives)
	l := &life{done: make(chan struct{}), ledger: a.play.file(fmt.Sprintf("%s.%d", a.name, n))}
	l.cmd = exec.Command(self, append([]string{"--bus", "demo", "--dir", a.play.dir, "--name", a.name}, a.args(n)...)...)
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.errs
	// Control-C is for us to pass on; and nobody outlives us.
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		return err
	}
	go func() {
		l.err = l.cmd.Wait()
		close(l.done)
	}()
	a.lives = append(a.lives, l)
	return nil
}

func (a *actor) now() *life { return a.lives[len(a.lives)-1] }

// kill ends a life, and returns when it has ended.
func (a *actor) kill() {
	l := a.now()
	l.killed = true
	_ = l.cmd.Process.Kill()
	<-l.done
}

// receives says whether the actor, a reader, has received anything in this life.
func (a *actor) receives() bool {
	l, err := readLedger(a.now().ledger)
	return err == nil && l.Messages() > 0
}

// progress says how far the demo is: on a terminal on one line, else on a new
// one every second.
type progress struct {
	terminal bool
	shown    time.Time
	open     bool // a line without its end
}

func (p *progress) show(d *play, sent uint64) {
	every := time.Second
	if p.shown.IsZero() {
		info, err := os.Stderr.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if p.terminal {
		every = 100 * time.Millisecond
	}
	now := time.Now()
	if now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	line := fmt.Sprintf("%3d%%  %d of %d messages, %s", sent*100/d.total, sent, d.total, human(d.lane.Bytes))
	if s := now.Sub(d.begin).Seconds(); s > 0.1 {
		line += fmt.Sprintf(", %.2f GB/s", float64(d.lane.Bytes)/s/1e9)
	}
	if p.terminal {
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s", line)
		p.open = true
		return
	}
	fmt.Fprintln(os.Stderr, line)
}

func (p *progress) note(format string, args ...any) {
	p.end()
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

func (p *progress) end() {
	if p.open {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
		p.open = false
	}
}
