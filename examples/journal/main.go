// Journal logs to a journal with slog, and reads it as any other process may,
// now or after this one was killed.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/journal"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	node, err := ringbus.Open("demo", nil)
	if err != nil {
		return err
	}
	defer node.Close()
	w, err := journal.NewWriter(node, "app", nil) // an io.Writer: one Write, one record
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewJSONHandler(w, nil))
	logger.Info("gripper closed", "force", 4.2, "part", "A-17")
	tail, err := journal.NewReader(node, "app", nil) // here or in another process
	if err != nil {
		return err
	}
	for rec, err := range tail.Tail(ctx) { // it would wait for the next one
		if err != nil {
			return err
		}
		fmt.Printf("%d %s %s", rec.Position, rec.Writer, rec.Data)
		break
	}
	return nil
}
