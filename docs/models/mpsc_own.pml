/* mpsc_own.pml: who is at the device of a queue within one process.
 *
 * The queue itself, and the one across processes, is mpsc.pml. Here it is the set of what is
 * queued; what counts is own, offer and sleeping (local_control.go, local_wait.go): one at a
 * time is at the device, and nobody sleeps for ever over an op that nobody will carry out.
 * A statement that touches shared memory is one step. The store that gives own back (Drop) has
 * no barrier: it goes through a store buffer, which is emptied at any later time, and before
 * the next locked instruction of the same party.
 *
 * Configuration (-D)
 *   N=2    parties;  OPS=1  ops of each, one after another
 *   QUOTA  an executor hands on after each op, if somebody else's is queued
 * M_...: one mutation, which must give a counterexample.
 */
#ifndef N
#define N 2
#endif
#ifndef OPS
#define OPS 1
#endif
#define NOTHING 0               /* the tail: "empty" */
#define OWNED   1               /* somebody has control, or it is on offer */

bit tail = NOTHING;
bit own, offer;
bit store[N];                   /* own = 0 is in the party's store buffer */
bit queued[N], done[N], parked[N], token[N];
byte device;                    /* how many are at it */

inline drain(p)   { if :: store[p] -> own = 0; store[p] = 0 :: else fi }
inline seesown(p, v) { v = own && !store[p] }

/* enter: a look, then CAS of own from 0 to 1; r says if. */
inline enter(p, r) {
	atomic { seesown(p, r); r = !r };
	if
	:: r -> atomic { drain(p); if :: own == 0 -> own = 1 :: else -> r = 0 fi }
	:: else
	fi
}

/* take: TakeOffer; r says if control and own are taken. */
inline take(p, r) {
	do
	:: atomic { seesown(p, r); r = !r && offer };  /* Offered: two loads; the later one decides */
	   if
	   :: r -> enter(p, r);
	      if
	      :: r -> atomic { drain(p); if :: offer -> offer = 0 :: else -> r = 0 fi };
	         if
	         :: r -> break
	         :: else -> atomic { drain(p); own = 0 }
	         fi
	      :: else -> break
	      fi
	   :: else -> break
	   fi
	od
}

inline passon(p) {
	if
	:: offer -> k = 0;
	   do
	   :: k < N -> atomic { if :: parked[k] -> token[k] = 1 :: else fi }; k++
	   :: else -> break
	   od
	:: else
	fi
}

/* atdevice: one op is carried out; nobody else is there. */
inline atdevice() {
	atomic { device++; assert(device == 1) };
	device--
}

/* run: control and own are ours. It ends with neither. */
inline execute(p) {
	do
	:: k = 0;
	   do
	   :: k < N && !queued[k] -> k++
	   :: else -> break
	   od;
	   if
	   :: k < N ->                          /* Take, Execute, Complete */
	      queued[k] = 0;
	      atdevice();
	      atomic { drain(p); done[k] = 1 };
#ifndef M_NOWAKE
	      atomic { if :: parked[k] -> token[k] = 1 :: else fi };
#endif
#ifdef QUOTA
	      k = 0;
	      do
	      :: k < N && !(queued[k] && k != p) -> k++
	      :: else -> break
	      od;
	      if
	      :: k < N ->                       /* Offer */
	         atomic { drain(p); own = 0 };
	         atomic { offer = 1 };
	         passon(p);
	         break
	      :: else
	      fi
#endif
	   :: else ->                           /* Release */
#ifndef M_NOOWN
	      atomic { drain(p); own = 0 };
#endif
	      atomic { drain(p);
	         k = 0;
	         do
	         :: k < N && !queued[k] -> k++
	         :: else -> break
	         od;
	         r = (k == N);
	         if :: r -> tail = NOTHING :: else fi };
	      if
	      :: r -> break
	      :: else -> offer = 1;             /* offerUp */
	         take(p, r);
	         if
	         :: r
	         :: else ->
	            passon(p);
	            break
	         fi
	      fi
	   fi
	od;
	r = 0
}

proctype party(byte p) {
	byte n, k;
	bit r, nap;
	do
	:: n < OPS ->
	   n++;
	   /* ClaimIdle */
	   r = (tail == NOTHING);
	   if
	   :: r -> enter(p, r)
	   :: else
	   fi;
	   if
	   :: r ->                              /* alone */
	      atdevice();
	      atomic { drain(p); store[p] = 1 };        /* Drop: a store */
	      r = offer;                        /* which this look may pass */
	      if
	      :: r -> take(p, r);
	         if :: r -> execute(p) :: else fi
	      :: else
	      fi
	   :: else ->                           /* Submit: the swap */
	      atomic { drain(p); r = (tail == NOTHING); tail = OWNED; queued[p] = 1; done[p] = 0 };
	      if
	      :: r ->
#ifdef M_NOOWN
	         r = 1
#else
	         enter(p, r)
#endif
	         ;
	         if
	         :: r -> execute(p)
	         :: else -> atomic { drain(p); offer = 1 }
	         fi
	      :: else
	      fi;
	      do                                /* await */
	      :: done[p] -> break
	      :: else -> take(p, r);
	         if
	         :: r -> execute(p)
	         :: else ->
	            atomic { drain(p); parked[p] = 1 };     /* Announce, then ready */
	            atomic { seesown(p, r); r = !done[p] && !(offer && !r) };
	            if
	            :: r ->
	               nap = offer;
#ifdef M_NONAP
	               nap = 0;
#endif
	               if                       /* Sleep; a nap after which nothing is found is left out */
	               :: atomic { token[p] -> token[p] = 0 }
	               :: nap && offer && !own
	               fi
	            :: else
	            fi;
	            atomic { drain(p); parked[p] = 0; r = 0 }
	         fi
	      od
	   fi
	:: else -> break
	od
}

proctype buffer(byte p) {
end:
	do
	:: atomic { store[p] -> drain(p) }
	od
}

init {
	byte i;
	atomic {
		do
		:: i < N -> run party(i); run buffer(i); i++
		:: else -> break
		od
	}
}
