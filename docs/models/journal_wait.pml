/* journal_wait.pml: how sleepers of a journal are woken, and that none sleeps for ever.
 *
 * The ring itself is multilog.pml. Here it is a row of one-cell records with room for C of
 * them (reject mode: readers hold), claimed in one step at the tail; what counts is sleeping:
 * readers for the record at their cursor, writers for room. A statement that touches shared
 * memory is one step, numbered as in multilog.md. Positions do not wrap.
 *
 * Configuration (-D)
 *   C=1         room;  RA, RB=1 records of writers 1, 2;  MORE=0 how far beyond what a writer
 *               needs a reader rings while it reads on
 *   START=0     so many records are there and read by reader 1, but not given up
 *   SLACK       a writer gives up all that it can, not only what it needs
 *   PADW        writer 1 claims a PAD before its first record
 *   NR=1        readers from the start;  JOIN  reader 2 joins late;  LEAVE  reader 1 may leave
 *   KILL=p      participant p may vanish at any step: 1, 2 writers, 3, 4 readers; KREC: recoverer 5 may
 *   NREC=0      recoverers
 *   EVICT       reader 1 may be evicted at any step, and goes on executing
 *   SILENT      writer 1 may stop for ever over a claim, and is suspect then
 * When nothing can move, no writer may sleep, and a reader only where nothing is: else the
 * end state is invalid, or the assertion of init fails.
 * M_...: one mutation, which must give a counterexample.
 */
#ifndef C
#define C 1
#endif
#ifndef RA
#define RA 1
#endif
#ifndef RB
#define RB 1
#endif
#ifndef MORE
#define MORE 0
#endif
#ifndef NR
#define NR 1
#endif
#ifdef EVICT
#define EVICTED 1
#else
#define EVICTED 0
#endif
#ifndef NREC
#define NREC 0
#endif
#ifndef START
#define START 0
#endif
#define P (START+RA+RB+3)       /* positions */
#ifdef JOIN
#define NE (NR+1)               /* reader entries */
#else
#define NE NR
#endif
#define RD1 3                   /* participants: writers 1 and 2, readers 3 and 4, recoverers 5 and 6 */
#define RD2 4
#define RC1 5

#define NONE  0                 /* state of a position: not claimed, final, or BUSY + owner */
#define READY 1
#define TOMB  2
#define PAD   3
#define HOLE  4
#define BUSY(o) (8+(o))
#define OWN(s)  ((s)-8)
#define ISBUSY(s) ((s) >= 8)
#define FINAL(s) ((s) != NONE && (s) < 8)

byte st[P];
byte rhead, rjoins;             /* room: one word */
/* reader entries, then the waiter entry, which two writers use in turn */
#define FREE    0
#define JOINING 1
#define ACTIVE  2
#define RETIRED 3
#define WHO(s,o) ((o)*4+(s))
#define HST(x) ((x)&3)
#define HOWN(x) ((x)/4)
#define WE NE
byte who[NE+1];                 /* one word: state, owner */
byte park[NE+1]; bit bell[NE+1]; /* bell: rung since K1 */
byte link[7];
byte cur[NE+1];                 /* of a reader: first position not passed; of the waiter: the cursor it needs */
byte alert; bit waiters;

bit dead[7]; bit evic[7]; bit sus[7]; bit swept[7];
byte fin;
bit rsleep[2]; byte rat[2];     /* ghosts */

#define OUT(o) (dead[o] || evic[o])
#define CAS(v,o,n,ok) d_step { if :: (v) == (o) -> v = n; ok = 1 :: else -> ok = 0 fi }
/* A park word's tag is new for each sleep, over all owners of the entry. So a waker's CAS
   park p -> 0 succeeds only if nobody stored to park since the waker loaded it: here park is
   1, or 3 if timed, and link[w] names the entry whose word waker w holds. */
#define SETPARK(e,v) d_step { park[e] = v; \
	link[1] = (link[1] == e+1 -> 0 : link[1]); link[2] = (link[2] == e+1 -> 0 : link[2]); \
	link[3] = (link[3] == e+1 -> 0 : link[3]); link[4] = (link[4] == e+1 -> 0 : link[4]) }
