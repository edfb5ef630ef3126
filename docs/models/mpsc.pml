/* mpsc.pml: the IO queue whose control right survives its holder. Notes: mpsc.md.
 *
 * tail = {seq, executor, node} in one word. A submitter stores {position, previous node} in
 * its node and then swings tail by CAS, so "who is before me" and "who has control" exist
 * from the same step: there is no link window. The executor walks back from tail to the last
 * op that was taken, takes in FIFO order, puts the temporary node in the place of the last
 * one, completes in any order, and releases by CAS to empty, or offers control after a quota.
 *
 * One atomic step is one access to a shared word. The Reaper kills up to DEATHS submitters
 * between any two of their steps; the Sweeper does what recovery does with evidence, and may
 * be cut short and begin again at any step.
 *
 * -DM_x: one mutation, which must fail. Wanted: no assertion, no invalid end state.
 */
#ifndef NS
#define NS 2                    /* submitters 1..NS, the last executor NS+1 */
#endif
#ifndef P
#define P 2                     /* nodes 1..P in the pool */
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef QUOTA
#define QUOTA 1                 /* ops before the executor offers control to others */
#endif
#ifndef PLAIN
#define PLAIN 0                 /* so many of the submitters have no device */
#endif
#ifndef CANCELS
#define CANCELS 0               /* ops that may be cancelled */
#endif
#ifndef REPEAT
#define REPEAT 0                /* ops of submitters 1..REPEAT are repeatable */
#endif
#define LAST (NS+1)
#define CAN(s) ((s) > PLAIN)
#define ORPH 14                 /* control, or a node, that a dead owner left */
#define AGAIN 13                /* control is free, and some op must be repeated first */
#define TEMP 15                 /* the temporary node: an index, no memory */

#define FREE   0
#define SUBMIT 2                /* may be in the queue: only the walk from tail tells */
#define ISSUED 3                /* taken; the device may have seen it */
#define DONE   4
#define INTR   5                /* its executor died over it */
#define CANC   6                /* cancelled; it leaves the queue when the executor passes it */

#define MKT(s,e,n) (((s)<<8)|((e)<<4)|(n))
#define TSEQ(t) ((t)>>8)
#define TEX(t)  (((t)>>4)&15)
#define TND(t)  ((t)&15)
#define OFFERED(t) ((TEX(t) == 0 && TND(t) != 0) || TEX(t) == ORPH || TEX(t) == AGAIN)

short tail;
byte head;                      /* seq of the last op taken */
short nst[P+1];                 /* {executor, owner, state} */
byte nprev[P+1];
bool wait[P+1];                 /* its submitter sleeps, or is about to */
bool able[P+1];                 /* and can take control */
bool bell[P+1];
#define MKN(st,o,e) ((st)|((o)<<4)|((e)<<8))
#define NST(x) ((x)&15)
#define NOWN(x) (((x)>>4)&15)
#define NEX(x) ((x)>>8)
bool dead[LAST+1]; bool swept[LAST+1]; bool ended[LAST+1]; byte deaths; byte fin; byte cancels;
/* ghosts */
byte nop[P+1];                  /* whose op lies in the node */
byte runs[NS+1];                /* how often the device got it */
bool gotcanc[NS+1];
byte indev;                     /* executor at the device */

#define CAS(v,o,n,ok) atomic { if :: (v) == (o) -> v = n; ok = 1 :: else -> ok = 0 fi }
#define RING(n) bell[n] = 1
#ifdef M_HEIRDEAD
#define WAITS(n) (NOWN(nst[n]) != me)
#else
#define WAITS(n) (NOWN(nst[n]) != me && NOWN(nst[n]) != ORPH)   /* who waits for control, and lives */
#endif

inline RingAble()
{
	n = 1;
	do
	:: n <= P -> if :: able[n] -> RING(n) :: else fi; n++
	:: else -> break
	od;
	n = 0
}

/* Takeover: control came from the dead. T0 passes what was ISSUED but not passed by head;
 * T1, T2 report it, or repeat it; G gives back what nobody will. */
