// Package pkcs11 opens signing keys that live in PKCS#11 tokens: hardware security
// modules, smart cards, SoftHSM. [New] gives the backend of package keystore
// for pkcs11: URIs (RFC 7512), as in
//
//	pkcs11:token=build;object=x509_ima?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin
//
// RSA signatures are made with CKM_RSA_PKCS over a DigestInfo made here, ECDSA with
// CKM_ECDSA over the digest, so that a token needs to know no hash. A certificate
// with the key's CKA_ID in the token is used where no other is given. As many
// sessions are opened as the token grants, up to sixteen, and each signs one batch at a time; the
// token is logged into once, and again when it has lost its sessions. A PIN that
// was refused is never tried again.
//
// Its Generate makes keys that cannot be taken out of the token. Initialising
// tokens, PINs and backups are left to the token's own tools. A program that was
// built without cgo has no PKCS#11, and says so.
package pkcs11
