package ringbus

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/ring/fanout"
)

// loan is one of a publisher's places for loans. Its sequence is odd while it
// is lent, so a Loan that is used after its end is found out.
type loan struct {
	pub  *Publisher
	seq  atomic.Uint64
	desc uint32
	pool bool // data is a descriptor's memory, not small
	data []byte
	buf  []byte // the loan's whole memory
	room [fanout.InlineSize]byte
}

// end ends the loan if it is open.
func (l *loan) end() bool {
	seq := l.seq.Load()
	return seq&1 == 1 && l.seq.CompareAndSwap(seq, seq+1)
}

// Loan is memory of the topic, lent to its publisher: fill it, then Send it,
// or Discard it. Its bytes are whatever an earlier message left there. It
// must not be used after Send, Discard or the publisher's Close; Data panics
// then. It belongs to the publisher's goroutine.
type Loan struct {
	l   *loan
	seq uint64
}

// Loan lends size bytes of the topic's memory. Sending them copies nothing
// (but for messages of at most 104 bytes, which travel inside the ring). It
// never waits: a publisher's loans are set aside for it.
func (p *Publisher) Loan(size int) (Loan, error) {
	p.gate.Enter("Publisher")
	defer p.gate.Leave()
	if size < 0 {
		panic(fmt.Sprintf("ringbus: Loan of %d bytes", size))
	}
	if size > p.MaxMessage() {
		return Loan{}, &SizeError{Topic: p.topic.name, Size: size, Max: p.MaxMessage()}
	}
	if p.gate.Closed.Load() {
		return Loan{}, p.closedErr()
	}
	for i := range p.loans {
		l := &p.loans[i]
		seq := l.seq.Load()
		if seq&1 == 1 {
			continue
		}
		if size <= fanout.InlineSize {
			l.pool, l.buf = false, l.room[:]
		} else {
			desc, buf, ok := p.tx.Loan()
			if !ok {
				return Loan{}, p.full()
			}
			l.pool, l.desc, l.buf = true, desc, buf
		}
		l.data = l.buf[:size:size]
		l.seq.Store(seq + 1)
		return Loan{l, seq + 1}, nil
	}
	return Loan{}, fmt.Errorf("topic %q: %w: %d; send or discard one, or raise PublisherOptions.Loans", p.topic.name, ErrTooManyLoans, len(p.loans))
}

// open panics if the loan has ended.
func (b Loan) open(what string) *loan {
	if b.l == nil || b.l.seq.Load() != b.seq {
		panic("ringbus: " + what + " of a loan that has ended")
	}
	return b.l
}

// Data is the lent memory.
func (b Loan) Data() []byte { return b.open("Data").data }

// Truncate makes the message shorter: size bytes, at most what was asked for.
func (b Loan) Truncate(size int) {
	l := b.open("Truncate")
	l.data = l.data[:size]
}

// Send sends the message and ends the loan. If it returns an error the loan
// goes on; after Close it has ended.
func (b Loan) Send() error { return b.SendContext(background) }

// SendContext is Send that stops waiting when ctx is done.
func (b Loan) SendContext(ctx context.Context) error {
	l := b.l
	if l == nil {
		panic("ringbus: Send of a loan that was never made")
	}
	p := l.pub
	p.gate.Enter("Publisher")
	defer p.gate.Leave()
	if p.gate.Closed.Load() {
		return p.closedErr()
	}
	b.open("Send")
	for !p.sendLoan(l) {
		if err := p.waitRoom(ctx); err != nil {
			return err
		}
	}
	l.end()
	runtime.KeepAlive(p)
	return nil
}

func (p *Publisher) sendLoan(l *loan) bool {
	if l.pool {
		return p.tx.SendLoan(l.desc, len(l.data), p.now())
	}
	return p.tx.Send(l.data, p.now())
}

// Discard ends the loan without sending. It does nothing if it has ended with
// its publisher's Close.
func (b Loan) Discard() {
	if b.l != nil && b.l.pub.gate.Closed.Load() {
		return
	}
	l := b.open("Discard")
	l.pub.gate.Enter("Publisher")
	defer l.pub.gate.Leave()
	invariant.Poison(l.buf)
	if l.pool {
		l.pub.tx.Return(l.desc)
	}
	l.end()
}
