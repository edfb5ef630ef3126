/* calls.pml: the table in which the clients and the servers of a service find each other.
 * Notes: calls.md. What is in a link's area is virtq.pml's and streams.pml's business.
 *
 * One atomic step is one access to a shared word; the numbers are those of the code. A link's
 * word is {state, generation, client, server's slot, its generation, tainted}, a server's
 * {state, generation, owner}. Owners: clients 1..NC, servers NC+1..NC+NV; recoverers above.
 *
 * Configuration (-D)
 *   NC=1 NV=1   clients, servers;  NL=1, NW=NV  links and server's slots in the table
 *   ROUNDS=2    how often a client claims a link
 *   LEAVES      each server may leave at any time; else only when it dies
 *   KILL=o      owner o may vanish at any step;  KILL2=o as well
 *   EVICT=o     owner o may be evicted at any step, and goes on executing
 *   NREC=0      recoverers;  KREC: the first of them may vanish at any step
 *   HASTY       a client may leave before it is served
 *   WANT        a client that is served waits for another server, which comes late
 * When nothing can move, a server may sleep where it has missed nothing, and nobody else.
 * M_...: one mutation, which must give a counterexample.
 */
#ifndef NC
#define NC 1
#endif
#ifndef NV
#define NV 1
#endif
#ifndef NL
#define NL 1
#endif
#ifndef NW
#define NW NV
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef NREC
#define NREC 0
#endif
#ifndef KILL
#define KILL 0
#endif
#ifndef KILL2
#define KILL2 0
#endif
#ifndef EVICT
#define EVICT 0
#endif
#define NO (NC+NV+NREC)         /* owners */

#define FREE    0               /* of both words */
#define CLAIMED 1
#define OPEN    2
#define LEFT    3
#define LOST    4
#define RETIRED 5
#define HELD    1
#define LEAVING 2
#define EVICTED 3

#define ST(w)   ((w) & 7)
#define GEN(w)  (((w)>>3) & 7)
#define CL(w)   (((w)>>6) & 7)
#define SV(w)   (((w)>>9) & 1)
#define SG(w)   (((w)>>10) & 7)
#define TAINT   8192
#define MKL(s,g,c,v,h) ((s) | (((g)&7)<<3) | ((c)<<6) | ((v)<<9) | (((h)&7)<<10))
#define WITH(w,s) (((w) & (~7)) | (s))
#define OFS(w,v,h) (SV(w) == (v) && SG(w) == ((h)&7))
#define MKS(s,g,o) ((s) | (((g)&7)<<3) | ((o)<<6))
#define ENDED(w) ((((w) & TAINT) != 0) -> WITH(w,RETIRED) : MKL(FREE,GEN(w),0,0,0))
#define SAME(a,b) (((a) & (~(TAINT|7))) == ((b) & (~(TAINT|7))))

short link[NL]; short server[NW];
byte news[NW]; bool sbell[NW]; bool cbell[NC+1];
byte changes;
bool dead[NO+1]; bool evicted[NO+1]; bool recovered[NO+1]; bool over[NO+1];
/* ghosts */
byte cuse[NL];                  /* client that uses the area, evicted ones not counted */
byte suse[NL];
bool acked[NL];
short asked[NL];                /* for which word */

#define CAS(v,o,n,ok) atomic { if :: (v) == (o) -> v = n; ok = 1 :: else -> ok = 0 fi }
#define RINGC(c) cbell[c] = 1

/* tell: news, then the bell. */
inline tell(v) { news[v] = (news[v] + 1) & 7; atomic { sbell[v] = 1 } }

#ifdef M_NOTAINT
#define STAIN(ev) 0
#else
#define STAIN(ev) ((ev) -> TAINT : 0)
#endif

