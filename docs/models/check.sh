#!/bin/sh
# check.sh: model-check the protocols with Spin.
#
#   check.sh          a set that takes a minute and a half on two cores
#   check.sh --full   everything that the notes list as exhaustive: half an hour, 6 GB of memory
#
# A "good" configuration must be searched to its end without an error; a
# "mutant" (-DM_..., or a documented limit of the protocol) must give a
# counterexample. Exit status: 0 all as expected, 1 something was not,
# 2 usage, 3 a tool is missing.
set -u

case "${1-}" in
'') full= limit=300 ;;
--full) full=1 limit=900 ;;
*) echo "usage: $0 [--full]" >&2; exit 2 ;;
esac

need() {
	command -v "$1" >/dev/null 2>&1 && return
	echo "check.sh: $1 is missing; on Debian or Ubuntu: apt-get install $2" >&2
	exit 3
}
need spin spin
need gcc "gcc libc6-dev"
need timeout coreutils

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# one.sh is one configuration: its model, what is expected, "slow" or not, the
# flags. It prints one line.
#
# Most searches take less time than a compiler that optimizes; those marked
# "slow" are worth it.
cat >"$dir/one.sh" <<'ONE'
model=$1 want=$2 speed=$3 flags=$4
dir=$(mktemp -d "$dir/run.XXXXXX") && cd "$dir" || exit 1
defs=$(for f in $flags; do printf ' -D%s' "$f"; done)
store=-DCOLLAPSE optimize=-O0
[ "$speed" = slow ] && optimize=-O1
case $want in large) want=good store=-DHC4 optimize=-O2 ;; esac
cp "$here/$model" .
# shellcheck disable=SC2086
if ! spin -a $defs "$model" >spin.out 2>&1 ||
	! gcc $optimize -w -DSAFETY $store -DMEMLIM=6000 -o pan pan.c 2>gcc.out; then
	echo "FAIL $want: $model $flags: does not compile"
	cat spin.out gcc.out 2>/dev/null
	exit 0
fi
timeout "$limit" ./pan -m100000 >pan.out 2>&1
rc=$?
states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.out)
why=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' pan.out | head -n 1)
if [ $rc -eq 124 ]; then
	got=open say="not finished in $limit s"
elif [ -n "$why" ]; then
	got=mutant say="counterexample after $states states: $why"
elif [ $rc -eq 0 ] && grep -q 'errors: 0' pan.out && ! grep -qE 'too small|out of memory|incomplete' pan.out; then
	got=good say="no error in $states states"
else
	got=broken say="pan ended with status $rc: $(grep -E '^pan|error' pan.out | head -n 1)"
fi
verdict=FAIL
[ "$got" = "$want" ] && verdict='ok  '
echo "$verdict $want: $model $flags: $say"
cd / && rm -rf "$dir"
ONE
export here dir limit

# At once, as many as there are CPUs; with --full two, for they need memory.
at_once=$(nproc)
[ "$at_once" -le 8 ] || at_once=8
[ -z "$full" ] || [ "$at_once" -le 2 ] || at_once=2

