package main

import (
	"slices"

	"github.com/ringbus/ringbus"
	"github.com/ringbus/ringbus/internal/ring/virtq"
)

// How both processes wait where a CPU is theirs, and where they sleep at once.
var (
	polling = ringbus.Wait{BusyPoll: true, Pinned: true}
	parking = ringbus.Wait{Spin: -1}
)

// small is the topic of the throughput and publishing figures: inline messages only.
var small = ringbus.PublisherOptions{Depth: 1024, MaxMessage: 64}

// atMost is a target for a ratio: to the floor, or to another measurement.
func atMost(limit float64) target { return target{ask: true, limit: limit} }

// atLeast is a target for a rate, where the floor is below so many ns.
func atLeast(limit, below float64) target {
	return target{ask: true, limit: limit, value: true, atLeast: true, below: below}
}

// floor is the ping-pong of two lines, XCHG both ways.
var floor = measurement{name: "floor", unit: "ns", polls: true, run: runFloor}

// all is every measurement, in the order in which they run in a round. What is
// compared with another comes after it.
var all = slices.Concat(messages, journals, queues())

var messages = []measurement{
	{name: "oneway/64B", unit: "ns", polls: true, target: atMost(1.5),
		about: "Send of 64 bytes to Receive, filled and read, both poll; half a round trip",
		run:   pingPong(pings{topic: "64B", size: 64, count: 100_000, touch: true})},
	{name: "oneway/64B-time", unit: "ns", polls: true, target: atMost(2),
		about: "the same with a timestamp in every message",
		run:   pingPong(pings{topic: "64Bt", size: 64, count: 100_000, touch: true, stamps: true})},
	{name: "oneway/8B", unit: "ns", polls: true,
		about: "8 bytes, which fit into the entry's first line",
		run:   pingPong(pings{topic: "8B", size: 8, count: 100_000, touch: true})},
	{name: "oneway/104B", unit: "ns", polls: true,
		about: "104 bytes, the largest that travel in the ring",
		run:   pingPong(pings{topic: "104B", size: 104, count: 100_000, touch: true})},
	{name: "oneway/4KiB-lent", unit: "ns", polls: true, target: atMost(1.4),
		about: "Loan and Send of 4 KiB that nobody fills or reads; the default depth",
		run:   pingPong(pings{topic: "4K", size: 4 << 10, count: 50_000, lent: true})},
	{name: "oneway/4KiB-lent-16", unit: "ns", polls: true,
		about: "the same at depth 16",
		run:   pingPong(pings{topic: "4K16", size: 4 << 10, count: 50_000, lent: true, few: true})},
	{name: "oneway/1MiB-lent", unit: "ns", polls: true, against: "oneway/4KiB-lent-16", target: atMost(1.1),
		about: "Loan and Send of 1 MiB that nobody fills or reads; depth 16",
		run:   pingPong(pings{topic: "1M", size: 1 << 20, count: 50_000, lent: true, few: true})},
	{name: "oneway/4KiB-touched", unit: "ns", polls: true,
		about: "Loan, filled with 4 KiB, Send; the receiver adds all words up",
		run:   pingPong(pings{topic: "4Kt", size: 4 << 10, count: 10_000, lent: true, touch: true})},

	{name: "rate/64B", unit: "M/s", polls: true, target: atLeast(10, 0),
		about: "reliable, 1:1, 64 bytes sent one by one, filled and read; depth 1024",
		run:   stream(streams{topic: "rate", options: small, size: 64, count: 1_000_000})},
	{name: "rate/64B-batch64", unit: "M/s", polls: true, target: atLeast(40, 100),
		about: "the same, by SendBatch of 64",
		run:   stream(streams{topic: "batch", options: small, size: 64, count: 2_000_000, batch: 64})},

	{name: "publish/latest-1", unit: "ns", polls: true,
		about: "the publisher's time for Send of 64 bytes, 1 latest subscriber that does not run",
		run:   publishing(publishes{topic: "l1", subs: 1, mode: ringbus.Latest, count: 200_000})},
	{name: "publish/latest-16", unit: "ns", polls: true, against: "publish/latest-1", target: atMost(1.1),
		about: "the same with 16 of them",
		run:   publishing(publishes{topic: "l16", subs: 16, mode: ringbus.Latest, count: 200_000})},
	{name: "publish/reliable-1", unit: "ns", polls: true,
		about: "bursts of half the depth to 1 reliable subscriber, which receives between them",
		run:   publishing(publishes{topic: "r1", subs: 1, mode: ringbus.Reliable, count: 50_000})},
	{name: "publish/reliable-16", unit: "ns", polls: true, against: "publish/reliable-1", target: atMost(1.1),
		about: "the same to 16 of them",
		run:   publishing(publishes{topic: "r16", subs: 16, mode: ringbus.Reliable, count: 50_000})},
	{name: "publish/lent-latest-1", unit: "ns", polls: true,
		about: "Loan and Send of 4 KiB, not filled, 1 latest subscriber that does not run",
		run:   publishing(publishes{topic: "b1", subs: 1, mode: ringbus.Latest, count: 200_000, lent: true})},
	{name: "publish/lent-latest-16", unit: "ns", polls: true, against: "publish/lent-latest-1", target: atMost(1.1),
		about: "the same with 16 of them",
		run:   publishing(publishes{topic: "b16", subs: 16, mode: ringbus.Latest, count: 200_000, lent: true})},

	{name: "parked/futex", unit: "us",
		about: "bare futex ping-pong, threads free to move",
		run:   futexes(20_000, 0)},
	{name: "parked/ring", unit: "us", against: "parked/futex", target: atMost(1.2),
		about: "64 bytes to a subscriber that sleeps at once, threads free to move",
		run:   pingPong(pings{topic: "park", size: 64, count: 20_000, touch: true, wait: &parking})},
	{name: "parked/ring-locked", unit: "us", against: "parked/futex", target: atMost(1.2),
		about: "the same by goroutines locked to their threads (Wait.Pinned), threads free to move",
		run: pingPong(pings{topic: "park1", size: 64, count: 20_000, touch: true,
			wait: &ringbus.Wait{Spin: -1, Pinned: true}, lock: true})},
	{name: "parked/futex-2cpus", unit: "us", polls: true,
		about: "bare futex ping-pong, each process on its own CPU, after a pause in which the other falls asleep",
		run:   futexes(5_000, settle)},
	{name: "parked/ring-2cpus", unit: "us", polls: true, against: "parked/futex-2cpus", target: atMost(1.2),
		about: "64 bytes to a subscriber that sleeps at once, likewise",
		run: pingPong(pings{topic: "park2", size: 64, count: 5_000, touch: true, gap: settle,
			wait: &ringbus.Wait{Spin: -1, Pinned: true}})},

	{name: "copy/plain", unit: "GB/s", polls: true,
		about: "1 MiB copied in and out of 12 slots of shared memory, a flag for each",
		run:   plainCopy},
	{name: "copy/ring", unit: "GB/s", polls: true, against: "copy/plain",
		target: target{ask: true, limit: 0.8, atLeast: true},
		about:  "1 MiB lent, copied in and out, a topic of as many slots",
		run: stream(streams{topic: "copy", size: copySize, count: 800, lent: true,
			options: ringbus.PublisherOptions{Depth: 8, MaxMessage: copySize, Holds: 3, Loans: 1}})},

	{name: "stream/64B", unit: "M/s", polls: true, target: atLeast(8, 0),
		about: "64 bytes sent one by one to one broadcast reader, which reads them; a stream of 256 KiB",
		run:   cellStream(cellFlow{name: "cells64", size: 64, count: 1_000_000})},
	{name: "stream/1MiB", unit: "GB/s", polls: true, against: "copy/plain",
		target: target{ask: true, limit: 0.8, atLeast: true},
		about:  "1 MiB copied in and out, a stream of 4 MiB",
		run:    cellStream(cellFlow{name: "cells1M", size: copySize, count: 800, copy: true})},
	{name: "stream/group-1", unit: "M/s",
		about: "one reader of a group, 1 us of work for each message of 64 bytes",
		run:   shares(1)},
	{name: "stream/group-4", unit: "M/s", against: "stream/group-1", target: target{ask: true, limit: 1.4, atLeast: true},
		about: "four of them, in one process",
		run:   shares(4)},
	{name: "conn/unix", unit: "ns",
		about: "64 bytes over a Unix socket and back, half a round trip",
		run:   talk(talks{name: "conn/unix", unix: true, count: 20_000})},
	{name: "conn/ring", unit: "ns", polls: true, against: "conn/unix", target: atMost(0.05),
		about: "the same over a stream.Conn, both poll",
		run:   talk(talks{name: "conn/ring", spin: true, count: 100_000})},
	{name: "conn/ring-default", unit: "ns", against: "conn/unix",
		about: "the same where who waits looks for 25 us, threads free to move",
		run:   talk(talks{name: "conn/ring-default", count: 20_000})},
	{name: "conn/unix-parked", unit: "ns",
		about: "over a Unix socket, after a pause of 200 us",
		run:   talk(talks{name: "conn/unix-parked", unix: true, park: true, count: 2_000})},
	{name: "conn/ring-parked", unit: "ns", against: "conn/unix-parked", target: atMost(1),
		about: "the same over a stream.Conn, whose other end sleeps by then",
		run:   talk(talks{name: "conn/ring-parked", park: true, count: 2_000})},
	{name: "conn/unix-bulk", unit: "GB/s",
		about: "one way over a Unix socket, in pieces of 64 KiB",
		run:   talk(talks{name: "conn/unix-bulk", unix: true, bulk: 64 << 10, count: 10_000})},
	{name: "conn/ring-bulk", unit: "GB/s", against: "conn/unix-bulk", target: target{ask: true, limit: 2, atLeast: true},
		about: "the same over a stream.Conn",
		run:   talk(talks{name: "conn/ring-bulk", bulk: 64 << 10, count: 10_000})},

	{name: "virtq/packed", unit: "ns", polls: true, target: atMost(3),
		about: "a request of one 64 B descriptor to the device and back, packed ring, both poll; half a round trip",
		run:   chainPings(chains{features: virtq.RingPacked | virtq.EventIdx, count: 100_000})},
	{name: "virtq/split", unit: "ns", polls: true, target: atMost(4),
		about: "the same, split ring",
		run:   chainPings(chains{features: virtq.EventIdx, count: 100_000})},
	{name: "virtq/packed-batch32", unit: "M/s", polls: true, target: atLeast(8, 0),
		about: "64 B descriptors through a packed ring of 256, 32 at a time, each filled and read",
		run:   chainStream(chains{features: virtq.RingPacked | virtq.EventIdx, count: 1_000_000, batch: 32})},
	{name: "virtq/split-batch32", unit: "M/s", polls: true, target: atLeast(8, 0),
		about: "the same, split ring",
		run:   chainStream(chains{features: virtq.EventIdx, count: 1_000_000, batch: 32})},

	{name: "calls/64B", unit: "ns", polls: true, target: atMost(6),
		about: "Client.Call of 64 bytes, answered with 64, both poll; half a round trip",
		run:   calling(callings{service: "calls", count: 50_000, wait: polling})},
	{name: "calls/parked", unit: "us", against: "parked/futex", target: atMost(1.3),
		about: "the same where both sleep at once, threads free to move",
		run:   calling(callings{service: "calls-parked", count: 10_000, wait: parking, us: true})},

	{name: "calls/replies", unit: "M/s", polls: true,
		about: "replies of 64 bytes to one request, a window of 16, both poll",
		run:   replyFlow("calls-replies", 500_000)},

	{name: "allocs/64B", unit: "allocs", target: target{ask: true, limit: 0.001, value: true},
		about: "allocations per message of either side: Send, Receive, Release of 64 bytes",
		run:   allocations(pings{topic: "alloc", size: 64, count: 20_000})},
	{name: "allocs/4KiB-lent", unit: "allocs", target: target{ask: true, limit: 0.001, value: true},
		about: "the same for Loan and Send of 4 KiB",
		run:   allocations(pings{topic: "alloc4K", size: 4 << 10, count: 20_000, lent: true})},

	{name: "peer/unix-socket", unit: "us",
		about: "64 bytes over a Unix stream socket of package net: what everybody has",
		run:   unixSocket(10_000)},
	{name: "calls/64B-spinning", unit: "us", polls: true, against: "peer/unix-socket", target: target{ask: true, limit: 0.067, below: 100},
		about: "Client.Call of 64 bytes once more, beside the socket",
		run:   calling(callings{service: "calls", count: 50_000, wait: polling, us: true})},
}