/* L2, L3 for one link: server v of generation h has gone. */
inline lose(k, v, h, ev) {
	do
	:: atomic { w = link[k]; if :: OFS(w, v, h) && (ST(w) == OPEN || ST(w) == LEFT || ST(w) == LOST) -> skip :: else -> break fi };
		if
		:: ST(w) == OPEN ->
			CAS(link[k], w, WITH(w,LOST) | STAIN(ev), ok); /* L2 */
			if :: ok -> skip :: else -> goto LOSEAGAIN fi
		:: ST(w) == LEFT ->
			n = w | STAIN(ev);
			CAS(link[k], w, ENDED(n), ok);
			if :: ok -> break :: else -> goto LOSEAGAIN fi
		:: ST(w) == LOST ->
			if
			:: STAIN(ev) != 0 && (w & TAINT) == 0 -> CAS(link[k], w, w | TAINT, ok)
			:: else -> ok = 1
#ifdef M_L3ONLYWHODID
				; break
#endif
			fi;
			if :: ok -> skip :: else -> goto LOSEAGAIN fi
		fi;
#ifndef M_NOL3
		RINGC(CL(w)); /* L3 */
#endif
		break;
LOSEAGAIN: skip
	od
}

#define GONE(s,h) (ST(s) != HELD || GEN(s) != ((h)&7))

/* C7, C8: by the client, or by anybody for a dead one. */
inline shut(k, g, c, mark) {
	do
	:: atomic { w = link[k]; if :: GEN(w) != ((g)&7) || CL(w) != (c) || ST(w) == FREE || ST(w) == RETIRED -> break :: else fi };
		if
		:: ST(w) == CLAIMED || ST(w) == LOST ->
			n = w | (mark);
			CAS(link[k], w, ENDED(n), ok);
			if :: ok -> break :: else -> goto SHUTAGAIN fi
		:: ST(w) == OPEN || ST(w) == LEFT ->
			n = WITH(w, LEFT) | (mark);
#ifdef M_C7FREES
			n = MKL(FREE,GEN(w),0,0,0);
#endif
			CAS(link[k], w, n, ok); /* C7 */
			if :: ok -> skip :: else -> goto SHUTAGAIN fi
		fi;
		i = SV(w); h = SG(w);
#ifndef M_C7TELLSNOBODY
		tell(i);
#endif
#ifndef M_NOC8
		s = server[i]; /* C8 */
		if :: GONE(s, h) -> lose(k, i, h, (ST(s) == EVICTED && GEN(s) == h)) :: else fi;
#endif
		break;
SHUTAGAIN: skip
	od;
	if :: (mark) != 0 -> RINGC(c) :: else fi
}

/* L1 to L4. */
inline depart(v, g, ev) {
#ifdef M_L2BEFOREL1
	k = 0;
	do :: k < NL -> lose(k, v, g, ev); k++ :: else -> break od;
#endif
	atomic { /* L1 */
		s = server[v];
		if :: ST(s) == HELD && GEN(s) == ((g)&7) -> server[v] = WITH(s, ((ev) -> EVICTED : LEAVING)) :: else fi
	};
	s = server[v];
	if
	:: GEN(s) == ((g)&7) && (ST(s) == LEAVING || ST(s) == EVICTED) ->
		changes = (changes + 1) & 7;
#ifndef M_L2BEFOREL1
		k = 0;
		do
		:: k < NL -> lose(k, v, g, ((ev) || ST(s) == EVICTED)); k++
		:: else -> break
		od;
#endif
		CAS(server[v], s, MKS(FREE, GEN(s), 0), ok) /* L4 */
	:: else
	fi
}

