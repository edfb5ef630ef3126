// Guests is two virtual machines and their host on one topic, one journal, and a
// connection of net/http over a stream. Each of the three runs this program:
//
//	CGO_ENABLED=0 go build -o bin/guests ./examples/guests
//	ringbus vm run --file bin/guests -- guests server &
//	ringbus vm run --file bin/guests -- guests client &
//	bin/guests host
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/journal"
	"github.com/ringbus/ringbus/stream"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("say which one to be: host, server or client")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name string) error {
	bus := os.Getenv("RINGBUS_BUS") // in a guest "ringbus vm run" says ivshmem:
	if bus == "" {
		bus = "default"
	}
	node, err := ringbus.Open(bus, &ringbus.Options{Name: name})
	if err != nil {
		return err
	}
	defer node.Close()
	w, err := journal.NewWriter(node, "log", nil)
	if err != nil {
		return err
	}
	logger := slog.New(journal.NewHandler(w, nil))
	logger.Info("here")
	switch name {
	case "host":
		return host(ctx, node)
	case "server":
		err = serve(node)
	default:
		err = get(ctx, node)
	}
	if err != nil {
		return err
	}
	pub, err := node.Publisher("done", nil)
	if err != nil {
		return err
	}
	logger.Info("done")
	return pub.Send([]byte(name + " is done")) // and stays for those who come later
}

// serve answers one request.
func serve(node *ringbus.Node) error {
	l, err := stream.Listen(node, "web")
	if err != nil {
		return err
	}
	answered := make(chan struct{})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s, this is another kernel\n", r.URL.Query().Get("who"))
		close(answered)
	})}
	go func() {
		<-answered
		_ = s.Shutdown(context.Background())
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// get makes one request, as soon as somebody listens.
func get(ctx context.Context, node *ringbus.Node) error {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return stream.Dial(ctx, node, "web")
	}, DisableKeepAlives: true}}
	for {
		ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/?who="+node.Name(), nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(ask)
		if errors.Is(err, stream.ErrRefused) {
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(os.Stdout, resp.Body)
		return err
	}
}

// host waits for both guests and prints what they wrote into the journal.
func host(ctx context.Context, node *ringbus.Node) error {
	sub, err := node.Subscriber("done", &ringbus.SubscriberOptions{History: 1})
	if err != nil {
		return err
	}
	for range 2 {
		msg, err := sub.Receive(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", msg.Data())
		msg.Release()
	}
	r, err := journal.NewReader(node, "log", nil)
	if err != nil {
		return err
	}
	for rec, err := range r.Records() {
		if err != nil {
			return err
		}
		fmt.Printf("%d %s %s\n", rec.Sequence, rec.Writer, rec.Level)
	}
	return nil
}
