/* cells.pml: the stream ring. cells.md says what each step is.
 *
 * One atomic step is one access to a shared word. The Reaper kills (or, with
 * EVICT, an operator evicts: the victim goes on as a zombie) up to DEATHS
 * participants between any two of their steps. Positions begin at N.
 *
 * W1 W2    writers, MSGS messages each, of one and of two cells (ONEW: W1 alone)
 * R1 R2    the readers of a shared group
 * B1       a broadcast reader in place of R2: BCAST holds the writer back, LAP is
 *          lapped; LATE joins at any time, else it is there before the writers
 * ECHO     writers repeat messages beside pub; who holds them back reads them there
 *
 *   spin -a cells.pml && cc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m1000000
 *
 * -DM_x: one mutation, which must fail. Wanted: no assertion, no invalid end state.
 */
#ifndef N
#define N 3
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef MSGS
#define MSGS 2
#endif
#define W1 1
#define W2 2
#define R1 3
#define R2 4
#define B1 5
#define RET 7                   /* in place of a writer: retired, nobody writes again */
#define MAXP (N + 3*MSGS + 1)

/* claim word of a group, for the message that begins in that cell */
#define CLAIMED 1
#define AGAIN   2
#define FIN     3
#define MK(p,s,o) (((p)<<5)|((s)<<3)|(o))
#define WPOS(w) ((w)>>5)
#define WST(w)  (((w)>>3)&3)
#define WOWN(w) ((w)&7)
#define IX(p)  ((p)%N)

short pub = (N<<3);             /* {position, writer} in one word */
#define POS(p) ((p)>>3)
#define WRI(p) ((p)&7)
byte low = N;                   /* nothing below it is sure to be there */
byte H[N];                      /* header: cells of the message that begins here */
byte Q[N];                      /* and its number */
byte D[N];                      /* payload: the message's position, in every cell */
short G[N];                     /* the group's claim words */
byte rclaim = N, rdone = N;
#ifdef ECHO
byte es, e1, e2;                /* the echo: stamp, and two words of payload: its writer and position */
byte who[MAXP];                 /* who published the message at that position, and the position */
byte last;                      /* who had the token last: it may have kept it */
#endif
byte cur = 0;                   /* hold cursor; 0: it does not count */

bool dead[8]; bool zombie[8]; byte deaths; byte wfin, rfin, bfin;
byte seen[MAXP]; byte fins[MAXP]; byte npub;
#define GONE(o) (dead[o] || zombie[o])

#define CAS(v,o,n,ok) atomic { if :: (v) == (o) -> v = n; ok = 1 :: else -> ok = 0 fi }

/* V: whoever meets a dead node ends what it had. Any number at once, cut short
 * anywhere, run again. It is called where one waits. */
inline Recover()
{
	x = pub;                                                              /* V1 */
	if
	:: WRI(x) != 0 && WRI(x) != RET && GONE(WRI(x)) ->
#ifdef M_EVICTTAKE
		CAS(pub, x, (POS(x)<<3), ok)
#else
		CAS(pub, x, (POS(x)<<3)|(zombie[WRI(x)] -> RET : 0), ok)      /* V2 */
#endif
	:: else
	fi;
	j = 0;
	do                                                                    /* V3 hand back */
	:: j < N -> x = G[j];
		if
#ifndef M_NOHANDBACK
		:: (WST(x) == CLAIMED || WST(x) == AGAIN) && WOWN(x) != 0 && GONE(WOWN(x)) ->
			CAS(G[j], x, MK(WPOS(x), AGAIN, 0), ok)
#endif
		:: else
		fi; j++
	:: else -> break
	od;
	if :: cur != 0 && GONE(B1) -> cur = 0 :: else fi;                     /* V4 */
	atomic { x = 0; j = 0; ok = 0 }
}

