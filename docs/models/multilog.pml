/* multilog.pml: the ring of a journal: claim, publish, give up, recover, read, join.
 *
 * One statement that touches shared memory is one step, and carries the number that
 * multilog.md gives it; everything between is local. Memory is sequentially consistent;
 * multilog.md lists the edges that make it so. "Stopped for long" needs no step of its
 * own: a process may be left out of the interleaving for ever. How sleepers are woken is
 * the other model, journal_wait.pml.
 *
 * Configuration (-D)
 *   N=4          cells; positions start at N, so a zeroed word is stale
 *   OVERWRITE    overwrite oldest, else reject when full
 *   NW=2         writers 1..NW; RA MNA MXA: records, least and most cells of writer 1; RB.. RC..
 *   SLACK=0      so many cells more are given up in one batch
 *   LAG=1        tail moves only so many cells at a time
 *   PADS=2       pads that one Reserve may lay
 *   DEATHS=0     participants that vanish at any step (the lock drops: dead[] is evidence)
 *     KREC       also a recoverer may
 *   EVICTS=0     1: writer 1 (with EVRD: reader 1) may be evicted on an operator's word at any
 *                step, and go on executing: a zombie
 *   NREC=0       recoverers: each sweeps the dead and the evicted, any number at once
 *   NORD         no reader 1
 *   SUSP         a reader may take any live owner for suspect, and pass its claim
 *   SUSPRD       a writer may take reader 1 for suspect, and give up what that has not passed
 *   JOIN         reader 2 joins late (reject mode): entry 1, or with REUSE entry 0 once it is free
 *   LEAVE        reader 1 may leave at any time
 * M_...: one mutation, which must give a counterexample.
 *
 * What is checked
 *   I1 claims are made at the true tail only, tile, and fit; tail is never beyond it
 *   I2 a payload cell is written by its last claimant only     I4 K[head] is head's rank, exact
 *   I5 a live reader that holds is not lapped in reject mode    a reader sees whole records only,
 *   in order, and read + lost = all that were committed        nobody waits for ever (end states)
 */
#ifndef N
#define N 4
#endif
#ifndef NW
#define NW 2
#endif
#ifndef RA
#define RA 1
#endif
#ifndef MNA
#define MNA 2
#define MXA 2
#endif
#ifndef RB
#define RB 2
#endif
#ifndef MNB
#define MNB 1
#define MXB 2
#endif
#ifndef RC
#define RC 1
#endif
#ifndef MNC
#define MNC 1
#define MXC 1
#endif
#ifndef SLACK
#define SLACK 0
#endif
#ifndef LAG
#define LAG 1
#endif
#ifndef PADS
#define PADS 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef EVICTS
#define EVICTS 0
#endif
#ifndef NREC
#define NREC 0
#endif
#define RD1 (NW+1)              /* the reader that is there from the start, in entry 0 */
#define RD2 (NW+2)              /* the reader that joins late */
#define RC1 (NW+3)              /* recoverers */
#define NP  (NW+5)

/* state word {lap, status, owner, cells}; a participant is one slot in one generation */
#define BUSY  1
#define READY 2
#define TOMB  3
#define PAD   4
#define HOLE  5
#define GONE  6
#ifdef M_LAPBIT
#define LAP(p) (((p)/N)&1)      /* one lap bit, compared for equality only */
#else
#define LAP(p) ((p)/N)
#endif
#define IX(p)  ((p)%N)
#define MK(l,s,o,k) (((l)<<9)|((s)<<6)|((o)<<3)|(k))
#define WLAP(w) ((w)>>9)
#define WST(w)  (((w)>>6)&7)
#define WOWN(w) (((w)>>3)&7)
#define WCEL(w) ((w)&7)
#define WITH(w,s) (((w)&~(7<<6))|((s)<<6))

short S[N];                     /* state words */
byte tail = N;                  /* hint: at or behind the true tail */
short room = (N<<3);            /* {head position, joins:3} */
#define HEAD(r) ((r)>>3)
byte K[N];                      /* K[IX(head)] = READY records before head */
byte D[N];                      /* payload: each cell gets the position of its record */

