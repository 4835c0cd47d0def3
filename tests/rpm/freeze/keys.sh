#!/bin/sh
# Makes the keys for tests that are missing in /frozen/keys, and imports the OpenPGP keys.
set -eu
export GNUPGHOME=/tmp/gnupg
cd /frozen/keys
certificate() {
	[ ! -e "$1.key" ] || return 0
	openssl genpkey -quiet -algorithm "$2" -pkeyopt "$3" -out "$1.key"
	openssl req -x509 -new -key "$1.key" -subj "/CN=imasign-build throw-away $1" -days 36500 \
		-addext subjectKeyIdentifier=hash -addext keyUsage=digitalSignature -addext basicConstraints=CA:FALSE -out "$1.crt"
}
certificate rsa2048 RSA rsa_keygen_bits:2048
certificate p256 EC ec_paramgen_curve:P-256
rm -rf "$GNUPGHOME"
mkdir -m 700 "$GNUPGHOME"
for key in rsa2048 ed25519; do
	if [ ! -e "openpgp-$key.secret.asc" ]; then
		gpg --batch --quiet --faked-system-time='20231114T221320!' --passphrase '' --quick-generate-key "openpgp-$key" "$key" sign never
		gpg --batch --armor --export "openpgp-$key" >"openpgp-$key.asc"
		gpg --batch --armor --export-secret-keys "openpgp-$key" >"openpgp-$key.secret.asc"
	else
		gpg --batch --quiet --import "openpgp-$key.secret.asc"
	fi
done