/* C7, C8: pass what is finished, whoever finished it */
inline Sweep()
{
	do
	:: d = rdone; x = G[IX(d)];
	   if
	   :: d < POS(pub) && WPOS(x) == d && WST(x) == FIN ->
		j = H[IX(d)];
		CAS(rdone, d, d + j, ok)
	   :: else -> break
	   fi
	od;
	atomic { d = 0; x = 0; j = 0; ok = 0 }
}

/* a dead hold reader does not count: its claim, which the scan loads, is gone */
#define LEAST(m) m = rdone; if :: cur != 0 && cur < m -> m = cur :: else fi

#define CLAIMDEAD(i) ((WST(G[i]) == CLAIMED || WST(G[i]) == AGAIN) && WOWN(G[i]) != 0 && GONE(WOWN(G[i])))
#ifdef M_NOHANDBACK
#define SOMEDEAD 0
#else
#define SOMEDEAD ((WRI(pub) != 0 && WRI(pub) != RET && GONE(WRI(pub))) || \
	CLAIMDEAD(0) || CLAIMDEAD(1) || CLAIMDEAD(N-1) || (cur != 0 && GONE(B1)))
#endif
#ifdef NOGROUP
#define NOREADER (GONE(B1) || bfin == 2)
#else
#define NOREADER (GONE(R1) && GONE(R2))
#endif

proctype Writer(byte me; byte msgs)
{
	short p, x; byte w, k, j, d, m, l, q, allowed; bit ok;
#ifdef ECHO
	bit kept;
#endif
	{
#ifndef LATE
	(bfin > 0 || cur != 0);
#endif
	do
	:: msgs == 0 -> break
	:: else -> k = 1 + (msgs & 1);
		do                                                            /* T1 */
		:: p = pub;
		   if
#ifdef ECHO
		   :: WRI(p) == 0 -> atomic {
				CAS(pub, p, (POS(p)<<3)|me, ok);              /* T2 */
				if :: ok -> kept = (last == me); last = me :: else fi
			};
			if
			:: ok ->
#ifndef M_NOECHOCLEAR
				if :: kept :: else -> es = 0 fi;              /* T2a */
#endif
				break
			:: else
			fi
#else
		   :: WRI(p) == 0 -> CAS(pub, p, (POS(p)<<3)|me, ok);         /* T2 */
			if :: ok -> break :: else fi
#endif
		   :: WRI(p) == RET -> goto out
#ifdef M_NOTAKEOVER
		   :: WRI(p) != 0 && WRI(p) != RET -> (pub != p)
#else
		   :: WRI(p) != 0 && WRI(p) != RET -> (pub != p || GONE(WRI(p))); Recover()
#endif
		   fi
		od;
		w = POS(p); p = 0;
		q = Q[IX(w-1)];                                               /* T3 the next number */
		l = low;                                                      /* T4 */
		allowed = 0;
		do
		:: w + k <= allowed -> break
		:: else ->
#ifdef M_NOROOM
			break;
#endif
			LEAST(m);                                             /* R1 */
			do                                                    /* R2 walk */
			:: l + N < w + k && l < m -> l = l + H[IX(l)]
			:: else -> break
			od;
#ifdef M_SCANFIRST
			low = l;
#else
#ifdef M_NOLOW
			skip;
#else
			low = l;                                              /* R3 */
#endif
			LEAST(m);                                             /* R4 */
#endif
			allowed = (m < l -> m : l) + N;
			if
			:: w + k <= allowed -> break
			:: else -> Sweep(); Recover();
				/* wait: room, something to do, or nobody who could make room */
				((w+k <= rdone+N && (cur == 0 || w+k <= cur+N)) || NOREADER || SOMEDEAD || zombie[me] ||
				 (rdone < w && WPOS(G[IX(rdone)]) == rdone && WST(G[IX(rdone)]) == FIN));
				if :: NOREADER || zombie[me] -> CAS(pub, ((w<<3)|me), (w<<3), ok); goto out :: else fi
			fi
		od;
#ifdef M_PUBFIRST
		atomic { pub = ((w+k)<<3); npub++ }
#endif
		j = 0;
		do                                                            /* P1 payload */
		:: j < k -> D[IX(w+j)] = w; j++
		:: else -> break
		od;
		H[IX(w)] = k; Q[IX(w)] = q + 1;                               /* P2 header */
		if :: k > 1 -> Q[IX(w+k-1)] = q + 1 :: else fi;
#ifdef ECHO
		if                                                            /* each as it likes */
		:: skip;
#ifndef M_ECHOLATE
			es = w;                                               /* P2a */
#endif
			e1 = me + w;                                          /* P2b */
			e2 = me + w;
#ifdef M_ECHOLATE
			es = w
#endif
		:: skip
		fi;
#endif
#ifndef M_PUBFIRST
		atomic {                                                      /* P3 publish, token back */
			CAS(pub, ((w<<3)|me), ((w+k)<<3), ok);
			if
			:: ok -> npub++;
#ifdef ECHO
				who[w] = me + w
#endif
			:: else -> assert(zombie[me]); goto out
			fi
		};
#endif
		atomic { msgs--; p=0;x=0;w=0;k=0;j=0;d=0;m=0;l=0;q=0;ok=0 }
	od;
out:	skip
	} unless { dead[me] };
	wfin++
}

