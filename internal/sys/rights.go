package sys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// SendFile writes b, a short message, to c, with the file f if it is not nil.
func SendFile(c *net.UnixConn, b []byte, f *os.File) error {
	if f == nil {
		_, err := c.Write(b)
		return err
	}
	return control(f, func(fd int) error {
		n, _, err := c.WriteMsgUnix(b, unix.UnixRights(fd), nil)
		if err == nil && n < len(b) { // the file went with the first byte
			_, err = c.Write(b[n:])
		}
		return err
	})
}

// maxFiles is how many files one read takes; senders of more are wrong.
const maxFiles = 8

// ReceiveFiles reads some bytes from c into b, and the files that came with them,
// which are the caller's. The error is io.EOF when c has ended.
func ReceiveFiles(c *net.UnixConn, b []byte) (int, []*os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return 0, nil, err
	}
	var files []*os.File
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range msgs {
		fds, rerr := unix.ParseUnixRights(&msgs[i])
		if rerr != nil {
			continue // credentials, which nobody asked for
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), fmt.Sprintf("received:%d", fd)))
		}
	}
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		err = fmt.Errorf("more than %d files came with one message", maxFiles)
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		return 0, nil, err
	}
	return n, files, nil
}

// SmallSendBuffer makes c hold few unread messages, so that a reader that never
// reads cannot pin many files in flight.
func SmallSendBuffer(c *net.UnixConn) error { return c.SetWriteBuffer(4 << 10) }

// IsTooManyInFlight says whether a file was not sent because too many that
// nobody has received yet are on their way.
func IsTooManyInFlight(err error) bool { return errors.Is(err, unix.ETOOMANYREFS) }

// IsNobodyThere says whether connecting failed because nobody listens.
func IsNobodyThere(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

// IsReset says whether the other end of a connection has gone in the middle.
func IsReset(err error) bool { return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) }

// IsTooManyFiles says whether no descriptor was left.
func IsTooManyFiles(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// PeerPid returns the id of the process that connected c, 0 if we cannot see it,
// and its user.
func PeerPid(c *net.UnixConn) (pid int, uid uint32, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	if cerr := rc.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil {
		return 0, 0, cerr
	}
	if err != nil {
		return 0, 0, os.NewSyscallError("getsockopt", err)
	}
	return int(cred.Pid), cred.Uid, nil
}

// MapsToo reports whether process pid has mapped the file that own, a mapping of
// this process, comes from. known is false if that cannot be told.
func MapsToo(pid int, own Stat) (maps, known bool) {
	mine, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return false, false
	}
	// Some file systems show another device here than to stat(2), so we compare
	// what the kernel shows of them with what it shows of us.
	dev := deviceOf(mine, own.Ino)
	theirs, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil || dev == nil || len(theirs) == 0 {
		return false, false
	}
	return bytes.Equal(deviceOf(theirs, own.Ino), dev), true
}

// deviceOf returns the device of the first line of maps with the inode.
func deviceOf(maps []byte, inode uint64) []byte {
	want := fmt.Appendf(nil, "%d", inode)
	for line := range bytes.Lines(maps) {
		// address perms offset dev inode path
		if f := bytes.Fields(line); len(f) >= 5 && bytes.Equal(f[4], want) {
			return f[3]
		}
	}
	return nil
}

// ListenUnix listens at path, where nothing may be. The socket appears with the
// permissions perm, at most.
func ListenUnix(path string, perm uint32) (*net.UnixListener, error) {
	// unix_bind_bsd makes the file with the mode of the socket's own inode, less
	// the umask.
	var lc net.ListenConfig
	lc.Control = func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), perm) })
		return errors.Join(cerr, os.NewSyscallError("fchmod", err))
	}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	u := ln.(*net.UnixListener)
	u.SetUnlinkOnClose(false)
	return u, nil
}