inline Takeover()
{
	snap = 0;
#ifndef M_INTRFIRST
	atomic { t = tail; k = TSEQ(t) - head; n = TND(t); w = 0; last = 0;
	do                                           /* T0: the last ISSUED one of the walk */
	:: k > 0 -> assert(n >= 1 && n <= P); x = nst[n];
		if :: NST(x) == ISSUED && w == 0 -> w = k; last = n :: else fi;
		n = nprev[n]; k--
	:: else -> break
	od };
	if
	:: w > 0 -> head = head + w;
		if :: TND(t) == last -> CAS(tail, t, MKT(TSEQ(t),me,TEMP), ok) :: else fi
	:: else
	fi;
#endif
	n = 1;
	do                                           /* G0: what is cancelled or left before the walk */
	:: atomic { n <= P -> x = nst[n];
		if :: NST(x) == CANC || (NST(x) == SUBMIT && NOWN(x) == ORPH) -> snap = snap | (1<<n) :: else fi; n++ }
	:: else -> break
	od;
	atomic { t = tail; k = TSEQ(t) - head; n = TND(t);    /* G1 */
#ifndef M_FREEINQ
	do
	:: k > 0 -> snap = snap & ~(1<<n); n = nprev[n]; k--  /* G2: it is queued */
	:: else -> break
	od;
#endif
	n = 1 };
	do
	:: atomic { n <= P -> x = nst[n] };
		if
		:: snap & (1<<n) ->                  /* G3 */
			if :: NST(x) == CANC || (NST(x) == SUBMIT && NOWN(x) == ORPH) -> CAS(nst[n], x, FREE, ok) :: else fi
#ifndef M_NOSCAN
		:: !(snap & (1<<n)) && NST(x) == ISSUED && NEX(x) != me ->
			if
			:: nop[n] <= REPEAT && CAN(me) ->    /* T1: it is repeated, by me */
				CAS(nst[n], x, MKN(ISSUED,NOWN(x),me), ok);
				if :: ok -> redo = redo | (1<<n) :: else -> n-- fi
			:: nop[n] <= REPEAT && !CAN(me) -> left = 1
			:: nop[n] > REPEAT ->                /* T2 */
#ifdef M_REISSUE
				CAS(nst[n], x, MKN(DONE,NOWN(x),0), ok);
#else
				if
				:: NOWN(x) == ORPH -> CAS(nst[n], x, FREE, ok)
				:: else -> CAS(nst[n], x, MKN(INTR,NOWN(x),0), ok)
				fi;
#endif
				if :: ok -> if :: wait[n] -> RING(n) :: else fi :: else -> n-- fi
			fi
#endif
		:: else
		fi;
		n++
	:: else -> break
	od;
	atomic { snap = 0; w = 0; last = 0; n = 0; x = 0; k = 0; t = 0 }
}

/* Complete: X6 and X7 for every node of the set b, in any order. */
inline Complete()
{
	do
	:: b == 0 -> break
	:: b != 0 ->
		atomic { if
		:: (b & 2) -> n = 1
		:: (b & 4) -> n = 2
		:: (b & 8) -> n = 3
		fi; b = b & ~(1<<n) };
		atomic { assert(indev == 0 || dead[indev]); indev = me;
			runs[nop[n]]++; assert(runs[nop[n]] == 1 || nop[n] <= REPEAT) };  /* X6 device */
		atomic { indev = 0; x = nst[n] };
		do
		:: assert(NST(x) == ISSUED && NEX(x) == me);
			if
			:: NOWN(x) == ORPH -> CAS(nst[n], x, FREE, ok)
			:: else -> CAS(nst[n], x, MKN(DONE,NOWN(x),0), ok)    /* X7 */
			fi;
			if :: ok -> break :: else -> x = nst[n] fi
		od;
#ifdef M_NOWAKE
		skip
#else
		if :: wait[n] -> RING(n) :: else fi
#endif
	od;
	atomic { n = 0; x = 0; ok = 0 }
}

