package inspect_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ringbus/ringbus/inspect"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/internal/wake"
	"github.com/ringbus/ringbus/ringbustest"
	"github.com/ringbus/ringbus/segment"

	"github.com/ringbus/ringbus"
)

func TestLookAtAService(t *testing.T) {
	bus := ringbustest.New(t)
	server, client := bus.Node("server"), bus.Node("client")
	seg := server.Segment()
	s, err := server.Service("up", &ringbus.ServiceOptions{MaxRequest: 100})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Client("up", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Call(ctx, nil, nil); err == nil {
		t.Fatal("nobody answers")
	}
	b, ok := inspect.Look(seg).Service("up")
	if !ok || b.MaxRequest != 100 || b.MaxReply != 4096 || b.Depth != 128 || b.Err != "" {
		t.Fatalf("%+v", b)
	}
	if len(b.Servers) != 1 || b.Servers[0].Node != "server" || b.Servers[0].Status != "alive" {
		t.Errorf("servers %+v", b.Servers)
	}
	if len(b.Links) != 1 || b.Links[0].Node != "client" || b.Links[0].State != "open" || b.Links[0].Server != 0 {
		t.Errorf("links %+v", b.Links)
	}
	if b.Memory < 128*(100+4096) {
		t.Errorf("%d bytes", b.Memory)
	}
	if bad := inspect.Verify(seg); len(bad) > 0 {
		t.Errorf("found wrong: %v", bad)
	}
	if _, ok := inspect.Look(seg).Service("down"); ok {
		t.Error("there is another one")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A server of a node that is in no slot.
	var area segment.AreaInfo
	for _, a := range seg.Areas() {
		if a.Key == (segment.Key{Kind: segment.KindCall, Name: "up"}) {
			area = a
		}
	}
	table, err := calls.Open(seg.Bytes()[area.Offset : area.Offset+area.Size])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Serve(0x54321, func(wake.Bell) {}); err != nil {
		t.Fatal(err)
	}
	if bad := inspect.Verify(seg); len(bad) != 1 || !strings.Contains(bad[0].String(), "server slot 0 belongs to") {
		t.Errorf("found wrong: %v", bad)
	}
	table.Recover(0x54321, false, nil)
	mem.U64(seg.Bytes()[area.Offset:], 8).Store(1)
	if bad := inspect.Verify(seg); len(bad) != 1 || !strings.Contains(bad[0].String(), "service config") {
		t.Errorf("found wrong: %v", bad)
	}
	if b, _ := inspect.Look(seg).Service("up"); b.Err == "" {
		t.Error("no error")
	}
}
