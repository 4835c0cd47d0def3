#!/bin/sh
# Makes the kernels that these tests boot, unless they are in the cache:
#
# 6.12   Linux 6.12 with the layer's configuration, built by compile.sh. Its CAs are made
#        before and built in, so their keys are cached beside it.
# 7.3    the same of Linux 7.3, which tests/suites.sh downloads, with ML-DSA; of the newest
#        Linux 7 that there is, if the suites no longer have it
# debian the unmodified cloud kernel of Debian 12, the newest one at the time of the download
#
#	build.sh        makes the missing kernels
#	build.sh where  prints the three directories; a missing kernel is an error
#
# The cache is IMASIGN_KERNEL_CACHE, else imasign-build/kernel in XDG_CACHE_HOME or ~/.cache.
# This script may run several times at once. A directory appears complete or not at all.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
layer=$root/recipes/linux/files
source=linux-source-6.12
newer=linux-source-7.3
stock='^linux-image-6\.1\.[0-9.+debu-]*-cloud-amd64$'
# The modules that the tests load, drivers of the disk first.
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk sha512_generic crc-itu-t"
cache=${IMASIGN_KERNEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/imasign-build/kernel}

fail() {
	echo "tests/kernel/build.sh: $*" >&2
	exit 1
}

# key prints a hash of compile.sh, the algorithms of the CAs, and the configuration without
# its comments.
key() {
	{
		echo "$1"
		shift
		cat "$here/compile.sh"
		sed '/^# CONFIG_.* is not set$/b; /^#/d; /^$/d' "$here/x86_64.cfg" "$@"
	} | sha256sum | cut -c1-16
}

# newest prints the last of the complete directories with that prefix, and nothing if there is
# none. Their names contain versions.
newest() {
	for dir in "$cache/$1"*; do
		[ ! -e "$dir/$2" ] || echo "$dir"
	done | sort -V | tail -n 1
}

# The sources of 6.12 are installed. Those of newer kernels are downloaded, but not because
# there is an update: a cached kernel is used as long as its configuration is the same.
version=$(dpkg-query -W -f '${Version}' "$source" 2>/dev/null) || fail "$source is missing; tests/deps.sh installs it"
cas="rsa2048 p384"
cas_newer="rsa2048 p384 mldsa65"
built=$cache/built-6.12-$version-$(key "$cas" "$layer/imasign.cfg")
prefix_newer=built-$(key "$cas_newer" "$layer/imasign.cfg" "$layer/imasign-mldsa.cfg")-

ready() {
	[ -e "$built/bzImage" ] && [ -n "$(newest "$prefix_newer" bzImage)" ] && [ -n "$(newest debian- vmlinuz)" ]
}

if [ "${1:-}" = where ]; then
	ready || fail "a kernel is missing in $cache: make kernel"
	printf '%s\n%s\n%s\n' "$built" "$(newest "$prefix_newer" bzImage)" "$(newest debian- vmlinuz)"
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

# compile builds a kernel in the directory $1 of the sources $2 with the CAs $3 and the
# layer's fragments that follow.
compile() {
	to=$1 tarball=$2 algorithms=$3
	shift 3
	rm -rf "$work/compile"
	mkdir -p "$work/compile/out"
	for algorithm in $algorithms; do
		(cd "$root" && go run ./cmd/imasign-build key init --only-ca --subject "/CN=Test $algorithm" --algorithm "$algorithm" "$work/compile/out/$algorithm")
	done
	"$here/compile.sh" "$tarball" "$work/compile" "$@"
	mv "$work/compile/out" "$to"
}

# compile_newer builds the kernel of the sources that it downloads. The name of the package
# is the version that the kernel has for policy check.
compile_newer() {
	names=$("$root/tests/suites.sh" names '^linux-source-7\.[0-9]+$')
	package=$newer
	echo "$names" | grep -qx "$newer" || {
		package=$(echo "$names" | tail -n 1)
		[ -n "$package" ] || fail "the suites have no $newer, and nothing like it"
		echo "tests/kernel/build.sh: the suites no longer have $newer; built from $package" >&2
	}
	"$root/tests/suites.sh" unpack "$package" "$work/newer"
	compile "$cache/$prefix_newer${package#linux-source-}" "$work/newer/usr/src/$package.tar.xz" "$cas_newer" \
		"$layer/imasign.cfg" "$layer/imasign-mldsa.cfg"
	rm -rf "$work/newer"
}

[ -n "$(newest debian- vmlinuz)" ] || download
[ -n "$(newest "$prefix_newer" bzImage)" ] || compile_newer
[ -e "$built/bzImage" ] || compile "$built" "/usr/src/$source.tar.xz" "$cas" "$layer/imasign.cfg"
