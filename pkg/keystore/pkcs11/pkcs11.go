// Package pkcs11 opens signing keys in PKCS#11 tokens: hardware security modules, smart
// cards, SoftHSM. [New] returns the backend of package keystore for pkcs11: URIs (RFC 7512),
// for example
//
//	pkcs11:token=build;object=x509_ima?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin
//
// RSA signatures use CKM_RSA_PKCS over a DigestInfo made here, ECDSA signatures CKM_ECDSA over
// the digest, so the token needs no hash function. If no certificate is given, the token's
// certificate with the key's CKA_ID is used. The package opens as many sessions as the token
// grants, at most sixteen, and each signs one batch at a time. It logs in once, and again if
// the token has lost its sessions. A PIN that was refused is never tried again.
//
// Generate makes keys that cannot leave the token. The token's own tools initialise it, set
// PINs and make backups. In a build without cgo, every key is an error.
package pkcs11
