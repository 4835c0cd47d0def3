#!/bin/sh
# Makes the kernels that these tests boot, unless they are in the cache:
#
# built  Linux 6.12 with the layer's configuration, built by compile.sh. Its CAs are made at
#        the same time and built in, so their keys are cached beside it.
# debian the unmodified cloud kernel of Debian 12, the newest one at the time of the download
#
#	build.sh        makes the missing kernels
#	build.sh where  prints the two directories; a missing kernel is an error
#
# The cache is IMASIGN_KERNEL_CACHE, else imasign-build/kernel in XDG_CACHE_HOME or ~/.cache.
# This script may run several times at once. A directory appears complete or not at all.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=linux-source-6.12
stock='^linux-image-6\.1\.[0-9.+debu-]*-cloud-amd64$'
# The modules that the tests load, drivers of the disk first.
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk sha512_generic crc-itu-t"
cache=${IMASIGN_KERNEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/imasign-build/kernel}

fail() {
	echo "tests/kernel/build.sh: $*" >&2
	exit 1
}

# The key covers the version of the sources, the configuration, and compile.sh.
version=$(dpkg-query -W -f '${Version}' "$source" 2>/dev/null) || fail "$source is missing; tests/deps.sh installs it"
key=$(printf '%s\n' "$version" | cat - "$here/x86_64.cfg" "$here/../../recipes/linux/files/imasign.cfg" "$here/compile.sh" | sha256sum | cut -c1-16)
built=$cache/built-$key

# debian prints the directory of the downloaded kernel; the last one if there are several.
debian() {
	for dir in "$cache"/debian-*; do
		[ ! -e "$dir/vmlinuz" ] || found=$dir
	done
	echo "${found:-}"
}

ready() {
	[ -e "$built/bzImage" ] && [ -n "$(debian)" ]
}

if [ "${1:-}" = where ]; then
	ready || fail "a kernel is missing in $cache: make kernel"
	printf '%s\n%s\n' "$built" "$(debian)"
	exit
fi
! ready || exit 0

umask 077
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
# Left by a build that was killed.
rm -rf "$cache"/tmp.*
work=$(mktemp -d "$cache/tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# fetch downloads the newest package. It fails if the package list is empty or old.
fetch() {
	package=$(apt-cache search --names-only "$stock" | sort -V | tail -n 1 | cut -d' ' -f1)
	[ -n "$package" ] && (cd "$work/deb" && apt-get download -q "$package")
}

download() {
	mkdir "$work/deb" "$work/debian" "$work/debian/modules"
	fetch || { [ "$(id -u)" = 0 ] && apt-get update -q && fetch; } || fail "no package $stock: apt-get update"
	dpkg-deb -x "$work/deb/${package}"_*.deb "$work/deb"
	release=${package#linux-image-}
	mv "$work/deb/boot/vmlinuz-$release" "$work/debian/vmlinuz"
	mv "$work/deb/boot/config-$release" "$work/debian/config"
	for module in $modules; do
		find "$work/deb/lib/modules" -name "$module.ko" -exec mv -t "$work/debian/modules" {} +
	done
	mv "$work/debian" "$cache/debian-$release"
}

[ -n "$(debian)" ] || download
[ -e "$built/bzImage" ] || {
	"$here/compile.sh" "$work"
	mv "$work/out" "$built"
}
