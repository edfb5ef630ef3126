/* virtq.pml: notification suppression of a virtqueue, driver and device, split and packed.
 *
 * Every store and load below is ONE access to shared memory. With -DTSO the
 * stores of each side pass through a FIFO store buffer, and BARRIER says where it
 * must be empty before the next step.
 *
 * Configuration (-D):
 *   PACKED    the packed ring; else the split one
 *   EVENT     EVENT_IDX was negotiated; else the flags suppress
 *   TSO       store buffers on both sides
 *   BATCH=n   the driver publishes up to n chains at once, the device returns up to n at once
 *   DELAYED   the driver asks to be called when three quarters of what is in flight is used
 *   SIZE=n    entries of the ring;  CHAINS=n  chains in all
 *   LEN=n     descriptors of each chain (packed)
 *   MOD=n     the indices' modulus, a power of two and more than SIZE (split)
 * Mutations (-DM_...): each must yield a counterexample.
 *   M_NOKICKBARRIER  no barrier between the driver's publication and its look at the event
 *   M_NOCALLBARRIER  the same at the device
 *   M_NODEVBARRIER   no barrier between the device's enabling and its look at the ring
 *   M_NODRVBARRIER   the same at the driver
 *   M_NODEVLOOK      the device enables and sleeps without another look
 *   M_NODRVLOOK      the same at the driver
 *   M_EVENTFIRST     the driver looks at the event before it publishes
 *   M_CALLFIRST      the same at the device
 *   M_EXACT          notify only if the last entry is the one asked for (wrong for batches)
 *   M_EVENTOFF       the device asks for one entry too late
 *   M_NOWRAP         the driver ignores the wrap counter of the event (packed)
 *   M_STAYOFF        the device forgets to take its suppression back
 *   M_HEADFIRST      a batch's first head is made available first, its payload after it (packed)
 *   M_IDXFIRST       the index is published before the entries (split)
 *
 * What is checked
 *   wake-up   nobody spins: who waits sleeps on its bell, so a lost wake-up is an invalid
 *             end state of the driver
 *   data      each chain is popped once, in order, with its payload; each used once, in order
 */
#ifndef SIZE
#define SIZE 2
#endif
#ifndef CHAINS
#define CHAINS 5
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef LEN
#define LEN 1
#endif
#ifndef MOD
#define MOD 32           /* indices are modulo this: 65536 in the format */
#endif
#define MASK (MOD - 1)
#define DRV 0
#define DEV 1

/* Locations. Entries: ring[0..SIZE-1] of the driver, ring[SIZE..] of the device (split);
 * packed uses the first SIZE for the words and PAY for what they stand for. */
#define AVAIL(i) (i)
#define USED(i)  (8 + (i))
#define PAY(i)   (16 + (i))
#define AIDX 24          /* split: available index, by the driver */
#define UIDX 25          /* split: used index, by the device */
#define DEVWANT 26       /* by the device: when to kick. split+EVENT: index; else 1 = do not */
#define DRVWANT 27       /* by the driver: when to call */
#define NONE 255

byte mem[28];
bool kickbell, callbell;
byte popped;             /* ghost: chains the device has popped */

#ifdef TSO
#define BUF 4
chan sb0 = [BUF] of { byte, byte };
chan sb1 = [BUF] of { byte, byte };
#define STORE(s, at, v) if :: s == DRV -> sb0!at,v :: else -> sb1!at,v fi
#define BARRIER(s) if :: s == DRV -> len(sb0) == 0 :: else -> len(sb1) == 0 fi
active proctype flush0() { byte at, v; end: do :: atomic { sb0?at,v -> mem[at] = v } od }
active proctype flush1() { byte at, v; end: do :: atomic { sb1?at,v -> mem[at] = v } od }
#else
#define STORE(s, at, v) mem[at] = v
#define BARRIER(s) skip
#endif

/* A descriptor word of the packed ring: AVAIL bit 1, USED bit 2. */
#define AVAILBITS(w) ((w) -> 1 : 2)
#define USEDBITS(w)  ((w) -> 3 : 0)
#define ISAVAIL(d, w) (((d) & 3) == AVAILBITS(w))
#define ISUSED(d, w)  (((d) & 3) == USEDBITS(w))

/* An event word of the packed ring: 0 enabled, 1 disabled, 2 + 4*off + wrap*64: at that entry. */
#define EVWORD(off, w) (2 + 4 * (off) + ((w) -> 64 : 0))
#define EVOFF(e) (((e) & 63) >> 2)
#define EVWRAP(e) ((e) >= 64)

#define NEEDS(event, new, old) ((((new) - (event) - 1) & MASK) < (((new) - (old)) & MASK))