#define GETPARK(e) d_step { p = park[e]; link[id] = e+1 }
#ifdef M_TAG
#define CASPARK(e) d_step { if :: park[e] == p -> park[e] = 0 :: else fi; link[id] = 0 }
#else
#define CASPARK(e) d_step { if :: link[id] == e+1 -> park[e] = 0 :: else fi; link[id] = 0 }
#endif
/* may a sleeper with tag p go on over state s? timed ones know that it is BUSY */
#ifdef M_RINGREADY
#define GOES(p,s) ((s) == READY)
#elif defined(M_UNTIMED)
#define GOES(p,s) FINAL(s)
#else
#define GOES(p,s) (FINAL(s) || ISBUSY(s) && (p) == 1)
#endif

inline ring(e)
{
#ifdef M_CASFIRST
	CASPARK(e);
	bell[e] = 1
#elif defined(M_PARKSTORE)
	bell[e] = 1;
	SETPARK(e,0)
#else
	bell[e] = 1;                                                  /* K5 */
	CASPARK(e)                                                    /* K6 */
#endif
}
/* after W10, a seal, a PAD, and before a writer sleeps */
inline wake_readers()
{
	d_step { a = alert; i = 0; if :: i < NE && !(a & 1) -> i++ :: else fi };
	do
	:: i < NE ->
		GETPARK(i);
		if
		:: p -> q = cur[i];
			if :: d_step { GOES(p,st[q]) -> skip }; ring(i) :: d_step { !GOES(p,st[q]) -> skip } fi
		:: else
		fi;
		d_step { p = 0; q = 0; link[id] = 0; i++; if :: i < NE && !(a & (1<<i)) -> i++ :: else fi }
	:: else -> break
	od;
	skip;
	d_step { i = 0; a = 0 }
}
/* R6, after the cursor went from f to c: ring the writer that needs what was crossed */
inline crossed(f,c,more)
{
	if
	:: waiters -> q = cur[WE] + more;
		GETPARK(WE);
		if :: p && f < q && c >= q -> ring(WE) :: else fi;
		d_step { p = 0; q = 0; link[id] = 0 }
	:: else
	fi
}
inline ring_waiters()
{
	d_step { if :: HST(who[WE]) != FREE -> bell[WE] = 1 :: else fi }
}
#define HOLDS(i) (HST(who[i]) == ACTIVE && !OUT(HOWN(who[i])))

proctype Writer(byte id; byte recs)
{
	byte t, h, m, i, p, q, a; bit ok;
#ifdef PADW
	bit padw = (id == 1);
#endif
	{
	skip;
next:	if
	:: recs == 0 -> goto over
	:: else
	fi;
again:	atomic { /* W1 to W7: multilog.pml has its steps */
		d_step {
			t = 0; do :: t < P && st[t] != NONE -> t++ :: else -> break od;
			h = rhead; m = (HOLDS(0) -> cur[0] : 255);
			if :: NE > 1 && HOLDS(NE-1) && cur[NE-1] < m -> m = cur[NE-1] :: else fi;
			do
#ifdef SLACK
			:: t >= h + C && rhead < m && rhead < t ->
#else
			:: t >= rhead + C && rhead < m ->
#endif
				if :: ISBUSY(st[rhead]) -> st[rhead] = (dead[OWN(st[rhead])] -> TOMB : HOLE) :: else fi;
				rhead++
			:: else -> break
			od;
			ok = (t < rhead + C);
			if
#ifdef PADW
			:: ok && padw -> st[t] = PAD
#endif
			:: ok -> st[t] = BUSY(id)
			:: else
			fi;
			m = 0; h = 0
		}
	};
	if
	:: ok -> goto claimed
	:: else
	fi;
	d_step { who[WE] == FREE -> who[WE] = WHO(ACTIVE,id) };       /* J5; who finds no entry polls */
	SETPARK(WE,0);
	bell[WE] = 0;                                                 /* K1 */
	cur[WE] = t + 1 - C;
	SETPARK(WE,1);                                                /* K2w */
	waiters = 1;                                                  /* K2x */
#ifndef M_NOPARKWAKE
	wake_readers();                                               /* K2y */
#endif
#ifndef M_NOK3W
	m = 255;                                                      /* K3 */
	d_step { if :: HOLDS(0) -> m = cur[0] :: else fi };
#if NE > 1
	d_step { if :: HOLDS(1) && cur[1] < m -> m = cur[1] :: else fi };
#endif
	if
	:: m >= t + 1 - C -> goto awake
	:: else
	fi;
#endif
	(bell[WE]);                                                   /* asleep */
awake:	skip; SETPARK(WE,0);                                                /* K4w */
	waiters = 0;
	d_step { if :: who[WE] == WHO(ACTIVE,id) -> who[WE] = FREE :: else fi; m = 0; t = 0 }; /* L2 */
	goto again;
claimed: skip;
#ifdef PADW
	if
	:: padw -> padw = 0;
#ifndef M_NOPARKWAKE
		wake_readers();
#endif
		goto again
	:: else
	fi;
#endif
#ifdef SILENT
	if
	:: id == 1 -> d_step { sus[id] = 1; fin++ }; endst: (0)
	:: true
	fi;
#endif
#ifdef M_ALERTFIRST
	a = alert;
	CAS(st[t], BUSY(id), READY, ok);
	if :: a -> wake_readers() :: else fi;
#else
	CAS(st[t], BUSY(id), READY, ok);                              /* W10 */
	wake_readers();
#endif
	d_step { recs--; t = 0; ok = 0 };
	goto next
	} unless { dead[id] };
over:	skip; d_step { fin++; t = 0; h = 0; m = 0; i = 0; p = 0; q = 0; a = 0; ok = 0; recs = 0; link[id] = 0 }
}

