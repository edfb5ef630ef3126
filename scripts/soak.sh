#!/usr/bin/env bash
# Runs the tests in changing order, with invariants and under the race detector,
# and the fuzz targets, again and again: soak.sh [MINUTES]. Stops at a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
end=$((SECONDS + ${1:-60} * 60))
packages=$(go list ./... | grep -vE '/internal/(lint|mutation|guests)$')
export RINGBUS_SOAK=${RINGBUS_SOAK:-2m} # of random kills, in each round
for ((round = 1; SECONDS < end; round++)); do
	echo "== round $round"
	# shellcheck disable=SC2086 # one argument for each package
	{
		go test -count=1 -shuffle=on -timeout 30m -tags=invariants $packages
		go test -count=1 -shuffle=on -timeout 30m -race $packages
	}
	scripts/fuzz.sh 30
done
