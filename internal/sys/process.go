// Package sys is the only room that talks to the kernel: files that are mapped,
// locked and reserved, sleeping and waking on words, processes and their ends.
//
// It knows nothing of what the bytes mean. Errors are [os.PathError] or
// [os.SyscallError], so that errors.Is works with those of package syscall.
package sys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// BootID returns the random id that this kernel drew when it booted.
var BootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
})

// PidNamespace returns the number of our pid namespace, 0 if it is not known:
// two processes with the same number mean the same process by the same pid.
var PidNamespace = sync.OnceValue(func() uint64 {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0
	}
	return st.Ino
})

// StartTime returns when process pid started, in clock ticks since boot: with
// it a pid that is used again is told from the one that was meant.
func StartTime(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses and may hold anything;
	// the twentieth after it is the start time (proc_pid_stat(5), field 22).
	_, rest, ok := cutLast(b, ')')
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("stat of process %d has %d fields", pid, len(fields))
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// Ended reports whether there is evidence that the process that had pid when it
// had started at start is no more: nobody has the pid, another process has it,
// or it waits to be reaped. What cannot be seen is no evidence.
func Ended(pid int, start uint64) bool {
	if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return true
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, ok := cutLast(b, ')')
	if fields := bytes.Fields(rest); ok && len(fields) > 0 && (fields[0][0] == 'Z' || fields[0][0] == 'X') {
		return alone(pid)
	}
	now, err := StartTime(pid)
	return err == nil && start != 0 && now != start
}

// alone says whether no thread of the process is left but its first one. The state
// of a process is that of its first thread, which may end before the others.
func alone(pid int) bool {
	threads, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	return err == nil && len(threads) <= 1 || errors.Is(err, os.ErrNotExist)
}

func cutLast(b []byte, sep byte) (before, after []byte, ok bool) {
	i := bytes.LastIndexByte(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}

// A Process is one process that is watched for its end.
type Process struct{ f *os.File }

// WatchProcess opens the process pid, which may be anybody's.
func WatchProcess(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return &Process{os.NewFile(uintptr(fd), "pidfd:"+strconv.Itoa(pid))}, nil
}

// Wait returns nil once the process has ended, and an error once Close was
// called. It waits on Go's poller and holds no thread.
func (p *Process) Wait() error {
	rc, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	return rc.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
}

// Close ends the watch and every Wait.
func (p *Process) Close() error { return p.f.Close() }