proctype Reader(byte id; byte e; bit late)
{
	byte c, f, told, i, p, q, s, a; bit ok, timed;
	{
	skip;
	if
	:: late ->                                                    /* J */
		if
		:: d_step { who[0] == FREE -> e = 0; who[0] = WHO(JOINING,id) } /* J1 */
		:: d_step { NE > 1 && who[NE-1] == FREE -> e = NE-1; who[NE-1] = WHO(JOINING,id) }
		:: atomic { fin == 2 -> goto over }
		fi;
		SETPARK(e,0);
		alert = alert & ~(1<<e);
		cur[e] = 0;                                           /* J2 */
		CAS(who[e], WHO(JOINING,id), WHO(ACTIVE,id), ok);     /* J2a */
		if :: !ok -> goto over :: else fi;
join:		atomic { c = rhead; s = rjoins };
		cur[e] = c;                                           /* J2b */
		d_step { if :: rhead == c && rjoins == s -> rjoins++; ok = 1 :: else -> ok = 0 fi; told = c; s = 0 }; /* J3 */
		if :: !ok -> goto join :: else fi;
#ifndef M_NOJ4
		ring_waiters()                                        /* J4 */
#endif
	:: else -> c = START; told = START
	fi;
loop:	s = st[c];                                                    /* R1 */
#ifdef LEAVE
	if
	:: id == RD1 -> CAS(who[e], WHO(ACTIVE,id), FREE, ok);        /* L1 */
#ifndef M_NOL1RING
		ring_waiters();
#endif
		goto over
	:: true
	fi;
#endif
	if
	:: ISBUSY(s) && (dead[OWN(s)] || sus[OWN(s)]) ->              /* R2 */
		d_step { if :: st[c] == s -> st[c] = (dead[OWN(s)] -> TOMB : HOLE) :: else fi };
		wake_readers();
		goto loop
	:: FINAL(s) ->
		s = 0; c++;
#ifdef M_R6LATE
		a = waiters;
		d_step { f = cur[e]; cur[e] = c };
		if :: a -> crossed(f,c,MORE) :: else fi; a = 0;
#else
		d_step { f = cur[e]; cur[e] = c };                    /* R6: a swap */
		crossed(f,c,MORE);
#endif
		f = 0;
		goto loop
	:: else
	fi;
#ifndef M_NOIDLE
	if
	:: told != c -> crossed(told,c,0); told = c
	:: else
	fi;
#endif
	/* nothing to read: sleep */
	bell[e] = 0;                                                  /* K1 */
	timed = ISBUSY(st[c]);
	SETPARK(e,1+2*timed);                                         /* K2 */
	alert = alert | (1<<e);                                       /* K2a */
#ifndef M_NOK3R
	s = st[c];                                                    /* K3: the waker's own test */
	if
#ifdef M_K3FINAL
	:: FINAL(s) -> goto awake
#else
	:: GOES(1+2*timed,s) -> goto awake
#endif
	:: else -> s = 0
	fi;
#endif
	d_step { rsleep[id-RD1] = 1; rat[id-RD1] = c };
endsl:	(bell[e] || timed && ISBUSY(st[c]) && sus[OWN(st[c])]);
	d_step { rsleep[id-RD1] = 0; rat[id-RD1] = 0 };
awake:	skip; SETPARK(e,0);                                                 /* K4 */
	d_step { alert = alert & ~(1<<e); s = 0; timed = 0; ok = 0 };
	goto loop
	} unless { dead[id] };
over:	skip; d_step { rsleep[id-RD1] = 0; rat[id-RD1] = 0; c = 0; f = 0; told = 0; i = 0; p = 0; q = 0; s = 0; a = 0; ok = 0; timed = 0; link[id] = 0 }
}

