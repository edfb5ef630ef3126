package stream

import (
	"context"
	"runtime"
	"time"

	"github.com/ringbus/ringbus/internal/ring/cells"
	"github.com/ringbus/ringbus/segment"
)

// Claim is a message that one reader of a group has, and no other, until it is
// Done or Return, or the reader's process dies. It may be used by any goroutine;
// any number may be open at once, but the stream's memory holds them: a claim
// that stays open keeps the writer waiting in the end. After the reader's Close
// it must not be used.
type Claim struct {
	r   *Reader
	rec cells.Record
}

// Claim claims the next message of the reader's group, and waits for it until
// ctx ends. At the stream's end, when all of the group's messages are done, it
// returns io.EOF, or [ErrWriterDied].
func (r *Reader) Claim(ctx context.Context) (*Claim, error) {
	if r.shared == nil {
		panic("stream: Claim of a reader without a group: it has Receive")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.take(ctx)
}

// take is Claim under the lock.
func (r *Reader) take(ctx context.Context) (*Claim, error) {
	c := &Claim{r: r}
	if r.closed.Load() || r.shared.Poll(&c.rec) != cells.Got {
		if err := r.wait.until(ctx, func() (bool, error) { return r.poll(&c.rec) }, r.announce); err != nil {
			return nil, err
		}
	}
	r.claims.Lock()
	r.open[c] = struct{}{}
	r.claims.Unlock()
	runtime.KeepAlive(r)
	return c, nil
}

func (r *Reader) poll(rec *cells.Record) (bool, error) {
	if r.closed.Load() {
		return false, r.err(ErrClosed)
	}
	switch r.shared.Poll(rec) {
	case cells.Got:
		return true, nil
	case cells.Evicted:
		return false, r.err(ErrFenced)
	case cells.Corrupt:
		return false, r.err(r.shared.Err())
	}
	return false, r.over()
}

// announce says that the reader sleeps. It looks whether those who have claims
// are alive: their death rings, but not if somebody claimed after it was buried.
func (r *Reader) announce() (most time.Duration) {
	node := r.host.Node
	for _, o := range r.shared.Unfinished() {
		switch r.status(o) {
		case segment.Dead:
			r.bury(o)
			r.shared.HandBack(o)
		case segment.Suspect:
			r.shared.HandBack(o)
		default:
			if node.Foreign(segment.Owner(o)) {
				most = suspectPoll
			}
		}
	}
	r.shared.Announce()
	return most
}

// Data is the payload. It lies in the stream, where it must not be written, and
// is valid until Done or Return.
func (c *Claim) Data() []byte { return c.rec.Bytes() }

// Number is the message's number among all of the stream, from 0.
func (c *Claim) Number() uint64 { return c.rec.Number }

// Redelivered reports whether another reader had the message before, and died,
// fell silent, or gave it back: what it is about may have been done already.
func (c *Claim) Redelivered() bool { return c.rec.Redelivered }

// Done says that the message was dealt with. [ErrRedelivered] says that it was
// given to another reader meanwhile.
func (c *Claim) Done() error { return c.end((*cells.Shared).Done) }

// Return gives the message back; whoever gets it next is told that it is
// delivered again.
func (c *Claim) Return() error { return c.end((*cells.Shared).Return) }

func (c *Claim) end(how func(*cells.Shared, *cells.Record) bool) error {
	r := c.r
	r.claims.Lock() // not mu, which a Claim that waits has
	defer r.claims.Unlock()
	_, open := r.open[c]
	delete(r.open, c)
	if !open {
		if r.closed.Load() {
			return r.err(ErrClosed)
		}
		panic("stream: Done or Return of a claim that has ended")
	}
	if !how(r.shared, &c.rec) {
		return r.err(ErrRedelivered)
	}
	return nil
}
