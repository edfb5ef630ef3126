package doorbell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ringbus/ringbus/internal/sys"
)

// Options say how to serve. Nil, and the zero value of every field, mean the
// default.
type Options struct {
	// Vectors is how many interrupts each client has: default 1, at most
	// [MaxVectors]. The property of the same name of QEMU's device must not be
	// less.
	Vectors int
	// MaxClients bounds how many are connected at once: default 64. Others are
	// refused.
	MaxClients int
	// Mode is the permission of the socket: default 0600. Who may connect may
	// map the memory and ring everybody.
	Mode fs.FileMode
	// State is where the server notes which process has which id, in State.peers,
	// and locks who may do so, State.lock: default the socket's path. The servers
	// of one bus must have the same, whatever their sockets.
	State string
	// Gone is called, by one goroutine, once there is evidence that the process
	// with the id can write into the memory no more. If it returns false it is
	// called again later. The id is given to nobody before it returned true.
	Gone func(id uint16) bool
	// Event is told what happens, one event at a time. It must not wait for the
	// server.
	Event func(Event)
}

// Event is something that happened to a client.
type Event struct {
	Time time.Time `json:"time"`
	What What      `json:"event"`
	ID   uint16    `json:"id"`
	Pid  int       `json:"pid,omitempty"` // of the process, 0 if we cannot see it
	UID  uint32    `json:"uid"`
	Why  string    `json:"why,omitempty"`
}

// What is the kind of an event.
type What string

// The kinds of events.
const (
	Joined  What = "joined"  // a client has connected and got its id
	Left    What = "left"    // its connection has ended, it may live all the same
	Gone    What = "gone"    // there is evidence that it can write no more
	Refused What = "refused" // a connection was not let in; there is no id
)

func (o *Options) resolve() (Options, error) {
	var r Options
	if o != nil {
		r = *o
	}
	if r.Vectors == 0 {
		r.Vectors = 1
	}
	if r.MaxClients == 0 {
		r.MaxClients = 64
	}
	if r.Mode.Perm() == 0 {
		r.Mode = 0o600
	}
	if r.Vectors < 0 || r.Vectors > MaxVectors {
		return r, fmt.Errorf("%d vectors are out of range: want 1 to %d", r.Vectors, MaxVectors)
	}
	if r.MaxClients < 0 || r.MaxClients > MaxID {
		return r, fmt.Errorf("%d clients are out of range: want 1 to %d", r.MaxClients, MaxID)
	}
	return r, nil
}

// A Server serves the ivshmem protocol on one socket, from Listen to Close. All
// methods may be called at the same time. What its clients have of one another
// stays with them when it ends.
type Server struct {
	opts   Options
	memory *os.File
	stat   sys.Stat
	sock   *socket
	done   chan struct{}
	dead   chan struct{} // looks of the undertaker, capacity 1
	work   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	ids     *ids
	clients map[uint16]*client
	lost    map[uint16]absent // without connection, perhaps without life

	events sync.Mutex
}

// Listen makes a server at path, in place of one that has died. memory is the
// file that clients map; it stays the caller's, who keeps it open and mapped.
// The error wraps [ErrServed] if a live server is there.
func Listen(path string, memory *os.File, o *Options) (*Server, error) {
	s, err := newServer(path, memory, o)
	if err != nil {
		return nil, fmt.Errorf("serve doorbells at %q: %w", path, err)
	}
	return s, nil
}

func newServer(path string, memory *os.File, o *Options) (*Server, error) {
	opts, err := o.resolve()
	if err != nil {
		return nil, err
	}
	st, err := sys.StatFile(memory)
	if err != nil {
		return nil, err
	}
	if st.Size == 0 || st.Size&(st.Size-1) != 0 {
		return nil, fmt.Errorf("the memory has %d bytes, but the size of a PCI BAR is a power of two", st.Size)
	}
	if opts.State == "" {
		opts.State = path
	}
	sock, err := listen(path, opts.State+".lock", opts.Mode)
	if err != nil {
		return nil, err
	}
	table, err := openIDs(opts.State + ".peers")
	if err != nil {
		return nil, errors.Join(err, sock.Close())
	}
	s := &Server{
		opts: opts, memory: memory, stat: st, sock: sock, ids: table,
		done: make(chan struct{}), dead: make(chan struct{}, 1),
		clients: make(map[uint16]*client), lost: make(map[uint16]absent),
	}
	for id, h := range table.holders {
		s.lost[id] = absent{holder: h}
	}
	s.work.Add(1)
	go s.undertake()
	return s, nil
}

// Path returns the path of the socket.
func (s *Server) Path() string { return s.sock.path }

// Serve lets clients in until ctx ends, which is no error, or Close is called.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.sock.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		c, err := s.sock.AcceptUnix()
		switch {
		case err == nil:
			s.admit(c)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return os.ErrClosed
		case sys.IsTooManyFiles(err):
			s.tell(Event{What: Refused, Why: err.Error()})
			if !s.rest(time.Second) {
				return os.ErrClosed
			}
		default:
			return fmt.Errorf("serve doorbells at %q: %w", s.sock.path, err)
		}
	}
}

// rest waits for d and says whether the server still runs.
func (s *Server) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}

// Close ends all connections and the server, and takes the socket away. The notes
// stay if there are processes that have an id.
func (s *Server) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return nil
	}
	close(s.done)
	s.mu.Lock()
	for _, c := range s.clients {
		_ = c.conn.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
	return errors.Join(s.ids.close(), s.sock.Close())
}

// tell tells the caller's Event.
func (s *Server) tell(e Event) {
	if s.opts.Event == nil {
		return
	}
	s.events.Lock()
	defer s.events.Unlock()
	e.Time = time.Now()
	s.opts.Event(e)
}