/* Executor: from a CAS that named me in tail until release or offer. */
inline Executor(scan)
{
	if
	:: scan -> Takeover();
		if
		:: redo -> atomic { b = redo; redo = 0 }; Complete()
		:: else
		fi
	:: else
	fi;
	do
	:: leave -> break
	:: !leave -> atomic { t = tail; assert(TEX(t) == me); k = TSEQ(t) - head };          /* X1 */
		if
		:: !CAN(me) ->                                                    /* settled, without a device */
			CAS(tail, t, MKT(TSEQ(t), (left -> AGAIN : 0), (k > 0 -> TND(t) : (left -> TEMP : 0))), ok);
			if :: ok -> leave = 1; RingAble() :: else fi
		:: CAN(me) && k == 0 -> CAS(tail, t, MKT(TSEQ(t),0,0), ok); leave = ok    /* X8 release */
		:: CAN(me) && k > 0 ->
 			if
			:: q >= QUOTA -> atomic { n = TND(t); w = 0 };                                         /* is there another who can? */
				do
				:: k > 0 -> if :: able[n] && WAITS(n) -> w = n :: else fi; n = nprev[n]; k--
				:: else -> break
				od;
				atomic { k = TSEQ(t) - head; n = 0 }
			:: else
			fi;
			if
			:: w > 0 -> CAS(tail, t, MKT(TSEQ(t),0,TND(t)), ok);      /* X9 offer control */
				if
				:: ok -> leave = 1;
#ifndef M_NOTAKEBACK
					if
					:: able[w] && WAITS(w) -> RING(w)
					:: else ->                                /* X10 it left: take it back */
						do
						:: t = tail;
							if
							:: OFFERED(t) -> CAS(tail, t, MKT(TSEQ(t),me,TND(t)), ok);
								if
								:: ok -> leave = 0; if :: TEX(t) != 0 -> Takeover(); b = redo; redo = 0; Complete() :: else fi; break
								:: else
								fi
							:: else -> break
							fi
						od
					fi
#else
					RING(w)
#endif
				:: else
				fi
			:: else ->
				/* X2 walk back: batch of all that is there; X3 for each, first to last */
				atomic { n = TND(t); i = k; j = 0;
				do
				:: k > 0 -> assert(n >= 1 && n <= P); stack[i-k] = n; n = nprev[n]; k--
				:: else -> break
				od; n = 0 };
				do
				:: j < i ->
					do
					:: atomic { n = stack[i-1-j]; assert(n >= 1 && n <= P); x = nst[n]; assert(NST(x) == SUBMIT || NST(x) == CANC) };
						if
						:: NST(x) == CANC -> c = c | (1<<n); break
						:: else -> CAS(nst[n], x, MKN(ISSUED,NOWN(x),me), ok);    /* X3 */
							if :: atomic { ok -> b = b | (1<<n); q++ }; break :: else fi
						fi
					od;
					j++
				:: else -> break
				od;
#ifdef M_ORDER
				CAS(tail, t, MKT(TSEQ(t),me,TEMP), ok);
				head = head + i;
#else
				head = head + i;                                          /* X4 */
#ifdef M_CANCEARLY
				atomic { n = 1; do :: n <= P -> if :: (c & (1<<n)) -> nst[n] = FREE :: else fi; n++ :: else -> break od };
#endif
				CAS(tail, t, MKT(TSEQ(t),me,TEMP), ok);                   /* X5 temporary node */
#endif
				n = 1;
				do
				:: c && n <= P -> if :: (c & (1<<n)) -> nst[n] = FREE :: else fi; n++ /* X5c */
				:: else -> break
				od;
				atomic { c = 0; k = 0; do :: k <= P -> stack[k] = 0; k++ :: else -> break od; k = 0; n = 0; x = 0; last = 0 };
				Complete()
			fi
		fi;
		atomic { n = 0; x = 0; k = 0; t = 0; ok = 0; w = 0; i = 0; j = 0; last = 0 }
	od;
	atomic { n = 0; x = 0; k = 0; q = 0; t = 0; ok = 0; w = 0; leave = 0; left = 0; redo = 0 }
}

