package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/ivshmem"
	"github.com/ringbus/ringbus/ivshmem/doorbell"
)

// attachDoorbell has the node wait for interrupts in place of polling where there is
// a doorbell, until this process ends: in a guest the device's, on a host the
// server of "ringbus vm doorbell". What is in the way is no error: polling works.
func attachDoorbell(bus string, n *ringbus.Node) {
	var err error
	if address, ok := strings.CutPrefix(bus, "ivshmem:"); ok {
		var d *ivshmem.Doorbell
		if d, err = ivshmem.Attach(n, address, nil); errors.Is(err, ivshmem.ErrNoDoorbell) {
			return
		}
		if err == nil {
			err = d.Deaf()
		}
	} else if socket := doorbell.SocketOf(n.Segment()); n.Segment().File() != nil {
		if _, serr := os.Stat(socket); serr != nil {
			return
		}
		_, err = doorbell.Attach(n, "")
	}
	if err != nil && os.Getenv("RINGBUS_VERBOSE") != "" {
		fmt.Fprintf(os.Stderr, "ringbus: polling, without a doorbell: %v\n", err)
	}
}