/* reader entries: who {state, owner}, cursor. The generation of an entry is its owner here. */
#define FREE    0
#define JOINING 1
#define ACTIVE  2
#define RETIRED 3
#if defined(JOIN) && !defined(REUSE)
#define NE 2
#else
#define NE 1
#endif
#define WHO(s,o) ((o)*4+(s))
#define HST(x) ((x)&3)
#define HOWN(x) ((x)/4)
byte who[NE]; byte cur[NE];

bit dead[NP]; bit evic[NP];     /* evidence: the lock dropped; an operator's word */
bit swept[NP];                  /* recovered whole: the slot is free, or used by the next generation */
byte fin;                       /* writers that ended */
/* ghosts */
byte gtail = N;                 /* the true tail */
byte gready;                    /* READY records so far */
byte grank;                     /* of those, given up */
byte G[N];                      /* position of the claim that may write this cell's payload */
byte rc[2]; bit held[2];        /* reader's private cursor; it holds, from J3 on */

#define CAS(v,o,n,ok) d_step { if :: (v) == (o) -> v = n; ok = 1 :: else -> ok = 0 fi }
#define OUT(o) (dead[o] || evic[o])
#ifdef M_DEADHOLE               /* asks whether a hole's owner is gone, in place of leaving that to the sweep */
#define KEPT(x,p) (WLAP(x) == LAP(p)-1 && (WST(x) == GONE || WST(x) == HOLE && !OUT(WOWN(x))))
#elif defined(M_SWEPTHOLE)      /* the same, but an evicted one counts as gone when it is swept */
#define KEPT(x,p) (WLAP(x) == LAP(p)-1 && (WST(x) == GONE || WST(x) == HOLE && !swept[WOWN(x)]))
#elif defined(M_NOGONE)         /* later laps do not carry GONE */
#define KEPT(x,p) (WLAP(x) == LAP(p)-1 && WST(x) == HOLE)
#else
#define KEPT(x,p) (WLAP(x) == LAP(p)-1 && (WST(x) == GONE || WST(x) == HOLE))
#endif
/* how a BUSY word of owner o is closed: word first, this after */
#ifdef M_TOMBEVICTED
#define SEAL(o,alive) (OUT(o) -> TOMB : alive)
#elif defined(LATETOMB)         /* a zombie's claim after the sweep: TOMB is enough if it never writes there */
#define SEAL(o,alive) (dead[o] || swept[o] -> TOMB : (evic[o] -> GONE : alive))
#else
#define SEAL(o,alive) (dead[o] -> TOMB : (evic[o] -> GONE : alive))
#endif
#ifdef M_NOHOLE
#define LAPPED TOMB
#else
#define LAPPED HOLE
#endif

