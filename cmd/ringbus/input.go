package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
)

// input reads a file until its context is done. A read of a terminal, a pipe or
// a socket that somebody else made cannot be called off, so it waits first
// until there is something to read, or the context is done.
type input struct {
	ctx  context.Context
	file *os.File
	fd   int
	wake [2]int // a pipe that is closed at its far end when ctx is done
	stop func() bool
}

func newInput(ctx context.Context, file *os.File) (*input, error) {
	in := &input{ctx: ctx, file: file, fd: int(file.Fd())}
	if err := syscall.Pipe2(in.wake[:], syscall.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe", err)
	}
	far := in.wake[1]
	in.stop = context.AfterFunc(ctx, func() { _ = syscall.Close(far) })
	return in, nil
}

func (in *input) close() {
	if in.stop() {
		_ = syscall.Close(in.wake[1])
	}
	_ = syscall.Close(in.wake[0])
}

// Read reads what is there, and waits for something.
func (in *input) Read(b []byte) (int, error) {
	for {
		if err := in.ctx.Err(); err != nil {
			return 0, err
		}
		var set syscall.FdSet
		for _, fd := range []int{in.fd, in.wake[0]} {
			if fd/64 >= len(set.Bits) {
				return 0, fmt.Errorf("read %s: descriptor %d is too large", in.file.Name(), fd)
			}
			set.Bits[fd/64] |= 1 << (fd % 64)
		}
		_, err := syscall.Select(max(in.fd, in.wake[0])+1, &set, nil, nil, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, fmt.Errorf("read %s: %w", in.file.Name(), err)
		case set.Bits[in.fd/64]&(1<<(in.fd%64)) != 0:
			return in.file.Read(b)
		}
	}
}
