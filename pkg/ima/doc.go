// Package ima reads, writes and verifies the values of the security.ima and
// security.evm extended attributes. By these values the Linux kernel's Integrity
// Measurement Architecture (IMA) and Extended Verification Module (EVM) accept or
// refuse a file.
//
// [Parse] reads every type of value that the kernel defines. [Sign] makes signatures.
// [Keyring.Verify] checks them, and returns a [Refusal] if it does not accept one. A
// [Form] tells Sign and Verify what the signature is over: the digest of a file's
// content, an fs-verity digest, or an [EVMDigest] of a file's metadata.
//
// A private key is a [RawSigner], which signs messages. For some forms the message is
// not the digest itself. [FromRaw] turns a RawSigner into a [Signer], which makes the
// right message for each form.
//
// The package works on bytes in memory. The caller reads and hashes files, reads and
// sets their attributes, opens keys, and decides which certificates to trust. HMACs in
// security.evm are recognised, but neither made nor checked, because their key belongs
// to one machine.
//
// Several goroutines may call all functions at the same time.
package ima

// Names of the extended attributes, as in the kernel's
// include/uapi/linux/xattr.h.
const (
	XattrIMA = "security.ima" // protects the content
	XattrEVM = "security.evm" // protects the metadata
)