#if NREC > 0
proctype Recover(byte me)
{
	byte i, o; bit ev;
	{
	skip;
endlk:	if
	:: d_step { dead[1] && !swept[1] -> o = 1 }
	:: d_step { dead[2] && !swept[2] -> o = 2 }
	:: d_step { dead[3] && !swept[3] -> o = 3 }
	:: d_step { dead[4] && !swept[4] -> o = 4 }
	:: d_step { evic[3] && !swept[3] -> o = 3; ev = 1 }
	fi;
	d_step {                                                      /* V1: all words; it has one claim at most */
		do
		:: i < P -> if :: st[i] == BUSY(o) -> st[i] = TOMB :: else fi; i++
		:: else -> break
		od; i = 0 };
	d_step {                                                      /* V3: all entries */
		do
#ifdef M_REUSEEV
		:: i <= NE -> if :: who[i] && HOWN(who[i]) == o -> who[i] = FREE :: else fi; i++
#else
		:: i <= NE -> if :: who[i] && HOWN(who[i]) == o -> who[i] = (ev -> WHO(RETIRED,o) : FREE) :: else fi; i++
#endif
		:: else -> break
		od; i = 0 };
#ifndef M_NORECRING
	do
#ifdef M_RECALERT
	:: i < NE -> if :: park[i] -> bell[i] = 1 :: else fi; i++
#else
	:: i < NE -> bell[i] = 1; i++                                   /* V4 */
#endif
	:: else -> break
	od;
	ring_waiters();
#endif
	i = 0;
	d_step { swept[o] = 1; o = 0; ev = 0 };                       /* V5 */
	goto endlk
	} unless { dead[me] };
	i = 0; o = 0; ev = 0
}
#endif

proctype Reaper(byte v)
{
	if
#ifdef EVICT
	:: d_step { v == RD1 -> evic[v] = 1 }
#endif
	:: d_step { v != RD1 || !EVICTED -> dead[v] = 1 }
	:: true
	fi;
	v = 0
}

init {
	byte i;
	atomic {
		who[0] = WHO(ACTIVE,RD1); cur[0] = START;
		do :: i < START -> st[i] = READY; i++ :: else -> i = 0; break od;
		run Writer(1, RA); run Writer(2, RB);
		run Reader(RD1, 0, 0);
#if NR == 2
		who[1] = WHO(ACTIVE,RD2); cur[1] = START;
		run Reader(RD2, 1, 0);
#endif
#ifdef JOIN
		run Reader(RD2, 0, 1);
#endif
#if NREC > 0
		run Recover(RC1);
#endif
#if NREC > 1
		run Recover(RC1+1);
#endif
#ifdef KILL
		run Reaper(KILL);
#endif
#ifdef KREC
		run Reaper(RC1);
#endif
#ifdef EVICT
		run Reaper(RD1)
#endif
	}
	(timeout);
	do
	:: i < 2 ->
		assert(!rsleep[i] || OUT(RD1+i) || !FINAL(st[rat[i]]) && !(ISBUSY(st[rat[i]]) && st[rat[i]+1] == READY));
		i++
	:: else -> break
	od
}
