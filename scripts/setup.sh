#!/usr/bin/env bash
# Gets what the tests need beyond Go: gcc with the C library's headers (the race
# detector), spin (the models), qemu-user (arm64 on other machines), QEMU and a kernel
# image (guests). Installs Debian packages when run as root; otherwise says what is missing. Building and `make demo` need none of it.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v gcc >/dev/null || missing+=(gcc)
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
command -v spin >/dev/null || missing+=(spin)
[ "$(uname -m)" = aarch64 ] || command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
[ "$(uname -m)" != x86_64 ] || command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)

if [ ${#missing[@]} -gt 0 ]; then
	if ! command -v apt-get >/dev/null; then
		echo "setup: missing ${missing[*]} (names of Debian packages): install them with this system's package manager" >&2
		exit 1
	elif [ "$(id -u)" != 0 ]; then
		echo "setup: missing ${missing[*]}: run  sudo apt-get install ${missing[*]}" >&2
		exit 1
	fi
	echo "setup: installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq </dev/null
	apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
fi

command -v go >/dev/null || {
	echo "setup: no go in PATH: install Go $(sed -n 's/^go //p' go.mod) or later, https://go.dev/dl" >&2
	exit 1
}
go mod download
scripts/kernel.sh