proctype Writer(byte me; byte recs; byte mn; byte mx)
{
	short w, x, r; byte t = N, hd = N, p, k, rq, j, kind, pads, m, v, goal; bit ok;
	{
	skip;
next:	if
	:: recs == 0 -> goto over
	:: else
	fi;
again:	w = S[IX(t)];                                                 /* W2 */
	m = tail;                                                     /* W1, after W2: lap wrap */
	if
	:: m > t -> t = m; goto again
	:: else
	fi;
	if
#ifdef M_LAPBIT
	:: w != 0 && WLAP(w) == LAP(t) -> t = t + WCEL(w); goto again
#else
	:: WLAP(w) > LAP(t) -> goto old
	:: WLAP(w) == LAP(t) -> t = t + WCEL(w); goto again           /* W3 claimed: walk on */
#endif
	:: else
	fi;
	atomic { /* local: what to claim at t */
		m = 0;
		if
#ifndef M_NOHOLECARRY
		:: KEPT(w,t) -> kind = WST(w); k = WCEL(w); rq = k
#endif
		:: else ->
			if
			:: N-IX(t) < mn -> kind = PAD; k = N-IX(t); rq = k + mn /* at the ring's end, if the record fits behind it */
			:: else -> kind = BUSY; k = (recs == RB && me == 2 -> mn : mx); /* sizes vary */
				k = (k < N-IX(t) -> k : N-IX(t)); rq = k
			fi
		fi
	};
	if
	:: t >= hd && t + rq <= hd + N -> goto scan                    /* an old head will do */
	:: else
	fi;
roomy:	r = room; hd = HEAD(r);                                       /* W4 */
	if
	:: hd > t -> goto old
	:: hd <= t && t + rq <= hd + N -> goto scan
	:: else
	fi;
	/* W5: give up the oldest records */
	goal = (t + rq - N + SLACK < t -> t + rq - N + SLACK : t);
#ifndef OVERWRITE
	m = 255; j = 0;
	do                                                            /* E1 */
	:: j < NE -> v = who[j];
		if
		:: HST(v) == ACTIVE -> p = cur[j];
			if
			:: OUT(HOWN(v))
#ifdef SUSPRD
			:: HOWN(v) == RD1
#endif
			:: else -> m = (p < m -> p : m)
			fi
		:: else
		fi;
		j++
	:: else -> break
	od;
#ifdef M_SCANFIRST
	r = room; hd = HEAD(r);
#endif
	if
	:: hd >= m -> /* held by a reader: grant what is there, or full */
		if
		:: kind == BUSY && hd+N > t && hd+N-t >= mn -> k = hd+N-t; rq = k; goto scan
		:: else -> goto refuse
		fi
	:: else -> goal = (m < goal -> m : goal)
	fi;
#endif
	p = hd; v = 0;
walk:	x = S[IX(p)];                                                 /* E2 */
	if
	:: WLAP(x) != LAP(p) ->
		assert(p > hd || room != r);
		if :: p > hd -> goto rank :: else -> goto roomy fi
	:: WLAP(x) == LAP(p) && WST(x) == BUSY ->
		if
		:: p > hd && p + N >= t + rq -> goto rank              /* not in the way */
		:: else
		fi;
		j = SEAL(WOWN(x), LAPPED);
		CAS(S[IX(p)], x, WITH(x,j), ok);                      /* E2s */
		goto walk
	:: else
	fi;
#ifndef M_BATCHN
	if
	:: p > hd && p + WCEL(x) - hd >= N -> goto rank               /* a batch is less than N cells */
	:: else
	fi;
#endif
	v = v + (WST(x) == READY -> 1 : 0); p = p + WCEL(x);
	if
	:: p < goal -> goto walk
	:: else
	fi;
rank:	v = v + K[IX(hd)];                                            /* E3 */
#ifndef M_NOE4
	if :: room != r -> goto roomy :: else fi;                     /* E4 */
#endif
#ifdef M_KSTORE
	K[IX(p)] = v;
#else
	d_step { if :: K[IX(p)] < v -> K[IX(p)] = v :: else fi };     /* E5: K = max(K, v) */
#endif
	d_step {                                                      /* E6 */
		if
		:: room == r ->
			m = hd;
			do
			:: m < p -> assert(WLAP(S[IX(m)]) == LAP(m) && WST(S[IX(m)]) != BUSY);
				grank = grank + (WST(S[IX(m)]) == READY -> 1 : 0); m = m + WCEL(S[IX(m)])
			:: else -> break
			od;
			assert(m == p && p <= gtail && K[IX(p)] == grank);
#ifndef OVERWRITE
#ifndef SUSPRD
			assert(!held[0] || OUT(RD1) || p <= rc[0]);
#endif
			assert(!held[1] || OUT(RD2) || p <= rc[1]);
#endif
			room = (p<<3) | (r&7)
		:: else
		fi; m = 0; v = 0; x = 0; j = 0
	};
	goto roomy;
old:	r = room;                                                     /* W1h: tail may be a lap old, head is not */
	assert(HEAD(r) > t); t = HEAD(r); m = 0; r = 0;
	goto again;
scan:	j = 1;                                                        /* W6: what is kept ahead ends the run */
#ifndef M_NOSCAN
	do
	:: (kind == BUSY || kind == PAD) && j < k ->
		x = S[IX(t+j)];
		if :: KEPT(x,t+j) -> k = j :: else -> j++ fi
	:: else -> break
	od;
#endif
	if
	:: kind == BUSY && k < mn ->
		if :: pads == PADS -> goto refuse :: else -> pads++; kind = PAD fi
	:: else
	fi;
	d_step {                                                      /* W7 claim */
		r = 0; x = 0; p = 0; v = 0; goal = 0; m = 0; j = 0; rq = 0;
		if
		:: S[IX(t)] == w ->
			assert(t == gtail && t + k <= HEAD(room) + N);
			assert(kind != HOLE && kind != GONE || WLAP(w) == LAP(t)-1 && WCEL(w) == k);
			S[IX(t)] = MK(LAP(t), kind, (kind == HOLE || kind == GONE -> WOWN(w) : me), k);
			gtail = t + k;
			do
			:: m < k && kind == BUSY -> G[IX(t+m)] = t; m++
			:: else -> break
			od; m = 0; ok = 1
		:: else -> ok = 0
		fi; w = 0
	};
	if
	:: !ok -> goto again
	:: ok && kind != BUSY -> t = t + k; goto again
	:: else
	fi;
tail1:	m = tail;                                                     /* W8 */
	if
	:: m + LAG <= t + k ->
		d_step { if :: tail == m -> tail = t + k; assert(tail <= gtail); ok = 1 :: else -> ok = 0 fi; m = 0 };
		if :: !ok -> goto tail1 :: else fi
	:: else -> m = 0
	fi;
#if EVICTS > 0 && !defined(M_NOFENCED)
	if                                                            /* W8f own slot still mine? */
	:: evic[me] ->
		CAS(S[IX(t)], MK(LAP(t),BUSY,me,k), MK(LAP(t),PAD,me,k), ok);
		recs = 1;
		if :: !ok -> goto yield :: else -> goto done fi
	:: else
	fi;
#endif
	j = 0;
	do                                                            /* W9 payload */
	:: j < k -> d_step { assert(G[IX(t+j)] == t); D[IX(t+j)] = t; j++ }
	:: else -> break
	od;
	skip;
#ifdef M_STORECOMMIT
	d_step { S[IX(t)] = MK(LAP(t),READY,me,k); gready++; ok = 1 };
#else
	d_step {                                                      /* W10 commit */
		if
		:: S[IX(t)] == MK(LAP(t),BUSY,me,k) -> S[IX(t)] = MK(LAP(t),READY,me,k); gready++; ok = 1
		:: else -> ok = 0
		fi; j = 0
	};
#endif
	if
	:: ok -> goto done
	:: else
	fi;
yield:	x = S[IX(t)];                                                 /* W11: taken away */
	if
	:: WST(x) == HOLE && WOWN(x) == me ->
		CAS(S[IX(t)], x, WITH(x,PAD), ok);
		if :: !ok -> goto yield :: else fi
#if defined(M_NOHOLE) || defined(M_NOHOLECARRY)
	:: else
#else
	:: else -> assert(evic[me])
#endif
	fi;
refuse:	kind = 0;
done:	skip; d_step { recs--; t = t+k*(kind == BUSY); pads=0; w=0; x=0; k=0; rq=0; j=0; kind=0; m=0; v=0; r=0; ok=0; p=0; goal=0 };
	goto next
	} unless { dead[me] };
over:	skip; d_step { fin++; t=0; hd=0; recs=0; w=0; x=0; r=0; p=0; k=0; rq=0; j=0; kind=0; pads=0; m=0; v=0; goal=0; ok=0 }
}

