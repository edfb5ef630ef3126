#!/usr/bin/env bash
# Gets a kernel image, with its modules, for the guests of the tests: Debian's
# newest small one, unpacked into .cache/guest and not installed. Does nothing if one
# is there; $RINGBUS_KERNEL names another one.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -z "${RINGBUS_KERNEL:-}" ] || exit 0
[ ! -e .cache/guest/complete ] || exit 0

other="name one in \$RINGBUS_KERNEL (…/boot/vmlinuz-VERSION, with …/lib/modules/VERSION beside it)"
[ "$(uname -m)" = x86_64 ] || { echo "kernel: guests are tested on x86-64 only" >&2; exit 0; }
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
	echo "kernel: no Debian here to get a kernel image from: $other" >&2
	exit 1
}
rm -rf .cache/guest
mkdir -p .cache/guest
cd .cache/guest
fetch() { # Debian's, or Ubuntu's
	local meta package
	for meta in linux-image-cloud-amd64 linux-image-virtual; do
		package=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
		[ -z "$package" ] || break
	done
	[ -n "$package" ] || { echo "apt knows none (apt-get update?)" >apt.log; return 1; }
	echo "kernel: getting $package into .cache/guest"
	apt-get -qq download "$package" 2>apt.log </dev/null
}
# The lists of packages may be missing, or older than what there is.
fetch || { [ "$(id -u)" = 0 ] && apt-get update -qq </dev/null && fetch; } || {
	cat apt.log >&2
	echo "kernel: $other" >&2
	exit 1
}
dpkg-deb -x ./*.deb .
rm -f ./*.deb apt.log
touch complete