proctype Client(byte me) {
	byte round, k, i, h, seen; short w, n, s, mine; bool ok;
	{
	do
	:: round < ROUNDS ->
		round++;
		k = 0; ok = 0;
		do /* C1 */
		:: k < NL ->
			w = link[k];
			if
			:: ST(w) == FREE ->
				atomic {
					mine = MKL(CLAIMED, GEN(w)+1, me, 0, 0);
					CAS(link[k], w, mine, ok);
					if
					:: ok && !evicted[me] -> assert(cuse[k] == 0 && suse[k] == 0); cuse[k] = me
					:: else
					fi
				};
				if :: ok -> break :: else fi
			:: else
			fi;
			k++
		:: else -> break
		od;
		if :: !ok -> goto NEXT :: else fi;
TALK:		seen = changes;
		if /* which server: any that is there */
		:: ST(server[0]) == HELD -> atomic { i = 0; s = server[0] }
#if NW > 1
		:: ST(server[1]) == HELD -> atomic { i = 1; s = server[1] }
#endif
		:: goto CLOSE
		fi;
		if :: ST(s) != HELD -> goto CLOSE :: else fi;
		h = GEN(s);
		n = MKL(OPEN, GEN(mine), me, i, h);
		atomic { CAS(link[k], mine, n, ok); if :: ok -> acked[k] = 0; asked[k] = n :: else fi }; /* C3 */
		if :: !ok -> assert(evicted[me]); goto FENCED :: else fi;
		mine = n;
#ifndef M_NOC4
		s = server[i]; /* C4 */
		if
		:: GONE(s, h) ->
			CAS(link[k], mine, WITH(mine,LOST) | ((ST(s) == EVICTED && GEN(s) == h) -> TAINT : 0), ok); /* C5 */
			goto AGAIN
		:: else
		fi;
#endif
#ifndef M_NOC6
		tell(i); /* C6 */
#else
		news[i] = news[i];
#endif
#ifdef WANT
		if :: ST(server[1-i]) == HELD -> goto CLOSE :: else fi; /* both are there */
#endif
#ifdef HASTY
		if :: goto CLOSE :: skip fi;
#endif
		do /* until it is served, or the server has gone */
		:: cbell[me] = 0;
			if
			:: link[k] != mine -> goto AGAIN
#ifdef WANT
			:: link[k] == mine && changes != seen -> break
			:: link[k] == mine && changes == seen -> skip
#else
			:: link[k] == mine && acked[k] -> break
			:: link[k] == mine && !acked[k] -> skip
#endif
			fi;
			cbell[me] /* asleep */
		od;
CLOSE:		atomic { if :: cuse[k] == me -> cuse[k] = 0 :: else fi };
		shut(k, GEN(mine), me, 0);
		goto NEXT;
AGAIN:		w = link[k];
		if
		:: GEN(w) != GEN(mine) || CL(w) != me || ST(w) != LOST -> assert(evicted[me]); goto FENCED
		:: (w & TAINT) != 0 -> mine = w; goto CLOSE
		:: else
		fi;
		atomic {
			n = MKL(CLAIMED, GEN(w)+1, me, 0, 0);
			CAS(link[k], w, n, ok);
			if
			:: ok && !evicted[me] -> assert(suse[k] == 0); cuse[k] = me; mine = n
			:: ok && evicted[me] -> mine = n
			:: else
			fi
		};
		if :: ok -> goto TALK :: else -> goto AGAIN fi;
FENCED:		break;
NEXT:		skip
	:: else -> break
	od;
	over[me] = 1
	} unless { dead[me] }
}

/* what a server lets go of. */
inline release() {
	atomic { has[k] = 0; if :: suse[k] == me -> suse[k] = 0 :: else fi };
	dropped(k, word[k])
}

/* S3 */
inline dropped(k, was) {
	do
	:: w = link[k];
		if
		:: !SAME(w, was) || ST(w) != LEFT -> break
		:: else -> CAS(link[k], w, ENDED(w), ok); if :: ok -> break :: else fi
		fi
	od
}

proctype Server(byte me) {
	byte v, g, k, seen, i, h; short w, n, s, mine; bool ok; bool has[NL]; short word[NL];
	{
#ifdef WANT
	if :: me == NC+2 -> (acked[0] || over[1]) :: else fi; /* late */
#endif
	do /* S1 */
	:: s = server[v];
		if
		:: ST(s) == FREE ->
			atomic { mine = MKS(HELD, GEN(s)+1, me); g = GEN(mine) };
			CAS(server[v], s, mine, ok);
			if :: ok -> break :: else fi
		:: else
		fi;
		v++;
		if :: v == NW -> goto DONE :: else fi
	od;
	changes = (changes + 1) & 7; /* S2 */
#ifndef M_NOS5
	k = 0; /* S5 */
	do
	:: k < NL -> w = link[k]; if :: ST(w) == OPEN -> RINGC(CL(w)) :: else fi; k++
	:: else -> break
	od;
#endif
	do
	:: atomic { seen = news[v]; sbell[v] = 0 };
		k = 0;
		do
		:: k < NL ->
			w = link[k];
			if
			:: has[k] && w != word[k] -> release()
			:: has[k] && w == word[k] -> skip
			:: !has[k] && OFS(w, v, g) && ST(w) == LEFT ->
#ifndef M_LEFTSTAYS
				n = w; dropped(k, n)
#else
				skip
#endif
			:: !has[k] && OFS(w, v, g) && ST(w) == OPEN ->
#ifndef M_NOS4
				if :: server[v] != mine -> goto FENCED :: server[v] == mine fi; /* S4 */
#endif
				atomic {
					has[k] = 1; word[k] = w;
					assert(suse[k] == 0);
					assert(cuse[k] == 0 || cuse[k] == CL(w) || evicted[me] || link[k] != w);
					/* An evicted server's use is counted as long as nobody may claim the link. */
					suse[k] = me;
					if :: asked[k] == w -> acked[k] = 1 :: else fi
				};
				RINGC(CL(w))
			:: else
			fi;
			k++
		:: else -> break
		od;
		if
#ifdef LEAVES
		:: goto LEAVE
#endif
		:: evicted[me] && server[v] != mine -> goto FENCED
		:: news[v] != seen -> skip
		:: news[v] == seen ->
end_idle:		(sbell[v] || (evicted[me] && server[v] != mine)) /* asleep */
		fi
	od;
LEAVE:	skip;
FENCED:	k = 0;
	do
	:: k < NL -> if :: has[k] -> release() :: else fi; k++
	:: else -> break
	od;
	depart(v, g, 0);
DONE:	over[me] = 1
	} unless { dead[me] }
}