proctype Submitter(byte me)
{
	short t, nt, x; byte n, k, q, w, mine, i, j, last, b, c, snap, redo; byte stack[P+1]; bit ok, sc, leave, ctl, left;
	{
	atomic { mine = 1;                                                    /* S1, a full pool waits */
	do
	:: nst[mine] == FREE -> nst[mine] = MKN(SUBMIT,me,0); break
	:: nst[mine] != FREE && mine < P -> mine++
	:: nst[mine] != FREE && mine == P -> (nst[1] == FREE || nst[P] == FREE); mine = 1
	od };
	nop[mine] = me;
	do
	:: t = tail;                                                          /* S3 */
#ifndef M_PREVAFTER
	   nprev[mine] = TND(t);                                              /* S4 */
#endif
	   ctl = CAN(me) && (TEX(t) == 0 || TEX(t) == ORPH || TEX(t) == AGAIN);
#ifdef M_NOEXEC
	   nt = MKT(TSEQ(t)+1, TEX(t), mine);
#else
	   nt = MKT(TSEQ(t)+1, (ctl -> me : TEX(t)), mine);
#endif
	   CAS(tail, t, nt, ok);                                              /* S5 submit, maybe gain control */
	   if :: ok -> break :: else fi
	od;
#ifdef M_PREVAFTER
	nprev[mine] = TND(t);
#endif
#ifdef M_NOEXEC
	if
	:: ctl -> do :: nt = tail; CAS(tail, nt, MKT(TSEQ(nt),me,TND(nt)), ok); if :: ok -> break :: else fi od
	:: else
	fi;
#endif
	atomic { sc = ctl && TEX(t) != 0; nt = 0; t = 0; ok = 0 };
	do
	:: ctl -> Executor(sc); ctl = 0; sc = 0
	:: !ctl ->
		x = nst[mine]; assert(NOWN(x) == me);
		if :: NST(x) == DONE || NST(x) == INTR -> break :: else fi;
		t = tail;
		if
		:: (CAN(me) && OFFERED(t)) || TEX(t) == ORPH ->
			CAS(tail, t, MKT(TSEQ(t),me,TND(t)), ok); ctl = ok; sc = ok && TEX(t) != 0;    /* S6 */
			t = 0; x = 0
		:: else ->
			if
			:: cancels < CANCELS && NST(x) == SUBMIT -> cancels++;
				CAS(nst[mine], x, MKN(CANC,me,0), ok);                /* L1 cancel */
				if :: ok -> gotcanc[me] = 1; goto gone :: else fi
			:: true
			fi;
			bell[mine] = 0;
#ifndef M_LOOKFIRST
			atomic { wait[mine] = 1; able[mine] = CAN(me) };              /* W2 */
#endif
			x = nst[mine]; t = tail;                                      /* W3 */
#ifdef M_LOOKFIRST
			atomic { wait[mine] = 1; able[mine] = CAN(me) };
#endif
			if
			:: NST(x) == DONE || NST(x) == INTR || (CAN(me) && OFFERED(t)) || TEX(t) == ORPH
			:: else ->
				if
				:: bell[mine]
				:: cancels < CANCELS -> cancels++;                    /* its context ends while it sleeps */
					x = nst[mine];
					if
					:: NST(x) == SUBMIT -> CAS(nst[mine], x, MKN(CANC,me,0), ok)
					:: else -> ok = 0
					fi;
					if
					:: ok -> gotcanc[me] = 1;
						atomic { wait[mine] = 0; able[mine] = 0 };    /* L2, then look at tail */
						goto gone
					:: else
					fi
				fi
			fi;
			atomic { wait[mine] = 0; able[mine] = 0; t = 0; x = 0; ok = 0 }
		fi
	od;
	if
	:: NST(x) == DONE -> assert(runs[me] >= 1 && (runs[me] == 1 || me <= REPEAT))
	:: else -> assert(deaths > 0 && me > REPEAT)
	fi;
	CAS(nst[mine], x, FREE, ok); assert(ok);                                      /* S7 free */
	goto end;
gone:
#ifndef M_LEAVEALONE
	t = tail;                                                                     /* L3 */
	if :: OFFERED(t) -> RingAble() :: else fi;
#endif
end:	skip
	} unless { dead[me] };
	atomic { fin++; ended[me] = 1 }
}

