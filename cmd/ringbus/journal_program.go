package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/ringbus/ringbus/internal/sys"
	"github.com/ringbus/ringbus/journal"
)

// program is a program whose lines go into a journal.
type program struct {
	w      *journal.Writer
	cmd    *exec.Cmd
	ctx    context.Context // ends when nobody is to be waited for any more
	cancel context.CancelFunc
	pipes  []*os.File // where its lines come out
	mu     sync.Mutex
	lost   uint64 // lines that were not appended
	err    error  // why, the first time
	long   bool   // told that a line was cut
}

// runLogged is the verb journal run.
func (g *global) runLogged(name string, args []string, o *journal.Options, errLevel slog.Level, tee bool) error {
	node, err := g.open()
	if err != nil {
		return err
	}
	defer node.Close()
	w, err := openWriter(node, name, o)
	if err != nil {
		return err
	}
	p := &program{w: w, cmd: exec.Command(args[0], args[1:]...)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	defer p.cancel()
	err = p.run(o.Level, errLevel, tee)
	if cerr := node.Close(); err == nil {
		err = cerr
	}
	return err
}

// run starts the program and returns when it has ended and all its lines are
// appended.
func (p *program) run(level, errLevel slog.Level, tee bool) error {
	// The program gets SIGTERM when the thread that started it ends: this one
	// ends with the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 8)
	catch(signals)
	defer signal.Ignore(syscall.SIGPIPE)
	defer signal.Stop(signals)

	outs, err := p.plumb()
	if err != nil {
		return err
	}
	p.cmd.Stdin = os.Stdin
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	err = p.cmd.Start()
	for _, f := range outs {
		_ = f.Close() // the program has them
	}
	if err != nil {
		for _, f := range p.pipes {
			_ = f.Close()
		}
		return notStarted(p.cmd.Args[0], err)
	}
	var streams sync.WaitGroup
	for i, s := range []stream{{"stdout", level, os.Stdout}, {"stderr", errLevel, os.Stderr}} {
		if !tee {
			s.also = io.Discard
		}
		streams.Go(func() { p.listen(p.pipes[i], s) })
	}
	ended, silent := make(chan error, 1), make(chan struct{})
	go func() { ended <- p.cmd.Wait() }()
	go func() {
		streams.Wait()
		close(silent)
	}()
	return p.attend(signals, ended, silent)
}

// catch has the signals delivered that are to be passed on. One that was ignored
// when we were started stays so, for the program too. SIGPIPE, which main
// ignores, must not be ignored by the program.
func catch(signals chan os.Signal) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} {
		if s == syscall.SIGPIPE || !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
}

// plumb makes the pipes for the program's output.
func (p *program) plumb() (outs []*os.File, err error) {
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		p.pipes, outs = append(p.pipes, r), append(outs, w)
	}
	p.cmd.Stdout, p.cmd.Stderr = outs[0], outs[1]
	return outs, nil
}

// attend passes signals on until the program has ended and nobody has its
// output any more. Once it has ended, a signal ends the wait for others.
func (p *program) attend(signals chan os.Signal, ended chan error, silent chan struct{}) error {
	var err error
	var note <-chan time.Time
	over, told := false, false // the program has ended; a signal came
	for quiet := false; !over || !quiet; {
		select {
		case s := <-signals:
			if s != syscall.SIGPIPE {
				told = told || s != syscall.SIGUSR1 && s != syscall.SIGUSR2
				p.pass(s)
			}
		case err = <-ended:
			over = true
			note = time.After(2 * time.Second)
		case <-silent:
			quiet, silent = true, nil
		case <-note:
			fmt.Fprintf(os.Stderr, "ringbus: %s has ended, and what it started has its output still: waiting for that\n", p.cmd.Args[0])
		}
		if over && told {
			p.hurry()
		}
	}
	return p.outcome(err)
}

// pass gives the program a signal, unless its terminal did.
func (p *program) pass(s os.Signal) {
	if (s == os.Interrupt || s == syscall.SIGQUIT) && sys.Foreground() {
		return
	}
	_ = p.cmd.Process.Signal(s) // it may have ended
}

// hurry has what is in the pipes read, and no more waited for.
func (p *program) hurry() {
	p.cancel()
	for _, f := range p.pipes {
		_ = f.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	}
}

// outcome is how the program ended.
func (p *program) outcome(err error) error {
	if p.lost > 0 {
		fmt.Fprintf(os.Stderr, "ringbus: %d lines were not appended: %v\n", p.lost, p.err)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return signalError(ws.Signal())
		}
		return statusError(exit.ExitCode())
	}
	if err == nil && p.lost > 0 {
		return errSaid
	}
	return err
}

// stream is one of the program's two.
type stream struct {
	key   string
	level slog.Level
	also  io.Writer
}

// listen appends the lines of a stream. Whatever goes wrong with the journal,
// the program can go on printing.
func (p *program) listen(f *os.File, s stream) {
	defer func() { _ = f.Close() }()
	o := &journal.RecordOptions{Level: s.level, Key: s.key}
	limit := p.w.MaxRecord() - 8 // for the key
	err := eachLine(io.TeeReader(f, &tolerant{w: s.also}), limit, func(line []byte, more bool) error {
		if more {
			p.sayLong(limit)
		}
		if _, err := p.w.Append(p.ctx, line, o); err != nil {
			p.miss(err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		p.miss(err)
	}
}

// miss counts a line that was not appended.
func (p *program) miss(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost++
	if p.err == nil {
		p.err = err
	}
}

func (p *program) sayLong(limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.long {
		fmt.Fprintf(os.Stderr, "ringbus: a line is longer than %d bytes and was cut into several records\n", limit)
	}
	p.long = true
}

// tolerant writes as long as that works, and lets the rest go.
type tolerant struct {
	w      io.Writer
	failed bool
}

func (t *tolerant) Write(b []byte) (int, error) {
	if !t.failed {
		_, err := t.w.Write(b)
		t.failed = err != nil
	}
	return len(b), nil
}
