// Package calls is where the clients and the servers of one service find each
// other: a table of servers, and a table of links, each of one client with one
// server. A link has an area of its own with a virtqueue (package virtq) in it;
// what is in there is not this package's business. The steps are numbered;
// every one that another party can observe is a crash point.
//
// # Layout
//
//	header   tag 8 | config 8 | request type 8 | reply type 8, then a line: changes 8
//	server   word {state 3, generation 21, owner 20} 8 | news 8 | bell 4, reference 4    64 of them, a line each
//	link     word 8 | area {index+1, generation} 8 | home 4 | bell 4, reference 4       256 of them, a line each
//
// A link's word: state 3, generation 14, client 20, server 6, server's generation
// 20, tainted 1.
//
// # States of a link
//
//	FREE     nobody has it
//	CLAIMED  its client makes the area, or has no server for it
//	OPEN     the server may serve it
//	LEFT     the client has gone: the server lets go of it, then frees it
//	LOST     the server has gone: the client frees it, or claims it again
//	RETIRED  one of them was evicted and may still write into the area: for ever
//
// # Invariants
//
//	I1  A server serves a link only from OPEN with its own slot and generation, until it has seen
//	    another word there. Before it takes LEFT to FREE, or its own slot to LEAVING, it has let go.
//	I2  A client uses a link's area from CLAIMED to FREE, never after LEFT.
//	I3  So when a link is claimed, nobody else uses its area; but for the evicted, whose links are
//	    tainted and end RETIRED.
//	I4  A link whose server's slot has moved on does not stay OPEN or LEFT, one whose client is dead
//	    and recovered stays nothing but LEFT (with a live server) or RETIRED.
//	I5  Nobody sleeps for ever over a link that changed.
//
// # Edges
//
//	leave    server: word LEAVING (L1), then the links (L2)     client: link OPEN (C3), then the server's word (C4);
//	                                                            link LEFT (C7), then the server's word (C8)
//	begin    server: link OPEN, then its own word (S4)          evictor: the server's word (L1), then the links (L2)
//	news     link OPEN or LEFT, then news, then the bell        server: news, then the links; it sleeps on its bell
//	lost     link LOST, then the client's bell                  client: it looks at the link before it sleeps
//	changes  changes, then the clients' bells (S5)              client: changes, before it sleeps for want of a place
//	claim    a word FREE by CAS                                 a CAS from that word: all uses of the area come before
//
// The first two need both sides sequentially consistent, which CAS and atomic
// loads are: one of them sees the other, and whoever does takes the link on.
//
// # Death at each step
//
//	C1        CLAIMED by the dead: V2 frees it
//	C2        the same; what the area holds is written anew by the next client
//	C3        OPEN, and its server perhaps not told, or gone: V2 takes it to LEFT, tells the server, and
//	          frees it if that has gone (C8)
//	C5        LOST by the dead: V2 frees it
//	C6        OPEN: V2, LEFT, and the server frees it
//	C7        LEFT, and the server perhaps not told: V2 tells it, whoever did C7
//	S1, S2    the slot is held: V1 takes it to LEAVING and its links to LOST
//	S3        LEFT: V1 frees it
//	S5        clients were not rung for a server that is none any more
//	L1        LEAVING: V1 goes on from there
//	L2, L3    LOST, and the client perhaps not rung: V1 rings it, whoever did L2
//	V1, V2    the next recoverer does all of it again; the node's slot is freed last
//
// Who stops at a step and goes on an hour later finds its word changed, if it was
// evicted meanwhile: every step is a CAS from a word with its generation. Plain
// stores (C2, and all in the area) go to a link that is RETIRED then. So is the
// link of who closes while somebody still has memory of its area (Retire).
//
// docs/models/calls.md has what was model-checked.
//
// # Progress
//
// All is lock-free: a CAS that fails was overtaken by somebody's step. Nobody
// waits for the dead: [Table.Recover] ends what they had, any number at once.
package calls