/* Sweeper: what recovery does for one that is dead by evidence. It may begin again at any step. */
proctype Sweeper()
{
	byte v, n; short x, t; bit ok;
	do
	:: v = 0;
		if
		:: atomic { dead[1] && !swept[1] -> v = 1 }
		:: atomic { dead[2] && !swept[2] -> v = 2 }
#if NS > 2
		:: atomic { dead[3] && !swept[3] -> v = 3 }
#endif
		:: fin == NS && (!dead[1] || swept[1]) && (!dead[2] || swept[2]) && (NS < 3 || !dead[NS] || swept[NS]) -> break
		fi;
		n = 1;
		do
		:: n <= P -> x = nst[n];                                              /* R1 */
			if
			:: NOWN(x) == v && (NST(x) == DONE || NST(x) == INTR) -> CAS(nst[n], x, FREE, ok); if :: ok -> n++ :: else fi
			:: NOWN(x) == v && NST(x) != DONE && NST(x) != INTR && NST(x) != FREE ->
				CAS(nst[n], x, MKN(NST(x),ORPH,NEX(x)), ok); if :: ok -> n++ :: else fi
			:: else -> n++
			fi
		:: n <= P -> break                                                    /* it dies, too */
		:: n > P -> break
		od;
		if
		:: n <= P -> n = 0
		:: else -> n = 0;
			do
			:: t = tail;                                                  /* R2 */
				if
				:: TEX(t) == v -> CAS(tail, t, MKT(TSEQ(t),ORPH,TND(t)), ok); if :: ok -> break :: else fi
				:: else -> break
				fi
			od;
			if
			:: true -> t = 0                                              /* it dies before it rings */
			:: true -> n = 1;
				do
#ifdef M_NORING
				:: n > 0 -> break
#else
				:: n <= P -> RING(n); n++                             /* R4 */
				:: else -> break
#endif
				od;
				atomic { swept[v] = 1; v = 0 }
			fi
		fi;
		atomic { n = 0; x = 0; t = 0; ok = 0 }
	od
}

/* The last executor comes when all that can execute have ended: it serves those that cannot,
 * then checks that nothing is left behind. */
proctype Last(byte me)
{
	short t, x; byte n, k, q, w, i, j, last, b, c, snap, redo; byte stack[P+1]; bit ok, leave, left;
	byte round;
	do
	:: round == 2 -> break
	:: else ->
		if
		:: round == 0 -> (fin >= NS - PLAIN && (OFFERED(tail) || fin == NS))
		:: else -> (fin == NS && (!dead[1] || swept[1]) && (!dead[2] || swept[2]) && (NS < 3 || !dead[NS] || swept[NS]))
		fi;
		t = tail;
		if
		:: TEX(t) == 0 || TEX(t) == ORPH || TEX(t) == AGAIN ->
			CAS(tail, t, MKT(TSEQ(t), me, (TND(t) == 0 -> TEMP : TND(t))), ok);
			if :: ok -> Executor(1); round++ :: else fi
		:: else -> assert(round == 0); (TEX(tail) == 0 || TEX(tail) == ORPH || TEX(tail) == AGAIN || fin == NS); t = 0
		fi
	od;
	assert(TND(tail) == 0 && TEX(tail) == 0 && TSEQ(tail) == head);
	n = 1;
	do :: n <= P -> assert(NST(nst[n]) == FREE); n++ :: else -> break od
}

proctype Reaper()
{
	byte v;
	do
	:: deaths < DEATHS -> atomic {
		v = 1; do :: v < NS && v < DEATHS -> v++ :: break od;   /* who it is does not matter */
		if :: !dead[v] && !ended[v] -> dead[v] = 1; deaths++ :: else fi; v = 0 }
	:: break
	od
}

init {
	atomic {
		byte i = 1;
		do :: i <= NS -> run Submitter(i); i++ :: else -> break od;
		run Sweeper();
		run Last(LAST);
		run Reaper()
	}
}
