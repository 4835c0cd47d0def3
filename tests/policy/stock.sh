#!/bin/sh
# Downloads Debian's unmodified cloud kernel of a release, the newest version of it:
#
#	stock.sh RELEASE DIR    leaves vmlinuz and config in DIR; nothing to do if they are there
#	stock.sh newer          prints the releases after 6.12 that the mirror has, oldest first
#
# 6.1 and 6.12 are from Debian 12, newer ones from the suites of tests/suites.sh.
set -eu
suites=$(cd "$(dirname "$0")/.." && pwd)/suites.sh

fail() {
	echo "tests/policy/stock.sh: $*" >&2
	exit 1
}

# names prints the packages with a kernel of some releases, a regular expression. From 6.19 on,
# linux-image is only the name of several packages, and the kernel is in linux-binary.
names() {
	"$suites" names "^linux-(image|binary)-($1)\\.[0-9.]+\\+deb[0-9u]+-cloud-amd64\$"
}

if [ "$#" = 1 ] && [ "$1" = newer ]; then
	names '6\.1[3-9]|[7-9]\.[0-9]+' | sed -E 's/^linux-(image|binary)-([0-9]+\.[0-9]+)\..*/\2/' | sort -Vu
	exit
fi
[ "$#" = 2 ] || fail "want RELEASE DIR"
release=$1
dir=$2
[ ! -e "$dir/config" ] || exit 0
mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# pool downloads the package linux-base that belongs to a downloaded linux-binary, if no suite
# lists it any more: the mirror keeps it as long as the other.
pool() {
	deb=$(basename linux-binary-*.deb | sed s/binary/base/)
	mirror=${IMASIGN_DEBIAN_MIRROR:-http://deb.debian.org/debian}
	/usr/lib/apt/apt-helper -o APT::Sandbox::User="$(id -un)" download-file "$mirror/pool/main/l/linux/$deb" "$deb" >&2
}

pattern=$(printf %s "$release" | sed 's/\./\\./')
case $release in
6.1 | 6.12)
	package=$(apt-cache search --names-only "^linux-image-$pattern\\.[0-9.+debu-]*-cloud-amd64\$" | sort -V | tail -n 1 | cut -d' ' -f1)
	[ -n "$package" ] || fail "no kernel $release: apt-get update"
	(cd "$work" && apt-get download -q "$package" >&2)
	;;
*)
	package=$(names "$pattern" | sort -V | tail -n 1)
	binary=$(names "$pattern" | grep '^linux-binary-' | sort -V | tail -n 1)
	[ -n "$package" ] || fail "the mirror has no kernel $release"
	if [ -z "$binary" ]; then
		"$suites" download "$package" "$work"
	else
		"$suites" download "$binary" "$work"
		base=$(echo "$binary" | sed s/binary/base/)
		"$suites" download "$base" "$work" 2>/dev/null || (cd "$work" && pool) || fail "no configuration for $binary"
	fi
	;;
esac
for deb in "$work"/*.deb; do
	dpkg-deb -x "$deb" "$work/root"
done
mkdir "$work/kernel"
find "$work/root" -type f \( -name vmlinuz -o -name 'vmlinuz-*' \) -exec mv {} "$work/kernel/vmlinuz" \;
find "$work/root" -type f \( -name config -o -name 'config-*' \) -path '*cloud-amd64*' -exec mv {} "$work/kernel/config" \;
for file in vmlinuz config; do
	[ -e "$work/kernel/$file" ] || fail "$release: no $file in its packages"
done
echo "${package#linux-*-}" >"$work/kernel/release"
rm -rf "$dir"
mv "$work/kernel" "$dir"
