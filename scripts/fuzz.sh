#!/usr/bin/env bash
# Runs every fuzz target of the repository for a while: fuzz.sh [SECONDS EACH]
# As many packages at once as there are CPUs, each target in one process.
# A failing input is left under the package's testdata/fuzz: commit it as a test.
# With COUNTS=FILE in the environment, appends "passed failed skipped" to FILE.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cache=$(go env GOCACHE)/fuzz/$(go list -m) # where go test -fuzz keeps its inputs

# fuzz DIRECTORY TARGET...: builds a package's tests, with the counters by which
# the fuzzer steers, and runs one target after the other, as go test -fuzz does.
fuzz() {
	local dir=$1 binary log target
	shift
	log=$(mktemp "$temp/XXXXXX")
	binary=$log.test
	if ! go test -c -vet=off -fuzz=Fuzz -o "$binary" "./$dir" >"$log" 2>&1; then
		printf 'FAIL %s does not build\n%s\n' "$dir" "$(cat "$log")"
		return
	fi
	mkdir -p "$cache/$dir"
	for target; do
		# More steps to make inputs small would take most of so short a time.
		if (cd "$dir" && "$binary" -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="${seconds}s" \
			-test.fuzzminimizetime=100x -test.parallel=1 -test.fuzzcachedir="$cache/$dir") >"$log" 2>&1; then
			echo "ok   $dir $target: $(grep -o 'execs: [0-9]*' "$log" | tail -1)"
		else
			printf 'FAIL %s %s\n%s\n' "$dir" "$target" "$(cat "$log")"
		fi
	done
}
export -f fuzz
export temp cache seconds

# Directories with their targets, those with most of them first.
targets=$(git grep -o -E '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | sed 's|/\{0,1\}[^/]*_test.go:func | |; s|^ |. |' |
	awk '{ names[$1] = names[$1] " " $2; n[$1]++ } END { for (d in names) print n[d], d names[d] }' | sort -k1,1nr -k2 | cut -d' ' -f2-)
xargs -P "$(nproc)" -I '{}' bash -c 'fuzz $1' fuzz '{}' <<<"$targets" | tee "$temp/lines"

want=$(wc -w <<<"$targets") # and the directories
want=$((want - $(wc -l <<<"$targets")))
passed=$(grep -c '^ok   ' "$temp/lines" || true)
failed=$((want - passed))
echo "$passed passed, $failed failed of $want fuzz targets, $seconds s each"
[ -z "${COUNTS:-}" ] || echo "$passed $failed 0" >>"$COUNTS"
[ "$failed" = 0 ]
