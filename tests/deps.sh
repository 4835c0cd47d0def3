#!/bin/sh
# Installs the Debian packages that the tests use. Without root it names the missing packages
# and fails, because a test without its peer would prove nothing.
set -eu
packages="
	acl
	attr
	bc
	bison
	bsdutils
	btrfs-progs
	busybox-static
	bzip2
	ca-certificates
	cpio
	createrepo-c
	cryptsetup-bin
	curl
	dash
	debian-archive-keyring
	debootstrap
	dnf
	dosfstools
	dracut-core
	dropbear-bin
	e2fsprogs
	erofs-utils
	f2fs-tools
	fakeroot
	fdisk
	fish
	flex
	fsverity
	gcc
	gdisk
	git
	gnupg
	gnutls-bin
	gpg-agent
	gzip
	ima-evm-utils
	keyutils
	libarchive-tools
	libc6-dev
	libcap2-bin
	libelf-dev
	libsolv-tools
	libssl-dev
	libssl3
	linux-source-6.12
	lz4
	make
	mount
	mtd-utils
	opensc
	opensc-pkcs11
	openssh-client
	openssl
	parted
	podman
	pseudo
	putty-tools
	python3
	python3-cbor2
	python3-cryptography
	python3-prometheus-client
	qemu-system-x86
	rpm
	rpm-common
	seabios
	shellcheck
	skopeo
	softhsm2
	sqlite3
	squashfs-tools
	squashfs-tools-ng
	swtpm
	systemd
	time
	tpm2-openssl
	tpm2-tools
	umoci
	xz-utils
	zsh
	zstd
"
# Packages that BitBake uses in place of native recipes (make bitbake).
bitbake="
	chrpath cpio diffstat file g++ gawk git libpseudo locales
	lz4 make mtools patch perl rpcsvc-proto rpm2cpio wget xz-utils zstd
"
[ "${1:-}" != bitbake ] || packages="$packages $bitbake"
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
# A fresh machine has no package list, or an old one.
apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $missing
