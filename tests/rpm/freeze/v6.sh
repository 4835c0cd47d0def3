#!/bin/sh
# Packages by rpm 6.1 and its rpmsign, in /frozen/v6.
set -eu
# shellcheck source=tests/rpm/freeze/lib.sh
. /frozen/freeze/lib.sh
mkdir /frozen/v6
cd /frozen/v6
format="_rpmformat 6"
build sha256 plain -bb --define "$format"
build sha512 plain -bb --define "$format" --define "_binary_filedigest_algorithm 10"
build no-reserve plain -bb --define "$format" --define "__gpg_reserved_space 0"
build rich rich -bb --define "$format"
build empty empty -bb --define "$format"
build source plain -bs --define "$format"
build v4-by-rpm6 plain -bb --define "_rpmformat 4"
for name in sha256 sha512 no-reserve rich empty source v4-by-rpm6; do
	files "$name" rsa2048
	files "$name" p256
done
rpmsign openpgp sha256 - --addsign
rpmsign openpgp-two openpgp - --define "_gpg_name openpgp-ed25519" --addsign
rpmsign verity sha256 rsa2048 --addsign --signfiles --signverity --fskpath="$keys/rsa2048.key" --certpath="$keys/rsa2048.crt"
rpmsign delfilesign sha256.rsa2048 - --delfilesign
# What goes wrong; the README has it in words.
rpmsign defect-delsign sha256.rsa2048 - --delsign
rpmsign defect-delsign-sign defect-delsign rsa2048 --addsign --signfiles --fskpath="$keys/rsa2048.key"
rpmsign defect-other-key sha256.rsa2048 p256 --addsign --signfiles --fskpath="$keys/p256.key"
rpmsign defect-resign-other-key sha256.rsa2048 p256 --resign --signfiles --fskpath="$keys/p256.key"
