/* fanout.pml: the lane protocol of a topic (one publisher, many subscribers).
 *
 * Every d_step below is ONE access to shared memory plus private arithmetic,
 * and carries the step number that fanout.md gives it. Spin interleaves
 * sequentially consistently; with -DTSO the publisher's stores pass through a
 * FIFO store buffer, and FENCE says where it must be empty before the next step.
 *
 * Configuration (-D): one of the sets in fanout.md, "What was checked".
 *   REL_A REL_B   reliable subscriber in slot 0 / slot 1
 *   LAT_A LAT_B   latest subscriber   in slot 0 / slot 1
 *   REUSE         subscriber B claims slot 0 after A left it or A's death was recovered
 *   BATCH         the publisher may send two messages as one batch (CH >= 2)
 *   LAZY=n        a reliable cursor is advanced every n positions
 *   EAGER         the publisher looks at the hold words before every send, not only when
 *                 it has no free descriptor: payloads are reused after fewer messages
 *   KILLPUB       publisher 0 may vanish at any step;  RESTART  publisher 1 may take over
 *   KILLPUB2      publisher 1 may vanish as well, publisher 5 takes over
 *   KILLA         subscriber A may vanish at any step
 *   EVICT         with KILLA: A is declared gone but goes on executing (the zombie),
 *                 and its slot is used again
 *   RECS2         two recoverers of A's slot; KILLREC: one recoverer may vanish at any step
 *   FENCE_ON      the publisher may fence a reliable subscriber that blocks it,
 *                 which is alive and goes on executing
 *   RINGLAST      the alternative to LEAVING: claims go straight to FREE, and whoever freed one
 *                 or recovers its owner's node rings all lanes that are visible then
 *   PREJOIN       the lane becomes visible while subscribers claim, leave, die
 *   INL           latest subscribers copy an inline payload in place of a pin
 *   TSO           store buffer at the publisher
 * Mutations (-DM_...): each removes or swaps one edge and must yield a counterexample.
 *
 * What is checked
 *   payload   the publisher never writes a descriptor that a subscriber is entitled to
 *             read (ghost use[d]); a subscriber sees exactly the payload of its position
 *   reliable  positions start..end, each exactly once, in order, by identity
 *   latest    got + lost == end - start; a position counted as lost was published
 *   unsent    nothing is received that was not published (n < published)
 *   restart   the rebuilt head equals the number of published messages
 *   pool      a look at the hold words always frees enough (the arithmetic of N)
 *   leak      when the publisher ends, linked + free + retired is the whole pool; when all
 *             is quiet, no cursor counts whose claim is gone (END asserts it)
 *   pre-join  who claimed before the lane was visible gets its first message
 *   wake-up   nobody spins: a waiter sleeps on its doorbell, so a lost wake-up is
 *             an invalid end state (deadlock), which Spin reports
 *   close     a subscriber ends only with every published message accounted for
 */
#ifndef D
#define D 2              /* depth */
#endif
#ifndef N
#define N 4              /* descriptors = D + publisher's loans + holds (+ spare) */
#endif
#ifndef M
#define M 4              /* messages */
#endif
#ifndef CH
#define CH 1             /* chunk: how far limit may run ahead of head */
#endif
#ifndef LAZY
#define LAZY 1           /* positions between two stores of a reliable cursor */
#endif
#if (defined(REL_B) || defined(LAT_B)) && !defined(REUSE)
#define S 2              /* subscriber slots */
#else
#define S 1
#endif
#define NONE 255
#define ALL ((1<<N)-1)

#ifdef REUSE
#define REUSEB 1
#else
#define REUSEB 0
#endif
#ifdef RESTART
#define NORESTART 0
#else
#define NORESTART 1
#endif
#ifdef EVICT
#define GONE (evict[me])
#define AFTER_A (evict[2] || over[2])
#else
#define GONE 0
#define AFTER_A (clgen[s] == 1 || dead[2])
#endif

#ifdef REL_A
#define MODE(x) ((x) == 2 -> ACTIVE : MODEB)
#else
#define MODE(x) ((x) == 2 -> LATEST : MODEB)
#endif
#ifdef REL_B
#define MODEB ACTIVE
#else
#define MODEB LATEST
#endif

#ifdef RINGLAST
#define M_NOLEAVING
#endif

#define E(p)     ((p) % D)
#define READY(p) (2*((p)+1))
#define BUSY(p)  (2*((p)+1)+1)
#define POS(s)   ((s)/2 - 1)
#define BIT(i)   (1 << (i))

/* who may vanish: at any step of its own */
#ifdef KILLPUB
#define MORTAL_PUB unless { dead[me] }
#else
#define MORTAL_PUB
#endif
#if defined(KILLA) && !defined(EVICT)
#define MORTAL_SUB unless { dead[me] }
#else
#define MORTAL_SUB
#endif
#ifdef KILLREC
#define MORTAL_REC unless { dead[me] }
#else
#define MORTAL_REC
#endif

/* ---- shared words (owner: who may write) ------------------------------- */
byte stamp[D];                  /* publisher */
byte edesc[D];                  /* publisher */
#ifdef INL
byte inla[D], inlb[D];          /* publisher: two words of inline payload */
#endif
byte pay[N];                    /* publisher while unlinked and unheld */
byte limit;                     /* publisher */

