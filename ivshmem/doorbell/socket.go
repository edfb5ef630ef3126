package doorbell

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"github.com/ringbus/ringbus/internal/sys"
)

// ErrServed is wrapped when a live server has the socket already.
var ErrServed = errors.New("a server is at work there")

// maxPath is how long the path of a Unix socket may be: sun_path of unix(7).
const maxPath = 108 - 1

// socket is a listening socket at a path, and the right to serve there.
type socket struct {
	*net.UnixListener
	path string
	lock *os.File
	was  sys.Stat
}

// listen makes a socket at path in place of one whose server has died. At no
// moment more than mode's users may connect. Who has the lock may serve.
func listen(path, lockPath string, mode fs.FileMode) (s *socket, err error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path of a socket may have %d bytes, this one has %d", maxPath, len(path))
	}
	lock, err := lockFile(lockPath)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(lock.Name())
			_ = lock.Close()
		}
	}()
	if err := vacant(path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := sys.ListenUnix(path, uint32(mode.Perm()))
	if err != nil {
		return nil, err
	}
	s = &socket{UnixListener: ln, path: path, lock: lock}
	if err = os.Chmod(path, mode.Perm()); err == nil { // whatever the umask
		s.was, err = sys.StatPath(path)
	}
	if err != nil {
		_ = ln.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return s, nil
}

// lockFile makes and locks the file at path. Its last holder may have removed it
// meanwhile.
func lockFile(path string) (*os.File, error) {
	for {
		f, err := sys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		got, err := sys.TryLock(f, 0)
		if err == nil && !got {
			err = fmt.Errorf("%w (it has %q locked); end it first", ErrServed, path)
		}
		var have, now sys.Stat
		if err == nil {
			have, err = sys.StatFile(f)
		}
		if err == nil {
			now, err = sys.StatPath(path)
		}
		if err == nil && have.Ino == now.Ino && have.Dev == now.Dev {
			return f, nil
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// vacant checks that path may be replaced: nothing is there, or a socket where
// nobody listens.
func vacant(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%q is there and is no socket; remove it, or choose another path", path)
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("%w; end it first, or choose another path", ErrServed)
	}
	if !sys.IsNobodyThere(err) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Close ends listening, takes the path away if it is ours still, and gives up
// the right to serve there.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if now, serr := sys.StatPath(s.path); serr == nil && now.Ino == s.was.Ino && now.Dev == s.was.Dev {
		err = errors.Join(err, os.Remove(s.path))
	}
	return errors.Join(err, os.Remove(s.lock.Name()), s.lock.Close())
}
