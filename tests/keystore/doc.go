// Package keystore holds every backend of pkg/keystore to one suite, and to what
// their devices do when they fail: SoftHSM2 for PKCS#11, swtpm for TPM 2.0. Both
// are private to a test and gone with it.
package keystore