proctype Shared(byte me)
{
	short x, y; byte r, d, j, k; bit ok, again;
	{
	skip;
next:	atomic { x = 0; y = 0; d = 0; j = 0; k = 0; ok = 0; again = 0 };
	if :: zombie[me] -> goto end :: else fi;
	r = rclaim;                                                           /* C1 */
	if
	:: r < POS(pub) ->                                                    /* C2 */
		x = G[IX(r)]; k = H[IX(r)];
		if
		:: WPOS(x) == r -> CAS(rclaim, r, r + k, ok); goto next       /* C4 help */
		:: WPOS(x) > r -> goto next                                   /* stale */
		:: else ->
			y = MK(r, CLAIMED, me);
			CAS(G[IX(r)], x, y, ok);                              /* C3 */
			if
			:: ok -> CAS(rclaim, r, r + k, ok); goto work         /* C4 */
			:: else -> goto next
			fi
		fi
	:: else
	fi;
	r = rdone;                                                            /* C5 what was handed back */
	do
	:: r < rclaim ->
		x = G[IX(r)];
		if
		:: WPOS(x) == r && WST(x) == AGAIN && WOWN(x) == 0 ->
			again = 1; y = MK(r, AGAIN, me);
			CAS(G[IX(r)], x, y, ok);                              /* C6 */
			if :: ok -> goto work :: else -> goto next fi
		:: else -> r++
		fi
	:: else -> break
	od;
	Recover();
	Sweep();
	atomic {
		r = 0;
		(rclaim < POS(pub) || (wfin == 2 && rdone == POS(pub)) || zombie[me] || SOMEDEAD ||
		 (rdone < POS(pub) && WPOS(G[IX(rdone)]) == rdone &&
		  (WST(G[IX(rdone)]) == FIN || (WST(G[IX(rdone)]) == AGAIN && WOWN(G[IX(rdone)]) == 0))));
		if
		:: wfin == 2 && rclaim == POS(pub) && rdone == POS(pub) -> goto end
		:: else -> goto next
		fi
	};
work:	k = H[IX(r)];
	j = 0;
	do                                                                    /* payload */
	:: j < k -> if :: D[IX(r+j)] != r -> d = 1 :: else fi; j++
	:: else -> break
	od;
	atomic {                                                              /* F1 finish */
		CAS(G[IX(r)], y, MK(r, FIN, 0), ok);
		if
		:: ok -> assert(d == 0); seen[r]++; assert(seen[r] == 1 || again); fins[r]++; assert(fins[r] == 1)
		:: else -> assert(zombie[me])
		fi
	};
#ifndef M_NOSWEEP
	Sweep();
#endif
	goto next;
end:	skip
	} unless { dead[me] };
	rfin++
}