#if NREC
proctype Recoverer(byte me) {
	byte o, v, k, i, h, j; short w, n, s, t; bool ok;
	{
	skip;
end_wait:
	if
#if KILL
	:: atomic { (dead[KILL] && !recovered[KILL]) -> o = KILL }
#endif
#if KILL2
	:: atomic { (dead[KILL2] && !recovered[KILL2]) -> o = KILL2 }
#endif
#if EVICT
	:: atomic { (evicted[EVICT] && !recovered[EVICT]) -> o = EVICT }
#endif
	fi;
		v = 0;
		do
		:: v < NW ->
			t = server[v];
#ifndef M_NOV1
			if :: ST(t) != FREE && ((t>>6) & 7) == o -> depart(v, GEN(t), evicted[o]) :: else fi; /* V1 */
#endif
			v++
		:: else -> break
		od;
		j = 0;
		do
		:: j < NL ->
			t = link[j];
#ifndef M_NOV2
			if :: ST(t) != FREE && ST(t) != RETIRED && CL(t) == o -> shut(j, GEN(t), o, STAIN(evicted[o])) :: else fi; /* V2 */
#endif
			j++
		:: else -> break
		od;
	recovered[o] = 1;
	goto end_wait
	} unless { dead[me] }
}

#endif

/* a death: what the dead used is used no more. */
inline die(o) {
	atomic {
		!over[o] -> dead[o] = 1;
		j = 0;
		do
		:: j < NL ->
			if :: cuse[j] == o -> cuse[j] = 0 :: else fi;
			if :: suse[j] == o -> suse[j] = 0 :: else fi;
			j++
		:: else -> break
		od
	}
}

proctype Fate() {
	byte j;
#if KILL
	if :: die(KILL) :: over[KILL] fi;
#endif
#if KILL2
	if :: die(KILL2) :: over[KILL2] fi;
#endif
#ifdef KREC
	if :: die(NC+NV+1) :: recovered[KILL] fi;
#endif
#if EVICT
	if
	:: atomic { !over[EVICT] -> evicted[EVICT] = 1 }
	:: over[EVICT]
	fi
#endif
}

init {
	byte j; short w;
	atomic {
		for (j : 1 .. NC) { run Client(j) }
		for (j : 1 .. NV) { run Server(NC+j) }
#if NREC
		for (j : 1 .. NREC) { run Recoverer(NC+NV+j) }
#endif
		run Fate()
	};
	timeout ->
	atomic {
		for (j : 0 .. NL-1) {
			w = link[j];
			/* nothing is left with the dead, nor with who has ended */
			assert(ST(w) == FREE || ST(w) == RETIRED || (EVICT && (CL(w) == EVICT || ST(w) == LOST)));
			assert(ST(w) != RETIRED || EVICT);
		}
		for (j : 0 .. NW-1) {
			w = server[j];
			assert(ST(w) == FREE || (ST(w) == HELD && !dead[(w>>6) & 7]) || EVICT)
		}
	}
}
