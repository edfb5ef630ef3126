#!/usr/bin/env bash
# Runs every fuzz target of the repository for a while: fuzz.sh [SECONDS EACH]
# A failing input is left under the package's testdata/fuzz: commit it as a test.
# With COUNTS=FILE in the environment, appends "passed failed skipped" to FILE.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# go test -list prints the targets of a package, then "ok PACKAGE TIME".
go test -list '^Fuzz' ./... >"$log" || { cat "$log"; exit 1; }
targets=$(awk '/^Fuzz/ { names = names " " $1 }
	/^ok/ { n = split(names, name, " "); for (i = 1; i <= n; i++) print $2, name[i]; names = "" }' "$log")

passed=0 failed=0
while read -r package target; do
	[ -n "$target" ] || continue
	if go test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" -fuzzminimizetime 10s "$package" >"$log" 2>&1; then
		passed=$((passed + 1))
		echo "ok   $package $target: $(grep -o 'execs: [0-9]*' "$log" | tail -1)"
	else
		failed=$((failed + 1))
		echo "FAIL $package $target"
		cat "$log"
	fi
done <<<"$targets"

echo "$passed passed, $failed failed of $((passed + failed)) fuzz targets, $seconds s each"
[ -z "${COUNTS:-}" ] || echo "$passed $failed 0" >>"$COUNTS"
[ "$failed" = 0 ]
