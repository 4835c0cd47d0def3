// Package tpm opens signing keys of a TPM 2.0. [New] returns the backend of package keystore
// for tpm2: URIs, for example
//
//	tpm2:/etc/keys/x509_ima.key?device=/dev/tpmrm0
//	tpm2:0x81000001?device=unix:/run/swtpm.sock&auth-source=file:/run/auth
//
// A path names a key file with the PEM label TSS2 PRIVATE KEY, which OpenSSL's tpm2 provider,
// ssh-tpm-agent and others write. The TPM has wrapped the private key in it. A handle names a
// persistent object. The device is a character device, or unix:PATH or tcp:HOST:PORT of a TPM
// that takes plain commands (swtpm).
//
// Authorization values are never sent in clear. A salted HMAC session with encryption of the
// first parameter authorizes commands, so listening on the bus reveals nothing. The package
// does not protect against changes on the bus, because it checks no endorsement certificate.
// A TPM runs one command at a time: commands of all workers and keys of a device wait for
// each other.
//
// Generate makes keys that cannot leave the TPM. tpm2-tools take ownership, make keys
// persistent and clear lockouts.
package tpm