proctype Broadcast(byte me)
{
	short p; byte c, k, j, s, want, got, lost, from; bit torn;
	{
	do                                                                    /* J */
	:: p = pub; c = POS(p);                                               /* J1 */
#ifdef LAP
	   want = Q[IX(c-1)];                                                 /* J2l the last number */
	   if :: POS(pub) == c -> break :: else fi
#else
	   cur = c;                                                           /* J2 */
#ifdef M_NOJOINCHECK
	   break
#else
	   if :: low <= c -> break :: else fi                                 /* J3 */
#endif
#endif
	od;
#ifdef LAP
	want++; from = want - 1;
#endif
	atomic { bfin = 1; p = 0 };
	do
	:: c < POS(pub) ->                                                    /* B1 */
		k = H[IX(c)]; s = Q[IX(c)]; j = 0; torn = 0;
#ifdef LAP
		do
		:: j < k && j < N -> if :: D[IX(c+j)] != c -> torn = 1 :: else fi; j++
		:: else -> break
		od;
		if
		:: low <= c ->                                                /* B3 it was there all the time */
			assert(!torn); lost = lost + (s - want); want = s + 1; c = c + k; got++
		:: else -> c = low                                            /* B4 lapped */
		fi;
#else
#ifdef ECHO
		if
		:: es == c -> from = e1; lost = e2;                           /* B1e */
#ifndef M_NOECHOLOOK
			if
			:: es == c -> assert(zombie[me] || (from == who[c] && lost == who[c]))
			:: else
			fi
#else
			assert(zombie[me] || (from == who[c] && lost == who[c]))
#endif
		:: else
		fi;
		atomic { from = 0; lost = 0 };
#endif
		do
		:: j < k -> assert(zombie[me] || D[IX(c+j)] == c); j++
		:: else -> break
		od;
		c = c + k; got++;
		if :: zombie[me] -> break :: else -> cur = c fi;              /* B2, a CAS that fails */
#endif
		atomic { k = 0; s = 0; j = 0; torn = 0 }
	:: else -> (c < POS(pub) || wfin == 2 || zombie[me]);
		if :: c >= POS(pub) || zombie[me] -> break :: else fi
	od;
#ifdef LAP
	lost = lost + (Q[IX(POS(pub)-1)] + 1 - want);                         /* B5 what is lost at the end */
	assert(zombie[me] || from + got + lost == npub);
#else
	if :: zombie[me] :: else -> cur = 0 fi
#endif
	} unless { dead[me] };
	bfin = 2
}

proctype Reaper()
{
	byte v;
	do
	:: deaths < DEATHS -> atomic {
		select (v : W1 .. B1);
		if
#ifdef EVICT
		:: !GONE(v) -> zombie[v] = 1; deaths++
#else
		:: !GONE(v) -> dead[v] = 1; deaths++
#endif
		:: else
		fi; v = 0 }
	:: break
	od
}

proctype Check()
{
	byte p = N, f;
	(wfin == 2 && rfin == 2);
	if
	:: !(GONE(R1) && GONE(R2)) -> /* a shared reader lived: all was done exactly once at the end */
		assert(rdone == POS(pub) && rclaim == rdone);
		do :: p < MAXP -> assert(fins[p] <= 1 && seen[p] == fins[p]); f = f + fins[p]; p++ :: else -> break od;
		assert(f == npub)
	:: else
	fi
}

init { atomic {
	Q[IX(N-1)] = 0;
	run Writer(W1, MSGS);
#ifdef ONEW
	wfin = 1; dead[W2] = 1;
#else
	run Writer(W2, MSGS);
#endif
#if defined(BCAST) || defined(LAP)
	dead[R2] = 1; rfin = 1;
#ifdef NOGROUP                  /* no shared reader: the group holds nobody back */
	dead[R1] = 1; rfin = 2; rdone = 200;
#else
	run Shared(R1);
#endif
	run Broadcast(B1);
#else
	dead[B1] = 1; bfin = 2;
	run Shared(R1); run Shared(R2);
#endif
	run Reaper(); run Check() } }