proctype Reader(byte id; byte e; bit late)
{
	short w, r; byte c = N, my, j; bit ok, good, known = 1;
	{
	skip;
#ifndef OVERWRITE
	if
	:: late ->                                                            /* J */
		known = 0;
		if
		:: d_step { who[e] == FREE -> who[e] = WHO(JOINING,id) }      /* J1 */
		:: who[e] == WHO(RETIRED,RD1) || fin == NW -> goto over
		fi;
		r = room;
join:		c = HEAD(r); cur[e] = c;                                      /* J2 */
		CAS(who[e], WHO(JOINING,id), WHO(ACTIVE,id), ok);             /* J2a */
#ifdef M_NOJOIN
		r = room;
		if :: HEAD(r) == c -> held[1] = 1; rc[1] = c :: else -> goto join fi;
#else
		d_step {                                                      /* J3 */
			if
			:: room == r -> room = (HEAD(r)<<3)|((r+1)&7); held[1] = 1; rc[1] = c; ok = 1
			:: else -> ok = 0
			fi };
		if :: !ok -> r = room; goto join :: else -> r = 0 fi;
#endif
	:: else
	fi;
#endif
loop:	w = S[IX(c)];                                                         /* R1 */
#if defined(LEAVE) && !defined(OVERWRITE)
	if
	:: id == RD1 -> d_step { if :: who[e] == WHO(ACTIVE,id) -> who[e] = FREE :: else fi; held[0] = 0 }; /* L1 */
		goto over
	:: true
	fi;
#endif
	if
#ifdef M_LAPBIT
	:: w == 0 || WLAP(w) != LAP(c) ->
#else
	:: WLAP(w) < LAP(c) ->                                                /* c is the tail */
#endif
		atomic {
			(S[IX(c)] != w || fin == NW);
			if
			:: S[IX(c)] == w -> assert(c == gtail && (!known || my == gready)); goto over
			:: else
			fi
		};
		goto loop
#ifndef M_LAPBIT
	:: WLAP(w) > LAP(c) -> goto jump
#endif
	:: else
	fi;
	if
	:: WST(w) == BUSY ->                                                  /* R2 */
#ifdef SUSP
		if
		:: !OUT(WOWN(w)) -> CAS(S[IX(c)], w, WITH(w,HOLE), ok)
		:: true
		fi;
#endif
#ifdef M_NOSEAL
		(S[IX(c)] != w); goto loop;
#else
		(S[IX(c)] != w || OUT(WOWN(w)));
#endif
		if
		:: OUT(WOWN(w)) -> j = SEAL(WOWN(w), BUSY); CAS(S[IX(c)], w, WITH(w,j), ok)
		:: else
		fi;
		goto loop
	:: WST(w) == READY ->
		j = 0; good = 1;
		do                                                            /* R3 payload */
		:: j < WCEL(w) -> d_step { good = good && (D[IX(c+j)] == c); j++ }
		:: else -> break
		od;
		/* R4: own cursor stored (orders R3 before R5 on arm64); no effect here */
#if defined(M_NOVALIDATE)
		skip;
#elif defined(M_WORDVALIDATE)
		if :: S[IX(c)] != w -> goto jump :: else fi;
#elif defined(OVERWRITE) || defined(SUSPRD) || defined(EVRD)
		if :: HEAD(room) > c -> goto jump :: else fi;                 /* R5 */
#endif
		assert(good); my++
	:: else                                                               /* TOMB, PAD, HOLE, GONE */
	fi;
	c = c + WCEL(w);
#ifndef OVERWRITE
	d_step { cur[e] = c; rc[id-RD1] = c; w = 0; j = 0; good = 0 };        /* R6 */
#else
	w = 0; j = 0; good = 0;
#endif
	goto loop;
jump:
#ifndef OVERWRITE
#ifdef SUSPRD
	assert(id == RD1);
#else
	assert(evic[id]); goto over;            /* who holds is not lapped */
#endif
#endif
	r = room; c = HEAD(r);                                                /* R7 */
	j = K[IX(c)];                                                         /* R8 */
#ifndef M_NOR9
	if :: d_step { room == r -> assert(j == grank && j >= my) } :: room != r -> goto jump fi; /* R9 */
#else
	assert(j >= my);
#endif
	my = j; r = 0;                                                        /* lost = j - my */
#ifndef OVERWRITE
	d_step { cur[e] = c; rc[id-RD1] = c };
#endif
	goto loop
	} unless { dead[id] };
over:	skip; d_step { w = 0; r = 0; c = 0; my = 0; j = 0; ok = 0; good = 0; known = 0 }
}

