#!/bin/sh
# Shows the main job on real files: makes keys, signs a copy of a part of this machine's
# /usr, verifies it, tampers with a file and shows the refusal.
set -eu
program=$(realpath "$1")
work=$(mktemp -d "${TMPDIR:-/tmp}/imasign-demo-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

if [ -t 1 ]; then heading='\n\033[1m%s\033[0m\n'; else heading='\n%s\n'; fi
# shellcheck disable=SC2059 # the format is one of these two
say() { printf "$heading" "$*"; }
show() { printf '$ imasign-build %s\n' "$*"; "$program" "$@"; }

say "A key and its certificate, signed by a CA whose certificate goes into the kernel"
show key init keys

mkdir -p rootfs/usr/bin rootfs/usr/lib
# Only readable files, so that the demo also runs without root.
find /usr/bin -maxdepth 1 -type f -readable | sort | head -n 300 | xargs cp -p -t rootfs/usr/bin
find /usr/lib -maxdepth 2 -type f -name '*.so*' -readable | sort | head -n 100 | xargs -r cp -p -t rootfs/usr/lib
printf '%s files, %s, copied from /usr\n' "$(find rootfs -type f | wc -l)" "$(du -sh rootfs | cut -f1)"

key="--key keys/x509_ima.key --cert keys/x509_ima.crt"
# shellcheck disable=SC2086 # options
if [ "$(id -u)" = 0 ] && "$program" rootfs strip rootfs >/dev/null 2>&1; then
	say "Sign every file in security.ima"
	show rootfs sign $key --manifest manifest.jsonl rootfs
	say "Sign again: nothing is left to do"
	show rootfs sign $key rootfs
	say "Verify as the kernel does"
	show rootfs verify --cert keys/x509_ima.crt rootfs
	if command -v evmctl >/dev/null; then
		file=$(find rootfs -type f | sort | head -n 1)
		printf '$ evmctl ima_verify --key keys/x509_ima.der %s\n' "$file"
		evmctl ima_verify --key keys/x509_ima.der "$file" 2>&1
	fi
	file=$(find rootfs/usr/bin -type f | sort | head -n 1)
	say "Tamper with one file: $file"
	printf 'x' | dd of="$file" bs=1 seek=100 conv=notrunc status=none
	code=0
	show rootfs verify --cert keys/x509_ima.crt rootfs || code=$?
	printf 'exit code %s\n' "$code"
	[ "$code" = 3 ]
else
	say "security.ima cannot be set (no root, or no xattrs): signatures go into a file"
	show rootfs sign $key --output restore --restore-file signatures --manifest manifest.jsonl rootfs
	head -n 2 signatures | cut -c1-100
	printf 'as root: cd rootfs && setfattr -h --restore=../signatures\n'
	say "Tamper with one file: it no longer matches the manifest"
	file=$(find rootfs/usr/bin -type f | sort | head -n 1)
	chmod u+w "$file"
	printf 'x' | dd of="$file" bs=1 seek=100 conv=notrunc status=none
	code=0
	show manifest apply --dry-run --cert keys/x509_ima.crt manifest.jsonl rootfs || code=$?
	printf 'exit code %s\n' "$code"
	[ "$code" = 1 ]
fi

say "Install it"
echo "make install    # or without root: make install PREFIX=\$HOME/.local"
echo "go install github.com/imasign/imasign-build/cmd/imasign-build@latest"
