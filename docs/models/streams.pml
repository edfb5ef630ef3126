/* streams.pml: several replies to one request, all of it chains of one virtqueue.
 * Notes: calls.md, section 2. The virtqueue is virtq.pml: here it is two queues that keep
 * their order, of chains that were made available and of chains that were used.
 *
 * Configuration (-D)
 *   P=4         places of the link;  W=1  window: a stream takes W+2 of them
 *   STREAMS=3   that the client asks for, one after the other; the old ones' places may be out
 *   N=2         replies of each stream
 *   SILENT      a server may stop replying, and waits until the caller wants no more
 *   DIES        the server may be gone at any step
 * When nothing can move the client has ended and all places are free, and the server waits.
 * M_...: one mutation, which must give a counterexample.
 */
#ifndef P
#define P 4
#endif
#ifndef W
#define W 1
#endif
#ifndef STREAMS
#define STREAMS 3
#endif
#ifndef N
#define N 2
#endif

#define CALL   1                /* kinds of chains; what came back */
#define ROOM   2
#define CANCEL 3
#define REPLY  1
#define UNUSED 2
#define END    3

#define FREE 0                  /* places */
#define IDLE 1                  /* a stream's, not with the server */
#define SENT 2
#define AWAY 3                  /* left: free when it comes back */

/* the last field of each is a ghost: which stream it was for */
chan avail = [P] of { byte, byte, byte, byte };   /* kind, place, number, ghost */
chan used = [P] of { byte, byte, byte, byte };    /* place, what, value, ghost */
byte place[P];
bool dead;
byte published[STREAMS+1];      /* ghosts: replies used, for each stream */
bool whole[STREAMS+1];          /* and whether it came to its end */

#ifdef M_NORESERVE
#define KEEP 0
#else
#define KEEP 1
#endif

#if P > 4
#define NFREE ((place[0] == FREE) + (place[1] == FREE) + (place[2] == FREE) + (place[3] == FREE) + (place[4] == FREE))
#else
#define NFREE ((place[0] == FREE) + (place[1] == FREE) + (place[2] == FREE) + (place[3] == FREE))
#endif

inline find(state, x) {
	x = 0;
	do :: x < P && place[x] != state -> x++ :: else -> break od
}

inline offer(kind, x, number) { place[x] = SENT; avail!kind,x,number,id }

