// Package cache tests what the signature cache promises, with the built program, keys in
// SoftHSM2 and swtpm, and evmctl, rpm and GNU tar to verify what was signed: later builds ask
// the key for nothing that an earlier one asked for, and nothing that happens to a cache
// changes what is attached.
package cache