/* notify looks at the other side's word: should it be rung? new and old are
 * positions of the ring, wrap the wrap counter of new (packed). */
inline decide(want, new, old, wrap, result) {
	d_step {
#ifdef PACKED
		if
		:: want == 0 -> result = true
		:: want == 1 -> result = false
		:: else ->
			ev = EVOFF(want);
#ifndef M_NOWRAP
			if :: EVWRAP(want) != wrap -> ev = ev - SIZE :: else fi;
#endif
#ifdef M_EXACT
			result = (((new) - ev - 1) & MASK) == 0
#else
			result = NEEDS(ev, new, old)
#endif
		fi;
#else
#ifdef EVENT
#ifdef M_EXACT
		result = (((new) - want - 1) & MASK) == 0;
#else
		result = NEEDS(want, new, old);
#endif
#else
		result = (want == 0);
#endif
#endif
		ev = 0
	}
}

active proctype driver() {
	byte added, reaped, idx, last, n, i, w;
	short ev, event;
	bool awrap = true, uwrap = true, tell, more, was;
	byte first, v;

#if !defined(EVENT) || defined(PACKED)
	STORE(DRV, DRVWANT, 1);         /* no calls yet */
#endif
	do
	:: reaped == CHAINS -> break
	:: added < CHAINS && (added - reaped) * LEN + LEN <= SIZE ->
		/* Add 1 to BATCH chains. */
		n = 1;
		do
		:: n < BATCH && added + n < CHAINS && (added - reaped + n) * LEN + LEN <= SIZE -> n++
		:: break
		od;
#if defined(M_EVENTFIRST)
		w = mem[DEVWANT];
#endif
#ifdef PACKED
		first = idx; was = awrap; i = 0;
		do
		:: i < n ->
			d_step { v = idx; more = awrap };
#ifndef M_HEADFIRST
			STORE(DRV, PAY(v), added + i);
			if
			:: i > 0 -> STORE(DRV, AVAIL(v), AVAILBITS(more))
			:: else
			fi;
#else
			STORE(DRV, AVAIL(v), AVAILBITS(more));
			STORE(DRV, PAY(v), added + i);
#endif
			d_step {
				idx = idx + LEN;
				if :: idx >= SIZE -> idx = idx - SIZE; awrap = !awrap :: else fi;
				i++
			}
		:: else -> break
		od;
#ifndef M_HEADFIRST
		STORE(DRV, AVAIL(first), AVAILBITS(was));      /* publishes all n */
#endif
		event = idx;
#else
		i = 0;
#ifdef M_IDXFIRST
		STORE(DRV, AIDX, (idx + n) & MASK);
#endif
		do
		:: i < n -> STORE(DRV, AVAIL(((idx + i) & MASK) % SIZE), added + i); i++
		:: else -> break
		od;
		idx = (idx + n) & MASK;
#ifndef M_IDXFIRST
		STORE(DRV, AIDX, idx);
#endif
		event = idx;
#endif
		added = added + n;
#ifndef M_NOKICKBARRIER
		BARRIER(DRV);
#endif
#if !defined(M_EVENTFIRST)
		w = mem[DEVWANT];
#endif
		decide(w, event, event - n * LEN, awrap, tell);
		if :: tell -> kickbell = true :: else fi;
		d_step { w = 0; tell = false; event = 0; i = 0; n = 0; first = 0; v = 0; was = false; more = false }
	:: added > reaped ->
		/* Reap one, or sleep. */
#ifdef PACKED
		d_step { w = mem[AVAIL(last)]; more = ISUSED(w, uwrap) };
#else
		d_step { w = mem[UIDX]; more = (w != last) };
#endif
		if
		:: !more ->
			/* Enable, look again, sleep. */
			n = 0;
#ifdef DELAYED
			n = ((added - reaped) * 3 / 4);
#endif
#ifdef PACKED
#ifdef EVENT
			d_step {
				v = last + n * LEN; was = uwrap;
				if :: v >= SIZE -> v = v - SIZE; was = !was :: else fi
			};
			STORE(DRV, DRVWANT, EVWORD(v, was));
#else
			STORE(DRV, DRVWANT, 0);
#endif
#else
#ifdef EVENT
			STORE(DRV, DRVWANT, (last + n) & MASK);
#else
			STORE(DRV, DRVWANT, 0);
#endif
#endif
#ifndef M_NODRVBARRIER
			BARRIER(DRV);
#endif
#ifdef PACKED
#ifdef EVENT
			/* At the next entry, wherever the event is: if that one is not used, none behind it is. */
			d_step { w = mem[AVAIL(last)]; more = ISUSED(w, uwrap);
				v = 0; was = false };
#else
			d_step { w = mem[AVAIL(last)]; more = ISUSED(w, uwrap) };
#endif
#else
			d_step { w = mem[UIDX]; more = (((w - last) & MASK) > n) };
#endif
#ifdef M_NODRVLOOK
			more = false;
#endif
			if
			:: !more ->
				atomic { callbell -> callbell = false }
			:: else
			fi;
#if !defined(EVENT) || defined(PACKED)
			STORE(DRV, DRVWANT, 1);
#endif
			d_step { w = 0; n = 0; more = false }
		:: else ->
#ifdef PACKED
			d_step { w = mem[PAY(last)]; assert(w == reaped + 64) };
			d_step {
				last = last + LEN;
				if :: last >= SIZE -> last = last - SIZE; uwrap = !uwrap :: else fi
			};
#else
			d_step { w = mem[USED(last % SIZE)]; assert(w == reaped + 64) };
			last = (last + 1) & MASK;
#endif
			d_step { reaped++; w = 0; more = false }
		fi
	od
}