proctype Client() {
	byte id, head, x, i, idle, what, value, whose, got; byte nidle; bool over, gave;
	do
	:: id < STREAMS ->
		id++;
		do /* places */
		:: NFREE >= W+1+KEEP -> break
		:: atomic { used?x,what,value,whose -> assert(place[x] == AWAY); place[x] = FREE }
		:: dead && empty(used) -> goto LOST
		od;
		atomic { /* R1, R2 */
			find(FREE, head);
			offer(CALL, head, head);
			i = 0;
			do
			:: i < W+KEEP ->
				find(FREE, x);
				if :: i < W -> place[x] = SENT; avail!ROOM,x,head,id :: else -> place[x] = IDLE fi;
				i++
			:: else -> break
			od;
			got = 0; over = 0; gave = 0; nidle = KEEP
		};
		do
		:: !over ->
			if
			:: atomic { used?x,what,value,whose -> /* R5, R7 */
				if
				:: place[x] == AWAY -> place[x] = FREE
				:: else ->
					assert(whose == id);
					if
					:: what == END -> place[x] = IDLE; over = 1; assert(got == published[id] && whole[id])
					:: what == REPLY -> assert(value == got); got++; place[x] = IDLE; nidle++
					:: what == UNUSED -> place[x] = IDLE; nidle++
					fi
				fi }
			:: atomic { nidle > KEEP -> /* R2 again, but for the one that is kept */
				find(IDLE, x); offer(ROOM, x, head); nidle-- }
			:: atomic { true -> /* R8 */
				find(IDLE, x);
				if
				:: x < P -> place[x] = AWAY; avail!CANCEL,x,head,id; gave = 1; over = 1
#ifdef M_NORESERVE
				:: else -> used?x,what,value,whose; place[x] = AWAY; avail!CANCEL,x,head,id; gave = 1; over = 1
#else
				:: else -> assert(0)
#endif
				fi }
#ifdef DIES
#ifdef M_LOSTFIRST
			:: atomic { dead ->
#else
			:: atomic { dead && empty(used) ->
#endif
				assert(got == published[id]); goto LOST }
#endif
			fi
		:: else -> break
		od;
		atomic { /* the rest is free, or will be */
			i = 0;
			do
			:: i < P ->
				if
				:: place[i] == SENT -> place[i] = AWAY
				:: place[i] == IDLE -> place[i] = FREE
				:: else
				fi;
				i++
			:: else -> break
			od;
#ifdef M_HEADFREE
			if :: gave -> place[head] = FREE :: else fi;
#endif
		}
	:: else -> break
	od;
	do /* what is still out comes back */
	:: atomic { used?x,what,value,whose -> place[x] = FREE }
	:: atomic { dead && empty(used) -> break }
	:: NFREE == P -> break
	od;
LOST:	skip
}

#define REPLIES(n) (open[n] && !canceled[n] && !silent[n] && sent[n] < N && rooms[n] > 0)
#define FALLS(n)   (open[n] && !silent[n])
#ifdef M_ENDFIRST
#define ENDS(n)    (open[n] && (canceled[n] || (!silent[n] && sent[n] + 1 >= N)))
#else
#define ENDS(n)    (open[n] && (canceled[n] || (!silent[n] && sent[n] == N)))
#endif
#if P > 4
#define EACH(f) if :: f(0) -> number = 0 :: f(1) -> number = 1 :: f(2) -> number = 2 :: f(3) -> number = 3 :: f(4) -> number = 4 fi
#else
#define EACH(f) if :: f(0) -> number = 0 :: f(1) -> number = 1 :: f(2) -> number = 2 :: f(3) -> number = 3 fi
#endif

inline giveback() {
	k = 0;
	do
	:: k < P ->
		if :: room[k] && roomof[k] == number -> room[k] = 0; rooms[number]--; used!k,UNUSED,0,whom[number] :: else fi;
		k++
	:: else -> break
	od
}

proctype Server() {
	byte kind, x, number, whose, id, k;
	bool open[P], canceled[P], silent[P]; byte sent[P], whom[P]; bool room[P]; byte roomof[P], rooms[P];
	{
end_idle:
	do
	:: atomic { avail?kind,x,number,whose -> /* R3, R9 */
		if
		:: kind == CALL -> assert(!open[number] && x == number); open[number] = 1; canceled[number] = 0; silent[number] = 0; sent[number] = 0; whom[number] = whose
		:: kind == ROOM ->
#ifdef M_UNKNOWN
			room[x] = 1; roomof[x] = number; rooms[number]++
#else
			if
			:: open[number] && !canceled[number] -> assert(whom[number] == whose); room[x] = 1; roomof[x] = number; rooms[number]++
			:: else -> used!x,UNUSED,0,whose
			fi
#endif
		:: kind == CANCEL ->
			if
			:: open[number] ->
				assert(whom[number] == whose);
				canceled[number] = 1;
				giveback()
			:: else
			fi;
			used!x,UNUSED,0,whose
		fi }
	:: atomic { EACH(REPLIES) -> /* R4 */
		k = 0;
		do :: k < P && !(room[k] && roomof[k] == number) -> k++ :: else -> break od;
		room[k] = 0; rooms[number]--;
		used!k,REPLY,sent[number],whom[number]; sent[number]++; published[whom[number]]++ }
#ifdef SILENT
	:: atomic { EACH(FALLS) -> silent[number] = 1 }
#endif
	:: atomic { EACH(ENDS) -> /* R6 */
#ifndef M_KEEPROOM
		giveback();
#endif
		open[number] = 0; whole[whom[number]] = (sent[number] == N || canceled[number]);
		used!number,END,0,whom[number] }
	od
	} unless { dead }
}

init {
	byte i;
	atomic { run Client(); run Server() };
#ifdef DIES
	dead = 1;
#endif
	timeout -> atomic {
		for (i : 0 .. P-1) { assert(dead || place[i] == FREE) }
	}
}
