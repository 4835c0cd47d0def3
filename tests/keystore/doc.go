// Package keystore runs one suite of tests with every backend of pkg/keystore, and tests what
// happens when devices fail: SoftHSM2 for PKCS#11, swtpm for TPM 2.0. Each test has devices of
// its own, which it removes.
package keystore
