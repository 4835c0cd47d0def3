// Package tpm opens signing keys of a TPM 2.0. [New] gives the backend of
// package keystore for tpm2: URIs, as in
//
//	tpm2:/etc/keys/x509_ima.key?device=/dev/tpmrm0
//	tpm2:0x81000001?device=unix:/run/swtpm.sock&auth-source=file:/run/auth
//
// A path names a key file with the label TSS2 PRIVATE KEY, as OpenSSL's tpm2
// provider, ssh-tpm-agent and others write it: the private key in it is wrapped by
// the TPM. A handle names a persistent object. The device is a character device,
// unix:PATH or tcp:HOST:PORT of a TPM that takes plain commands there (swtpm).
//
// Authorization values never travel in clear: commands are authorized by an HMAC
// session that is salted, so that who listens on the bus learns nothing, with the
// first parameter encrypted. Who can change what is on the bus is not kept out: no endorsement
// certificate is checked. Commands of all workers, and of all keys of one device, queue up, as a TPM does one
// thing at a time.
//
// Its Generate makes keys that cannot leave the TPM. Taking ownership, making
// keys persistent and clearing lockouts are left to tpm2-tools.
package tpm