#define OPENING 1        /* a new lane is born OPENING, owned by its creator */
#define OPEN 2
#define CLOSED 3
#define PDEAD 4
byte pst = OPENING, pown;       /* one word: state, node, generation */
bit pubpark, pubbell;

#define FREE 0
#define CLAIMED 1
#define LEAVING 2
byte clst[S], clown[S], clgen[S];       /* claim word of slot i */
#define OUT 0
#define ACTIVE 1
#define FENCED 2
#define LATEST 3
byte cst[S], cpos[S], cgen[S];          /* cursor word of slot i (one atomic word) */
byte hg[S], hd[S];                      /* the hold word of slot i (K = 1): generation, descriptor+1 */
#ifdef FENCE_ON
byte fgen[S]; byte fdsc[S];             /* fence word of slot i: publisher, tagged with generation */
#endif
byte waiters;
#ifdef EVICT                            /* a doorbell is a counter: each of the slot's two users sees each ring */
bit bell[2];
#define RING0 d_step { bell[0] = 1; bell[1] = 1 }
#define MYBELL bell[me-2]
#else
bit bell[S];
#define RING0 bell[0] = 1
#define MYBELL bell[s]
#endif
#ifdef PREJOIN
bit vis;                                /* the lane's bit in topic.lanes */
byte slots;                             /* topic.slots: bit i, slot i was ever used; never cleared */
#endif

/* ---- ghosts ------------------------------------------------------------- */
bit dead[6];                    /* the kernel's evidence: 0,1 pub  2 A  3 B  4,5 recoverers (5: third pub) */
bit over[6];                    /* process ended on its own */
#ifdef EVICT
bit evict[6];                   /* declared gone, alive */
#endif
byte use[N];                    /* bit i: process i is entitled to read descriptor */
byte published;

/* ---- store buffer ------------------------------------------------------- */
#ifdef TSO
chan sb = [8] of { byte, byte };
#define ST_STAMP(e,v) sb!(e),(v)
#define ST_EDESC(e,v) sb!(D+(e)),(v)
#define ST_PAY(d,v)   sb!(2*D+1+(d)),(v)
#ifdef M_NF_LIMIT
#define ST_LIMIT(v)   sb!(2*D),(v)
#else
#define ST_LIMIT(v)   FENCE; limit = v
#endif
#define ST_INL(e,v)   sb!(2*D+N+1+(e)),(v); sb!(3*D+N+1+(e)),(v)
#define FENCE (empty(sb))
active proctype Drain()
{   byte a, v;
end: do
    :: d_step { sb?a,v ->
         if
         :: a < D -> stamp[a] = v
         :: a >= D && a < 2*D -> edesc[a-D] = v
         :: a == 2*D -> limit = v
         :: a > 2*D && a <= 2*D+N -> assert(use[a-2*D-1] == 0); pay[a-2*D-1] = v
#ifdef INL
         :: a > 2*D+N && a <= 3*D+N -> inla[a-2*D-N-1] = v
         :: a > 3*D+N -> inlb[a-3*D-N-1] = v
#endif
         fi; a = 0; v = 0 }
    od
}
#else
#define ST_STAMP(e,v) stamp[e] = v
#define ST_EDESC(e,v) edesc[e] = v
#define ST_LIMIT(v)   limit = v
#define ST_PAY(d,v)   pay[d] = v
#define ST_INL(e,v)   inla[e] = v; inlb[e] = v
#define FENCE (true)
#endif

inline ring_taken()
{   if :: wv & 1 -> RING0 :: else fi;
#if S > 1
    if :: wv & 2 -> bell[1] = 1 :: else fi;
#endif
    wv = 0
}
/* ring every slot, whether its waiters bit is set or not: used after a death,
   because the dead may have taken the bits without ringing */
inline ring_all()
{
#ifdef M_RINGWAITERS
    d_step { wv = waiters; waiters = 0 };
    ring_taken()
#else
    RING0
#if S > 1
    ; bell[1] = 1
#endif
#endif
}

/* ---- publisher ---------------------------------------------------------- */

/* H1 H2: which descriptors does slot i pin? Cursor first, then the hold word. */
inline count_hold()
{   d_step { if
#ifdef M_HOLDNOGEN
         :: cs != OUT && hd[i] -> pin = pin | BIT(hd[i]-1)
#else
         :: cs != OUT && hd[i] && hg[i] == cg -> pin = pin | BIT(hd[i]-1)
#endif
         :: else
         fi }
}
inline load_cursor()    /* the fence word is the publisher's own: no access of its own */
{   d_step { cs = cst[i]; cg = cgen[i];
#ifdef FENCE_ON
         if :: cs == FENCED && fgen[i] == cg && fdsc[i] != NONE -> pin = pin | BIT(fdsc[i]) :: else fi
#endif
         }
}
/* H3: a cursor whose claim is gone does not count and is put OUT */
inline heal()
{
#if defined(PREJOIN) && !defined(M_NOHEAL)
    if
    :: cs != OUT ->
       if
       :: !(clst[i] == CLAIMED && clgen[i] == cg) ->
          d_step { if :: cst[i] == cs && cgen[i] == cg -> cst[i] = OUT :: else fi; cs = OUT; healed = 1 }
       :: else
       fi
    :: else
    fi
#else
    skip
#endif
}
inline scan()
{   d_step { pin = 0; i = 0 };
    do
    :: i == S -> break
    :: i < S ->
#ifdef M_FENCEORDER
       d_step { h = hd[i]; T = hg[i] };
       load_cursor();
       d_step { if :: cs != OUT && h && T == cg -> pin = pin | BIT(h-1) :: else fi; h = 0; T = 0 };
#else
       load_cursor();                                   /* H1 */
#ifdef PREJOIN
       heal();                                          /* H3 */
#endif
       count_hold();                                    /* H2 */
#endif
       d_step { i++; cs = 0; cg = 0 }
    od;
    skip;
    d_step { fre = fre | (ret & ~pin); ret = ret & pin; pin = 0; i = 0; healed = 0 }
}