#if NREC > 0
/* recovers owner o, who is dead or evicted: all words, then the entries, then the slot */
proctype Recover(byte me)
{
	short x; byte i, o; bit ok, ev;
	{
	skip;
look:	if
	:: fin == NW -> goto over
	:: d_step { dead[1] && !swept[1] -> o = 1 }
	:: d_step { dead[2] && !swept[2] -> o = 2 }
	:: d_step { dead[RD1] && !swept[RD1] -> o = RD1 }
	:: d_step { evic[1] && !swept[1] -> o = 1; ev = 1 }
	:: d_step { evic[RD1] && !swept[RD1] -> o = RD1; ev = 1 }
	fi;
sweep:	x = S[i];                                                     /* V1 */
	if
	:: WOWN(x) == o && (WST(x) == BUSY || WST(x) == HOLE) ->
#ifdef M_SWEEPTOMB
		CAS(S[i], x, WITH(x, (WST(x) == BUSY -> TOMB : PAD)), ok); /* as if the evicted were dead */
#else
		CAS(S[i], x, WITH(x, (ev -> GONE : (WST(x) == BUSY -> TOMB : PAD))), ok); /* V2 */
#endif
		goto sweep
	:: else
	fi;
	i++;
	if :: i < N -> goto sweep :: else -> i = 0; x = 0 fi;
	do                                                            /* V3 */
	:: i < NE ->
#ifdef M_REUSEEVICTED
		d_step { if :: HOWN(who[i]) == o && HST(who[i]) != FREE -> who[i] = FREE :: else fi; i++ }
#else
		d_step { if :: HOWN(who[i]) == o && HST(who[i]) != FREE -> who[i] = (ev -> WHO(RETIRED,o) : FREE) :: else fi; i++ }
#endif
	:: else -> break
	od;
	skip;
	/* V4: ring everybody */
	d_step { swept[o] = 1; i = 0; o = 0; ev = 0; ok = 0 };        /* V5: the slot is free */
	goto look
	} unless { dead[me] };
over:	skip; d_step { x = 0; i = 0; o = 0; ev = 0; ok = 0 }
}
#endif