# Every line: what is expected, then the flags; "model" says of which model from
# there on. What is slow comes first.
while read -r want flags; do
	speed=quick
	case $want in '' | '#'*) continue ;; esac
	case $want in
	model)
		model=$flags
		continue
		;;
	slow) speed=slow want=${flags%% *} flags=${flags#"${flags%% *}"} ;;
	full | full-mutant)
		[ -n "$full" ] || continue
		[ "$want" = full ] && want=large || want=mutant
		speed=slow
		;;
	esac
	flags=${flags# }
	printf '%s\0%s\0%s\0%s\0' "$model" "$want" "$speed" "$flags" >>"$dir/$speed"
done <<'SET'
model fanout.pml
# reliable, kept loans, join with history, park, close; latest, pins, exact loss; inline
good REL_A M=6
good LAT_A M=5
slow good REL_A LAZY=2 D=4 N=6 M=7
# one barrier per send
slow good REL_A TSO M=6
good LAT_A TSO M=5
good LAT_A INL TSO M=5
# batches
good REL_A BATCH CH=2 N=5 EAGER TSO
good LAT_A BATCH CH=2 N=5 EAGER TSO
# fence; deaths; pre-join
slow good REL_A FENCE_ON N=5 EAGER
slow good REL_A KILLA D=1 N=3 M=3 EAGER
good REL_A REL_B REUSE PREJOIN D=1 N=3 M=2
# pins
mutant LAT_A M=5 M_NOBUSY
mutant LAT_A M=5 M_NORECHECK
mutant LAT_A M=5 M_RECHECKFIRST
mutant LAT_A M=5 EAGER M_SCANEARLY
mutant LAT_A M=5 TSO M_P7PLAIN
mutant REL_A M=6 M_PINLATE
# join
mutant REL_A M_NOJ3
mutant REL_A TSO M_NF_LIMIT
# wake-up
mutant REL_A M_NOPARKCHECK
mutant REL_A D=1 N=3 M_NOJRING
mutant REL_A KILLA D=1 N=3 M=3 EAGER M_V4SWAP
# batches
mutant REL_A BATCH CH=2 N=5 EAGER M_FIRSTTOLAST
slow mutant LAT_A BATCH CH=2 N=5 M=3 EAGER KILLPUB RESTART M_HEADMAX
slow mutant LAT_A BATCH CH=2 N=5 M=3 EAGER KILLPUB RESTART M_KEEPSTALE
# fence
mutant REL_A FENCE_ON N=5 EAGER M_FENCEORDER
# slot reuse under a zombie
slow mutant LAT_A LAT_B REUSE EVICT KILLA D=1 N=3 M=3 EAGER M_HOLDSTORE
# pre-join
mutant REL_A PREJOIN D=1 N=3 M=2 M_SCANTHENVIS
mutant REL_A PREJOIN D=1 N=3 M=2 M_PJNOMASK
mutant REL_A PREJOIN D=1 N=3 M=2 M_LATEJ3
mutant REL_A REL_B REUSE PREJOIN D=1 N=3 M=2 M_PJCLAIMFIRST
mutant REL_A REL_B REUSE PREJOIN D=1 N=3 M=2 M_NOLEAVING
mutant REL_A REL_B REUSE KILLA PREJOIN D=1 N=3 M=2 M_NOHEAL
# the rest, with --full
full-mutant LAT_A M=5 M_EAGERCLEAR
full-mutant LAT_A INL M_NOBUSY
full-mutant LAT_A INL M_NORECHECK
full-mutant REL_A D=1 N=3 TSO M_P7PLAIN
full-mutant REL_A M_SCANFIRST
full-mutant REL_A M_NOCLOSECHECK
full-mutant REL_A M_RINGBEFORECLOSE
full-mutant LAT_A M_LOSTBYONE
full-mutant REL_A KILLPUB D=1 N=3 M=3 EAGER M_RINGWAITERS
full-mutant REL_A KILLA D=1 N=3 M=3 EAGER M_NORINGREC
full-mutant REL_A KILLA RECS2 KILLREC D=1 N=3 M=2 M_FREEFIRST
full-mutant REL_A REL_B REUSE KILLA RECS2 D=1 N=3 M=3 EAGER M_OUTNOGEN
full-mutant REL_A FENCE_ON N=5 EAGER M_NOCURCHECK
full-mutant REL_A FENCE_ON N=5 EAGER M_NOFDESC
full-mutant REL_A FENCE_ON N=5 EAGER M_CURSTORE
full-mutant REL_A FENCE_ON D=1 N=3 M=5
full-mutant REL_A FENCE_ON N=5 EAGER LAZY=2 M=5
full-mutant LAT_A LAT_B REUSE EVICT KILLA D=1 N=3 M=3 EAGER M_HOLDNOGEN
full-mutant LAT_A LAT_B REUSE EVICT KILLA D=1 N=3 M=3 EAGER M_NOFIRSTCHECK
full-mutant REL_A REL_B REUSE KILLA PREJOIN D=1 N=3 M=2 M_NOLEAVING
full REL_A BATCH CH=2 LAZY=2 D=4 N=7 M=6
full REL_A FENCE_ON D=1 N=4 M=4 EAGER
full REL_A KILLPUB D=1 N=3 M=3
full REL_A KILLPUB KILLREC D=1 N=3 M=2
full LAT_A KILLPUB RESTART D=1 N=3 M=3 EAGER
full LAT_A BATCH KILLPUB RESTART CH=2 N=5 M=3 EAGER
full REL_A BATCH KILLPUB RESTART CH=2 N=5 M=3 EAGER
full REL_A KILLA RECS2 KILLREC D=1 N=3 M=2
full LAT_A LAT_B REUSE EVICT KILLA D=1 N=3 M=3 EAGER
full REL_A REL_B PREJOIN D=1 N=4 M=2
full REL_A REL_B REUSE KILLA PREJOIN D=1 N=3 M=2
full LAT_A REL_B REUSE KILLA PREJOIN D=1 N=3 M=2
full REL_A PREJOIN KILLPUB RESTART D=1 N=3 M=2
full REL_A KILLA RECS2 KILLREC PREJOIN D=1 N=3 M=2
full REL_A REL_B REUSE PREJOIN RINGLAST D=1 N=3 M=2
model virtq.pml
# suppression by flags and by event index, split and packed, batches on both sides
good TSO BATCH=2
good TSO BATCH=2 EVENT
good TSO BATCH=2 PACKED
good TSO BATCH=2 PACKED EVENT
# indices that wrap, sizes that are no power of two, chains of several descriptors, calls asked for late
slow good MOD=8 CHAINS=11 BATCH=2 EVENT
good SIZE=3 CHAINS=7 BATCH=2 PACKED EVENT
good SIZE=5 LEN=2 BATCH=2 PACKED EVENT DELAYED TSO
good SIZE=4 BATCH=3 EVENT DELAYED
good SIZE=4 BATCH=3 PACKED EVENT DELAYED
# barriers
mutant TSO EVENT M_NOKICKBARRIER
mutant TSO EVENT M_NOCALLBARRIER
mutant TSO EVENT M_NODEVBARRIER
mutant TSO EVENT M_NODRVBARRIER
mutant TSO PACKED EVENT M_NOKICKBARRIER
mutant TSO PACKED EVENT M_NOCALLBARRIER
mutant TSO PACKED EVENT M_NODEVBARRIER
mutant TSO PACKED EVENT M_NODRVBARRIER
mutant TSO M_NOKICKBARRIER
mutant TSO PACKED M_NODEVBARRIER
# the second look; what comes first
mutant EVENT M_NODEVLOOK
mutant EVENT M_NODRVLOOK
mutant EVENT M_EVENTFIRST
mutant EVENT M_CALLFIRST
mutant PACKED EVENT M_NODEVLOOK
mutant PACKED EVENT M_NODRVLOOK
mutant M_STAYOFF
# arithmetic
mutant EVENT BATCH=2 M_EXACT
mutant EVENT M_EVENTOFF
mutant PACKED EVENT BATCH=2 M_EXACT
mutant PACKED EVENT M_EVENTOFF
mutant PACKED EVENT M_NOWRAP
# publication
mutant M_IDXFIRST
mutant PACKED BATCH=2 M_HEADFIRST
# the rest, with --full
full-mutant TSO M_NOCALLBARRIER
full-mutant TSO M_NODEVBARRIER
full-mutant TSO M_NODRVBARRIER
full-mutant TSO PACKED M_NOKICKBARRIER
full-mutant TSO PACKED M_NOCALLBARRIER
full-mutant TSO PACKED M_NODRVBARRIER
full-mutant PACKED EVENT M_EVENTFIRST
full-mutant PACKED EVENT M_CALLFIRST
full TSO SIZE=4 CHAINS=7 BATCH=3 EVENT DELAYED
full TSO SIZE=4 CHAINS=7 BATCH=3 PACKED EVENT DELAYED
full TSO SIZE=3 CHAINS=8 BATCH=3 PACKED EVENT
full TSO SIZE=4 CHAINS=7 BATCH=3 PACKED
model mpsc.pml
# submit, take, complete, release, hand over; sleeping and waking; cancellation; submitters without a device
good DEATHS=0
good DEATHS=0 CANCELS=2
good DEATHS=0 PLAIN=1
mutant DEATHS=0 M_PREVAFTER
mutant DEATHS=0 M_LOOKFIRST
mutant DEATHS=0 M_NOWAKE
mutant DEATHS=0 M_NOEXEC
mutant DEATHS=0 NS=3 CANCELS=1 M_CANCEARLY
# a death at any step, and recovery that may be cut short at any of its own
mutant M_INTRFIRST
mutant M_NOSCAN
mutant M_REISSUE
mutant M_FREEINQ
mutant M_ORDER
# the rest, with --full
full-mutant M_NORING
full-mutant DEATHS=0 NS=3 P=3 CANCELS=1 M_NOTAKEBACK
full-mutant DEATHS=0 NS=3 P=3 CANCELS=1 M_LEAVEALONE
full DEATHS=1
full DEATHS=1 REPEAT=1
model mpsc_own.pml
# within one process: one at a time is at the device, and the store without a barrier that gives it back
good OPS=2
good OPS=2 QUOTA
good N=3
mutant M_NOOWN
mutant M_NONAP
mutant M_NOWAKE
full N=3 QUOTA
model cells.pml
# the token, room, takeover from the dead; join; shared claims; loss of the lapped
good ONEW BCAST NOGROUP LATE N=4 MSGS=4
good ONEW BCAST NOGROUP N=3 MSGS=4 DEATHS=1
good ONEW LAP NOGROUP LATE N=4 MSGS=5
slow good MSGS=1 BCAST NOGROUP DEATHS=1
slow good MSGS=1 BCAST NOGROUP DEATHS=1 EVICT
slow good MSGS=1 LAP NOGROUP DEATHS=1
good ONEW BCAST MSGS=2
good ECHO ONEW BCAST NOGROUP LATE N=4 MSGS=4
slow good ECHO MSGS=1 BCAST NOGROUP DEATHS=1
slow good ECHO MSGS=1 BCAST NOGROUP DEATHS=1 EVICT
slow good ONEW MSGS=1 DEATHS=1
slow good ONEW MSGS=1 DEATHS=1 EVICT
mutant M_NOLOW ONEW LAP NOGROUP LATE N=4 MSGS=5
mutant M_NOJOINCHECK ONEW BCAST NOGROUP LATE N=4 MSGS=4
mutant M_SCANFIRST ONEW BCAST NOGROUP LATE N=4 MSGS=4
mutant M_NOROOM ONEW BCAST NOGROUP MSGS=3
mutant M_PUBFIRST ONEW BCAST NOGROUP MSGS=3
mutant M_NOTAKEOVER BCAST NOGROUP MSGS=1 DEATHS=1
slow mutant M_EVICTTAKE EVICT BCAST NOGROUP DEATHS=1 MSGS=2
slow mutant M_NOHANDBACK ONEW DEATHS=1
mutant M_NOECHOCLEAR ECHO MSGS=1 BCAST NOGROUP DEATHS=1
mutant M_ECHOLATE ECHO ONEW BCAST NOGROUP LATE N=4 MSGS=4
mutant M_NOECHOLOOK ECHO ONEW BCAST NOGROUP LATE N=4 MSGS=4
full BCAST NOGROUP MSGS=2 DEATHS=1
full LAP NOGROUP MSGS=2 DEATHS=1
full EVICT BCAST NOGROUP MSGS=2 DEATHS=1
full ONEW DEATHS=1
full ONEW DEATHS=1 EVICT
model multilog.pml
# batches, a tail that lags; suspects; a death; an evicted writer, its sweep; a late reader
good OVERWRITE NORD RB=3
slow good OVERWRITE SLACK=1 LAG=4
good SLACK=1 LAG=4
slow good SUSP
slow good SUSPRD N=2 RA=1 MNA=1 MXA=1 RB=2 MNB=1 MXB=1
slow good DEATHS=1 RB=1
slow good OVERWRITE NORD EVICTS=1 NREC=1 MNB=2 MXB=2
slow good NORD JOIN REUSE
# holes; publication; death; join
mutant OVERWRITE NORD RB=3 M_NOHOLE
mutant OVERWRITE NORD RB=3 M_NOSCAN
mutant OVERWRITE NORD RB=3 M_LAPBIT
mutant OVERWRITE M_STORECOMMIT
mutant OVERWRITE M_NOVALIDATE
mutant OVERWRITE M_WORDVALIDATE
mutant DEATHS=1 RB=1 M_NOSEAL
mutant NORD JOIN REUSE M_NOJOIN
# ranks
mutant OVERWRITE NORD N=2 RA=1 MNA=1 MXA=1 MNB=1 MXB=1 RB=4 M_NOE4
mutant OVERWRITE NORD N=2 RA=1 MNA=1 MXA=1 MNB=1 MXB=1 RB=5 M_KSTORE
mutant OVERWRITE NORD N=2 RA=1 MNA=1 MXA=1 MNB=1 MXB=1 RB=3 SLACK=1 M_BATCHN
# evicted
slow mutant OVERWRITE NORD EVICTS=1 NREC=1 MNB=2 MXB=2 M_DEADHOLE
mutant OVERWRITE NORD EVICTS=1 NREC=1 MNB=2 MXB=2 LATETOMB M_NOFENCED
slow mutant OVERWRITE NORD EVICTS=1 RB=3 M_TOMBEVICTED
mutant EVRD EVICTS=1 NREC=1 JOIN REUSE M_REUSEEVICTED
# the rest, with --full
full-mutant OVERWRITE NORD RB=3 M_NOHOLECARRY
full-mutant NORD JOIN REUSE M_SCANFIRST
full-mutant OVERWRITE NORD EVICTS=1 NREC=1 MNB=2 MXB=2 M_NOGONE
full-mutant OVERWRITE NORD EVICTS=1 NREC=1 MNB=2 MXB=2 M_SWEEPTOMB
full-mutant OVERWRITE NORD EVICTS=1 NREC=1 RB=3 M_SWEPTHOLE
full-mutant OVERWRITE N=2 RA=1 MNA=1 MXA=1 RB=3 MNB=1 MXB=1 M_NOR9
full OVERWRITE DEATHS=1
full DEATHS=1
full DEATHS=1 NREC=1 RB=1
full OVERWRITE NORD DEATHS=1 NREC=2 KREC RB=1
full JOIN REUSE LEAVE RB=1
full NORD JOIN REUSE DEATHS=1
full OVERWRITE EVICTS=1
full OVERWRITE NORD EVICTS=1 NREC=1 RB=3
full OVERWRITE NORD EVICTS=1 NREC=2 RB=1
full EVRD EVICTS=1 NREC=1 JOIN REUSE N=2 RA=1 MNA=1 MXA=1 MNB=1 MXB=1 RB=1
full SUSPRD
full OVERWRITE N=2 RA=1 MNA=1 MXA=1 MNB=1 MXB=1 RB=4 SLACK=1
model journal_wait.pml
# a writer that stops over a claim; one that pads; one that dies anywhere, and its recovery
slow good
slow good SILENT
good RB=0 RA=2 PADW
slow good RB=0 RA=2 KILL=1 NREC=1
mutant M_NOK3W
mutant M_NOK3R
mutant M_ALERTFIRST
mutant M_R6LATE M_NOIDLE
mutant M_NOIDLE MORE=1
mutant M_TAG
mutant PADW M_NOPARKWAKE
mutant SILENT M_NOPARKWAKE
slow mutant SILENT M_K3FINAL
mutant SILENT C=2 M_UNTIMED
mutant LEAVE M_NOL1RING
mutant RB=0 RA=2 KILL=1 NREC=1 M_NORECRING
mutant RB=0 RA=2 KILL=1 NREC=1 M_CASFIRST M_RECALERT
mutant RB=0 EVICT NREC=1 JOIN M_REUSEEV
# the rest, with --full
full-mutant M_PARKSTORE
full-mutant PADW M_RINGREADY
full-mutant RB=0 RA=2 KILL=3 NREC=1 M_NORECRING
full LEAVE
full PADW
full RB=2
full C=2 RB=2 MORE=1
full RB=0 RA=2 KILL=3 NREC=1
full RB=0 RA=1 KILL=1 NREC=2 KREC
model calls.pml
# clients and servers come and go; a death of either at any step; an eviction; who waits hears of a new server
good HASTY LEAVES
good KILL=1 NREC=1 ROUNDS=1 LEAVES
good KILL=2 NREC=1 ROUNDS=1
good WANT NV=2 ROUNDS=1
mutant LEAVES ROUNDS=1 M_NOC4
mutant ROUNDS=1 M_NOC6
mutant NC=2 ROUNDS=1 M_C7FREES
mutant M_C7TELLSNOBODY
mutant KILL=1 NREC=1 ROUNDS=1 LEAVES M_NOC8
mutant KILL=2 NREC=1 ROUNDS=1 M_NOL3
mutant LEAVES ROUNDS=1 M_L2BEFOREL1
mutant HASTY ROUNDS=1 M_LEFTSTAYS
mutant EVICT=2 NREC=1 ROUNDS=1 M_NOS4
mutant WANT NV=2 ROUNDS=1 M_NOS5
mutant KILL=2 NREC=1 ROUNDS=1 M_NOV1
mutant KILL=1 NREC=1 ROUNDS=1 M_NOV2
# the rest, with --full
full-mutant KILL=2 NREC=2 KREC ROUNDS=1 M_L3ONLYWHODID
full-mutant EVICT=2 NREC=1 M_NOTAINT
full-mutant EVICT=1 NREC=1 NC=2 ROUNDS=1 M_NOTAINT
full NC=2 ROUNDS=1 LEAVES
full KILL=1 NREC=1
full KILL=2 NREC=1 ROUNDS=1 LEAVES
full EVICT=2 NREC=1 ROUNDS=1
full KILL=2 NREC=1 LEAVES
full EVICT=1 NREC=1
full EVICT=1 NC=2 NREC=1 ROUNDS=1
model streams.pml
# several replies to one request; a handler that falls silent; a server that goes
good
good SILENT
good DIES
good P=5 W=2 N=3 SILENT
mutant SILENT M_NORESERVE
mutant SILENT M_UNKNOWN
mutant SILENT M_KEEPROOM
mutant SILENT M_ENDFIRST
mutant SILENT M_HEADFREE
mutant DIES M_LOSTFIRST
SET
cat "$dir/slow" "$dir/quick" | xargs -0 -n 4 -P "$at_once" sh "$dir/one.sh" | tee "$dir/lines"
count=$(grep -cE '^(ok  |FAIL) ' "$dir/lines")
failed=$(grep -c '^FAIL ' "$dir/lines")
want=$(cat "$dir/slow" "$dir/quick" | tr -dc '\0' | wc -c)
[ "$count" -eq $((want / 4)) ] || failed=$((failed + 1)) # or one died
echo "$count configurations of $((want / 4)), $failed not as expected"
[ "$failed" -eq 0 ]
