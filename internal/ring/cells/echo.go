package cells

import (
	"github.com/ringbus/ringbus/internal/invariant"
	"github.com/ringbus/ringbus/internal/mem"
)

// The echo is a copy of the last message, if that was small, right behind pub:
// a reader that waits for it has pub, header and payload by fetching the line
// that it looks at and the next one, and not three that lie apart, of which two
// could only be asked for when the first has come. It is written by who has the
// token before pub is, and means nothing until then.
const (
	// EchoSize is the largest message that is echoed, in bytes.
	EchoSize  = echoFirst + mem.Line
	echoFirst = 40 // bytes of the payload that lie on pub's line

	echoStamp  = 0 // words of the echo
	echoNumber = 1
	echoData   = 2
	echoSecond = echoData + echoFirst/8 // the next line
	echoWords  = echoSecond + mem.Line/8

	echoThere = 1 << 8 // in the stamp: position 44 bits, length 8; 0: nothing
)

func packEcho(pos uint64, length int) uint64 { return pos<<20 | echoThere | uint64(length) }

// aheadEcho asks for the echo's second line, which readers have; pub's own line
// is with those who look at it, and would be taken away again.
func (x *Tx) aheadEcho(length int) {
	if length > echoFirst && length <= EchoSize {
		mem.PrefetchW(&x.ring.echo[echoSecond])
	}
}

// repeat is P2a and P2b: it writes the echo of message b at head. The stamp comes
// first: who reads the message before finds out, and nobody reads this one yet.
func (x *Tx) repeat(b []byte) {
	e := x.ring.echo
	mem.StoreRelease(&e[echoStamp], packEcho(x.head, len(b))) // P2a
	invariant.Point("cells.P2a")
	first := b
	if len(b) > echoFirst {
		mem.CopyIn(e[echoSecond:], b[echoFirst:])
		first = b[:echoFirst]
	}
	if len(first) > 0 {
		mem.CopyIn(e[echoData:], first)
	}
	mem.StoreRelease(&e[echoNumber], x.number) // P2b
	invariant.Point("cells.P2b")
}

// listen is B1e: it reads message n, which is published, from the echo, if that
// has it all the time.
func (x *Rx) listen(rec *Record, n, to uint64) bool {
	e := x.ring.echo
	stamp := e[echoStamp].Load()
	length := stamp & 0xff
	if stamp != packEcho(n&posMask, int(length)) || length > EchoSize {
		return false
	}
	k := cellsFor(length)
	number := e[echoNumber].Load()
	if length > echoFirst {
		mem.CopyOut(x.small[echoFirst:length], e[echoSecond:echoWords])
	}
	mem.CopyOut(x.small[:min(length, echoFirst)], e[echoData:echoSecond])
	invariant.Point("cells.B1e")
	// edge: echo (this load, after the copy | stamp, then the words)
	if e[echoStamp].Load() != stamp || k > to-n {
		return false
	}
	lost, ok := x.count(number)
	if !ok {
		return false // the header says what is wrong
	}
	rec.A, rec.B, rec.Lost = x.small[:length:length], nil, lost
	rec.Number, rec.Redelivered, rec.next, rec.pos = x.want-1, false, n+k, n
	x.held = n + k
	return true
}
