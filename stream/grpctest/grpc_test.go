package grpctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/stream"
)

// echo is a service with a call of each kind, written by hand: no generator is
// needed for messages that are there already.
var echo = grpc.ServiceDesc{
	ServiceName: "test.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		if in.Value == "fail" {
			return nil, status.Error(codes.NotFound, "no such thing")
		}
		return wrapperspb.String(strings.ToUpper(in.Value)), nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		for {
			in := new(wrapperspb.BytesValue)
			if err := s.RecvMsg(in); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			if err := s.SendMsg(in); err != nil {
				return err
			}
		}
	}}},
}

func TestGRPCRunsOverAStream(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o := &ringbus.Options{Dir: t.TempDir(), Size: 16 << 20}
	node, err := ringbus.Open("bus", o)
	check(t, err)
	defer node.Close()
	other, err := ringbus.Open("bus", o)
	check(t, err)
	defer other.Close()
	l, err := stream.Listen(node, "echo")
	check(t, err)
	server := grpc.NewServer()
	server.RegisterService(&echo, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	client, err := grpc.NewClient("passthrough:///echo", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, name string) (net.Conn, error) { return stream.Dial(ctx, other, name) }))
	check(t, err)
	out := new(wrapperspb.StringValue)
	check(t, client.Invoke(ctx, "/test.Echo/Say", wrapperspb.String("hello"), out))
	if out.Value != "HELLO" {
		t.Errorf("got %q", out.Value)
	}
	if err := client.Invoke(ctx, "/test.Echo/Say", wrapperspb.String("fail"), out); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	talk(t, ctx, client)
	check(t, client.Close())
	server.GracefulStop()
	check(t, <-served)
}

// talk sends messages both ways at once, some of them large.
func talk(t *testing.T, ctx context.Context, client *grpc.ClientConn) {
	t.Helper()
	s, err := client.NewStream(ctx, &echo.Streams[0], "/test.Echo/Talk")
	check(t, err)
	const count = 200
	sent := make(chan error, 1)
	message := func(n int) []byte { return fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", n*n)) }
	go func() {
		for n := range count {
			if err := s.SendMsg(wrapperspb.Bytes(message(n))); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.CloseSend()
	}()
	for n := range count {
		in := new(wrapperspb.BytesValue)
		check(t, s.RecvMsg(in))
		if string(in.Value) != string(message(n)) {
			t.Fatalf("message %d has %d bytes", n, len(in.Value))
		}
	}
	check(t, <-sent)
	if err := s.RecvMsg(new(wrapperspb.BytesValue)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
