#!/bin/sh
# Regenerates pkg/rpmsign/testdata/rpmsign-ima. Debian builds rpmsign without IMA support, so
# this builds rpm 4.18 (Debian 12) and rpm 6.1 (Debian 14) with it, from Debian's source
# packages in chroots of these releases. Each signs packages that it built. Needs root,
# mmdebstrap, Debian's mirror, 3 GB in $1 and 15 minutes. Existing keys are used again, so RSA
# signatures do not change.
#
#	tests/rpm/freeze.sh /tmp/rpmsign-ima
set -eu
work=$1
here=$(cd "$(dirname "$0")" && pwd)
frozen=$here/../../pkg/rpmsign/testdata/rpmsign-ima
ring=/usr/share/keyrings/debian-archive-keyring.gpg
common="build-essential gettext binutils-dev bzip2 debugedit gnupg libarchive-dev libaudit-dev libbz2-dev libcap-dev
 libdbus-1-dev libdw-dev libelf-dev libfsverity-dev libgcrypt20-dev liblua5.3-dev liblzma-dev libmagic-dev libpopt-dev
 libreadline-dev libsqlite3-dev libxml2-dev libzstd-dev pkg-config xz-utils zlib1g-dev libimaevm-dev libssl-dev rpm dpkg-dev openssl"

# chroot_of SUITE PACKAGE…: makes a chroot of a release, with rpm's source in /src/rpm. The
# Release file of a frozen mirror may have expired, but its signature is always checked.
chroot_of() {
	suite=$1
	shift
	[ ! -e "$work/$suite/src/rpm" ] || return 0
	mmdebstrap --variant=apt --skip=cleanup/apt/lists --include="$(echo "$@" | tr -s ' \n' ,)" \
		--aptopt='Apt::Install-Recommends "0"' --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$work/$suite" \
		"deb [signed-by=$ring] http://deb.debian.org/debian $suite main" "deb-src [signed-by=$ring] http://deb.debian.org/debian $suite main"
	mkdir -p "$work/$suite/src"
	chroot "$work/$suite" sh -c 'cd /src && apt-get source -q rpm && mv rpm-*/ rpm'
}

mkdir -p "$work"
# shellcheck disable=SC2086 # lists of words
chroot_of bookworm $common autoconf automake autopoint libtool gnupg2 libselinux1-dev
# shellcheck disable=SC2086
chroot_of forky $common cmake ninja-build libacl1-dev librpm-sequoia-dev libselinux-dev scdoc

[ -e "$work/bookworm/opt/rpm-ima" ] || chroot "$work/bookworm" sh -c '
	set -eu; cd /src/rpm; autoreconf -fi
	./configure --prefix=/usr --libdir=/usr/lib/x86_64-linux-gnu --sysconfdir=/etc --localstatedir=/var --with-external-db \
		--with-debian --with-vendor=debian --with-cap --with-fsverity --with-imaevm --without-python --disable-nls --enable-bdb-ro
	make -j2; make install DESTDIR=/opt/rpm-ima'
[ -e "$work/forky/opt/rpm-ima" ] || chroot "$work/forky" sh -c '
	set -eu; cd /src/rpm
	cmake -G Ninja -B b -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_LIBDIR=lib/x86_64-linux-gnu -DCMAKE_INSTALL_SYSCONFDIR=/etc \
		-DCMAKE_INSTALL_LOCALSTATEDIR=/var -DENABLE_TESTSUITE=OFF -DENABLE_PYTHON=OFF -DENABLE_NLS=OFF -DWITH_CAP=ON \
		-DWITH_SELINUX=ON -DWITH_FSVERITY=ON -DENABLE_BDB_RO=ON -DENABLE_NDB=ON -DWITH_IMAEVM=ON
	ninja -C b -j2; DESTDIR=/opt/rpm-ima ninja -C b install'

for suite in bookworm forky; do
	rm -rf "$work/$suite/frozen"
	mkdir -p "$work/$suite/frozen" "$frozen/keys"
	cp -r "$frozen/keys" "$here/packages/specs" "$here/freeze" "$work/$suite/frozen/"
	chroot "$work/$suite" sh /frozen/freeze/keys.sh
	cp "$work/$suite"/frozen/keys/* "$frozen/keys/"
done
chroot "$work/bookworm" sh /frozen/freeze/v4.sh
chroot "$work/forky" sh /frozen/freeze/v6.sh
for suite in bookworm forky; do chroot "$work/$suite" gpgconf --homedir /tmp/gnupg --kill all; done
for format in v4 v6; do rm -rf "${frozen:?}/$format"; done
cp -r "$work/bookworm/frozen/v4" "$work/forky/frozen/v6" "$frozen/"
(cd "$here" && FREEZE=1 go test -count=1 -run TestFrozen .)
rm -f "$frozen"/v?/commands
