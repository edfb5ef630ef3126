//go:build !race

package guests

import (
	"strings"
	"testing"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/shmtest"
)

// house is a bus with a process of the host and two guests on it.
type house struct {
	host, a, b *place
}

// pair is two places that play with each other.
type pair struct{ from, to *place }

func (h *house) pairs() map[string]pair {
	return map[string]pair{
		"host to guest": {h.host, h.a}, "guest to host": {h.b, h.host}, "guest to guest": {h.a, h.b},
	}
}

// cases are the patterns, each a part for either place.
var cases = []struct {
	name     string
	from, to string
	n        int
	first    string // "to" must have said this before "from" begins
	after    bool   // "to" begins when "from" has ended
}{
	{"reliable topic", "topic.send", "topic.receive", 600, "", false},
	{"latest topic", "latest.send", "latest.receive", 600, "", false},
	{"history of a topic", "history.send", "history.receive", 50, "", true},
	{"loans of a topic", "topic.send", "loans.receive", 200, "", false},
	{"stream", "stream.dial", "stream.serve", 1 << 18, "listening", false},
	{"IO queue", "queue.submit", "queue.execute", 100, "", false},
	{"calls", "calls.call", "calls.serve", 100, "serving", false},
}

func TestPatternsBetweenAHostAndTwoGuests(t *testing.T) {
	seg := bus(t, shmtest.Dir(t), 64<<20)
	h := &house{a: inGuest(t, seg, "a"), b: inGuest(t, seg, "b"), host: onHost(t, seg, "host")}
	for _, c := range cases {
		for where, p := range h.pairs() {
			t.Run(c.name+", "+where, func(t *testing.T) {
				name := strings.NewReplacer(" ", "-", ",", "").Replace(c.name + "/" + where)
				if c.after {
					p.from.play(c.from, name, c.n).result(t)
					p.to.play(c.to, name, c.n).result(t)
					return
				}
				to := p.to.play(c.to, name, c.n)
				if c.first != "" {
					to.said(t, c.first)
				}
				from := p.from.play(c.from, name, c.n)
				from.result(t)
				to.result(t)
			})
		}
	}
	for where, p := range h.pairs() {
		t.Run("journal of two writers, "+where, func(t *testing.T) {
			name := strings.ReplaceAll("journal/"+where, " ", "-")
			const n = 300
			one, two := p.from.play("journal.append", name, n), p.to.play("journal.append", name, n)
			one.result(t)
			two.result(t)
			x, y := p.from.play("journal.read", name, 2*n), p.to.play("journal.read", name, 2*n)
			if a, b := x.result(t), y.result(t); a != b || !strings.HasPrefix(a, "2 writers") {
				t.Errorf("%s read %q, %s read %q", p.from.name, a, p.to.name, b)
			}
		})
	}
	for _, p := range []*place{h.a, h.b, h.host} {
		p.end()
	}
	for _, problem := range inspect.Verify(seg) {
		t.Errorf("in the end: %v", problem)
	}
}
