// Package stream is one writer and many readers: bytes or messages of any
// length, through shared memory, between the processes of a host. And it is
// net.Conn and net.Listener over pairs of such streams, so that net/http, HTTP/2
// or gRPC programs run over shared memory by changing one line.
//
// A stream is written by one [Writer] at a time; another one waits until that
// closes or dies, or, with Turns, for the end of its message. Of a message whose
// writer died nothing is seen. A [Reader] sees everything and holds the writer
// back, or is lapped and told exactly what it lost, or shares the messages with
// the others of its group: each is claimed by one of them, and if that dies
// before it is done, by another, who is told that it is delivered again.
//
//	w, err := stream.NewWriter(node, "lines", nil)
//	fmt.Fprintln(w, "hello")
//
//	r, err := stream.NewReader(node, "lines", nil)
//	io.Copy(os.Stdout, r)
//
// Connections:
//
//	ln, err := stream.Listen(node, "web")
//	http.Serve(ln, handler)
//
//	client := http.Client{Transport: &http.Transport{
//		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
//			return stream.Dial(ctx, node, "web")
//		},
//	}}
package stream