proctype Reaper()
{
	byte v, deaths, evicts;
	do
	:: deaths < DEATHS -> atomic {
		select (v : 1 .. RC1);
		if
		:: v <= NW && !OUT(v) -> dead[v] = 1; deaths++
#ifndef OVERWRITE
		:: v == RD1 && !OUT(v) -> dead[v] = 1; deaths++
#endif
#ifdef KREC
		:: v == RC1 && !OUT(v) -> dead[v] = 1; deaths++
#endif
		:: else
		fi; v = 0 }
	:: evicts < EVICTS -> atomic {
#ifdef EVRD
		v = RD1;
#else
		v = 1;
#endif
		if :: !OUT(v) -> evic[v] = 1; evicts++ :: else fi; v = 0 }
	:: break
	od;
	deaths = 0; evicts = 0
}

init {
	atomic {
#ifndef OVERWRITE
#ifndef NORD
		cur[0] = N; who[0] = WHO(ACTIVE,RD1); rc[0] = N; held[0] = 1;
#endif
#endif
		run Writer(1, RA, MNA, MXA); run Writer(2, RB, MNB, MXB);
#if NW == 3
		run Writer(3, RC, MNC, MXC);
#endif
#ifndef NORD
		run Reader(RD1, 0, 0);
#endif
#ifdef JOIN
		run Reader(RD2, NE-1, 1);
#endif
#if NREC > 0
		run Recover(RC1);
#endif
#if NREC > 1
		run Recover(RC1+1);
#endif
#if DEATHS > 0 || EVICTS > 0
		run Reaper()
#endif
	}
}
