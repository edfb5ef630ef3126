//go:build !race

package ringbus_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/mem"
	"github.com/ringbus/ringbus/internal/ring/calls"
	"github.com/ringbus/ringbus/segment"
)

// A peer may write anything into a service and its links: calls end, with
// whatever, and nobody is led out of the areas. Under the race detector the
// garbage that hits a request or a reply would be a race, which it is.
func FuzzCallBytes(f *testing.F) {
	f.Add([]byte{})
	for _, at := range []uint16{0x80, 0x88, 0x1080, 0x1088, 0x1090} {
		b := binary.LittleEndian.AppendUint16([]byte{0}, at)
		f.Add(binary.LittleEndian.AppendUint64(b, 1<<64-1))
		f.Add(binary.LittleEndian.AppendUint64(b, 0))
	}
	for _, at := range []uint16{0x180, 0x200, 0x280, 0x2C0} { // kinds and streams of the first requests
		for _, kind := range []uint64{0, 2, 3, 3 << 32, 4, 1<<63 | 2, 5} {
			b := binary.LittleEndian.AppendUint16([]byte{1}, at)
			f.Add(binary.LittleEndian.AppendUint64(b, kind))
		}
	}
	for at := uint16(0); at < 1024; at += 8 {
		b := binary.LittleEndian.AppendUint16([]byte{1}, at)
		f.Add(binary.LittleEndian.AppendUint64(b, 1<<64-1))
		f.Add(binary.LittleEndian.AppendUint64(b, 1<<48|0x8080<<32|64))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 20*11)] // each write costs up to 2 ms
		seg, err := segment.FromBytes(mem.Alloc(4<<20), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer seg.Close()
		join := func(name string) *ringbus.Node {
			n, err := ringbus.Attach(seg, &ringbus.Options{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		server, caller := join("server"), join("client")
		defer server.Close()
		defer caller.Close()
		o := &ringbus.ServiceOptions{Depth: 4, MaxRequest: 16, MaxReply: 16, Wait: ringbus.Wait{Spin: time.Microsecond}}
		s, c := service(t, server, "up", o), client(t, caller, "up", o)
		served := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			for r, err := range s.Requests(ctx) {
				if err != nil {
					served <- err
					return
				}
				for r.Streams() && r.Send(ctx, []byte("reply")) == nil { // until nobody wants more
				}
				_ = r.Reply([]byte("HELLO"))
			}
		}()
		var areas [2][]byte
		look := func() {
			for _, a := range seg.Areas() {
				if a.Key.Kind == segment.KindCall && a.Err == nil {
					areas[min(a.Key.Sub, 1)] = seg.Bytes()[a.Offset : a.Offset+a.Size]
				}
			}
		}
		call := func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
			defer cancel()
			_, _ = ask(ctx, c, "hello")
			n := 0
			for range c.Stream(ctx, []byte("hello")) {
				if n++; n == 5 {
					break
				}
			}
		}
		call()
		look()
		for ; len(data) >= 11 && areas[1] != nil; data = data[11:] {
			area := areas[data[0]&1]
			off := int(binary.LittleEndian.Uint16(data[1:])) * 8 % len(area)
			if data[0]&2 == 0 {
				off = int(binary.LittleEndian.Uint16(data[1:])) &^ 7 % len(area)
			}
			mem.U64(area, off&^7).Store(binary.LittleEndian.Uint64(data[3:]))
			call()
		}
		cancel()
		<-served
		_ = c.Close()
		_ = s.Close()
		if areas[0] != nil {
			if table, err := calls.Open(areas[0]); err == nil {
				_ = table.Links()
			}
		}
	})
}
