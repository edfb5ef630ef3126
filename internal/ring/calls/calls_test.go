package calls

import (
	"errors"
	"testing"

	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/wake"
)

func newTable(t testing.TB) *Table {
	t.Helper()
	area := mem.Alloc(Size)
	if err := Format(area); err != nil {
		t.Fatal(err)
	}
	table, err := Open(area)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// counting counts what is rung.
func counting(n *int) func(wake.Bell) {
	return func(b wake.Bell) { *n++; b.Word.Add(1) }
}

func none(wake.Bell) {}

func serve(t *testing.T, table *Table, owner uint32) *Server {
	t.Helper()
	s, err := table.Serve(owner, none)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func claim(t *testing.T, table *Table, owner uint32) *Link {
	t.Helper()
	l, err := table.Claim(owner)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func connect(t *testing.T, l *Link, index int) {
	t.Helper()
	servers := l.t.Servers()
	if len(servers) == 0 {
		t.Fatal("no servers")
	}
	if ok, err := l.Connect(servers[0], index, 7, l, none); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

func links(s *Server) (out []Served) {
	s.Links(func(v Served) { out = append(out, v) })
	return out
}

func TestAClientFindsAServer(t *testing.T) {
	table := newTable(t)
	if n := table.Servers(); len(n) > 0 {
		t.Fatal(n)
	}
	was := table.Changes()
	s := serve(t, table, 3)
	if table.Changes() == was || len(table.Servers()) != 1 || table.Servers()[0].Owner != 3 {
		t.Fatal("the server is not seen")
	}
	l := claim(t, table, 1)
	news := s.News()
	connect(t, l, 5)
	if s.News() == news {
		t.Error("the server is not told")
	}
	got := links(s)
	if len(got) != 1 || got[0].Link != l.K || got[0].Index != 5 || got[0].Gen != 7 || s.Client(got[0]) != l.Bell() {
		t.Fatalf("%+v", got)
	}
	if again := links(s); len(again) > 0 {
		t.Errorf("the same link once more: %+v", again)
	}
	if s.Ended(got[0]) || l.Lost() {
		t.Error("ended")
	}
	news = s.News()
	l.Close(none)
	if s.News() == news || !s.Ended(got[0]) {
		t.Error("the server does not see the end")
	}
	if other := claim(t, table, 2); other.K == l.K {
		t.Error("a link is free that its server has not let go of")
	}
	s.Drop(got[0])
	if other := claim(t, table, 2); other.K != l.K {
		t.Errorf("link %d, want %d", other.K, l.K)
	}
}

func TestAServerLeaves(t *testing.T) {
	table := newTable(t)
	s := serve(t, table, 3)
	l, m := claim(t, table, 1), claim(t, table, 1)
	connect(t, l, 1)
	servers := table.Servers()
	rung := 0
	s.Leave(counting(&rung))
	if !l.Lost() || rung != 1 || len(table.Servers()) > 0 || s.Held() {
		t.Errorf("lost %v, %d rung, %d servers", l.Lost(), rung, len(table.Servers()))
	}
	// One who has found it before.
	if ok, err := m.Connect(servers[0], 1, 1, m, none); ok || err != nil {
		t.Errorf("connected with one who has left: %v, %v", ok, err)
	}
	if err := l.Again(); err != nil {
		t.Fatal(err)
	}
	serve(t, table, 4)
	connect(t, l, 1)
	connect(t, m, 1)
	l.Close(none)
	m.Close(none)
	s.Leave(none) // again: nothing
	if len(table.Servers()) != 1 {
		t.Error("the other one left")
	}
}

// A client that is linked, and may be waiting for a place, is rung once.
func TestANewServerRingsClients(t *testing.T) {
	table := newTable(t)
	serve(t, table, 3)
	home, second, alone := claim(t, table, 1), claim(t, table, 1), claim(t, table, 2)
	connect(t, home, 1)
	if ok, err := second.Connect(table.Servers()[0], 2, 7, home, none); !ok || err != nil {
		t.Fatal(ok, err)
	}
	was, other, rung := home.Bell().Word.Load(), alone.Bell().Word.Load(), 0
	if _, err := table.Serve(4, counting(&rung)); err != nil {
		t.Fatal(err)
	}
	if rung != 1 || home.Bell().Word.Load() == was || alone.Bell().Word.Load() != other {
		t.Errorf("%d bells were rung", rung)
	}
}

// Who still has memory of a link's area when it is given up loses it to all.
func TestRetiredLinksAreNotUsedAgain(t *testing.T) {
	table := newTable(t)
	s := serve(t, table, 3)
	gone := func(what string, l *Link) {
		t.Helper()
		if state := link(table.links[l.K].word.Load()).state(); state != linkRetired {
			t.Errorf("%s: the link is in state %d", what, state)
		}
	}
	l := claim(t, table, 1)
	connect(t, l, 1)
	got := links(s)
	l.Retire(none)
	if !s.Ended(got[0]) {
		t.Error("the server does not see the end")
	}
	s.Drop(got[0])
	gone("by its client, served", l)
	l = claim(t, table, 1)
	l.Retire(none)
	gone("by its client, alone", l)
	l = claim(t, table, 1)
	connect(t, l, 1)
	rung := 0
	s.Retire(links(s)[0], counting(&rung))
	if !l.Lost() || rung != 1 || !errors.Is(l.Again(), ErrNoSlot) {
		t.Errorf("lost %v, %d rung", l.Lost(), rung)
	}
	l.Close(none)
	gone("by its server", l)
	l = claim(t, table, 1)
	connect(t, l, 1)
	got = links(s)
	l.Close(none)
	s.Retire(got[0], none)
	gone("by its server, after its client has left", l)
}

func TestALinkThatNobodyServedIsFreed(t *testing.T) {
	table := newTable(t)
	s := serve(t, table, 3)
	l := claim(t, table, 1)
	connect(t, l, 1)
	l.Close(none)
	if got := links(s); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	if other := claim(t, table, 1); other.K != l.K {
		t.Error("not freed")
	}
}

func TestALinkThatCannotBeServedIsRefused(t *testing.T) {
	table := newTable(t)
	s := serve(t, table, 3)
	l := claim(t, table, 1)
	connect(t, l, 1)
	rung := 0
	for _, v := range links(s) {
		s.Refuse(v, counting(&rung))
	}
	if !l.Lost() || rung != 1 {
		t.Errorf("lost %v, %d rung", l.Lost(), rung)
	}
	if err := l.Again(); err != nil {
		t.Fatal(err)
	}
	l.Close(none)
}

func TestRecovery(t *testing.T) {
	table := newTable(t)
	gone := func(owner uint32) bool { return owner == 9 }
	s := serve(t, table, 3)
	serve(t, table, 9) // dies
	alive, dies, makes := claim(t, table, 1), claim(t, table, 9), claim(t, table, 9)
	connect(t, dies, 1)
	_ = makes
	if ok, err := alive.Connect(table.Servers()[1], 1, 1, alive, none); !ok || err != nil {
		t.Fatal(ok, err)
	}
	got := links(s)
	if bad := table.Verify(gone); len(bad) != 3 {
		t.Errorf("found wrong: %q", bad)
	}
	rung := 0
	table.Recover(9, false, counting(&rung))
	table.Recover(9, false, counting(&rung))
	if bad := table.Verify(gone); len(bad) > 0 {
		t.Errorf("found wrong: %q", bad)
	}
	if !alive.Lost() || !s.Ended(got[0]) || len(table.Servers()) != 1 || rung < 2 {
		t.Errorf("lost %v, ended %v, %d servers, %d rung", alive.Lost(), s.Ended(got[0]), len(table.Servers()), rung)
	}
	s.Drop(got[0])
	if err := alive.Again(); err != nil {
		t.Fatal(err)
	}
	free := 0
	for k := range MaxLinks {
		if link(table.links[k].word.Load()).state() == linkFree {
			free++
		}
	}
	if free != MaxLinks-1 {
		t.Errorf("%d links are free", free)
	}
}

// What the evicted may still write into is nobody's any more.
func TestTheAreasOfTheEvictedAreRetired(t *testing.T) {
	table := newTable(t)
	s := serve(t, table, 3)
	zombie := serve(t, table, 9)
	client, other := claim(t, table, 9), claim(t, table, 1)
	connect(t, client, 1)
	if ok, err := other.Connect(table.Servers()[1], 1, 1, other, none); !ok || err != nil {
		t.Fatal(ok, err)
	}
	mine, late := links(s), links(zombie)
	table.Recover(9, true, none)
	s.Drop(mine[0])
	if got := link(table.links[client.K].word.Load()).state(); got != linkRetired {
		t.Errorf("link of an evicted client: state %d", got)
	}
	if err := other.Again(); !errors.Is(err, ErrNoSlot) {
		t.Errorf("link with an evicted server is used again: %v", err)
	}
	other.Close(none)
	if got := link(table.links[other.K].word.Load()).state(); got != linkRetired {
		t.Errorf("link with an evicted server: state %d", got)
	}
	// They wake up.
	if zombie.Held() || len(links(zombie)) > 0 {
		t.Error("the evicted server goes on")
	}
	zombie.Drop(late[0])
	zombie.Leave(none)
	if ok, err := client.Connect(table.Servers()[0], 1, 1, client, none); ok || !errors.Is(err, ErrFenced) {
		t.Errorf("the evicted client goes on: %v, %v", ok, err)
	}
	client.Close(none)
	if bad := table.Verify(func(o uint32) bool { return o == 9 }); len(bad) > 0 {
		t.Errorf("%q", bad)
	}
}

func TestFull(t *testing.T) {
	table := newTable(t)
	for range MaxServers {
		serve(t, table, 3)
	}
	if _, err := table.Serve(3, none); !errors.Is(err, ErrNoSlot) {
		t.Error(err)
	}
	for range MaxLinks {
		claim(t, table, 3)
	}
	if _, err := table.Claim(3); !errors.Is(err, ErrNoSlot) {
		t.Error(err)
	}
	table.Recover(3, false, none)
	serve(t, table, 3)
	claim(t, table, 3)
}

func TestConfig(t *testing.T) {
	table := newTable(t)
	if _, ok, err := table.Config(); ok || err != nil {
		t.Error(ok, err)
	}
	for _, c := range []Config{
		{}, {Depth: 3, MaxRequest: 1, MaxReply: 1}, {Depth: 1 << 16, MaxRequest: 1, MaxReply: 1},
		{Depth: 1, MaxReply: 1}, {Depth: 1, MaxRequest: 1}, {Depth: 1, MaxRequest: 1 << 30, MaxReply: 1}, {Depth: 1, MaxRequest: 1, MaxReply: 1 << 30},
	} {
		var limit *LimitError
		if _, err := table.Agree(c); !errors.As(err, &limit) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Config{{1, 1, 1}, {MaxDepth, MaxBytes, MaxBytes}, {128, 4096, 65536}} {
		if got, ok := unpackConfig(c.pack()); !ok || got != c {
			t.Errorf("%+v became %+v", c, got)
		}
	}
	want := Config{128, 4096, 65536}
	for _, c := range []Config{want, {1, 1, 1}} {
		if got, err := table.Agree(c); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if a, b := table.AgreeTypes(5, 6); a != 5 || b != 6 {
		t.Error(a, b)
	}
	if a, b := table.AgreeTypes(7, 8); a != 5 || b != 6 {
		t.Error(a, b)
	}
	table.config.Store(1)
	var corrupt *CorruptError
	if _, _, err := table.Config(); !errors.As(err, &corrupt) {
		t.Error(err)
	}
	if _, err := Open(mem.Alloc(Size)); !errors.As(err, &corrupt) {
		t.Error(err)
	}
	if _, err := Open(mem.Alloc(64)); !errors.As(err, &corrupt) {
		t.Error(err)
	}
	if Format(mem.Alloc(64)) == nil {
		t.Error("formatted 64 bytes")
	}
}

// The offsets that docs/format.md gives.
func TestOffsets(t *testing.T) {
	area := mem.Alloc(Size)
	if err := Format(area); err != nil {
		t.Fatal(err)
	}
	table, err := Open(area)
	if err != nil {
		t.Fatal(err)
	}
	for off, w := range map[int]interface{ Load() uint64 }{
		0x08: table.config, 0x40: table.changes,
		0x80: table.servers[0].word, 0x88: table.servers[0].news, 0x1040: table.servers[63].word,
		0x1080: table.links[0].word, 0x1088: table.links[0].area, 0x5040: table.links[255].word,
	} {
		mem.U64(area, off).Store(uint64(off) + 1)
		if w.Load() != uint64(off)+1 {
			t.Errorf("no word at %#x", off)
		}
	}
	for off, w := range map[int]interface{ Load() uint32 }{
		0x90: table.servers[0].bell.Word, 0x94: table.servers[0].bell.Ref,
		0x1090: table.links[0].home, 0x1094: table.links[0].bell.Word, 0x1098: table.links[0].bell.Ref,
	} {
		mem.U32(area, off).Store(uint32(off) + 1)
		if w.Load() != uint32(off)+1 {
			t.Errorf("no word at %#x", off)
		}
	}
	if Size != 0x5080 {
		t.Errorf("size %#x", Size)
	}
	if w := packLink(linkClaimed, 0x1ABC, 0x12345).to(33, 0x54321); uint64(w) != 2|0x1ABC<<3|0x12345<<17|33<<37|0x54321<<43 {
		t.Errorf("link %#x", uint64(w))
	}
	if w := packServer(serverHeld, 0x54321, 0x12345); uint64(w) != 1|0x54321<<3|0x12345<<23 {
		t.Errorf("server %#x", uint64(w))
	}
}

// A peer may write anything: whatever it is, every call returns.
func FuzzTable(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x80, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 0x10, 9, 9, 9, 9, 9, 9, 9, 9})
	for state := range byte(8) {
		f.Add([]byte{0x80, 0x10, state, 0, 2, 0, 0, 0, 0, 0, 0x80, 0, state, 0, 0, 0, 0, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		table := newTable(t)
		s := serve(t, table, 3)
		l := claim(t, table, 1)
		connect(t, l, 1)
		got := links(s)
		for ; len(data) >= 10; data = data[10:] {
			off := (int(data[0]) | int(data[1])<<8) * 8 % Size
			w := mem.U64(table.area, off)
			var v uint64
			for i, b := range data[2:10] {
				v |= uint64(b) << (8 * i)
			}
			w.Store(v)
			_, _, _ = table.Config()
			_ = table.Servers()
			_ = links(s)
			_ = s.Ended(got[0])
			_ = s.Client(got[0])
			_ = l.Lost()
			if m, err := table.Claim(2); err == nil {
				for _, r := range table.Servers() {
					if ok, err := m.Connect(r, 1, 1, l, none); !ok || err != nil {
						break
					}
					_ = m.Again()
				}
				m.Close(none)
			}
			table.Recover(uint32(v>>23)&0xFFFFF, v&1 == 0, none)
			_ = table.Verify(func(o uint32) bool { return o%2 == 0 })
		}
		s.Drop(got[0])
		l.Close(none)
		s.Leave(none)
	})
}
