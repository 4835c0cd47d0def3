#!/bin/sh
# Installs the Debian packages that the tests drive. Without root it names what
# is missing and fails: a test without its peer would prove nothing.
set -eu
packages="
	attr
	bsdutils
	ca-certificates
	createrepo-c
	dnf
	e2fsprogs
	erofs-utils
	fakeroot
	gcc
	gnupg
	gpg-agent
	ima-evm-utils
	libc6-dev
	libssl3
	make
	mount
	openssl
	pseudo
	rpm
	rpm-common
	squashfs-tools
"
missing=""
for package in $packages; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "missing Debian packages; as root: apt-get install$missing" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# The list of a fresh machine is empty or old.
apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $missing
