package main

import (
	"fmt"
	"runtime"
	"time"
)

// queues are the measurements of IO queues: by 1, 2, 4, ... goroutines, 8 of them
// at least, and as many as there are CPUs.
func queues() []measurement {
	out := []measurement{
		{name: "io/alone", unit: "ns", target: target{ask: true, limit: 150, value: true},
			about: "IO queue within a process: submit, execute, complete, where nobody else is; a device that takes no time",
			run:   doAlone(1_000_000, false)},
		{name: "io/alone-bus", unit: "ns", target: target{ask: true, limit: 150, value: true},
			about: "the same through a queue of the bus",
			run:   doAlone(1_000_000, true)},
	}
	for n := 1; n <= max(8, runtime.NumCPU()); n *= 2 {
		out = append(out,
			measurement{name: fmt.Sprintf("io/mutex-%d", n), unit: "ns",
				about: fmt.Sprintf("a mutex around a device that takes no time, %d goroutines", n),
				run:   crowd(byMutex, n, 400_000, 0)},
			measurement{name: fmt.Sprintf("io/queue-%d", n), unit: "ns", against: fmt.Sprintf("io/mutex-%d", n), target: atMost(1),
				about: "the queue instead",
				run:   crowd(byQueue, n, 400_000, 0)},
			measurement{name: fmt.Sprintf("io/channel-%d", n), unit: "ns", against: fmt.Sprintf("io/queue-%d", n),
				about: "a channel to one goroutine instead",
				run:   crowd(byChannel, n, 400_000, 0)})
	}
	const slow = 10 * time.Microsecond
	out = append(out, measurement{name: "io/device-10us", unit: "ns",
		about: "a device that takes 10 us, alone: its own limit",
		run:   crowd(byDevice, 1, 10_000, slow)})
	for n := 1; n <= max(8, runtime.NumCPU()); n *= 2 {
		out = append(out,
			measurement{name: fmt.Sprintf("io/mutex-%d-10us", n), unit: "ns", against: "io/device-10us",
				about: fmt.Sprintf("a mutex around it, %d goroutines", n),
				run:   crowd(byMutex, n, 10_000, slow)},
			measurement{name: fmt.Sprintf("io/queue-%d-10us", n), unit: "ns", against: "io/device-10us", target: atMost(1.05),
				about: "the queue instead",
				run:   crowd(byQueue, n, 10_000, slow)})
	}
	return append(out,
		measurement{name: "io/served", unit: "M/s", polls: true, target: atLeast(3, 0),
			about: "ops submitted in batches of 64 by one process and executed by the other",
			run:   served(1_000_000, 64)},
		measurement{name: "io/futex", unit: "M/s",
			about: "two processes at one device that takes no time, under a futex mutex",
			run:   bothAsk(300_000, askFutex)},
		measurement{name: "io/file-lock", unit: "M/s",
			about: "the same under the lock of a file",
			run:   bothAsk(30_000, askFile)},
		measurement{name: "io/both", unit: "M/s", against: "io/file-lock",
			about: "the same through the queue, one op at a time",
			run:   bothAsk(300_000, askQueue)},
	)
}
