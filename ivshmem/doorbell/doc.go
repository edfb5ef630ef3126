// Package doorbell lets programs in virtual machines and on their host ring one
// another: a [Server] of the protocol of ivshmem devices, and a [Peer] for host
// processes.
//
// # Protocol
//
// QEMU's ivshmem-spec, section "Interrupt mechanism": a Unix stream socket on
// which only the server speaks, in messages of one little-endian signed 64-bit
// number, with a descriptor or without.
//
//	0                          the version of the protocol
//	id                         the client's own id, 0 to 65535
//	-1, memory                 the shared memory
//	id, eventfd   (N times)    the eventfds of each client that is there, vector 0 first
//	own id, eventfd (N times)  the client's own
//	id, eventfd   (N times)    later: another client has come
//	id                         later: it has gone
//
// To ring vector v of a client is to raise its eventfd v. A device does so when
// its guest writes into the doorbell register, a host process by itself; the
// server has no part in it. So what is connected goes on without a server, and
// only newcomers are not heard of until it is back.
//
// # Invariants
//
//	D1  a lock on STATE.lock is held by whoever serves; nobody else changes
//	    STATE.peers, and a socket is replaced by a server that nobody answers at.
//	D2  an id is written to STATE.peers, with the process that got it, before that
//	    process hears it, and is given to no other before there is evidence (D4),
//	    by however many servers. A process that connects again gets it back.
//	D3  each connection is told of others one message after the other by one
//	    goroutine, from what is true when the message is sent: nothing is queued,
//	    and who does not read holds up nobody and grows nothing.
//	D4  an id is reported gone only by evidence: its process has ended; or its
//	    connection has, not by the server's own end, and the process has the
//	    memory mapped no more, or cannot be seen.
//
// # Trust
//
// Who may connect can map the memory and ring everybody; the socket's mode says
// who that is. A client can not do more: what it sends is a violation that ends
// its connection, what it does not read waits, and how many there are is
// bounded. A [Peer] trusts its server no further: each number is checked before
// use, and the descriptors it takes are bounded.
package doorbell
