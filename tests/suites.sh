#!/bin/sh
# Packages of Debian suites newer than the machine's Debian 12: kernels, sources of kernels,
# OpenSSL. They are downloaded and unpacked, never installed, with package lists of their own,
# so that the machine's apt does not know about these suites.
#
#	suites.sh names REGEX             names of packages, oldest version first
#	suites.sh download PACKAGE… DIR   the .deb files, into DIR
#	suites.sh unpack PACKAGE… DIR     what is in them, as DIR; nothing to do if DIR exists
#
# PACKAGE is apt-get's: NAME, NAME/SUITE or NAME=VERSION. DIR of unpack appears complete or not
# at all. The suites are trixie, trixie-backports and sid of the machine's mirror, or of
# IMASIGN_DEBIAN_MIRROR; the Debian archive keyring has their keys.
#
# The lists are in imasign-build/apt of XDG_CACHE_HOME or ~/.cache. This script may run several
# times at once, as any user.
set -eu
suites="trixie trixie-backports sid"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cache=${XDG_CACHE_HOME:-$HOME/.cache}/imasign-build/apt

fail() {
	echo "tests/suites.sh: $*" >&2
	exit 1
}

usage() {
	sed -n 's/^#	/usage: /p' "$0" >&2
	exit 2
}

# mirror prints where the machine takes Debian 12 from.
mirror() {
	apt-get indextargets --format "\$(CREATED_BY) \$(RELEASE) \$(REPO_URI)" |
		awk '$1 == "Packages" && ($2 == "bookworm" || $2 == "stable" || $2 == "oldstable") { print $3; exit }'
}

# write_list writes the list of sources, only if it changes: a new one has no packages yet.
write_list() {
	url=${IMASIGN_DEBIAN_MIRROR:-$(mirror)}
	for suite in $suites; do
		echo "deb [arch=amd64 lang=none target=Packages signed-by=$keyring] ${url:-http://deb.debian.org/debian} $suite main"
	done >"$cache/new.list"
	! cmp -s "$cache/new.list" "$cache/sources.list" || return 0
	rm -f "$cache/updated"
	mv "$cache/new.list" "$cache/sources.list"
}

# apt runs apt-get or apt-cache on the private lists. Its own user could not read them. The
# signatures of the lists are verified, but a mirror may be a snapshot of an earlier day, whose
# lists have expired.
apt() {
	command=$1
	shift
	"$command" -o Dir::Etc::sourcelist="$cache/sources.list" -o Dir::Etc::sourceparts="$cache/none" \
		-o Dir::Etc::preferences="$cache/none/none" -o Dir::Etc::preferencesparts="$cache/none" \
		-o Dir::State="$cache/state" -o Dir::State::status="$cache/state/status" -o Dir::Cache="$cache/cache" \
		-o Acquire::Check-Valid-Until=false -o Acquire::AllowInsecureRepositories=false -o Acquire::AllowWeakRepositories=false \
		-o APT::Get::AllowUnauthenticated=false -o APT::Sandbox::User="$(id -un)" "$@"
}

update() {
	apt apt-get update -q --error-on=any >&2 || fail "cannot update the lists of $suites"
	touch "$cache/updated"
}

# fresh updates lists that are missing or older than a day.
fresh() {
	[ -n "$(find "$cache/updated" -mtime -1 2>/dev/null)" ] || update
}

# download puts the packages into the current directory. A list that is not of today may name
# files that the mirror no longer has.
download() {
	fresh
	apt apt-get download -q "$@" >&2 || { update && apt apt-get download -q "$@" >&2; } || fail "cannot download $*"
}

[ "$#" -ge 2 ] || usage
command=$1
shift
[ -e "$keyring" ] || fail "$keyring is missing: apt-get install debian-archive-keyring"
umask 022
mkdir -p "$cache/state/lists/partial" "$cache/cache/archives/partial" "$cache/none"
[ -e "$cache/state/status" ] || : >"$cache/state/status"
exec 9>"$cache/lock"
flock 9
write_list

case $command in
names)
	[ "$#" = 1 ] || usage
	fresh
	apt apt-cache search --names-only "$1" | cut -d' ' -f1 | sort -V
	exit
	;;
download | unpack) [ "$#" -ge 2 ] || usage ;;
*) usage ;;
esac

for dir; do :; done
count=$(($# - 1))
packages=""
for package; do
	[ "$count" = 0 ] || { packages="$packages $package" && count=$((count - 1)); }
done
if [ "$command" = download ]; then
	mkdir -p "$dir"
	cd "$dir"
	# shellcheck disable=SC2086 # a list of words
	download $packages
	exit
fi
[ ! -e "$dir" ] || exit 0
mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/deb" "$work/root"
# shellcheck disable=SC2086 # a list of words
(cd "$work/deb" && download $packages)
for deb in "$work"/deb/*.deb; do
	dpkg-deb -x "$deb" "$work/root"
done
mv "$work/root" "$dir"
