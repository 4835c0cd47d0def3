#!/bin/sh
# Packages by rpm 4.18 and its rpmsign, in /frozen/v4.
set -eu
# shellcheck source=tests/rpm/freeze/lib.sh
. /frozen/freeze/lib.sh
mkdir /frozen/v4
cd /frozen/v4
build md5 plain -bb --define "_binary_filedigest_algorithm 1"
build sha1 plain -bb --define "_binary_filedigest_algorithm 2"
build sha256 plain -bb
build sha512 plain -bb --define "_binary_filedigest_algorithm 10"
build no-reserve plain -bb --define "__gpg_reserved_space 0"
build rich rich -bb
build empty empty -bb
build source plain -bs
for name in md5 sha1 sha256 sha512 no-reserve rich empty source; do
	files "$name" rsa2048
	files "$name" p256
done
rpmsign openpgp-rpmv3 sha256 rsa2048 --addsign --rpmv3 --signfiles --fskpath="$keys/rsa2048.key"
rpmsign openpgp-ed25519 sha256 rsa2048 --define "_gpg_name openpgp-ed25519" --addsign --signfiles --fskpath="$keys/rsa2048.key"
rpmsign verity sha256 rsa2048 --addsign --signfiles --signverity --fskpath="$keys/rsa2048.key" --certpath="$keys/rsa2048.crt"
rpmsign delfilesign sha256.rsa2048 - --delfilesign
# What goes wrong; the README has it in words.
rpmsign defect-delsign sha256.rsa2048 - --delsign
rpmsign defect-delsign-sign defect-delsign rsa2048 --addsign --signfiles --fskpath="$keys/rsa2048.key"
rpmsign defect-other-key sha256.rsa2048 p256 --addsign --signfiles --fskpath="$keys/p256.key"
