#!/bin/sh
# Builds the rpmsign of Debian 12's rpm 4.18 with support for IMA, which Debian's own lacks, and
# unpacks OpenSSL's engine pkcs11. DIR gets bin/rpmsign and engines/; it appears complete or not
# at all, and nothing is installed.
#
#	rpmsign.sh DIR
#
# Only rpm's directory sign/ is compiled. The rest of rpm is the machine's librpm, which must be
# of the same version. testdata/pkcs11_engine.c is linked in, because rpmsign cannot choose an
# engine.
set -eu
[ "$#" = 1 ] || { sed -n 's/^#	/usage: /p' "$0" >&2 && exit 2; }
dir=$1
here=$(cd "$(dirname "$0")" && pwd)
[ ! -e "$dir" ] || exit 0
umask 022
mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work"

# Package lists of its own: the machine's may lack sources. The mirror is the machine's.
url=$(apt-get indextargets --format "\$(CREATED_BY) \$(RELEASE) \$(REPO_URI)" |
	awk '$1 == "Packages" && ($2 == "bookworm" || $2 == "stable" || $2 == "oldstable") { print $3; exit }')
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for kind in "deb [target=Packages" "deb-src [target=Sources"; do
	echo "$kind lang=none signed-by=$keyring] ${url:-http://deb.debian.org/debian} bookworm main"
done >sources.list
mkdir -p state/lists/partial cache/archives/partial none unpacked bin
: >state/status
apt() {
	apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/none" \
		-o Dir::State="$work/state" -o Dir::State::status="$work/state/status" -o Dir::Cache="$work/cache" \
		-o Acquire::Check-Valid-Until=false -o APT::Sandbox::User="$(id -un)" "$@" >&2
}
apt update --error-on=any
version=$(dpkg-query -W -f '${Version}' librpmsign9)
apt source --download-only "rpm=$version"
apt download librpm-dev libpopt-dev libimaevm-dev libengine-pkcs11-openssl
for deb in *.deb; do
	dpkg-deb -x "$deb" unpacked
done
tar -xf rpm_*.orig.tar.*
lib=/usr/lib/$(gcc -print-multiarch)
(
	cd rpm-*/
	gcc -O2 -Wall -Wno-unused -Wno-deprecated-declarations -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
		-DWITH_IMAEVM -DHAVE_UNISTD_H -DHAVE_LIMITS_H -DHAVE_STPCPY -DHAVE_STPNCPY -DHAVE___PROGNAME \
		-I. -Imisc -Ilib -Isign "-I$work/unpacked/usr/include" -o "$work/bin/rpmsign" \
		rpmsign.c cliutils.c sign/rpmgensig.c sign/rpmsignfiles.c "$here/testdata/pkcs11_engine.c" \
		"$lib/librpm.so.9" "$lib/librpmio.so.9" "$lib/libpopt.so.0" "$lib/libimaevm.so.3" -lcrypto
)
mkdir result
dpkg-deb -f libengine-pkcs11-openssl_*.deb Version >result/engine-version
mv bin "unpacked$lib/engines-3" result/
mv result/engines-3 result/engines
mv result "$dir"