proctype Pub(byte me)
{   byte p, k, j, old, i, T, low, allowed, wv, h, cs, cg, pin;
    byte fre, ret;                      /* private: free set, retired set */
    byte led[D];                        /* private shadow of the entries: descriptor+1, 0 none */
    byte bd[CH];                        /* descriptors of the batch */
    bit parked, healed;
    {
    skip;
    /* O1 take the lane: needs OPEN/OPENING/DEAD/CLOSED with an owner that is proven dead */
end0: atomic { FENCE && ((me == 0 && pown == 0) || (me != 0 && pown != me && dead[pown])) ->
         pst = OPENING; pown = me }
    if
    :: me == 0 -> d_step { fre = ALL }                  /* a fresh lane: nobody ever held anything */
    :: else ->
    /* O2 rebuild from limit and stamps: only the publisher writes them, so they are still */
    d_step {
#ifdef M_HEADMAX
         i = 0; h = 0;
         do
         :: i < D -> if :: stamp[i] && stamp[i] % 2 == 0 && POS(stamp[i]) + 1 > h -> h = POS(stamp[i]) + 1 :: else fi; i++
         :: else -> break
         od;
#else
         h = (limit > CH -> limit - CH : 0);
         do :: stamp[E(h)] == READY(h) -> h++ :: else -> break od;
#endif
         i = 0; ret = ALL;
         do
         :: i < D ->
            if
            :: stamp[i] && (stamp[i] % 2 == 0) && POS(stamp[i]) < h ->
                 led[i] = edesc[i]+1; assert(ret & BIT(edesc[i])); ret = ret & ~BIT(edesc[i])
            :: else
            fi; i++
         :: else -> break
         od;
         i = 0; p = h; allowed = p;                     /* no credit is inherited */
         assert(p == published); h = 0 }
#ifndef M_KEEPSTALE
    ; do                                                  /* O2b what a batch left beyond the gap is not published */
    :: i == D -> break
    :: i < D && stamp[i] && stamp[i] % 2 == 0 && POS(stamp[i]) >= p -> atomic { ST_STAMP(i, stamp[i]+1); i++ }
    :: i < D && !(stamp[i] && stamp[i] % 2 == 0 && POS(stamp[i]) >= p) -> i++
    od; i = 0
#endif
    fi;
#ifdef PREJOIN
#ifndef M_SCANTHENVIS
    vis = 1;                                            /* A1 */
#endif
    do                                                  /* A2 */
    :: i == S -> break
    :: i < S ->
again_pj: skip;
       /* the cursor first, then the claim, then CAS from that cursor: so a newer owner's cursor is never hit */
#ifndef M_PJCLAIMFIRST
       d_step { cs = cst[i]; T = cgen[i]; low = cpos[i] };
#endif
       if
#ifdef M_PJNOMASK
       :: d_step { clst[i] == CLAIMED -> cg = clgen[i]; h = clown[i] };
#else
       :: d_step { (slots & BIT(i)) && clst[i] == CLAIMED -> cg = clgen[i]; h = clown[i] };
#endif
#ifdef M_PJCLAIMFIRST
          d_step { cs = cst[i]; T = cgen[i]; low = cpos[i] };
#endif
          if
          :: T != cg ->
             d_step { if
                :: cst[i] == cs && cgen[i] == T && cpos[i] == low ->
                     cst[i] = MODE(h); cgen[i] = cg; cpos[i] = p; T = cg
                :: else
                fi; cs = 0; low = 0 };
             if :: T != cg -> d_step { T = 0; h = 0; cg = 0 }; goto again_pj :: else fi
          :: else
          fi
       :: else
       fi;
       d_step { i++; cs = 0; cg = 0; T = 0; low = 0; h = 0 }
    od; i = 0;
#ifdef M_SCANTHENVIS
    vis = 1;
#endif
#endif
    atomic { FENCE; pst = OPEN };                       /* O3 */
#ifdef PREJOIN
    ring_all();
#else
    if :: me != 0 -> ring_all() :: else fi;             /* O4 */
#endif

    do
    :: p >= M -> break
    :: else ->
       k = 1;
#ifdef BATCH
       if :: p + 2 <= M -> k = 2 :: true fi;
#endif
again:
       /* P1 descriptors: the free stack first, else look at what the retired ones are held by */
#ifdef EAGER
       if
       :: ret -> scan()
       :: else
       fi;
#else
       if
       :: fre == 0 || (k == 2 && (fre & (fre-1)) == 0) -> scan()
       :: else
       fi;
#endif
       assert(fre && (k == 1 || (fre & (fre-1))));      /* by the arithmetic of N */
       /* P3 credit: announce, then look (R1 before R2) */
       if
       :: p + k > allowed ->
          d_step { T = p + CH };
#ifndef M_SCANFIRST
          atomic { ST_LIMIT(T) };                       /* R1 */
#endif
          d_step { low = NONE; i = 0 };
          do                                            /* R2 */
          :: i == S -> break
#ifdef PREJOIN
          :: i < S && !(slots & BIT(i)) -> i++
          :: i < S && (slots & BIT(i)) -> d_step { if :: cst[i] == ACTIVE && cpos[i] < low -> low = cpos[i] :: else fi; i++ }
#else
          :: i < S -> d_step { if :: cst[i] == ACTIVE && cpos[i] < low -> low = cpos[i] :: else fi; i++ }
#endif
          od;
          skip;
#ifdef M_SCANFIRST
          atomic { ST_LIMIT(T) };
#endif
          d_step { allowed = T; if :: low != NONE && low + D < T -> allowed = low + D :: else fi; low = 0; T = 0; i = 0 };
          if
          :: p >= allowed ->
#ifdef PREJOIN
             /* H3 before blocking: is the blocker's claim still there? */
             do
             :: i == S -> break
             :: i < S ->
                d_step { cs = cst[i]; cg = cgen[i]; if :: cs == ACTIVE && cpos[i] + D <= p :: else -> cs = OUT fi };
                heal();
                d_step { if :: cs != OUT -> h++ :: else fi; i++; cs = 0; cg = 0 }
             od;
             i = 0; healed = 0;
             if :: h == 0 -> goto again :: else -> h = 0 fi;    /* nobody blocks any more: look again */
#endif
#ifdef FENCE_ON
             if
             :: cst[0] == ACTIVE && cpos[0] + D <= p ->  /* may suspect it, or may wait */
                d_step { i = cpos[0]; h = cgen[0] };
#ifndef M_NOFDESC
                d_step { fgen[0] = h; fdsc[0] = led[E(i)]-1 };                   /* F1 */
#endif
                d_step {                                                         /* F2 */
                     if :: cst[0] == ACTIVE && cpos[0] == i && cgen[0] == h -> cst[0] = FENCED :: else fi;
                     i = 0; h = 0 };
                goto again
             :: true
             fi;
#endif
             goto blocked
          :: p < allowed && p + k > allowed -> k = 1    /* room for one only */
          :: else
          fi
       :: else
       fi;
       goto go;
blocked:
       if
       :: !parked -> pubbell = 0; atomic { FENCE; pubpark = 1; parked = 1 }; goto again   /* K1 K2, look again */
       :: parked  -> (pubbell); parked = 0; goto again                                    /* K3 sleep */
       fi;
go:    if :: parked -> d_step { pubpark = 0; parked = 0 } :: else fi;
       d_step { j = 0; i = 0;
          do
          :: j == k -> break
          :: j < k && (fre & BIT(i)) -> bd[j] = i; fre = fre & ~BIT(i); j++
          :: else -> i++
          od; i = 0; j = 0; old = 0 };
       /* P2 fill: nobody may be entitled to read it */
       atomic { assert(use[bd[0]] == 0); ST_PAY(bd[0], p+1) };
#ifdef BATCH
       if :: k == 2 -> atomic { assert(use[bd[1]] == 0); ST_PAY(bd[1], p+2) } :: else fi;
#endif
       /* the entries, last to first; the first one opens all */
#ifdef BATCH
#ifdef M_FIRSTTOLAST
       j = 0;
#else
       j = k-1;
#endif
       do
       ::
#endif
          d_step { if :: led[E(p+j)] -> old = old | BIT(led[E(p+j)]-1) :: else fi; led[E(p+j)] = bd[j]+1 };
#ifdef M_SCANEARLY
          d_step { ret = ret | old; old = 0 }; scan();
#endif
#ifndef M_NOBUSY
          atomic { ST_STAMP(E(p+j), BUSY(p+j)) };       /* P4 a plain store: kills p-D */
#endif
          atomic { ST_EDESC(E(p+j), bd[j]) };           /* P6 */
#ifdef INL
          ST_INL(E(p+j), p+j+1);
#endif
#ifdef BATCH
#ifdef M_FIRSTTOLAST
          if
          :: j == k-1 -> break
          :: else -> atomic { ST_STAMP(E(p+j), READY(p+j)); j++ }
          fi
#else
          if
          :: j == 0 -> break
          :: else -> atomic { ST_STAMP(E(p+j), READY(p+j)); j-- }
          fi
#endif
       od;
       skip;
#endif
       /* P7 XCHG: the publication; what it replaced is retired only now */
#ifdef M_P7PLAIN
       atomic { ST_STAMP(E(p+j), READY(p+j));
#else
       atomic { FENCE; stamp[E(p+j)] = READY(p+j);
#endif
            published = p+k; p = p+k; ret = ret | old; old = 0; j = 0; bd[0] = 0;
#ifdef BATCH
            bd[1] = 0;
#endif
            k = 0 };
       if                                               /* P8 */
       :: waiters -> d_step { wv = waiters; waiters = 0 }; ring_taken()
       :: else
       fi
    od;
    skip; d_step {                                      /* leak: the pool is complete */
       i = 0; h = 0;
       do :: i < D -> if :: led[i] -> assert(!(h & BIT(led[i]-1))); h = h | BIT(led[i]-1) :: else fi; i++ :: else -> break od;
       assert(!(fre & ret) && !(h & (fre|ret)) && (h|fre|ret) == ALL); i = 0; h = 0 };
    /* C1 close, C2 ring everybody */
#ifdef M_RINGBEFORECLOSE
    ring_all(); FENCE; pst = CLOSED
#else
    atomic { FENCE; pst = CLOSED }; ring_all()
#endif
    } MORTAL_PUB;
    d_step { over[me] = 1; p = 0; k = 0; j = 0; old = 0; i = 0; T = 0; low = 0; allowed = 0; wv = 0; h = 0; cs = 0; cg = 0; pin = 0;
             fre = 0; ret = 0; parked = 0; healed = 0; bd[0] = 0;
#ifdef BATCH
             bd[1] = 0;
#endif
             do :: i < D -> led[i] = 0; i++ :: else -> break od; i = 0 }
}

/* ---- common subscriber parts -------------------------------------------- */
/* J0 claim a free slot: owner and generation in the same atomic step */
inline claim()
{   atomic { clst[s] == FREE && (!REUSEB || me == 2 || AFTER_A) ->
        clst[s] = CLAIMED; clown[s] = me; clgen[s]++; g = clgen[s] };
#ifdef EVICT
    d_step { hgo = hg[s]; hdo = hd[s] };                /* J0a the first value of the hold word */
#ifndef M_NOFIRSTCHECK
    if :: clst[s] == CLAIMED && clgen[s] == g :: else -> goto leave fi;     /* and then: is the slot still mine? */
#endif
#endif
#ifdef PREJOIN
    d_step { slots = slots | BIT(s) };                  /* J0b */
#endif
}

inline ringpub()        /* after giving anything back: look whether the publisher sleeps */
{   if
    :: pubpark -> d_step { if :: pubpark -> pubpark = 0; took = 1 :: else fi };
       if :: took -> d_step { pubbell = 1; took = 0 } :: else fi
    :: else
    fi
}

/* the hold word: CAS from its own last value; ok = 0: someone newer owns the slot */
inline hold(x)
{
#ifdef EVICT
    ok = 0;
    do
    :: d_step { if
#ifdef M_HOLDSTORE
         :: true -> hg[s] = g; hd[s] = (x)+1; ok = 1
#else
#ifdef M_HOLDNOGEN
         :: hd[s] == hdo -> hg[s] = g; hd[s] = (x)+1; hdo = (x)+1; ok = 1
#else
         :: hg[s] == hgo && hd[s] == hdo -> hg[s] = g; hd[s] = (x)+1; hgo = g; hdo = (x)+1; ok = 1
#endif
#endif
         :: else
         fi };
       if
       :: ok -> break
       :: else -> d_step { hgo = hg[s]; hdo = hd[s] };
          if :: hgo > g -> break :: else fi
       fi
    od
#else
    d_step { hg[s] = g; hd[s] = (x)+1; ok = 1 }
#endif
}

#ifdef PREJOIN
/* J0c wait for the lane. pre = 1: the claim was complete before the lane was visible */
inline find_lane()
{   if :: !vis -> pre = 1 :: else fi;
    do
    :: vis -> break
    :: !vis ->
       MYBELL = 0;
       if
       :: vis -> break
       :: !vis -> (MYBELL)
       :: true -> goto leave                            /* changed its mind */
       fi
    od
}
#endif

/* W1..W4: sleep until something is at n, or the lane ended. ended=1: nothing at n and never will be */
inline wait_at()
{
    ended = 0;
    do
    :: d_step { v = stamp[E(n)] };
       if :: v/2 >= n+1 && v != BUSY(n) -> break :: else fi;
       d_step { c = pst };
       if
       :: c == CLOSED || (c == PDEAD && NORESTART) ->   /* with RESTART a dead lane is waited for */
#ifndef M_NOCLOSECHECK
          d_step { v = stamp[E(n)] };                   /* the message may have come before the close */
          if :: v/2 >= n+1 && v != BUSY(n) -> break :: else fi;
#endif
          ended = 1; break
       :: GONE -> ended = 1; break
       :: else
       fi;
       flush();                                         /* W0 */
       MYBELL = 0;                                     /* W1 */
       d_step { waiters = waiters | BIT(s) };           /* W2 */
#ifndef M_NOPARKCHECK
       d_step { v = stamp[E(n)] };                      /* W3 */
       if :: v/2 >= n+1 && v != BUSY(n) -> break :: else fi;
       d_step { c = pst };
       if :: c == CLOSED || (c == PDEAD && NORESTART) -> goto rewait :: else fi;
#endif
       (MYBELL || GONE);                               /* W4 */
rewait: skip
    od;
    c = 0
}

/* L1 LEAVING first, L2 the cursor in every lane that is visible now, S6, L3 FREE last */
inline leave_slot()
{
#ifdef PREJOIN
#ifndef M_NOLEAVING
    d_step { if :: clst[s] == CLAIMED && clgen[s] == g -> clst[s] = LEAVING :: else fi };
#endif
    if
    :: vis ->
#endif
    d_step { if :: cgen[s] == g -> cst[s] = OUT :: else fi };       /* L2 */
#ifdef PREJOIN
    pubbell = 1                                         /* L2b */
    :: else
    fi;
#else
    ringpub();
#endif
    d_step { if :: clst[s] != FREE && clgen[s] == g -> clst[s] = FREE :: else fi }       /* L3 */
#ifdef RINGLAST
    ; if :: vis -> pubbell = 1 :: else fi
#endif
}

/* ---- reliable subscriber ------------------------------------------------- */
#if defined(REL_A) || defined(REL_B)
inline flush()          /* S5 at last: the cursor is the release; ok = 0: fenced */
{
#if LAZY > 1
#ifndef M_NOFLUSH
    if
    :: lc < n ->
       d_step { if :: cst[s]==ACTIVE && cpos[s]==lc && cgen[s]==g -> cpos[s] = n; ok = 1 :: else -> ok = 0 fi; lc = n };
       ringpub()
    :: else
    fi
#else
    skip
#endif
#else
    skip
#endif
}
inline pass()           /* S5: the cursor passes n, at once or lazily */
{
#if LAZY > 1
    if
    :: n + 1 - lc >= LAZY ->
       d_step { if :: cst[s]==ACTIVE && cpos[s]==lc && cgen[s]==g -> cpos[s] = n+1; ok = 1 :: else -> ok = 0 fi; lc = n+1 };
       ringpub()
    :: else
    fi
#else
#ifdef M_CURSTORE
    d_step { cst[s] = ACTIVE; cpos[s] = n+1; cgen[s] = g; ok = 1; lc = n+1 }
#else
    d_step { if :: cst[s]==ACTIVE && cpos[s]==n && cgen[s]==g -> cpos[s] = n+1; ok = 1 :: else -> ok = 0 fi; lc = n+1 }
#endif
#endif
}
proctype Rel(byte me; byte s)
{   byte n, lc, g, v, c, L, d = NONE, kd = NONE, kn, kf = NONE;
#ifdef EVICT
    byte hgo, hdo;
#endif
    bit ended, ok, took, pre;
    {
    claim();
#ifdef PREJOIN
    find_lane();
rejoin: skip;
    d_step { v = cst[s]; c = cpos[s]; L = cgen[s] };
    if
    :: L == g -> d_step { n = c; lc = c; v = 0; c = 0; L = 0 }; goto joined
    :: else
    fi;
    kf = L; kn = c;                                     /* the value that J2 expects */
#endif
join: skip;
    atomic { L = limit };                               /* J1 */
    if                                                  /* as much history as is safe, or none */
    :: d_step { n = (L > D -> L - D : 0) }
    :: d_step { n = (L > CH -> L - CH : 0) }
    fi;
join2: skip;
#ifdef FENCE_ON
    atomic { if :: n < kn -> n = kn :: else fi };       /* a rejoiner never goes back */
#endif
#ifdef PREJOIN
    d_step { if                                         /* J2 CAS from the value seen */
       :: cst[s] == v && cpos[s] == kn && cgen[s] == kf -> cst[s] = ACTIVE; cpos[s] = n; cgen[s] = g; kn = n; kf = g; v = ACTIVE; ok = 1
       :: else -> ok = 0; n = 0; kn = 0; kf = NONE
       fi; L = 0; c = 0; lc = n };
    if :: !ok -> goto rejoin :: else -> ok = 0 fi;
#else
    d_step { if :: cgen[s] <= g -> cst[s] = ACTIVE; cpos[s] = n; cgen[s] = g :: else fi; L = 0; lc = n };   /* J2 a CAS */
#endif
#if defined(PREJOIN) && !defined(M_LATEJ3)
    if :: pre -> ok = 0; goto joined :: else fi;        /* a lane that came after the claim: its publisher heeds J2 */
#endif
#ifndef M_NOJ3
    d_step { L = limit };                               /* J3 */
    if :: L > n + D -> d_step { n = L - D; L = 0; ok = 1 }; goto join2 :: else -> L = 0 fi;
#ifndef M_NOJRING
    /* J4 the first, too old, cursor may have been seen and slept upon */
#ifdef PREJOIN
    ok = 0; ringpub();
#else
    if :: ok -> ok = 0; ringpub() :: else fi;
#endif
#endif
#endif
#ifdef PREJOIN
joined:
    assert(!pre || n == 0);
    v = 0; kn = 0; kf = NONE;
#endif
    do
    :: wait_at();
       if :: ended -> break :: else fi;
       if
       :: v != READY(n) ->                              /* only a fenced one can see a later stamp */
#ifndef FENCE_ON
          assert(GONE); break
#else
          d_step { kn = n; v = 0 }; goto fenced
#endif
       :: else
       fi;
       d_step { d = edesc[E(n)]; v = 0 };               /* S2 */
#if defined(FENCE_ON) || defined(EVICT)
       d_step {                                         /* S3 own cursor still ACTIVE? */
#ifdef M_NOCURCHECK
            ok = 1;
#else
            ok = (cst[s] == ACTIVE && cpos[s] == lc && cgen[s] == g);
#endif
            if :: ok && !GONE -> use[d] = use[d] | BIT(me) :: else -> kn = n; if :: !ok -> d = NONE :: else fi fi };
#ifdef FENCE_ON
       if :: !ok -> goto fenced :: else fi;
#else
       if :: !ok -> break :: else fi;
#endif
#else
       d_step { use[d] = use[d] | BIT(me) };
#endif
       assert(GONE || (pay[d] == n+1 && n < published)); /* the user reads */
       if
       :: kd == NONE && n < M-1 ->                      /* S4 keep this loan beyond the next receive */
#ifdef M_PINLATE
          pass();
          hold(d);
          d_step { ok = 1 };
#else
          hold(d);
          pass();
#endif
          d_step { kd = d; kf = n+1; d = NONE; n++ }
       :: true ->                                       /* S5 done with it */
          d_step { use[d] = use[d] & ~BIT(me); d = NONE };
          pass();
          n++
       fi;
#if LAZY > 1
       if
#ifndef M_NOPARKFLUSH
       :: pubpark -> flush(); ringpub()
#endif
       :: else
       fi;
#else
       ringpub();                                       /* S6 */
#endif
#ifdef FENCE_ON
       if :: !ok -> d_step { kn = n }; goto fenced :: else fi;
#endif
       ok = 0;
       if                                               /* S7 release the kept loan some time; its hold word stays */
       :: kd != NONE ->
          assert(GONE || pay[kd] == kf);
          d_step { use[kd] = use[kd] & ~BIT(me); kf = NONE; kd = NONE }
       :: true
       fi
    od;
    assert(GONE || n == published);
    goto leave;
fenced:
#ifdef FENCE_ON
    /* the receive call returns ErrFenced; every loan that the user holds is still good */
    if :: kd != NONE -> assert(pay[kd] == kf) :: else fi;
#ifndef M_NOREJOINRING
    ok = 1;                                             /* leaving FENCED frees a descriptor: J4 rings */
#endif
    goto join                                           /* it comes back; Lost = new position - kn */
#endif
leave:
    if
    :: kd != NONE ->
       assert(GONE || pay[kd] == kf);
       d_step { use[kd] = use[kd] & ~BIT(me); kf = NONE; kd = NONE }
    :: else
    fi;
    leave_slot()
    } MORTAL_SUB;
    d_step { over[me] = 1; n = 0; lc = 0; g = 0; v = 0; c = 0; L = 0; d = 0; kd = 0; kn = 0; kf = 0; ended = 0; ok = 0; took = 0; pre = 0;
#ifdef EVICT
             hgo = 0; hdo = 0;
#endif
             }
}
#endif
/* ---- latest subscriber ---------------------------------------------------- */
#if defined(LAT_A) || defined(LAT_B)
#if !defined(REL_A) && !defined(REL_B)
inline flush() { skip }
#endif
proctype Lat(byte me; byte s)
{   byte n, g, v, c, L, d = NONE, got, lost, from;
#ifdef INL
    byte a, b;
#endif
#ifdef EVICT
    byte hgo, hdo;
#endif
#if LAZY > 1
    byte lc = NONE;
#endif
    bit ended, ok, took, pre;
    {
    claim();
#ifdef PREJOIN
    find_lane();
rejoin: skip;
    d_step { v = cst[s]; c = cpos[s]; L = cgen[s] };
    if
    :: L == g -> d_step { n = c; from = c; v = 0; c = 0; L = 0 }
    :: else ->
       d_step { n = (limit > CH -> limit - CH : 0); from = n };
       d_step { if
          :: cst[s] == v && cpos[s] == c && cgen[s] == L -> cst[s] = LATEST; cpos[s] = 0; cgen[s] = g; ok = 1
          :: else
          fi; v = 0; c = 0; L = 0 };
       if :: !ok -> goto rejoin :: else -> ok = 0 fi
    fi;
    assert(!pre || from == 0);
#else
    d_step { if :: cgen[s] <= g -> cst[s] = LATEST; cpos[s] = 0; cgen[s] = g :: else fi };   /* a CAS */
    d_step { n = (limit > CH -> limit - CH : 0); from = n };    /* head is in [limit-CH, limit] */
#endif
    do
    :: wait_at();
       if :: ended -> break :: else fi;
       if
       :: v != READY(n) -> goto lapped
       :: else
       fi;
#ifdef INL
       d_step { a = inla[E(n)] };                       /* S2i */
       d_step { b = inlb[E(n)] };
#ifdef M_NORECHECK
       ok = 1;
#else
       d_step { ok = (stamp[E(n)] == READY(n)) };       /* S3i */
#endif
       if
       :: ok -> d_step { ok = 0; assert(a == n+1 && b == n+1 && n < published); a = 0; b = 0; v = 0; got++; n++ }
       :: else -> d_step { a = 0; b = 0 }
       fi;
       goto next;
#else
       d_step { d = edesc[E(n)] };                      /* S2 */
#ifdef M_RECHECKFIRST
       d_step { took = (stamp[E(n)] == READY(n)) };
       hold(d);
       d_step { ok = took; took = 0; if :: ok -> use[d] = use[d] | BIT(me) :: else fi };
#else
       hold(d);                                         /* S3 */
       if :: !ok -> break :: else fi;
#ifdef M_NORECHECK
       d_step { ok = 1; use[d] = use[d] | BIT(me) };
#else
       d_step { ok = (stamp[E(n)] == READY(n)); if :: ok && !GONE -> use[d] = use[d] | BIT(me) :: else fi };   /* S4 */
#endif
#endif
       if                                               /* the hold word stays after the release */
       :: ok ->
#ifdef M_EAGERCLEAR
          d_step { hd[s] = 0 };
#endif
          d_step { assert(GONE || (pay[d] == n+1 && n < published)); ok = 0; use[d] = use[d] & ~BIT(me); got++; n++; d = NONE; v = 0 }
       :: else -> d_step { d = NONE; v = 0 }
       fi;
       goto next;
#endif
lapped:
       if :: GONE -> break :: else fi;
       atomic {                                         /* Q1 v names q > n: the oldest left is q-D+1 */
            L = POS(v) - D + 1;
#ifdef M_LOSTBYONE
            L = POS(v) - D;
            if :: L <= n -> L = n + 1 :: else fi;
            lost = lost + (L - n) - 1;
#else
            lost = lost + (L - n);
#endif
            assert(L > n && L <= published);
            n = L; L = 0; v = 0 };
next:  skip
    od;
    assert(GONE || (n == published && got + lost == n - from));
leave:
    leave_slot()
    } MORTAL_SUB;
    d_step { over[me] = 1; n = 0; g = 0; v = 0; c = 0; L = 0; d = 0; got = 0; lost = 0; from = 0; ended = 0; ok = 0; took = 0; pre = 0;
#ifdef INL
             a = 0; b = 0;
#endif
#ifdef EVICT
             hgo = 0; hdo = 0;
#endif
             }
}
#endif

/* ---- recovery of a dead subscriber's slot: any number may do it ------------- */
proctype Rec(byte me)
{   byte g; byte s = 0;
    {
    skip;
#ifdef RINGLAST
end1: atomic { dead[2] };
    if
    :: d_step { clst[s] == CLAIMED && dead[clown[s]] -> g = clgen[s] };
#else
end1: atomic { clst[s] == LEAVING || (clst[s] == CLAIMED && (dead[clown[s]]
#ifdef EVICT
         || evict[clown[s]]
#endif
         )) -> g = clgen[s] };
#endif
#ifndef M_NOLEAVING
    d_step { if :: clst[s] == CLAIMED && clgen[s] == g -> clst[s] = LEAVING :: else fi };   /* V1 */
#endif
#ifdef M_FREEFIRST
    d_step { if :: clst[s] != FREE && clgen[s] == g -> clst[s] = FREE :: else fi };
#endif
#ifdef PREJOIN
    if
    :: vis ->
#endif
#ifdef M_OUTNOGEN
    d_step { cst[s] = OUT };
#else
    d_step { if :: cgen[s] == g -> cst[s] = OUT :: else fi };            /* V2 */
#endif
#ifdef M_V4SWAP
    d_step { if :: pubpark -> pubpark = 0; pubbell = 1 :: else fi }      /* V4 only if the word is set */
#else
#ifdef M_NORINGREC
    skip
#else
    pubbell = 1                                                          /* V4 */
#endif
#endif
#ifdef PREJOIN
    :: else
    fi
#endif
    ;
    d_step { if :: clst[s] != FREE && clgen[s] == g -> clst[s] = FREE :: else fi }          /* V5 */
#ifdef RINGLAST
    :: else
    fi;
    if :: vis -> pubbell = 1 :: else fi
#endif
    } MORTAL_REC;
    d_step { over[me] = 1; g = 0 }
}

/* ---- recovery of a dead publisher's lane ----------------------------------- */
proctype Reap(byte me)
{   byte wv;
    {
    skip;
end2: atomic { FENCE && dead[0] };
    d_step { if :: pown == 0 && (pst == OPEN || pst == OPENING) -> pst = PDEAD :: else fi };   /* D1 CAS */
    ring_all()                                          /* D2, whoever made D1 happen */
    } MORTAL_REC;
    d_step { over[me] = 1; wv = 0 }
}

/* ---- the adversary ---------------------------------------------------------- */
proctype Kill(byte who)
{   byte i;
    if
#ifdef EVICT
    :: d_step { !over[who] && !evict[who] -> evict[who] = 1;
         do :: i < N -> use[i] = use[i] & ~BIT(who); i++ :: else -> break od; i = 0 }
#else
    :: d_step { !over[who] && !dead[who] -> dead[who] = 1;
         do :: i < N -> use[i] = use[i] & ~BIT(who); i++ :: else -> break od; i = 0 }
    :: true
#endif
#ifdef EVICT
    :: over[who]
#endif
    fi
}

init {
    byte i;
    atomic {
#ifdef FENCE_ON
      do :: i < S -> fdsc[i] = NONE; i++ :: else -> break od; i = 0;
#endif
      run Pub(0);
#ifdef RESTART
      run Pub(1);
#endif
#ifdef REL_A
      run Rel(2, 0);
#endif
#ifdef LAT_A
      run Lat(2, 0);
#endif
#ifdef REL_B
      run Rel(3, (REUSEB -> 0 : 1));
#endif
#ifdef LAT_B
      run Lat(3, (REUSEB -> 0 : 1));
#endif
#ifdef KILLPUB
      run Kill(0);
#ifndef RESTART
      run Reap(4);
#ifdef KILLREC
      run Reap(5);
#endif
#endif
#endif
#ifdef KILLPUB2
      run Kill(1);
      run Pub(5);
#endif
#ifdef KILLA
      run Kill(2);
      run Rec(4);
#ifdef RECS2
      run Rec(5);
#endif
#endif
#ifdef KILLREC
      run Kill(4);
#endif
    }
    /* when all is quiet nothing may count that has no owner */
    (timeout);
    i = 0;
    do
    :: i < S -> assert(cst[i] == OUT
#ifdef PREJOIN
               || !(clst[i] == CLAIMED && clgen[i] == cgen[i])
#endif
               ); i++
    :: else -> break
    od
}
