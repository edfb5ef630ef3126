// Package explore runs the parties of a protocol as goroutines of which one
// runs at a time. Each crash point (package invariant) is a place where it may
// let another one go on, let the one that is there never run again, or let it
// stand still until nobody else can go on. What it chooses follows from a seed
// alone, so a failure is replayed with
//
//	go test -tags invariants -run TestName -explore.seed N PACKAGE
//
// Package mutation also builds rings with every atomic access as a crash point,
// and with store buffers (see Memory). Without crash points there is nothing to
// explore, so all of it is for builds with the tag invariants, or -race.
package explore
