#!/bin/sh
# Runs a command in a new Debian 12 that has only make and Go. Everything else that the project
# needs must come from tests/deps.sh.
#
#	tests/fresh.sh .ci/run
#	tests/fresh.sh make demo
#	tests/fresh.sh make bitbake BITBAKE_DIR=… OECORE_DIR=… BITBAKE_TESTS=TestHostTools
#
# Needs root, debootstrap and a mirror (IMASIGN_DEBIAN_MIRROR, IMASIGN_DEBIAN_SECURITY). The
# command gets the committed files. Directories named in BITBAKE_DIR=…, OECORE_DIR=…, WIC_DIR=…
# and META_SECURITY_DIR=… appear under the same names. Go's caches and the kernels are shared.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
mirror=${IMASIGN_DEBIAN_MIRROR:-http://deb.debian.org/debian}
security=${IMASIGN_DEBIAN_SECURITY:-http://deb.debian.org/debian-security}
cache=${IMASIGN_KERNEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/imasign-build/kernel}

fail() {
	echo "tests/fresh.sh: $*" >&2
	exit 1
}

[ "$#" != 0 ] || fail "no command: see the examples in this script"
[ "$(id -u)" = 0 ] || fail "run it as root: it mounts file systems"
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"

# All mounts are in a mount namespace of their own and disappear with it, so that removing the
# directory afterwards touches no other file system.
if [ "${FRESH_ROOT:-}" = "" ]; then
	FRESH_ROOT=$(mktemp -d "${TMPDIR:-/tmp}/imasign-fresh-XXXXXX")
	export FRESH_ROOT
	trap 'rm -rf --one-file-system "$FRESH_ROOT"' EXIT
	trap 'exit 1' HUP INT TERM
	unshare --mount --pid --fork --kill-child --propagation private "$0" "$@"
	exit
fi

root=$FRESH_ROOT
debootstrap --variant=minbase --include=ca-certificates,make bookworm "$root" "$mirror" >"$root.log" 2>&1 || {
	tail -n 20 "$root.log" >&2
	fail "debootstrap failed"
}
rm -f "$root.log"

chmod 0755 "$root" # apt downloads as another user
# The same suites as in an installed system.
for suite in bookworm bookworm-updates; do
	echo "deb $mirror $suite main"
done >"$root/etc/apt/sources.list"
echo "deb $security bookworm-security main" >>"$root/etc/apt/sources.list"

# pivot_root needs a mount point. A chroot would not do: user namespaces cannot be made in one.
mount --bind "$root" "$root"

# same mounts a directory of this machine under the same name.
same() {
	mkdir -p "$1" "$root$1"
	mount --bind "$1" "$root$1"
}

same "$(go env GOROOT)"
same "$(go env GOMODCACHE)"
same "$(go env GOCACHE)"
same "$cache"
for word; do
	case $word in
	BITBAKE_DIR=/* | OECORE_DIR=/* | WIC_DIR=/* | META_SECURITY_DIR=/*) same "${word#*=}" ;;
	esac
done
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
for file in /etc/resolv.conf /etc/hosts; do
	cat "$file" >"$root$file"
done
mkdir "$root/src"
git -C "$here" -c safe.directory="$here" archive HEAD | tar -x -C "$root/src"
path="$(go env GOROOT)/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
set -- HOME=/root TERM=dumb PATH="$path" GOMODCACHE="$(go env GOMODCACHE)" GOCACHE="$(go env GOCACHE)" \
	GOFLAGS=-buildvcs=false IMASIGN_KERNEL_CACHE="$cache" "$@"
mkdir "$root/.old"
cd "$root"
pivot_root . .old
cd /src
umount -l /.old
exec /usr/bin/env -i "$@"