active proctype device() {
	byte got, next, uidx, n, i, w, ids;
	short ev;
	bool awrap = true, uwrap = true, tell, more, was;
	byte first;

	do
	:: true ->
		/* Pop and return 1 to BATCH chains. */
		n = 0; first = uidx; was = uwrap;
		do
		:: n < BATCH ->
#ifdef PACKED
			d_step { w = mem[AVAIL(next)]; more = ISAVAIL(w, awrap) };
#else
			d_step { w = mem[AIDX]; more = (w != next) };
#endif
			if
			:: !more -> break
			:: else
			fi;
#ifdef PACKED
			d_step { w = mem[PAY(next)]; assert(w == popped); popped++ };
			d_step {
				next = next + LEN;
				if :: next >= SIZE -> next = next - SIZE; awrap = !awrap :: else fi
			};
			STORE(DEV, PAY(uidx), w + 64);
			if
			:: n > 0 -> STORE(DEV, AVAIL(uidx), USEDBITS(uwrap))
			:: else
			fi;
			d_step {
				uidx = uidx + LEN;
				if :: uidx >= SIZE -> uidx = uidx - SIZE; uwrap = !uwrap :: else fi
			};
#else
			d_step { w = mem[AVAIL(next % SIZE)]; assert(w == popped); popped++ };
			next = (next + 1) & MASK;
			STORE(DEV, USED(((uidx + n) & MASK) % SIZE), w + 64);
#endif
			n++
		:: n > 0 -> break
		od;
		if
		:: n > 0 ->
#ifdef M_CALLFIRST
			w = mem[DRVWANT];
#endif
#ifdef PACKED
			STORE(DEV, AVAIL(first), USEDBITS(was));
#else
			uidx = (uidx + n) & MASK;
			STORE(DEV, UIDX, uidx);
#endif
#ifndef M_NOCALLBARRIER
			BARRIER(DEV);
#endif
#ifndef M_CALLFIRST
			w = mem[DRVWANT];
#endif
			decide(w, uidx, uidx - n * LEN, uwrap, tell);
			if :: tell -> callbell = true :: else fi;
			d_step { w = 0; tell = false; first = 0; was = false; n = 0; more = false }
		:: else ->
			/* Enable, look again, sleep. */
#ifdef PACKED
#ifdef EVENT
#ifdef M_EVENTOFF
			d_step {
				i = next + LEN; was = awrap;
				if :: i >= SIZE -> i = i - SIZE; was = !was :: else fi
			};
			STORE(DEV, DEVWANT, EVWORD(i, was));
			i = 0;
#else
			STORE(DEV, DEVWANT, EVWORD(next, awrap));
#endif
#else
			STORE(DEV, DEVWANT, 0);
#endif
#else
#ifdef EVENT
#ifdef M_EVENTOFF
			STORE(DEV, DEVWANT, (next + 1) & MASK);
#else
			STORE(DEV, DEVWANT, next);
#endif
#else
#ifndef M_STAYOFF
			STORE(DEV, DEVWANT, 0);
#endif
#endif
#endif
#ifndef M_NODEVBARRIER
			BARRIER(DEV);
#endif
#ifdef PACKED
			d_step { w = mem[AVAIL(next)]; more = ISAVAIL(w, awrap) };
#else
			d_step { w = mem[AIDX]; more = (w != next) };
#endif
#ifdef M_NODEVLOOK
			more = false;
#endif
			if
			:: !more ->
				d_step { w = 0; first = 0; was = false };
end_sleep:			atomic { kickbell -> kickbell = false }
			:: else
			fi;
#if !defined(EVENT) || defined(PACKED)
			STORE(DEV, DEVWANT, 1);
#endif
			d_step { w = 0; more = false }
		fi
	od
}
