#!/usr/bin/env bash
# Every check of the repository, step by step; goes on after a failed step and
# exits 1 if one failed. A skipped test fails unless scripts/skips.txt names it.
# Needs what scripts/setup.sh gets. FUZZ_SECONDS (5) is for each fuzz target.
# Leaves "passed failed skipped" in .cache/counts, and what it says at its end,
# the steps with their times and what failed, in .cache/report.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p .cache
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
export COUNTS=$temp/counts
export RINGBUS_SEED=${RINGBUS_SEED:-1} # what passed passes again; make soak goes elsewhere
report=.cache/report
: >"$COUNTS" >"$temp/table" >"$temp/failed"
rm -f "$report"
failures=()

failed() { awk '{ f += $2 } END { print f+0 }' "$COUNTS"; }

# step NAME COMMAND...: runs one step under a heading and notes how it ended. Of
# what fails without a test's name, the end of its output goes to the report.
step() {
	local name=$1 start=$SECONDS before said verdict=ok
	before=$(failed)
	said=$(wc -c <"$temp/failed")
	shift
	printf '\n== %s\n' "$name"
	if ! "$@" 2>&1 | tee "$temp/log"; then
		verdict=FAILED
		failures+=("$name")
		[ "$(failed)" != "$before" ] || echo "0 1 0" >>"$COUNTS"
		if [ "$(wc -c <"$temp/failed")" = "$said" ]; then
			{ echo "--- $name" && { grep -E '^FAIL' "$temp/log" | head -n 20; tail -n 30 "$temp/log"; } | cut -c 1-400; } >>"$temp/failed"
		fi
	fi
	printf -- '-- %s: %s, %d s\n' "$name" "$verdict" $((SECONDS - start))
	printf '%-6s %5d s  %s\n' "$verdict" $((SECONDS - start)) "$name" >>"$temp/table"
}

# counted COMMAND...: counts a step that is no Go test as one test.
counted() { "$@" && echo "1 0 0" >>"$COUNTS"; }

gotest() {
	"$temp/gotest" -skips scripts/skips.txt -counts "$COUNTS" -report "$temp/failed" -- -count=1 -timeout 10m "$@"
}

# rest runs all packages but internal/lint, which looks at the text and not at
# what runs, internal/mutation, which builds its own, and internal/guests, which boots
# guests; they need not run once for each kind of build.
rest() {
	local packages
	packages=$(go list ./... | grep -vE '/internal/(lint|mutation|guests)$') || return 1
	# shellcheck disable=SC2086 # one argument for each package
	gotest "$@" $packages
}

models() {
	if [ ! -x docs/models/check.sh ]; then
		echo "docs/models/check.sh is missing or not executable"
		return 1
	fi
	docs/models/check.sh
}

# arm64 builds and links all tests, and runs none; errors go to standard error.
# What vet says of them is known from internal/lint.
arm64() {
	CGO_ENABLED=0 GOARCH=arm64 go build -buildvcs=false -o /dev/null ./... &&
		CGO_ENABLED=0 GOARCH=arm64 go test -vet=off -ldflags='-s -w' -exec true ./... >/dev/null
}

# emulated runs for arm64 what depends on the machine: 16-bit words, and the ring
# that is made of them. It proves that the instructions are the right ones, and
# little about their order: an emulator on a strongly ordered machine reorders nothing.
emulated() {
	local run=()
	[ "$(uname -m)" = aarch64 ] || run=(-exec qemu-aarch64)
	CGO_ENABLED=0 GOARCH=arm64 gotest "${run[@]}" -short ./internal/mem ./internal/ring/virtq
}

# guests boots virtual machines, whose program must be linked statically.
guests() {
	if [ "$(uname -m)" != x86_64 ]; then
		echo "guests are tested on x86-64 only"
		return 0
	fi
	CGO_ENABLED=0 gotest -tags=invariants ./internal/guests
}

if ! go build -buildvcs=false -o "$temp/gotest" ./scripts/gotest; then
	echo "0 1 0" >.cache/counts
	exit 1
fi
step "lint: format, vet, staticcheck, floors, arm64 (internal/lint)" gotest ./internal/lint
step "tests" rest -vet=off
step "tests with invariants, crash points and the kill harness" rest -vet=off -tags=invariants
step "tests under the race detector, rings on the heap" rest -race
step "mutations: each ordering edge broken in turn" gotest ./internal/mutation
step "a host and two booted guests on one bus" guests
step "gRPC over streams, a module of its own" counted env -C stream/grpctest go test -count=1 -timeout 5m ./...
step "models" counted models
step "fuzzing, ${FUZZ_SECONDS:-5} s for each target" scripts/fuzz.sh "${FUZZ_SECONDS:-5}"
step "programs and tests link for arm64" counted arm64
step "16-bit words and the virtqueue on arm64, emulated" emulated

awk '{ p += $1; f += $2; s += $3 } END { print p+0, f+0, s+0 }' "$COUNTS" >.cache/counts
read -r p f s <.cache/counts
{
	if [ ${#failures[@]} -gt 0 ]; then # once more, where who reads the end of a log finds it
		printf '\n== what failed\n'
		head -c 40000 "$temp/failed"
	fi
	printf '\n== steps\n'
	cat "$temp/table"
	printf '%-6s %5d s  %d passed, %d failed, %d skipped\n' all "$SECONDS" "$p" "$f" "$s"
	[ ${#failures[@]} = 0 ] || printf 'FAILED: %s\n' "${failures[@]}"
} | tee "$report"
[ ${#failures[@]} = 0 ]
